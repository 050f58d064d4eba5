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
from waypost.web.limits import HttpLimits
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
    handler: Callable[[FastRequest], None], loop: asyncio.AbstractEventLoop
) -> HttpProtocol:
    """Return a connection with one fast route."""
    routes = FastRoutes()
    routes.add(FastRoute(b"POST", b"/fast", handler, 1000, lambda status, _message: b"%d" % status))
    front = HttpFront(
        routes,
        HttpLimits(pipelined=1000),
        refuse=lambda _target, status, _message: b"%d" % status,
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
