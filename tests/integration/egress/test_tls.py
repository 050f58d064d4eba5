"""TLS: verified by the name in the URL, at least 1.2, and every way in which it breaks."""

import asyncio
import datetime as dt
import ssl
import warnings
from pathlib import Path

import pytest

from tests.support.certificates import DAY, Authority
from tests.support.egress import (
    Make,
    ManualClock,
    Open,
    answer,
    at,
    failure,
    once,
    reply,
)
from tests.support.waiting import until
from waypost.egress.resolver import Resolver
from waypost.egress.transport import Transport
from waypost.model.exchange import FailureKind

NAME = "hooks.example.com"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def trusting(make_transport: Make, authority: Authority) -> Transport:
    """A transport that trusts the authority, and finds every name on loopback."""
    resolver = Resolver(
        asyncio.get_running_loop(), ManualClock(), lookup=lambda _host: ["127.0.0.1"]
    )
    return make_transport(ca_file=str(authority.file), resolver=resolver)


@pytest.mark.parametrize("host", [NAME, "127.0.0.1"])
async def test_a_verified_receiver(
    host: str, trusting: Transport, authority: Authority, open_receiver: Open
) -> None:
    receiver = await open_receiver(tls=authority.serve(host))
    first = await reply(trusting, at(receiver, host, "https"))
    again = await reply(trusting, at(receiver, host, "https"))
    assert (first.status, again.status) == (200, 200)
    assert first.timings.tls_us > 0
    assert again.timings.tls_us == 0
    assert receiver.connections == 1


async def test_the_name_is_sent_to_the_receiver(
    trusting: Transport, authority: Authority, open_receiver: Open
) -> None:
    context = authority.serve(NAME)
    names: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    receiver = await open_receiver(tls=context)
    await reply(trusting, at(receiver, NAME, "https"))
    assert names == [NAME]


@pytest.mark.parametrize(
    "name, ends, own",
    [
        pytest.param("other.example.com", DAY, False, id="another name"),
        pytest.param("*.com", DAY, False, id="too wide a star"),
        pytest.param("*.hooks.example.com", DAY, False, id="a star below"),
        pytest.param("127.0.0.1", DAY, False, id="the address instead of the name"),
        pytest.param(NAME, -DAY, False, id="expired"),
        pytest.param(NAME, DAY, True, id="signed by itself"),
    ],
)
async def test_an_unverified_receiver_is_sent_nothing(
    name: str,
    ends: dt.timedelta,
    own: bool,
    trusting: Transport,
    authority: Authority,
    open_receiver: Open,
) -> None:
    receiver = await open_receiver(tls=authority.serve(name, ends=ends, own=own))
    end = await failure(trusting, at(receiver, NAME, "https"))
    assert end.kind is FailureKind.TLS
    assert end.text.startswith("the receiver's certificate is not accepted: ")
    assert receiver.requests == []


async def test_an_authority_that_is_not_trusted(
    make_transport: Make, authority: Authority, open_receiver: Open
) -> None:
    receiver = await open_receiver(tls=authority.serve("127.0.0.1"))
    end = await failure(make_transport(), at(receiver, scheme="https"))
    assert end.kind is FailureKind.TLS
    assert receiver.requests == []


async def test_tls_below_1_2_is_refused(
    trusting: Transport, authority: Authority, open_receiver: Open
) -> None:
    context = authority.serve(NAME)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    receiver = await open_receiver(tls=context)
    end = await failure(trusting, at(receiver, NAME, "https"))
    assert end.kind is FailureKind.TLS
    assert receiver.requests == []


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"\x15\x03\x03\x00\x02\x02\x28", id="an alert"),
        pytest.param(b"HTTP/1.1 400 Plain\r\n\r\n", id="plain HTTP"),
        pytest.param(b"", id="a close"),
    ],
)
async def test_a_broken_handshake(raw: bytes, trusting: Transport, open_receiver: Open) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(raw)
        await writer.drain()

    receiver = await open_receiver(serve)
    end = await failure(trusting, at(receiver, NAME, "https"))
    assert end.kind is FailureKind.TLS
    assert trusting.connections_made == 0


async def test_a_receiver_that_wants_a_client_certificate(
    trusting: Transport, authority: Authority, open_receiver: Open
) -> None:
    context = authority.serve(NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(authority.file)
    receiver = await open_receiver(tls=context)
    end = await failure(trusting, at(receiver, NAME, "https"))
    assert end.kind in {FailureKind.TLS, FailureKind.CONNECTION}
    assert receiver.requests == []


async def test_a_silent_handshake_ends_at_the_deadline(
    trusting: Transport, open_receiver: Open
) -> None:
    async def serve(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    receiver = await open_receiver(serve)
    end = await failure(trusting, at(receiver, NAME, "https"), timeout_s=0.05)
    assert (end.kind, end.text) == (FailureKind.TIMEOUT, "not connected in time")
    async with asyncio.timeout(5):
        await receiver.closed.wait()


async def test_a_body_until_the_end_over_tls(
    trusting: Transport, authority: Authority, open_receiver: Open
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nwhole")
        writer.close()
        await writer.wait_closed()

    receiver = await open_receiver(serve, tls=authority.serve(NAME))
    assert (await reply(trusting, at(receiver, NAME, "https"))).body == b"whole"
    await until(lambda: trusting.connections_open == 0)


async def test_a_deadline_and_an_early_answer_over_tls(
    trusting: Transport, authority: Authority, open_receiver: Open
) -> None:
    tls = authority.serve(NAME)
    silent = await open_receiver(once(b"", close=False), tls=tls)
    end = await failure(trusting, at(silent, NAME, "https"), timeout_s=0.2)
    assert end.kind is FailureKind.TIMEOUT
    early = await open_receiver(once(answer(413), close=False), tls=tls)
    got = await reply(trusting, at(early, NAME, "https"), body=bytes(8 * 1024 * 1024))
    assert got.status == 413
    await until(lambda: trusting.connections_open == 0)


def test_sha_1_signatures_are_refused(trusting: Transport) -> None:
    # OpenSSL 3 takes no certificate signed with SHA-1 from this level on.
    assert trusting._tls.security_level >= 1
    assert trusting._tls.check_hostname
    assert trusting._tls.verify_mode is ssl.CERT_REQUIRED


async def test_any_certificate_will_do_where_it_was_asked_for(
    make_transport: Make, authority: Authority, open_receiver: Open
) -> None:
    transport = make_transport()
    receiver = await open_receiver(tls=authority.serve("other.example.com", ends=-DAY, own=True))
    to = at(receiver, scheme="https")
    assert (await reply(transport, to, insecure_tls=True)).status == 200
    # Neither are the connections of one who trusts anybody used by one who does not.
    assert (await failure(transport, to)).kind is FailureKind.TLS
    assert (await reply(transport, to, insecure_tls=True)).status == 200
    assert len(receiver.requests) == 2
