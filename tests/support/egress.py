"""The other side of outgoing requests: receivers on loopback, and one way to send to them."""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Self

import msgspec

from tests.support.waiting import polled
from waypost.egress.transport import Call, Transport
from waypost.model.exchange import Exchange, Reply, TransportFailure
from waypost.policy.egress import parse_allow
from waypost.policy.urls import Destination, parse

PROJECT = b"\x01" * 16
OTHER_PROJECT = b"\x02" * 16
LOOPBACK = parse_allow("127.0.0.0/8 ::1")
WAIT_S = 5.0

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class ManualClock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now_us(self) -> int:
        return int(self.at_s * 1_000_000)

    def monotonic(self) -> float:
        return self.at_s


class Receiver:
    """A raw TCP or TLS server on loopback that notes what it is sent.

    Attributes:
        connections: how many connections were accepted.
        requests: whole requests, as the bytes that came.
        closed: set as each connection's end is seen.
    """

    def __init__(self, serve: Serve | None = None, answers: Sequence[bytes] = ()) -> None:
        """Answer with `answers` in turn, the last one for ever; or let `serve` have the stream."""
        self._serve = serve or self._answer
        self._answers = list(answers) or [answer()]
        self._server: asyncio.Server
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connections = 0
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()
        self.port = 0

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> Self:
        self._server = await asyncio.start_server(self._accept, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def read(self, reader: asyncio.StreamReader) -> bytes:
        """Read one whole request and note it."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: (\d+)\r\n", head)
        request = head + await reader.readexactly(int(length[1]) if length else 0)
        self.requests.append(request)
        return request

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.append(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass  # stop() ends it; a cancelled handler would be logged as an error
        finally:
            writer.transport.abort()
            self.closed.set()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await self.read(reader)
            writer.write(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def answer(status: int = 200, body: bytes = b"", **headers: str) -> bytes:
    """Return a well-formed answer; underscores in header names become hyphens."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
    return head.encode() + body


def once(raw: bytes, *, close: bool = True) -> Serve:
    """Read the start of a request, send these bytes, then close or wait for the other side."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        if close:
            writer.write_eof()
        await reader.read()

    return serve


class Sending:
    """A call, and its end as something to wait for."""

    def __init__(self, transport: Transport, to: Destination, **how: Any) -> None:
        self.ends: list[Exchange] = []
        self._ended = asyncio.Event()
        self.call: Call = send_to(transport, to, self._done, **how)
        assert self.ends == [], "done was called from inside post()"

    def _done(self, exchange: Exchange) -> None:
        self.ends.append(exchange)
        self._ended.set()

    async def end(self) -> Exchange:
        async with asyncio.timeout(WAIT_S):
            await self._ended.wait()
        await polled()
        assert len(self.ends) == 1, "done was called more than once"
        return self.ends[0]

    async def reply(self) -> Reply:
        exchange = await self.end()
        assert isinstance(exchange, Reply), exchange
        return exchange

    async def failure(self) -> TransportFailure:
        exchange = await self.end()
        assert isinstance(exchange, TransportFailure), exchange
        return exchange


def send_to(
    transport: Transport,
    to: Destination,
    done: Callable[[Exchange], None],
    *,
    body: bytes = b"{}",
    timeout_s: float = WAIT_S,
    project: bytes = PROJECT,
    insecure_tls: bool = False,
) -> Call:
    head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\n\r\n" % (
        to.target,
        to.authority,
        len(body),
    )
    return transport.to(project, to, insecure_tls=insecure_tls)(head, body, timeout_s, done)


def at(receiver: Receiver, host: str = "127.0.0.1", scheme: str = "http") -> Destination:
    return parse(f"{scheme}://{host}:{receiver.port}/hook?x=1")


async def reply(transport: Transport, to: Destination, **how: Any) -> Reply:
    return await Sending(transport, to, **how).reply()


async def failure(transport: Transport, to: Destination, **how: Any) -> TransportFailure:
    return await Sending(transport, to, **how).failure()


def raw_destination(scheme: str, host: str, port: int) -> Destination:
    """Return a destination that `parse` never saw."""
    return Destination(scheme=scheme, host=host, port=port, target=b"/", authority=b"x")


def moved(to: Destination, **parts: Any) -> Destination:
    return msgspec.structs.replace(to, **parts)


Make = Callable[..., Transport]
Open = Callable[..., Coroutine[Any, Any, Receiver]]
