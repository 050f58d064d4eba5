"""What receivers send: every status, every framing, and what is no answer at all."""

import asyncio
import socket
import struct

import pytest

from tests.support.egress import (
    Make,
    Open,
    answer,
    at,
    failure,
    once,
    reply,
)
from tests.support.waiting import until
from waypost.egress.transport import Transport
from waypost.model.exchange import FailureKind

OK = b"HTTP/1.1 200 OK\r\n"
CAP = 1024


@pytest.mark.parametrize(
    "raw, body",
    [
        (OK + b"content-length: 2\r\n\r\nok", b"ok"),
        (OK + b"content-length: 0\r\n\r\n", b""),
        (OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (OK + b"transfer-encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nx: y\r\n\r\n", b"ok"),
        (OK + b"\r\nuntil the end", b"until the end"),
        (OK + b"connection: close\r\n\r\nuntil the end", b"until the end"),
        (OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nold", b"old"),
        (b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"content-length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" * 8 + OK + b"content-length: 0\r\n\r\n", b""),
        (
            OK + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\x1f\x8b\x08\x00",
            b"\x1f\x8b\x08\x00",
        ),
    ],
)
async def test_a_whole_answer(
    raw: bytes, body: bytes, transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(once(raw))
    assert (await reply(transport, at(receiver))).body == body


@pytest.mark.parametrize(
    "raw, kind",
    [
        pytest.param(b"", FailureKind.CONNECTION, id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-le", FailureKind.CONNECTION, id="cut in head"),
        pytest.param(OK + b"content-length: 9\r\n\r\nab", FailureKind.CONNECTION, id="cut in body"),
        pytest.param(
            OK + b"transfer-encoding: chunked\r\n\r\n5\r\nab",
            FailureKind.CONNECTION,
            id="cut in chunk",
        ),
        pytest.param(
            OK + b"transfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
            FailureKind.CONNECTION,
            id="no last chunk",
        ),
        pytest.param(b"hello\r\n", FailureKind.PROTOCOL, id="HTTP/0.9"),
        pytest.param(b"\x00\xff\xfe" * 50, FailureKind.PROTOCOL, id="garbage"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", FailureKind.PROTOCOL, id="another protocol"),
        pytest.param(b"\x15\x03\x01\x00\x02\x02\x0a", FailureKind.PROTOCOL, id="a TLS alert"),
        pytest.param(
            OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
            FailureKind.PROTOCOL,
            id="two lengths",
        ),
        pytest.param(
            OK + b"content-length: 2\r\ncontent-length: 2\r\n\r\nab",
            FailureKind.PROTOCOL,
            id="the same length twice",
        ),
        pytest.param(
            OK + b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            FailureKind.PROTOCOL,
            id="length and chunks",
        ),
        pytest.param(
            OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            FailureKind.PROTOCOL,
            id="chunks and length",
        ),
        pytest.param(OK + b"content-length: -1\r\n\r\n", FailureKind.PROTOCOL, id="minus"),
        pytest.param(OK + b"content-length: 1e3\r\n\r\n", FailureKind.PROTOCOL, id="not a number"),
        pytest.param(
            OK + b"content-length: 99999999999999999999999\r\n\r\n",
            FailureKind.PROTOCOL,
            id="endless number",
        ),
        pytest.param(
            OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n", FailureKind.PROTOCOL, id="no chunk"
        ),
        pytest.param(OK + b"a b: c\r\n\r\n", FailureKind.PROTOCOL, id="blank in a name"),
        pytest.param(OK + b"a: b\x00c\r\n\r\n", FailureKind.PROTOCOL, id="NUL in a value"),
        pytest.param(b"HTTP/1.1 101 Go\r\n\r\n", FailureKind.PROTOCOL, id="101"),
        pytest.param(
            b"HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
            FailureKind.PROTOCOL,
            id="101 with upgrade",
        ),
        pytest.param(
            b"HTTP/1.1 103 Early\r\n\r\n" * 9 + answer(),
            FailureKind.PROTOCOL,
            id="nine interim answers",
        ),
        pytest.param(b"HTTP/1.1 100 C\r\n\r\n" * 9999, FailureKind.PROTOCOL, id="interim flood"),
        pytest.param(b"HTTP/1.1 100 C\r\n\r\n", FailureKind.CONNECTION, id="interim alone"),
        pytest.param(OK + b"a: " + b"x" * 2**20, FailureKind.TOO_LARGE, id="huge header"),
        pytest.param(OK + b"a: b\r\n" * 10_000, FailureKind.TOO_LARGE, id="many headers"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * 2**20, FailureKind.TOO_LARGE, id="huge reason"),
    ],
)
async def test_no_answer(
    raw: bytes, kind: FailureKind, transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(once(raw))
    end = await failure(transport, at(receiver))
    assert end.kind is kind
    await until(lambda: transport.connections_open == 0)


@pytest.mark.parametrize("status", [*range(200, 600, 7), 301, 302, 307, 308, 410, 429, 503, 599])
async def test_every_status_is_an_answer(
    status: int, transport: Transport, open_receiver: Open
) -> None:
    raw = answer(status, b"" if status == 304 else b"x", location="http://127.0.0.1:9/")
    receiver = await open_receiver(answers=[raw])
    assert (await reply(transport, at(receiver))).status == status
    assert receiver.connections == len(receiver.requests) == 1


@pytest.mark.parametrize("status", [b"000", b"099", b"600", b"999"])
async def test_other_numbers_are_none(
    status: bytes, transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(once(b"HTTP/1.1 %b Odd\r\ncontent-length: 0\r\n\r\n" % status))
    assert (await failure(transport, at(receiver))).kind is FailureKind.PROTOCOL


@pytest.mark.parametrize(
    "headers, value",
    [
        (b"", None),
        (b"Retry-After: 120\r\n", "120"),
        (b"retry-after:  Wed, 21 Oct 2026 07:28:00 GMT \r\n", "Wed, 21 Oct 2026 07:28:00 GMT"),
        (b"retry-after: 5\r\nRETRY-AFTER: 5\r\n", "5"),
        (b"retry-after: 5\r\nretry-after: 6\r\n", None),
        (b"retry-after: 5\r\nretry-after: 6\r\nretry-after: 5\r\n", None),
        (b"retry-after:\r\n", None),
        (b"retry-after: \xff\r\n", "\xff"),
    ],
)
async def test_retry_after(
    headers: bytes, value: str | None, transport: Transport, open_receiver: Open
) -> None:
    raw = b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n" + headers + b"\r\n"
    receiver = await open_receiver(answers=[raw])
    assert (await reply(transport, at(receiver))).retry_after == value


async def test_headers_of_interim_answers_and_trailers_do_not_count(
    transport: Transport, open_receiver: Open
) -> None:
    raw = (
        b"HTTP/1.1 103 Early\r\nretry-after: 1\r\nkeep-alive: timeout=0\r\n\r\n"
        + OK
        + b"transfer-encoding: chunked\r\n\r\n0\r\nretry-after: 2\r\n\r\n"
    )
    receiver = await open_receiver(answers=[raw])
    assert (await reply(transport, at(receiver))).retry_after is None
    assert transport.connections_idle == 1


@pytest.mark.parametrize("size, kept, connections", [(CAP, CAP, 1), (CAP + 1, CAP, 2)])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_long_body_is_cut(
    size: int,
    kept: int,
    connections: int,
    chunked: bool,
    make_transport: Make,
    open_receiver: Open,
) -> None:
    transport = make_transport(max_response_bytes=CAP)
    raw = answer(200, b"x" * size)
    if chunked:
        raw = OK + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
    receiver = await open_receiver(answers=[raw])
    for _ in range(2):
        assert (await reply(transport, at(receiver))).body == b"x" * kept
    assert receiver.connections == connections


@pytest.mark.parametrize(
    "start, more",
    [
        pytest.param(b"\r\n", b"x" * 4096, id="until the end"),
        pytest.param(b"content-length: 99999999999\r\n\r\n", b"x" * 4096, id="announced"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 512, id="chunks"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 4096, id="chunk extension"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"x" * 4096, id="trailer"),
        pytest.param(b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 512, id="trailers"),
    ],
)
async def test_an_endless_answer_ends(
    start: bytes, more: bytes, transport: Transport, open_receiver: Open
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + start)
        while True:
            writer.write(more)
            await writer.drain()

    receiver = await open_receiver(serve)
    got = await reply(transport, at(receiver))
    assert got.status == 200
    assert len(got.body) <= 64 * 1024
    await until(lambda: transport.connections_open == 0)


async def test_a_head_of_exactly_the_cap(transport: Transport, open_receiver: Open) -> None:
    start, end = OK + b"content-length: 0\r\na: ", b"\r\n\r\n"
    whole = start + b"x" * (32 * 1024 - len(start) - len(end)) + end
    receiver = await open_receiver(once(whole))
    assert (await reply(transport, at(receiver))).status == 200
    receiver = await open_receiver(once(start + b"x" + whole.removeprefix(start)))
    assert (await failure(transport, at(receiver))).kind is FailureKind.TOO_LARGE


@pytest.mark.parametrize("surplus", [b"HTTP/1.1 500 Second\r\ncontent-length: 0\r\n\r\n", b"H"])
@pytest.mark.parametrize("status", [200, 204])
async def test_a_second_answer_is_not_taken(
    surplus: bytes, status: int, transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(answers=[answer(status) + surplus])
    assert (await reply(transport, at(receiver))).status == status
    assert (await reply(transport, at(receiver))).status == status
    assert receiver.connections == 2


async def test_a_reset(transport: Transport, open_receiver: Open) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        reset: socket.socket = writer.get_extra_info("socket")
        reset.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    receiver = await open_receiver(serve)
    end = await failure(transport, at(receiver))
    assert end.kind is FailureKind.CONNECTION
    assert "127.0.0.1" not in end.text


async def test_a_server_that_speaks_first(transport: Transport, open_receiver: Open) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await reader.read()

    receiver = await open_receiver(serve)
    end = await failure(transport, at(receiver))
    assert end.kind in {FailureKind.CONNECTION, FailureKind.PROTOCOL}
