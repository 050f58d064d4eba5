"""What holds for a route whichever way it is served: inside the protocol, or by ASGI."""

import asyncio
from functools import partial

import pytest
from structlog.testing import capture_logs

from tests.integration.web.conftest import Start
from tests.integration.web.server import MAX_BODY, envelope, head, post
from tests.support.waiting import polled, until
from waypost.web.fast import FastRequest
from waypost.web.limits import BETWEEN, BODY, HEAD


def has(requests: list[FastRequest], count: int) -> bool:
    return len(requests) >= count


async def test_a_request_is_answered(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(post("/echo", b"hello", "X-Two:  two \t"))
    assert (reply.status, reply.body) == (202, b"hello")
    date = reply.headers.pop("date")
    assert date.endswith("GMT")
    assert reply.headers == {
        "server": "uvicorn",
        "content-type": "text/x-echo",
        "content-length": "5",
        "x-one": "1",
        "x-query": "-",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
    }
    (request,) = server.seen
    assert request.header(b"x-two") == b"two"
    assert request.header(b"x-three") is None


async def test_the_fast_way_makes_no_task(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    client.send(post("/hold"))
    await until(lambda: server.held)
    assert not server.uvicorn.server_state.tasks
    server.held[0].respond(200, b"{}")
    assert (await client.reply()).status == 200


async def test_a_connection_serves_many_requests(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    for number in range(20):
        assert (await client.ask(post("/echo", b"%d" % number))).body == b"%d" % number
    assert len(server.connections) == 1
    assert server.uvicorn.server_state.total_requests == 20


async def test_an_idle_connection_holds_no_body(start: Start) -> None:
    server = await start()
    client = await server.connect()
    await client.ask(post("/echo", b"x" * 1000))
    assert server.connection.turn is None


@pytest.mark.parametrize("size", [0, 1, 1000, 70_000, MAX_BODY])
async def test_bodies_arrive_whole(start: Start, way: str, size: int) -> None:
    server = await start(way)
    client = await server.connect()
    body = bytes(index % 251 for index in range(size))
    assert (await client.ask(post("/echo", body))).body == body


async def test_bytes_may_come_one_by_one(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    await until(lambda: server.connections)
    connection = server.connection
    for byte in post("/echo", b"slowly") + post("/echo", b"again"):
        connection.data_received(bytes([byte]))
    assert (await client.reply()).body == b"slowly"
    assert (await client.reply()).body == b"again"


async def test_fifty_pipelined_requests_are_answered_in_order(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(b"".join(post("/echo", b"%d" % number) for number in range(50)))
    for number in range(50):
        assert (await client.reply()).body == b"%d" % number


async def test_pipelined_answers_keep_their_order(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    client.send(b"".join(post("/hold", b"%d" % number) for number in range(50)))
    await until(lambda: len(server.held) == 50)
    assert [request.body for request in server.held] == [b"%d" % n for n in range(50)]
    for request in reversed(server.held):
        request.respond(200, request.body)
    for number in range(50):
        assert (await client.reply()).body == b"%d" % number


async def test_what_is_alone_waits_for_those_before_it_and_keeps_others_waiting(
    start: Start,
) -> None:
    server = await start("fast")
    client = await server.connect()
    paths = ["/hold", "/alone", "/alone", "/hold"]
    client.send(b"".join(post(path, b"%d" % number) for number, path in enumerate(paths)))
    for number in range(len(paths)):
        await until(partial(has, server.held, number + 1))
        assert [request.body for request in server.held] == [b"%d" % n for n in range(number + 1)]
        server.held[number].respond(200, server.held[number].body)
        assert (await client.reply()).body == b"%d" % number


async def test_more_is_pipelined_than_may_wait(start: Start) -> None:
    server = await start("fast", pipelined=4)
    client = await server.connect()
    client.send(b"".join(post("/hold", b"%d" % number) for number in range(8)))
    await until(lambda: len(server.held) >= 4)
    connection = server.connection
    assert connection.flow.read_paused
    client.send(post("/echo", b"last"))
    for number in range(8):
        await until(partial(has, server.held, number + 1))
        server.held[number].respond(200, server.held[number].body)
        assert (await client.reply()).body == b"%d" % number
    assert (await client.reply()).body == b"last"


async def test_fast_and_ordinary_requests_take_turns(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    client.send(
        post("/hold", b"1"),
        head("/plain", method="GET"),
        post("/echo", b"3"),
        post("/hold", b"4"),
        head("/plain", method="GET"),
    )
    await until(lambda: server.held)
    assert not server.seen
    server.gate.set()
    server.held[0].respond(200, b"1")
    assert (await client.reply()).body == b"1"
    assert (await client.reply()).body == b"plain"
    assert (await client.reply()).body == b"3"
    await until(lambda: len(server.held) == 2)
    server.held[1].respond(200, b"4")
    assert (await client.reply()).body == b"4"
    assert (await client.reply()).body == b"plain"


async def test_a_turn_may_come_before_the_body(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    client.send(head("/plain", method="GET"), post("/echo", b"late")[:-2])
    await until(lambda: server.connections and server.connection.progress.received == 2)
    server.gate.set()
    assert (await client.reply()).body == b"plain"
    assert (await client.ask(b"te")).body == b"late"


async def test_a_failing_handler_is_a_500(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    with capture_logs() as log:
        reply = await client.ask(post("/fail"))
        assert reply.status == 500
        assert "secret" not in envelope(reply).message
        (entry,) = log
        assert entry["exc_info"] is True
        assert (entry["event"], entry["path"]) == ("request.failed", "/fail")
        assert server.front.errors.by_status == {500: 1}
        assert (await client.ask(post("/echo", b"next"))).body == b"next"


async def test_a_handler_may_fail_after_its_answer(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    with capture_logs() as log:
        assert (await client.ask(post("/fail-late"))).status == 200
        assert [entry["event"] for entry in log] == ["request.failed"]
    assert (await client.ask(post("/echo", b"next"))).body == b"next"


async def test_a_request_is_answered_once(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(post("/hold"))
    await until(lambda: server.held)
    server.held[0].respond(200, b"{}")
    with pytest.raises(RuntimeError, match="once"):
        server.held[0].respond(200, b"{}")
    assert (await client.reply()).status == 200


@pytest.mark.parametrize(
    "header", [(b"x", b"a\r\nb: c"), (b"x", b"\x00"), (b"x y", b""), (b"", b""), (b"x\n", b"")]
)
async def test_no_answer_holds_a_broken_header(
    start: Start, way: str, header: tuple[bytes, bytes]
) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(post("/hold"))
    await until(lambda: server.held)
    with pytest.raises(ValueError, match="not a header"):
        server.held[0].respond(200, b"{}", (header,))
    server.held[0].respond(200, b"{}")
    assert (await client.reply()).body == b"{}"


@pytest.mark.parametrize("over", [False, True])
async def test_the_length_of_a_body_is_bounded(start: Start, way: str, over: bool) -> None:
    server = await start(way)
    client = await server.connect()
    if not over:
        assert (await client.ask(post("/echo", b"x" * MAX_BODY))).status == 202
        return
    # Refused before any of the body has come, and closed without losing the answer.
    reply = await client.ask(head("/echo", f"Content-Length: {MAX_BODY + 1}"))
    assert reply.status == 413
    assert reply.headers["connection"] == "close"
    envelope(reply)
    client.send(b"x" * MAX_BODY)
    assert await client.rest() == b""
    assert not server.seen


@pytest.mark.parametrize("over", [False, True])
async def test_a_chunked_body_is_bounded(start: Start, way: str, over: bool) -> None:
    server = await start(way)
    client = await server.connect()
    chunk = b"%x\r\n%b\r\n" % (MAX_BODY // 3, b"x" * (MAX_BODY // 3))
    client.send(head("/echo", "Transfer-Encoding: chunked"), chunk, chunk, chunk)
    if not over:
        assert len((await client.ask(b"0\r\n\r\n")).body) == MAX_BODY
        return
    client.send(b"1\r\nx\r\n")
    reply = await client.reply()
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    envelope(reply)
    assert await client.rest() == b""
    assert not server.seen


@pytest.mark.parametrize(
    "request_head",
    [
        head("/echo?a=%20b", "Content-Length: 4"),
        head("/%65cho", "Content-Length: 4"),
        b"POST /echo HTTP/1.0\r\nContent-Length: 4\r\n\r\n",
        b"POST http://test/echo HTTP/1.1\r\nHost: test\r\nContent-Length: 4\r\n\r\n",
    ],
)
async def test_other_spellings_of_a_request_are_served(
    start: Start, way: str, request_head: bytes
) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(request_head, b"body")
    assert (reply.status, reply.body) == (202, b"body")
    assert reply.headers["x-query"] == ("a=%20b" if b"?" in request_head else "-")


async def test_trailers_are_not_headers(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(
        head("/echo", "Transfer-Encoding: chunked"), b"2;x=y\r\nhi\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    assert (await client.reply()).body == b"hi"
    assert server.seen[0].header(b"x-late") is None


async def test_who_expects_a_100_gets_one(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(head("/echo", "Content-Length: 2", "Expect: 100-continue"))
    assert reply.status == 100
    assert (await client.ask(b"hi")).body == b"hi"


@pytest.mark.parametrize("size", [MAX_BODY + 1, 20_000_000])
async def test_who_expects_a_100_for_too_much_gets_none(start: Start, way: str, size: int) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(head("/echo", f"Content-Length: {size}", "Expect: 100-continue"))
    assert reply.status == 413


async def test_an_upgrade_is_ignored(start: Start, way: str) -> None:
    """As the HTTP client of Java asks in each first request."""
    server = await start(way)
    client = await server.connect()
    headers = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    client.send(post("/echo", b"one", *headers), post("/echo", b"two", *headers), post("/echo"))
    assert [(await client.reply()).body for _ in range(3)] == [b"one", b"two", b""]
    client.send(head("/echo", "Transfer-Encoding: chunked", *headers), b"1\r\nx\r\n0\r\n\r\n")
    assert (await client.reply()).body == b"x"


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_compressed_bodies_are_refused(start: Start, way: str, encoding: str) -> None:
    server = await start(way)
    client = await server.connect()
    reply = await client.ask(post("/echo", b"x", f"Content-Encoding: {encoding}"))
    assert reply.status == (415 if encoding == "gzip" else 202)
    if encoding == "gzip":
        envelope(reply)
        assert await client.rest() == b""


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_who_asks_for_a_close_gets_it(start: Start, way: str, version: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(
        f"POST /echo HTTP/{version}\r\nHost: t\r\nConnection: close\r\n".encode(),
        b"Content-Length: 1\r\n\r\nx",
        post("/echo", b"not read"),
    )
    reply = await client.reply()
    assert (reply.body, reply.headers["connection"]) == (b"x", "close")
    assert await client.rest() == b""
    assert len(server.seen) == 1


async def test_an_old_client_is_not_kept(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    request = b"POST /hold HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx"
    client.send(request, request)
    await until(lambda: server.held)
    server.held[0].respond(200, b"{}")
    assert (await client.reply()).headers["connection"] == "close"
    assert await client.rest() == b""
    assert len(server.held) == 1


async def test_a_client_that_resets_is_forgotten(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(post("/hold", b"x" * 10))
    await until(lambda: server.held)
    client.reset()
    await until(lambda: not server.connections)
    assert server.front.budget.free == server.front.budget.total - 10
    server.held[0].respond(200, b"too late")
    await until(lambda: server.front.budget.free == server.front.budget.total)


@pytest.mark.parametrize(
    "sent", [head("/echo", "Content-Length: 9")[:30], post("/echo", b"9")[:-1]]
)
async def test_a_client_may_leave_in_the_middle(start: Start, way: str, sent: bytes) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(sent)
    await until(lambda: server.connections and server.connection.phase in {HEAD, BODY})
    client.writer.close()
    await until(lambda: not server.connections)
    await until(lambda: server.front.budget.free == server.front.budget.total)
    assert not server.seen


async def test_a_client_may_close_its_half_first(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    client.send(post("/hold"), post("/echo", b"2"))
    client.writer.write_eof()
    await until(lambda: server.held and server.connection.half_closed)
    server.held[0].respond(200, b"1")
    assert (await client.reply()).body == b"1"
    assert (await client.reply()).headers["connection"] == "close"
    assert await client.rest() == b""


async def test_a_client_may_close_its_half_before_a_refusal(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    client.send(post("/hold"), b"hello?\r\n\r\n")
    client.writer.write_eof()
    await until(lambda: server.held and server.connection.half_closed)
    server.held[0].respond(200, b"1")
    assert (await client.reply()).body == b"1"
    assert (await client.reply()).status == 400
    assert await client.rest() == b""
    await until(lambda: not server.connections)


async def test_a_paused_connection_is_closed(start: Start) -> None:
    server = await start("fast", pipelined=1)
    client = await server.connect()
    client.send(post("/hold", b"", "Connection: close"))
    await until(lambda: server.held and server.connection.flow.read_paused)
    server.held[0].respond(200, b"1")
    assert (await client.reply()).body == b"1"
    assert await client.rest() == b""


async def test_draining_waits_for_answers(start: Start, way: str) -> None:
    server = await start(way)
    busy, idle, sending = [await server.connect() for _ in range(3)]
    await idle.ask(post("/echo"))
    busy.send(post("/hold", b"1"))
    sending.send(post("/hold", b"2222")[:-2])
    await until(lambda: server.held and len(server.connections) == 3)
    await until(lambda: sorted(c.phase for c in server.connections) == [BODY, BETWEEN, BETWEEN])
    server.drain()
    assert await idle.rest() == b""
    sending.send(b"22")
    await until(lambda: len(server.held) == 2)
    assert not server.stopping.done()
    for client, request in zip((busy, sending), server.held, strict=True):
        request.respond(200, request.body)
        reply = await client.reply()
        assert (reply.body, reply.headers["connection"]) == (request.body, "close")
        assert await client.rest() == b""
    async with asyncio.timeout(20):
        await server.stopping


async def test_draining_takes_nothing_new(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    client.send(post("/hold"))
    await until(lambda: server.held)
    server.drain()
    await until(lambda: server.connection.deaf)
    client.send(post("/echo"))
    await polled()
    server.held[0].respond(200, b"last")
    assert (await client.reply()).body == b"last"
    assert await client.rest() == b""
    assert not server.seen


async def test_a_head_is_known_the_second_time(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    for body in (b"one", b"two", b"\r\n\r\n"[:3]):
        assert (await client.ask(post("/echo", body))).body == body
    first, second, third = server.seen
    assert first.head is None
    assert second.head is third.head is not None
    assert second.header(b"content-length") == b"3"
    assert server.uvicorn.server_state.total_requests == 3


async def test_a_plain_head_may_be_known_before(start: Start) -> None:
    """Else the way `known` would test nothing."""
    server = await start("known")
    client = await server.connect()
    await client.ask(post("/echo"))
    assert server.seen[0].head is not None


async def test_the_parser_goes_on_after_a_known_head(start: Start, way: str) -> None:
    server = await start(way)
    client = await server.connect()
    for _ in range(2):
        for _ in range(2):
            assert (await client.ask(post("/echo", b"known"))).body == b"known"
        client.send(head("/echo", "Transfer-Encoding: chunked"), b"2\r\nhi\r\n0\r\n\r\n")
        assert (await client.reply()).body == b"hi"
        assert (await client.ask(b"\r\n", post("/echo", b"known"))).body == b"known"
    reply = await client.ask(b"hello?\r\n\r\n")
    assert reply.status == 400
    assert await client.rest() == b""
    assert server.uvicorn.server_state.total_requests == 9


async def test_a_known_head_waits_for_what_is_ahead(start: Start) -> None:
    server = await start("fast")
    client = await server.connect()
    await client.ask(post("/echo", b"1"))
    client.send(head("/plain", method="GET"))
    await until(lambda: server.connection.unanswered)
    server.connection.data_received(post("/echo", b"2"))
    assert len(server.seen) == 1
    server.gate.set()
    assert (await client.reply()).body == b"plain"
    assert (await client.reply()).body == b"2"
