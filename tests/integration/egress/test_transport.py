"""Connections kept, lost, aged and shared; deadlines; breaking off."""

import asyncio
import os
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress

import pytest

from tests.support.egress import (
    OTHER_PROJECT,
    Make,
    ManualClock,
    Open,
    Sending,
    answer,
    at,
    failure,
    moved,
    once,
    reply,
    send_to,
)
from tests.support.waiting import until
from waypost.egress.pool import AGE_S, IDLE_S
from waypost.egress.resolver import Resolver
from waypost.egress.transport import Transport
from waypost.model.exchange import Exchange, FailureKind, Reply
from waypost.policy.urls import parse

NAMED = parse("http://name.example.com/")


async def test_a_request_arrives_as_it_was_given(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver(answers=[answer(201, b"thanks")])
    got = await reply(transport, at(receiver), body=b'{"a": 1}')
    assert (got.status, got.body, got.retry_after, got.resent) == (201, b"thanks", None, False)
    assert receiver.requests == [
        b"POST /hook?x=1 HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-length: 8\r\n\r\n"
        b'{"a": 1}' % receiver.port
    ]


async def test_timings_are_filled(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver()
    first = (await reply(transport, at(receiver))).timings
    again = (await reply(transport, at(receiver))).timings
    assert 0 < first.connect_us < first.total_us
    assert 0 < first.first_byte_us < first.total_us
    assert first.tls_us == 0
    assert (again.resolve_us, again.connect_us) == (0, 0)
    assert 0 < again.first_byte_us <= again.total_us


async def test_a_connection_is_used_again(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver()
    for _ in range(5):
        await reply(transport, at(receiver))
    assert receiver.connections == transport.connections_made == 1
    assert transport.connections_open == transport.connections_idle == 1


async def test_the_connection_is_free_when_done_is_called(
    transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver()
    ends: list[Exchange] = []
    finished = asyncio.Event()

    def done(exchange: Exchange) -> None:
        ends.append(exchange)
        if len(ends) < 50:
            send_to(transport, at(receiver), done)
        else:
            finished.set()

    send_to(transport, at(receiver), done)
    async with asyncio.timeout(5):
        await finished.wait()
    assert receiver.connections == 1
    assert all(isinstance(end, Reply) and not end.resent for end in ends)


async def test_calls_at_once_have_a_connection_each(
    transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver()
    calls = [Sending(transport, at(receiver), body=b"%d" % n) for n in range(40)]
    for call in calls:
        assert isinstance(await call.end(), Reply)
    assert receiver.connections == 40
    assert sorted(int(r.partition(b"\r\n\r\n")[2]) for r in receiver.requests) == list(range(40))


async def test_connections_and_cookies_stay_with_their_project(
    transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(answers=[answer(set_cookie="who=first; Path=/")])
    await reply(transport, at(receiver))
    await reply(transport, at(receiver))
    await reply(transport, at(receiver), project=OTHER_PROJECT)
    assert receiver.connections == 2
    assert all(b"cookie" not in request.lower() for request in receiver.requests)


async def test_another_scheme_host_or_port_is_another_connection(
    make_transport: Make, open_receiver: Open
) -> None:
    loop = asyncio.get_running_loop()
    clock = ManualClock()
    resolver = Resolver(loop, clock, lookup=lambda _host: ["127.0.0.1"])
    transport = make_transport(clock=clock, resolver=resolver)
    receiver = await open_receiver()
    await reply(transport, at(receiver))
    await reply(transport, moved(at(receiver), host="name.example.com"))
    assert receiver.connections == 2


async def test_calls_at_once_share_one_resolution(
    make_transport: Make, open_receiver: Open
) -> None:
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    loop, clock = asyncio.get_running_loop(), ManualClock()
    transport = make_transport(clock=clock, resolver=Resolver(loop, clock, lookup=lookup))
    receiver = await open_receiver()
    calls = [Sending(transport, at(receiver, "name.example.com")) for _ in range(10)]
    for call in calls:
        assert isinstance(await call.end(), Reply)
    assert asked == ["name.example.com"]


async def test_idle_connections_are_dropped(make_transport: Make, open_receiver: Open) -> None:
    clock = ManualClock()
    transport = make_transport(clock=clock)
    receiver = await open_receiver()
    await reply(transport, at(receiver))
    clock.at_s += IDLE_S + 0.01
    async with asyncio.timeout(5):
        await receiver.closed.wait()
    await until(lambda: transport.connections_open == 0)
    assert transport.connections_idle == 0


@pytest.mark.parametrize(
    "keep_alive, idle_s, used_again",
    [
        ("timeout=2", 1.4, True),
        ("timeout=2", 1.6, False),
        ("Timeout = 2, max=100", 1.6, False),
        ("timeout=60", IDLE_S - 0.1, True),
        ("timeout=60", IDLE_S + 0.1, False),
        ("timeout=0", 0.0, False),
        ("max=100", IDLE_S - 0.1, True),
    ],
)
async def test_the_receivers_own_limit_counts(
    keep_alive: str, idle_s: float, used_again: bool, make_transport: Make, open_receiver: Open
) -> None:
    clock = ManualClock()
    transport = make_transport(clock=clock)
    receiver = await open_receiver(answers=[answer(keep_alive=keep_alive)])
    await reply(transport, at(receiver))
    clock.at_s += idle_s
    again = await reply(transport, at(receiver))
    assert receiver.connections == (1 if used_again else 2)
    assert not again.resent


async def test_a_busy_connection_ages(make_transport: Make, open_receiver: Open) -> None:
    clock = ManualClock()
    transport = make_transport(clock=clock)
    receiver = await open_receiver()
    for _ in range(int(AGE_S / 3) + 1):
        await reply(transport, at(receiver))
        clock.at_s += 3.0
    assert receiver.connections == 2


async def test_the_oldest_idle_connection_makes_room(
    make_transport: Make, open_receiver: Open
) -> None:
    transport = make_transport(max_idle=2)
    receivers = [await open_receiver() for _ in range(3)]
    for receiver in receivers:
        await reply(transport, at(receiver))
    assert transport.connections_idle == 2
    async with asyncio.timeout(5):
        await receivers[0].closed.wait()
    for receiver in receivers[:0:-1]:
        await reply(transport, at(receiver))
    assert [receiver.connections for receiver in receivers] == [1, 1, 1]


async def test_a_closed_idle_connection_is_not_used(
    transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(once(answer()))
    await reply(transport, at(receiver))
    await until(lambda: transport.connections_open == 0)
    got = await reply(transport, at(receiver))
    assert not got.resent
    assert receiver.connections == 2


async def test_bytes_that_nobody_asked_for_end_an_idle_connection(
    transport: Transport, open_receiver: Open
) -> None:
    more = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer())
        await more.wait()
        writer.write(answer(500))
        await reader.read()

    receiver = await open_receiver(serve)
    assert (await reply(transport, at(receiver))).status == 200
    more.set()
    await until(lambda: transport.connections_open == 0)
    assert (await reply(transport, at(receiver))).status == 200


async def test_a_reused_connection_that_dies_is_replaced_once(
    transport: Transport, open_receiver: Open
) -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for turn in range(2):
            seen.append(await receiver.read(reader))
            if turn == 0:
                writer.write(answer(200 + len(seen)))

    receiver = await open_receiver(serve)
    assert not (await reply(transport, at(receiver), body=b"1")).resent
    again = await reply(transport, at(receiver), body=b"2")
    assert again.resent
    assert again.status == 203
    assert [request[-1:] for request in seen] == [b"1", b"2", b"2"]
    assert transport.requests_resent == 1


async def test_a_resend_is_not_resent(transport: Transport, open_receiver: Open) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read(reader)
        if len(receiver.requests) == 1:
            writer.write(answer())
            await receiver.read(reader)

    receiver = await open_receiver(serve)
    await reply(transport, at(receiver))
    end = await failure(transport, at(receiver))
    assert (end.kind, end.resent) == (FailureKind.CONNECTION, True)
    assert len(receiver.requests) == 3


async def test_after_the_first_byte_nothing_is_resent(
    transport: Transport, open_receiver: Open
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await receiver.read(reader)
        writer.write(answer())
        await receiver.read(reader)
        writer.write(b"H")

    receiver = await open_receiver(serve)
    await reply(transport, at(receiver))
    end = await failure(transport, at(receiver))
    assert (end.kind, end.resent) == (FailureKind.CONNECTION, False)
    assert len(receiver.requests) == 2


async def test_a_fresh_connection_that_dies_is_a_failure(
    transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(once(b""))
    end = await failure(transport, at(receiver))
    assert (end.kind, end.resent) == (FailureKind.CONNECTION, False)
    assert receiver.connections == 1


async def test_an_early_answer_ends_the_connection(
    transport: Transport, open_receiver: Open
) -> None:
    receiver = await open_receiver(once(answer(413, b"too much"), close=False))
    got = await reply(transport, at(receiver), body=bytes(32 * 1024 * 1024))
    assert (got.status, got.body) == (413, b"too much")
    assert transport.connections_idle == 0
    await until(lambda: transport.connections_open == 0)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"])
async def test_the_deadline_is_hard(sent: bytes, transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver(once(sent, close=False))
    end = await failure(transport, at(receiver), timeout_s=0.05)
    assert (end.kind, end.resent) == (FailureKind.TIMEOUT, False)
    assert 50_000 <= end.timings.total_us < 1_000_000
    await until(lambda: transport.connections_open == 0)


async def test_a_trickle_does_not_move_the_deadline(
    transport: Transport, open_receiver: Open
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        gone = False
        while not gone:
            writer.write(b"x")
            await writer.drain()
            with suppress(TimeoutError):
                gone = not await asyncio.wait_for(reader.read(1), 0.001)

    receiver = await open_receiver(serve)
    end = await failure(transport, at(receiver), timeout_s=0.05)
    assert end.kind is FailureKind.TIMEOUT
    assert end.timings.total_us < 1_000_000


async def test_the_deadline_holds_while_resolving(make_transport: Make) -> None:
    release = threading.Event()

    def lookup(_host: str) -> Sequence[str]:
        release.wait(5)
        return ["127.0.0.1"]

    loop = asyncio.get_running_loop()
    clock = ManualClock()
    transport = make_transport(clock=clock, resolver=Resolver(loop, clock, lookup=lookup))
    sending = Sending(transport, NAMED, timeout_s=3.0)
    clock.at_s += 3.0
    end = await sending.failure()
    release.set()
    assert end.kind is FailureKind.TIMEOUT


async def test_the_deadline_holds_while_connecting(transport: Transport) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        end = await failure(transport, moved(NAMED, host="127.0.0.1", port=port), timeout_s=0.05)
        for filler in fillers:
            filler.close()
    assert end.kind is FailureKind.TIMEOUT
    assert end.text == "not connected in time"


async def test_abort_ends_a_call_once(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver(once(b"", close=False))
    sending = Sending(transport, at(receiver))
    await until(lambda: receiver.connections == 1)
    sending.call.abort()
    assert sending.ends == [], "done was called from inside abort()"
    sending.call.abort()
    assert (await sending.failure()).kind is FailureKind.ABORTED
    async with asyncio.timeout(5):
        await receiver.closed.wait()


async def test_abort_after_the_end_does_nothing(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver()
    sending = Sending(transport, at(receiver))
    assert isinstance(await sending.end(), Reply)
    sending.call.abort()
    assert isinstance(await sending.end(), Reply)
    assert transport.connections_idle == 1


async def test_abort_while_dialling(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver()
    sending = Sending(transport, at(receiver))
    sending.call.abort()
    assert (await sending.failure()).kind is FailureKind.ABORTED
    assert receiver.requests == []


async def test_close_ends_everything(make_transport: Make, open_receiver: Open) -> None:
    transport = make_transport()
    quick, silent = await open_receiver(), await open_receiver(once(b"", close=False))
    await reply(transport, at(quick))
    waiting = Sending(transport, at(silent))
    await until(lambda: silent.connections == 1)
    dialling = Sending(transport, at(silent))
    await transport.close()
    assert transport.connections_open == transport.connections_idle == transport.calls_open == 0
    for sending in (waiting, dialling, Sending(transport, at(quick))):
        assert (await sending.failure()).kind is FailureKind.ABORTED
    await transport.close()


async def test_a_refused_connection(transport: Transport, open_receiver: Open) -> None:
    receiver = await open_receiver()
    await receiver.stop()
    end = await failure(transport, at(receiver))
    assert end.kind is FailureKind.CONNECT
    assert end.text == "could not connect: connection refused"


async def test_an_error_in_done_costs_no_other_call(
    transport: Transport, open_receiver: Open
) -> None:
    complaints: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context["exception"]))

    def done(_exchange: Exchange) -> None:
        raise ValueError("the engine's own fault")

    receiver = await open_receiver(once(b"", close=False))
    send_to(transport, at(receiver), done, timeout_s=0.01)
    other = await failure(transport, at(receiver), timeout_s=0.2)
    assert other.kind is FailureKind.TIMEOUT
    assert [str(complaint) for complaint in complaints] == ["the engine's own fault"]


async def test_proxies_of_the_environment_are_not_used(
    transport: Transport, open_receiver: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, receiver = await open_receiver(), await open_receiver()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setitem(os.environ, name, f"http://127.0.0.1:{proxy.port}")
    await reply(transport, at(receiver))
    assert (proxy.connections, receiver.connections) == (0, 1)
