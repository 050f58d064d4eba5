"""The protocol on a transport of memory; `tests/integration/web` has it on sockets."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httptools
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from waypost.clock import SystemClock
from waypost.web.errors import ErrorCounts
from waypost.web.fast import FastRequest, FastRoute, FastRoutes
from waypost.web.front import HttpFront
from waypost.web.limits import BETWEEN, REQUEST_COST_BYTES, HttpLimits
from waypost.web.protocol import HttpProtocol, protocol_class


class Memory(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closing = False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Responses:
    """Takes responses apart."""

    def __init__(self) -> None:
        self.all: list[tuple[int, bytes]] = []
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_begin(self) -> None:
        self.body = b""

    def on_message_complete(self) -> None:
        self.all.append((self.parser.get_status_code(), self.body))


async def app(_scope: Any, _receive: Any, _send: Any) -> None:
    raise AssertionError


def connect(
    handler: Callable[[FastRequest], None], loop: asyncio.AbstractEventLoop, pipelined: int = 1000
) -> HttpProtocol:
    """Return a connection with one fast route."""
    routes = FastRoutes()
    routes.add(FastRoute(b"POST", b"/fast", handler, 1000, lambda status, _message: b"%d" % status))
    front = HttpFront(
        routes,
        HttpLimits(pipelined=pipelined),
        refuse=lambda _target, status, _message: (b"%d" % status, ()),
        clock=SystemClock(),
        errors=ErrorCounts(),
    )
    bound = protocol_class(front)
    assert issubclass(bound, HttpProtocol)
    config = uvicorn.Config(app, http=bound, ws="none", lifespan="off", log_config=None)
    connection = bound(config, ServerState(), {}, loop)
    connection.connection_made(Memory())
    return connection


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Return a loop that does not run: the fast way needs none."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def written(connection: HttpProtocol) -> list[bytes]:
    transport: Any = connection.transport
    return list(transport.writes)


def replies(connection: HttpProtocol) -> list[tuple[int, bytes]]:
    responses = Responses()
    responses.parser.feed_data(b"".join(written(connection)))
    return responses.all


def post(body: bytes) -> bytes:
    return b"POST /fast HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_a_response_is_one_write(loop: asyncio.AbstractEventLoop) -> None:
    connection = connect(lambda request: request.respond(200, request.body), loop)
    for _ in range(3):
        connection.data_received(post(b"x"))
    assert len(written(connection)) == 3
    assert replies(connection) == [(200, b"x")] * 3
    assert not connection.unanswered


def test_thousands_at_once_do_not_pile_up(loop: asyncio.AbstractEventLoop) -> None:
    held: list[FastRequest] = []
    connection = connect(held.append, loop)
    connection.data_received(post(b"x") * 3_000)
    for request in reversed(held):
        request.respond(200, b"")
    assert len(replies(connection)) == 3_000


def test_who_has_gone_is_not_parted_from(loop: asyncio.AbstractEventLoop) -> None:
    connection = connect(lambda request: request.respond(200, b""), loop)
    connection.connection_lost(ConnectionResetError())
    connection.part()
    assert not connection.transport.is_closing()


def test_a_known_head_needs_no_parser(loop: asyncio.AbstractEventLoop) -> None:
    connection = connect(lambda request: request.respond(200, request.body), loop)
    connection.data_received(post(b"abcd"))
    connection.parser = None  # type: ignore[assignment] # a stand-in
    for body in (b"efgh", b"\r\n\r\n"):
        connection.data_received(post(body))
        assert replies(connection)[-1] == (200, body)
    assert connection.phase == BETWEEN
    assert connection.server_state.total_requests == 3


def test_what_was_learned_is_shared_by_connections(loop: asyncio.AbstractEventLoop) -> None:
    seen: list[FastRequest] = []
    first = connect(seen.append, loop)
    first.data_received(post(b"a"))
    second = type(first)(first.config, ServerState(), {}, loop)
    second.connection_made(Memory())
    second.parser = None  # type: ignore[assignment] # a stand-in
    second.data_received(post(b"b"))
    assert [request.body for request in seen] == [b"a", b"b"]
    assert seen[0].head is None
    assert seen[1].head is first.known[post(b"a")[:-5]]
    assert seen[1].headers == tuple(seen[0].headers)


@pytest.mark.parametrize(
    "rest, bodies",
    [
        ((b"a", b"b"), [b"ab"]),
        ((b"", b"ab"), [b"ab"]),
        ((b"abPOS", post(b"c")[3:]), [b"ab", b"c"]),
        ((b"ab" + post(b"cd") + post(b"efg"),), [b"ab", b"cd", b"efg"]),
    ],
)
def test_a_known_head_with_more_or_less_than_its_body(
    loop: asyncio.AbstractEventLoop, rest: tuple[bytes, ...], bodies: list[bytes]
) -> None:
    connection = connect(lambda request: request.respond(200, request.body), loop)
    connection.data_received(post(b"xy"))
    connection.data_received(post(b"xy")[:-2] + rest[0])
    for piece in rest[1:]:
        connection.data_received(piece)
    assert replies(connection)[1:] == [(200, body) for body in bodies]


def test_a_known_head_is_not_complete_without_its_end(loop: asyncio.AbstractEventLoop) -> None:
    connection = connect(lambda request: request.respond(200, request.body), loop)
    connection.data_received(post(b""))
    connection.data_received(post(b"")[:-4])
    assert len(replies(connection)) == 1
    connection.data_received(b"\r\n\r\n")
    assert len(replies(connection)) == 2


def request_with(*lines: bytes, line: bytes = b"POST /fast HTTP/1.1") -> bytes:
    return b"\r\n".join((line, b"Host: a", b"Content-Length: 1", *lines, b"", b"x"))


@pytest.mark.parametrize(
    "pieces",
    [
        [request_with(b"Connection: close")],
        [request_with(b"Connection: keep-alive", line=b"POST /fast HTTP/1.0")],
        [request_with(b"Connection: upgrade", b"Upgrade: h2c")],
        [request_with(b"X: " + b"y" * 2048)],
        [request_with() + request_with()],
        [request_with()[:-1], b"x"],
        [request_with()[:9], request_with()[9:]],
    ],
)
def test_what_is_not_learned(loop: asyncio.AbstractEventLoop, pieces: list[bytes]) -> None:
    connection = connect(lambda request: request.respond(200, request.body), loop)
    for piece in pieces:
        connection.data_received(piece)
        assert connection.fresh == b""
    assert replies(connection)[0] == (200, b"x")
    assert connection.known == {}


def test_no_other_spelling_of_a_head_is_known(loop: asyncio.AbstractEventLoop) -> None:
    connection = connect(lambda request: request.respond(200, request.body), loop)
    for request in (request_with(b"A: b"), request_with(b"a: b"), request_with(b"A:b")):
        connection.data_received(request)
    assert len(connection.known) == 3
    assert replies(connection) == [(200, b"x")] * 3


def test_a_lone_line_feed_ends_no_head(loop: asyncio.AbstractEventLoop) -> None:
    """On this the end of a known head rests."""
    whole = request_with()
    for count in (1, 2, 3, 4):
        connection = connect(lambda request: request.respond(200, b""), loop)
        parts = whole.split(b"\r\n")
        connection.data_received(b"\r\n".join(parts[:count]) + b"\n" + b"\r\n".join(parts[count:]))
        assert [status for status, _body in replies(connection)] == [400]
        assert connection.known == {}


def test_known_heads_keep_the_order_of_answers(loop: asyncio.AbstractEventLoop) -> None:
    held: list[FastRequest] = []
    connection = connect(held.append, loop)
    connection.data_received(post(b"0"))
    held.pop().respond(200, b"0")
    for number in range(1, 5):
        connection.data_received(post(b"%d" % number))
    assert [request.body for request in held] == [b"1", b"2", b"3", b"4"]
    for request in reversed(held):
        request.respond(200, request.body)
    assert [body for _status, body in replies(connection)] == [b"0", b"1", b"2", b"3", b"4"]


def test_a_known_head_costs_what_its_body_does(loop: asyncio.AbstractEventLoop) -> None:
    held: list[FastRequest] = []
    connection = connect(held.append, loop)
    budget = connection.front.budget
    for _ in range(2):
        connection.data_received(post(b"x" * 10))
        assert budget.free == budget.total - 10
        held.pop().respond(200, b"")
        assert budget.free == budget.total
    connection.data_received(post(b"x" * 10))
    connection.data_received(post(b"x" * 10))
    assert budget.free == budget.total - 20 - REQUEST_COST_BYTES
    while held:
        held.pop().respond(200, b"")
    budget.take(budget.total - 9)
    connection.data_received(post(b"x" * 10))
    assert replies(connection)[-1] == (503, b"503")
    assert not held
    assert budget.free == 9


def test_who_may_not_pipeline_is_read_when_answered(loop: asyncio.AbstractEventLoop) -> None:
    held: list[FastRequest] = []
    connection = connect(held.append, loop, pipelined=1)
    for _ in range(3):
        connection.data_received(post(b"x"))
        assert connection.flow.read_paused
        held.pop().respond(200, b"")
        assert not connection.flow.read_paused


def test_a_known_head_is_not_read_by_who_is_leaving(loop: asyncio.AbstractEventLoop) -> None:
    held: list[FastRequest] = []
    connection = connect(held.append, loop)
    connection.data_received(post(b"x"))
    held[0].respond(200, b"")
    connection.data_received(post(b"y"))
    connection.shutdown()
    connection.data_received(post(b"z"))
    held[1].respond(200, b"last")
    assert len(held) == 2
    assert b"connection: close" in written(connection)[-1]
    assert connection.transport.is_closing()
    connection.data_received(post(b"z"))
    assert len(held) == 2


def test_a_handler_that_fails_is_answered_for_on_a_known_head(
    loop: asyncio.AbstractEventLoop,
) -> None:
    connection = connect(lambda request: request.respond(200, bytes([int(request.body)])), loop)
    for body in (b"1", b"x", b"2"):
        connection.data_received(post(body))
    assert [status for status, _body in replies(connection)] == [200, 500, 200]


@given(data=st.data())
def test_any_pieces_and_any_order_give_the_same_answers(data: st.DataObject) -> None:
    bodies = data.draw(st.lists(st.binary(max_size=30), min_size=1, max_size=8))
    stream = b"".join(post(body) for body in bodies)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=20)))
    at_once = data.draw(st.sets(st.integers(0, len(bodies) - 1)))
    held: list[tuple[int, FastRequest]] = []
    numbers = iter(range(len(bodies)))

    def handler(request: FastRequest) -> None:
        number = next(numbers)
        if number in at_once:
            request.respond(200, request.body)
        else:
            held.append((number, request))

    loop = asyncio.new_event_loop()
    try:
        connection = connect(handler, loop)
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            connection.data_received(stream[begin:end])
        for _number, request in data.draw(st.permutations(held)):
            request.respond(200, request.body)
        assert replies(connection) == [(200, body) for body in bodies]
        assert connection.front.budget.free == connection.front.budget.total
    finally:
        connection.connection_lost(None)
        loop.close()


@given(st.binary(max_size=200))
def test_no_bytes_break_it(noise: bytes) -> None:
    loop = asyncio.new_event_loop()
    try:
        connection = connect(lambda request: request.respond(200, b""), loop)
        connection.data_received(post(b"x") + noise)
        statuses = {status for status, _body in replies(connection)}
        assert statuses <= {200, 400, 413, 414, 417, 431, 501, 505}
    finally:
        connection.connection_lost(None)
        loop.close()
