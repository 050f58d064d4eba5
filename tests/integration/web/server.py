"""A real uvicorn server with Waypost's protocol, and a client of raw bytes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from types import SimpleNamespace
from typing import NamedTuple

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.waiting import until
from waypost.clock import SystemEntropy
from waypost.web.asgi import SecurityHeaders, asgi_endpoint
from waypost.web.errors import ErrorCounts, ErrorMiddleware, Surfaces, exception_handlers
from waypost.web.fast import FastHandler, FastRequest, FastRoute, FastRoutes
from waypost.web.front import HttpFront
from waypost.web.limits import HttpLimits
from waypost.web.memo import MAX_HEAD_BYTES, KnownHead
from waypost.web.protocol import HttpProtocol, protocol_class

MAX_BODY = 300_000
DEADLINE_S = 20


class ManualClock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now_us(self) -> int:
        return int(self.seconds * 1_000_000)

    def monotonic(self) -> float:
        return self.seconds


class Reply(NamedTuple):
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """A connection that sends what it is told and reads responses."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *parts: bytes) -> None:
        self.writer.write(b"".join(parts))

    async def reply(self) -> Reply:
        """Read one response."""
        async with asyncio.timeout(DEADLINE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {}
            for line in lines:
                name, _, value = line.partition(": ")
                assert name not in headers, head
                headers[name] = value
            status = int(first.split(" ")[1])
            size = int(headers.get("content-length", "0"))
            return Reply(status, headers, await self.reader.readexactly(size))

    async def rest(self) -> bytes:
        """Read to the end of the connection."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.reader.read()

    async def ask(self, *parts: bytes) -> Reply:
        """Send, and read one response."""
        self.send(*parts)
        return await self.reply()

    def reset(self) -> None:
        """Break the connection off."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return a request with a Content-Length."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def head(path: str, *headers: str, method: str = "POST") -> bytes:
    """Return a request without a body, as it is told."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: test", *headers, "", ""]).encode()


class KnowsAll(dict[bytes, KnownHead]):
    """Knows each plain head of a fast request before it came once, so the parser sees none."""

    def __init__(self, routes: FastRoutes) -> None:
        super().__init__()
        self.routes = routes

    def get(self, head: bytes, _default: object = None) -> KnownHead | None:  # type: ignore[override] # called with one key alone
        first, *lines = head.split(b"\r\n")
        method, _, rest = first.partition(b" ")
        target, _, version = rest.partition(b" ")
        route = self.routes.lookup(method, target)
        headers = [
            (name.lower(), value.strip()) for name, _, value in (x.partition(b":") for x in lines)
        ]
        names = [name for name, _value in headers]
        special = {b"connection", b"content-encoding", b"expect", b"transfer-encoding", b"upgrade"}
        if (
            route is None
            or version != b"HTTP/1.1"
            or names[:2] != [b"host", b"content-length"]
            or len(set(names)) != len(names)
            or special & set(names)
            or len(head) > MAX_HEAD_BYTES
            or not headers[1][1].isdigit()
            or int(headers[1][1]) > route.max_body_bytes
        ):
            return None
        length = int(headers[1][1])
        return KnownHead(route, tuple(headers), length, len(head) + 4 + length)


class Server:
    """The server, with routes that are served by one way or the other.

    ``/echo`` answers with the body and two headers, ``/hold`` and ``/alone`` when the test says so
    (`held`), ``/fail`` fails, ``/fail-late`` fails after it has answered; ``/plain``, ``/read``,
    ``/stream``, ``/flood``, ``/breaks`` and ``/broken`` are ordinary ASGI endpoints.
    """

    def __init__(self, way: str, limits: HttpLimits) -> None:
        self.clock = ManualClock()
        self.held: list[FastRequest] = []
        self.seen: list[FastRequest] = []
        self.gate = asyncio.Event()
        surfaces = Surfaces(SystemEntropy())
        routes = [
            self.route("/echo", self.echo, surfaces),
            self.route("/hold", self.held.append, surfaces),
            self.route("/alone", self.held.append, surfaces, alone=True),
            self.route("/fail", self.fail, surfaces),
            self.route("/fail-late", self.fail_late, surfaces),
        ]
        table = FastRoutes()
        if way != "asgi":
            for route in routes:
                table.add(route)
        errors = ErrorCounts()
        self.front = HttpFront(
            table, limits, refuse=surfaces.refuse, clock=self.clock, errors=errors
        )
        if way == "known":
            self.front.known.by_bytes = KnowsAll(table)
        endpoints = [
            Route(route.path.decode(), asgi_endpoint(route), methods=["POST"]) for route in routes
        ]
        app = Starlette(
            routes=[
                *endpoints,
                Route("/plain", self.plain),
                Route("/read", self.read, methods=["POST"]),
                Route("/stream", self.stream),
                Route("/flood", self.flood),
                Route("/breaks", self.breaks),
                Route("/broken", self.broken),
            ],
            exception_handlers=exception_handlers(surfaces),
            middleware=[
                Middleware(SecurityHeaders),
                Middleware(ErrorMiddleware, surfaces=surfaces, counts=errors),
            ],
        )
        self.config = uvicorn.Config(
            app,
            http=protocol_class(self.front),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=DEADLINE_S,
        )
        self.uvicorn = uvicorn.Server(self.config)
        self.clients: list[Client] = []
        self.stopping: asyncio.Task[None] | None = None

    @staticmethod
    def route(
        path: str, handler: FastHandler, surfaces: Surfaces, *, alone: bool = False
    ) -> FastRoute:
        refuse = surfaces.refusals(path)
        return FastRoute(b"POST", path.encode(), handler, MAX_BODY, refuse, alone)

    def echo(self, request: FastRequest) -> None:
        self.seen.append(request)
        headers = ((b"x-one", b"1"), (b"x-query", request.query or b"-"))
        request.respond(202, request.body, headers, b"text/x-echo")

    def fail(self, request: FastRequest) -> None:
        self.seen.append(request)
        message = "a secret cause"
        raise LookupError(message)

    def fail_late(self, request: FastRequest) -> None:
        request.respond(200, b"{}")
        self.fail(request)

    async def plain(self, _request: Request) -> Response:
        await self.gate.wait()
        return PlainTextResponse("plain")

    async def read(self, request: Request) -> Response:
        await self.gate.wait()
        return PlainTextResponse(str(len(await request.body())))

    async def stream(self, _request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            await self.gate.wait()

        return StreamingResponse(parts())

    async def breaks(self, request: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"begun"
            await self.gate.wait()
            await self.broken(request)

        return StreamingResponse(parts())

    async def flood(self, request: Request) -> Response:
        return PlainTextResponse(b"x" * int(request.query_params["size"]))

    async def broken(self, _request: Request) -> Response:
        message = "a secret cause"
        raise LookupError(message)

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.config.load()
        self.uvicorn.lifespan = self.config.lifespan_class(self.config)
        await self.uvicorn.startup(sockets=[listener])
        await self.uvicorn.on_tick(0)

    async def stop(self) -> None:
        """End whatever is left, without waiting for it to answer."""
        self.gate.set()
        for client in self.clients:
            client.writer.close()
            with suppress(ConnectionError):
                await client.writer.wait_closed()
        for connection in self.connections:
            connection.transport.abort()
        await until(lambda: not self.connections)
        if self.stopping is not None:
            await self.stopping
        for listener in self.uvicorn.servers:
            listener.close()
        await until(lambda: not self.uvicorn.server_state.tasks)
        for request in self.held:
            if not request.answered:
                request.respond(200, b"")
        assert self.front.budget.free == self.front.budget.total
        assert len(self.front.connections) == 0

    def drain(self) -> None:
        """Begin to shut down."""
        self.stopping = asyncio.ensure_future(self.uvicorn.shutdown())

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    @property
    def connections(self) -> list[HttpProtocol]:
        return [
            connection
            for connection in self.uvicorn.server_state.connections
            if isinstance(connection, HttpProtocol)
        ]

    @property
    def connection(self) -> HttpProtocol:
        """Return the only connection."""
        (connection,) = self.connections
        return connection

    def pass_time(self, seconds: float) -> None:
        """Let the clock go on, and sweep."""
        self.clock.seconds += seconds
        self.front.connections.sweep()


def envelope(reply: Reply) -> SimpleNamespace:
    """Return the error of a reply, having looked at its shape."""
    assert reply.headers["content-type"] == "application/json"
    error = SimpleNamespace(**msgspec.json.decode(reply.body))
    assert error.message
    assert len(error.debugging_request_id) == 36
    return error
