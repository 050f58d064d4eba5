"""Deadlines and ceilings: nobody holds a connection, or memory, by doing nothing."""

import asyncio
from functools import partial

import pytest

from tests.integration.web.conftest import Start
from tests.integration.web.server import Client, Server, envelope, head, post
from tests.support.waiting import until
from waypost.web.limits import BETWEEN, BODY, HEAD, NEW, PARTING


async def connect(server: Server, phase: int, *sent: bytes) -> Client:
    """Connect, send, and wait until the connection is in `phase`."""
    client = await server.connect()
    client.send(*sent)
    await until(lambda: server.connections and server.connection.phase == phase)
    return client


def has_received(server: Server, count: int) -> bool:
    return server.connection.progress.received == count


async def test_who_says_nothing_is_closed(start: Start) -> None:
    server = await start()
    client = await connect(server, NEW)
    server.pass_time(11.0)
    assert server.connection.phase == NEW
    server.pass_time(0.1)
    assert await client.rest() == b""


async def test_who_is_idle_is_closed(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    await client.ask(post("/echo"))
    server.pass_time(76.0)
    assert (await client.ask(post("/echo"))).status == 202
    server.pass_time(76.1)
    assert await client.rest() == b""


async def test_blank_lines_do_not_keep_an_idle_connection(start: Start) -> None:
    server = await start()
    client = await server.connect()
    await client.ask(post("/echo"))
    client.send(b"\r\n\r\n")
    await until(lambda: server.connection.progress.chunk == 4)
    server.pass_time(76.1)
    assert await client.rest() == b""


async def test_slow_headers_are_a_408(start: Start, way: str) -> None:
    server = await start(way)
    client = await connect(server, HEAD, b"POST /echo HTTP/1.1\r\nHo")
    server.pass_time(11.0)
    client.send(b"st: test\r\nX-")
    server.pass_time(0.1)
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    envelope(reply)
    assert await client.rest() == b""
    assert server.front.errors.by_status == {408: 1}


async def test_a_slow_body_is_a_408(start: Start, way: str) -> None:
    server = await start(way)
    client = await connect(server, BODY, post("/echo", b"x" * 10)[:-1])
    server.pass_time(6.0)
    server.pass_time(0.1)
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert await client.rest() == b""
    assert not server.seen


async def test_a_body_that_makes_the_rate_has_its_time(start: Start, way: str) -> None:
    server = await start(way)
    client = await connect(server, BODY, head("/echo", "Content-Length: 300000"))
    sent = 0
    for _second in range(30):
        client.send(b"x" * 2048)
        sent += 2048
        await until(partial(has_received, server, sent))
        server.pass_time(1)
    assert server.connection.phase == BODY
    server.pass_time(1.1)
    assert (await client.reply()).status == 408


async def test_a_slow_body_does_not_overtake(start: Start) -> None:
    server = await start("fast")
    client = await connect(server, BODY, post("/hold"), post("/echo", b"xx")[:-1])
    server.pass_time(60)
    server.held[0].respond(200, b"first")
    assert (await client.reply()).body == b"first"
    assert (await client.reply()).status == 408


async def test_a_request_may_be_served_for_long(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(post("/hold"))
    await until(lambda: server.held)
    server.pass_time(3_600)
    server.held[0].respond(200, b"{}")
    assert (await client.reply()).status == 200
    server.pass_time(76.0)
    assert (await client.ask(post("/echo"))).status == 202


async def test_the_server_does_not_blame_others_for_its_own_slowness(start: Start) -> None:
    server = await start()
    client = await server.connect()
    size = 2_000_000
    client.send(head("/read", f"Content-Length: {size}"), b"x" * (size - 1))
    await until(lambda: server.connections and server.connection.flow.read_paused)
    server.pass_time(3_600)
    server.gate.set()
    await until(
        lambda: (
            server.connection.progress.received == size - 1
            and not server.connection.flow.read_paused
        )
    )
    server.pass_time(1)
    client.send(b"x")
    assert (await client.reply()).body == b"%d" % size


async def test_an_answer_may_come_before_the_body(start: Start) -> None:
    server = await start()
    client = await server.connect()
    reply = await client.ask(head("/plain", "Transfer-Encoding: chunked"), b"1\r\nx\r\n")
    assert reply.status == 405
    server.pass_time(4)
    client.send(b"1\r\ny\r\n0\r\n\r\n")
    await until(lambda: server.connection.phase == BETWEEN)
    server.pass_time(74)
    assert (await client.ask(post("/echo", b"next"))).body == b"next"


async def test_a_body_that_comes_too_slowly_after_its_answer_is_cut_off(start: Start) -> None:
    server = await start()
    client = await server.connect()
    client.send(head("/plain", "Content-Length: 2", method="GET"), b"x")
    await until(lambda: server.connections and server.connection.phase == BODY)
    server.pass_time(4)
    server.gate.set()
    assert (await client.reply()).body == b"plain"
    server.pass_time(2.1)
    assert await client.rest() == b""


async def test_who_does_not_read_is_cut_off(start: Start) -> None:
    server = await start()
    client = await server.connect()
    client.writer.transport.pause_reading()
    client.send(head("/flood?size=30000000", method="GET"))
    await until(lambda: server.connections and server.connection.stalled_since is not None)
    connection = server.connection
    assert connection.flow.read_paused
    server.pass_time(31.0)
    assert server.connections
    server.pass_time(0.1)
    await until(lambda: not server.connections)


async def test_who_does_not_read_its_last_response_is_cut_off(start: Start) -> None:
    server = await start()
    client = await server.connect()
    client.writer.transport.pause_reading()
    client.send(post("/hold"))
    await until(lambda: server.held)
    server.connection.transport.set_write_buffer_limits(high=100_000_000)
    server.drain()
    await until(lambda: server.connection.deaf)
    server.held[0].respond(200, b"x" * 30_000_000)
    assert server.connection.phase == PARTING
    server.pass_time(6.1)
    await until(lambda: not server.connections)


async def test_who_keeps_sending_after_a_refusal_is_cut_off(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(head("/echo", "Content-Length: 10000000"))
    assert reply.status == 413
    client.send(b"x" * 1_000)
    await until(lambda: server.connection.phase == PARTING)
    server.pass_time(6.1)
    await until(lambda: not server.connections)
    assert await client.rest() == b""


async def test_the_sweep_runs_by_itself(start: Start) -> None:
    server = await start(sweep_s=0.001)
    client = await server.connect()
    await client.ask(post("/echo"))
    server.clock.seconds += 100
    assert await client.rest() == b""
    await until(lambda: server.front.connections._timer is None)


async def test_connections_are_bounded(start: Start) -> None:
    server = await start(connections=2)
    first, second = await server.connect(), await server.connect()
    await first.ask(post("/echo"))
    await second.ask(post("/echo"))
    third = await server.connect()
    reply = await third.reply()
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    envelope(reply)
    first.writer.close()
    await until(lambda: len(server.front.connections) == 1)
    fourth = await server.connect()
    assert (await fourth.ask(post("/echo"))).status == 202


async def test_connections_of_one_peer_are_bounded(start: Start) -> None:
    server = await start(connections_per_peer=1, exempt_peers=())
    first, second = await server.connect(), await server.connect()
    assert (await first.ask(post("/echo"))).status == 202
    assert (await second.reply()).status == 503


async def test_a_proxy_is_exempt(start: Start) -> None:
    server = await start(connections_per_peer=1)
    first, second = await server.connect(), await server.connect()
    assert (await first.ask(post("/echo"))).status == 202
    assert (await second.ask(post("/echo"))).status == 202


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_memory_for_bodies_is_bounded(start: Start, way: str, chunked: bool) -> None:
    server = await start(way, intake_bytes=100_000)
    first, second = await server.connect(), await server.connect()
    first.send(post("/hold", b"x" * 60_000))
    await until(lambda: server.held)
    assert server.front.budget.free == 40_000
    if chunked:
        body = b"c350\r\n%b\r\n" % (b"x" * 50_000)
        reply = await second.ask(head("/echo", "Transfer-Encoding: chunked"), body)
    else:
        reply = await second.ask(head("/echo", "Content-Length: 50000"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert reply.headers["connection"] == "close"
    envelope(reply)
    assert await second.rest() == b""
    # What asks for nothing is still answered.
    third = await server.connect()
    assert (await third.ask(post("/echo"))).status == 202
    server.held[0].respond(200, b"{}")
    await first.reply()
    assert (await third.ask(post("/echo", b"x" * 50_000))).status == 202


async def test_any_body_is_bounded(start: Start) -> None:
    server = await start(body_bytes=100_000)
    server.gate.set()
    client = await server.connect()
    chunk = b"c350\r\n%b\r\n" % (b"x" * 50_000)
    client.send(head("/read", "Transfer-Encoding: chunked"), chunk, chunk, b"0\r\n\r\n")
    assert (await client.reply()).body == b"100000"
    client.send(head("/read", "Transfer-Encoding: chunked"), chunk, chunk, b"1\r\n")
    reply = await client.ask(b"x\r\n")
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert await client.rest() == b""


async def test_requests_that_wait_are_not_free(start: Start) -> None:
    server = await start("fast", intake_bytes=10_000)
    client = await server.connect()
    client.send(b"".join(post("/hold") for _ in range(20)))
    await until(lambda: len(server.held) == 10)
    for request in server.held:
        request.respond(200, b"{}")
    statuses = [(await client.reply()).status for _ in range(11)]
    assert statuses == [200] * 10 + [503]
    assert await client.rest() == b""


async def test_hundreds_of_idlers_hurt_nobody(start: Start) -> None:
    server = await start()
    for _ in range(200):
        client = await server.connect()
        client.send(b"POST /echo HTTP/1.1\r\nHo")
    await until(lambda: [c.phase for c in server.connections].count(HEAD) == 200)
    healthy = await server.connect()
    assert (await healthy.ask(post("/echo"))).status == 202
    server.pass_time(11.1)
    assert (await healthy.ask(post("/echo"))).status == 202
    await asyncio.gather(*(client.rest() for client in server.clients[:200]))
    server.pass_time(6.1)
    await until(lambda: [c.phase for c in server.connections] == [BETWEEN])
