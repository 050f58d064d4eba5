"""Bad input: a precise 4xx in the envelope, or a bounded close; never a 500."""

import pytest
from structlog.testing import capture_logs

from tests.integration.web.conftest import Start
from tests.integration.web.server import envelope, head, post
from tests.support.waiting import until

SMUGGLED = b"POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 8\r\n\r\nsmuggled"


def raw(*lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"POST /echo HTTP/1.1", *lines, b"", body])


BROKEN = {
    "not HTTP": b"hello?\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "unknown method": b"BREW /echo HTTP/1.1\r\nHost: test\r\n\r\n",
    "no host": raw(b"Content-Length: 0"),
    "two hosts": raw(b"Host: a", b"Host: b", b"Content-Length: 0"),
    "length and chunked": raw(
        b"Host: a",
        b"Content-Length: 4",
        b"Transfer-Encoding: chunked",
        body=b"0\r\n\r\n" + SMUGGLED,
    ),
    "chunked and length": raw(
        b"Host: a",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 4",
        body=b"0\r\n\r\n" + SMUGGLED,
    ),
    "two lengths": raw(b"Host: a", b"Content-Length: 0", b"Content-Length: 70", body=SMUGGLED),
    "list of lengths": raw(b"Host: a", b"Content-Length: 0, 70", body=SMUGGLED),
    "negative length": raw(b"Host: a", b"Content-Length: -1"),
    "signed length": raw(b"Host: a", b"Content-Length: +1", body=b"x"),
    "hex length": raw(b"Host: a", b"Content-Length: 0x1", body=b"x"),
    "huge length": raw(b"Host: a", b"Content-Length: 99999999999999999999999"),
    "no length": raw(b"Host: a", b"Content-Length: "),
    "blank before colon": raw(b"Host: a", b"Content-Length : 70", body=SMUGGLED),
    "folded": raw(b"Host: a", b"Content-Length: 0", b" 70", body=SMUGGLED),
    "bare LF": b"POST /echo HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
    "bare CR": raw(b"Host: a", b"X: a\rContent-Length: 70", body=SMUGGLED),
    "NUL in value": raw(b"Host: a", b"X: a\x00b", b"Content-Length: 0"),
    "NUL in name": raw(b"Host: a", b"X\x00: a", b"Content-Length: 0"),
    "NUL in target": b"POST /echo\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "raw byte in target": b"POST /ech\xf6 HTTP/1.1\r\nHost: a\r\n\r\n",
    "blank in target": b"POST /echo me HTTP/1.1\r\nHost: a\r\n\r\n",
    "no path": b"POST http://test HTTP/1.1\r\nHost: a\r\n\r\n",
    "not chunked last": raw(
        b"Host: a", b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", body=SMUGGLED
    ),
    "bad chunk size": raw(b"Host: a", b"Transfer-Encoding: chunked", body=b"zz\r\n"),
    "signed chunk size": raw(b"Host: a", b"Transfer-Encoding: chunked", body=b"+1\r\nx\r\n"),
    "chunk too long": raw(b"Host: a", b"Transfer-Encoding: chunked", body=b"1\r\nxy\r\n0\r\n\r\n"),
    "chunk with LF": raw(b"Host: a", b"Transfer-Encoding: chunked", body=b"1\nx\n0\n\n"),
    "HTTP/1.0 chunked": b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("sent", BROKEN.values(), ids=BROKEN.keys())
async def test_broken_http_is_a_400(start: Start, way: str, sent: bytes) -> None:
    server = await start(way)
    client = await server.connect()
    with capture_logs() as log:
        reply = await client.ask(sent)
    assert (reply.status, reply.headers["connection"]) == (400, "close")
    envelope(reply)
    assert await client.rest() == b""
    assert not server.seen
    assert not log


@pytest.mark.parametrize(
    "sent,status",
    [
        (raw(b"Host: a", b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 501),
        (raw(b"Host: a", b"Transfer-Encoding: xchunked", body=SMUGGLED), 501),
        (raw(b"Host: a", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"), 501),
        (raw(b"Host: a", b"Content-Length: 0", b"Expect: tea"), 417),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"POST /echo HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"POST /echo HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (head("/echo", "Content-Length: 20000000"), 413),
        (head("/plain", "Content-Length: 20000000"), 413),
    ],
)
async def test_what_is_not_offered_is_said_so(
    start: Start, way: str, sent: bytes, status: int
) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(sent)
    assert (reply.status, reply.headers["connection"]) == (status, "close")
    envelope(reply)
    assert await client.rest() == b""
    assert not server.seen


async def test_what_is_refused_does_not_overtake(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(post("/hold", b"1"), b"hello?\r\n\r\n", post("/echo"))
    await until(lambda: server.held and server.connection.unread)
    server.held[0].respond(200, b"first")
    assert (await client.reply()).body == b"first"
    assert (await client.reply()).status == 400
    assert await client.rest() == b""
    assert not server.seen


HEAD_BYTES, FIELDS, TARGET = 16 * 1024, 100, 8 * 1024


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize(
    "sent,status",
    [
        (head("/echo", "Content-Length: 0", *["X: y"] * (FIELDS - 2)), 202),
        (head("/echo", "Content-Length: 0", *["X: y"] * (FIELDS - 1)), 431),
        (head("/echo", "Content-Length: 0", *["X: y"] * 100_000), 431),
        (head("/echo", "Content-Length: 0", "X: " + "y" * (HEAD_BYTES - 100)), 202),
        (head("/echo", "Content-Length: 0", "X: " + "y" * HEAD_BYTES), 431),
        (head("/echo", "X" * 1_000_000 + ": y"), 431),
        (head("/echo", "X: " + "y" * 1_000_000), 431),
        (head("/echo?" + "x" * (TARGET - 6), "Content-Length: 0"), 202),
        (head("/echo?" + "x" * (TARGET - 5), "Content-Length: 0"), 414),
        (head("/echo?" + "x" * 1_000_000), 431),
    ],
)
async def test_heads_are_bounded(
    start: Start, way: str, sent: bytes, status: int, split: bool
) -> None:
    server = await start(way)
    client = await server.connect()
    if split:
        await until(lambda: server.connections)
        connection = server.connection
        for begin in range(0, min(len(sent), 40_000), 1000):
            connection.data_received(sent[begin : begin + 1000])
        reply = await client.reply()
        expected = {status, 431} if status == 414 else {status}
        assert reply.status in expected
    else:
        reply = await client.ask(sent)
        # A head that ends in the packet in which it began is judged by its parts.
        assert reply.status in ({414, 431} if status == 431 and b"?" in sent else {status})
    if reply.status != 202:
        assert reply.headers["connection"] == "close"
        envelope(reply)


async def test_a_long_body_before_a_head_is_not_counted_to_it(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    await until(lambda: server.connections)
    second = post("/echo", b"2")
    server.connection.data_received(post("/echo", b"1" * 100_000) + second[:20])
    server.connection.data_received(second[20:])
    assert (await client.reply()).status == 202
    assert (await client.reply()).body == b"2"


@pytest.mark.parametrize("flood", [b"X-Late: " + b"y" * 300_000, b"X" * 300_000])
async def test_trailers_are_bounded(start: Start, way: str, flood: bytes) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(head("/echo", "Transfer-Encoding: chunked"), b"1\r\nx\r\n0\r\n")
    await until(lambda: server.connections and server.connection.progress.received == 1)
    client.send(flood)
    reply = await client.reply()
    assert reply.status == 431
    assert not server.seen


async def test_many_empty_extensions_are_no_way_around(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(head("/echo", "Transfer-Encoding: chunked"), b"1\r\nx\r\n1;" + b"x" * 300_000)
    assert (await client.reply()).status == 431


async def test_a_broken_body_ends_an_ordinary_request(start: Start) -> None:
    server = await start()
    client = await server.connect()
    server.gate.set()
    with capture_logs() as log:
        client.send(head("/read", "Transfer-Encoding: chunked"), b"1\r\nx\r\n")
        await until(lambda: server.connections and server.connection.progress.received == 1)
        reply = await client.ask(b"zz\r\n")
        assert reply.status == 400
        await until(lambda: not server.uvicorn.server_state.tasks)
    assert not log


async def test_a_broken_body_breaks_off_a_response_that_has_begun(start: Start) -> None:
    server = await start()
    client = await server.connect()
    client.send(head("/stream", "Transfer-Encoding: chunked", method="GET"), b"1\r\nx\r\n")
    begun = await client.reader.readuntil(b"begun\r\n")
    assert begun.startswith(b"HTTP/1.1 200")
    client.send(b"zz\r\n")
    assert await client.rest() == b""


async def test_a_defect_in_the_protocol_is_a_500(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await start()
    client = await server.connect()

    def break_down(*_arguments: object) -> None:
        message = "a secret cause"
        raise LookupError(message)

    monkeypatch.setattr("waypost.web.protocol.read_framing", break_down)
    with capture_logs() as log:
        reply = await client.ask(post("/echo"))
    assert reply.status == 500
    assert "secret" not in envelope(reply).message
    assert isinstance(log[0]["exc_info"], LookupError)
    assert await client.rest() == b""
