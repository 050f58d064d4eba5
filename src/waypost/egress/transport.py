"""The transport: one POST over HTTP/1, under a hard deadline, through the guard.

Sending over a connection that is kept alive is one write, and its answer comes back through plain
callbacks: no task, no future and no timer belong to a request. One timer sweeps deadlines and idle
connections, so that a deadline may be late by one tick. Redirects are answers, cookies are not
kept, proxies of the environment are not used, bodies are not decompressed.
"""

import asyncio
import socket
import ssl
from typing import Final

from waypost.clock import Clock, SystemClock
from waypost.egress.connection import Call, Connection, Done, Key
from waypost.egress.guard import Guard, Refused
from waypost.egress.resolver import Resolver
from waypost.model.delivery import Timings
from waypost.model.exchange import Exchange, FailureKind, Reply, TransportFailure
from waypost.model.ids import Id
from waypost.policy.egress import EgressRules
from waypost.policy.urls import Destination

__all__ = ["Call", "Done", "Transport"]

TICK_S: Final = 0.1
TLS_S: Final = 5.0
IDLE_S: Final = 4.0
KEEP_ALIVE_MARGIN_S: Final = 0.5
AGE_S: Final = 60.0
MAX_IDLE: Final = 512
MAX_RESPONSE_BYTES: Final = 64 * 1024


class Transport:
    """Sends requests, and keeps connections for a while.

    Attributes:
        connections_open: connections that stand at the moment, idle ones included.
        connections_made: connections that were ever made.
        requests_resent: requests that were written twice, because a reused connection died before
            any answer.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        rules: EgressRules,
        clock: Clock | None = None,
        ca_file: str | None = None,
        max_idle: int = MAX_IDLE,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        resolver: Resolver | None = None,
    ) -> None:
        """Set up; nothing is connected yet.

        Args:
            loop: the event loop that everything runs on.
            rules: what may be reached beyond the public internet.
            clock: monotonic time for deadlines and timings.
            ca_file: PEM file of certificate authorities that are trusted beside the system's.
            max_idle: idle connections kept at most, over all receivers; the oldest goes first.
            max_response_bytes: how much of an answer's body is read. An answer with a longer body
                is complete with its first bytes, and its connection is closed.
            resolver: finds the addresses of host names.

        Raises:
            OSError: the CA file cannot be read, or holds no certificate (`ssl.SSLError`).
        """
        clock = clock or SystemClock()
        self.connections_open = 0
        self.connections_made = 0
        self.requests_resent = 0
        self._loop = loop
        self._now = clock.monotonic
        self._guard = Guard(loop, rules, resolver or Resolver(loop, clock))
        self._tls = _tls_context(ca_file)
        self._max_idle = max_idle
        self._max_response_bytes = max_response_bytes
        self._calls: set[Call] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._connections: set[Connection] = set()
        # Both hold the same connections: by receiver to take one, by age to drop one.
        self._stacks: dict[Key, list[Connection]] = {}
        self._idle: dict[Connection, None] = {}
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed: asyncio.Event | None = None

    @property
    def connections_idle(self) -> int:
        """How many connections wait for their next request."""
        return len(self._idle)

    @property
    def calls_open(self) -> int:
        """How many requests are on their way."""
        return len(self._calls)

    def post(
        self,
        project_id: Id,
        destination: Destination,
        head: bytes,
        body: bytes,
        timeout_s: float,
        done: Done,
    ) -> Call:
        """Send one request.

        Args:
            project_id: whose request it is; connections are kept apart by it.
            destination: where to.
            head: the complete head, from the request line to the blank line.
            body: the bytes that the head announces.
            timeout_s: seconds from now until the whole answer must have come; resolving,
                connecting and the TLS handshake count. Kept to within a tick (0.1 s).
            done: hears of the end exactly once, on the loop, never from inside this call.

        Returns:
            The call, to break it off.
        """
        now = self._now()
        key = (project_id, destination.scheme, destination.host, destination.port)
        call = Call(self._break_off, key, destination, head, body, now, now + timeout_s, done)
        self._calls.add(call)
        if self._closed is not None:
            self._break_off(call)
            return call
        connection = self._take(key, now)
        if connection is None:
            self._start_dial(call)
        else:
            self._send(call, connection, now)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(TICK_S, self._sweep)
        return call

    async def close(self) -> None:
        """Break off all calls, drop all connections, and wait until both are gone."""
        self._closed = self._closed or asyncio.Event()
        for call in tuple(self._calls):
            self._break_off(call)
        for connection in tuple(self._connections):
            connection.transport.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        if self._dials:
            await asyncio.wait(self._dials)
        # One turn of the loop: what abort() promised to call was called.
        await asyncio.sleep(0)
        if self._connections:
            await self._closed.wait()

    # The way out.

    def _take(self, key: Key, now: float) -> Connection | None:
        stack = self._stacks.get(key)
        while stack:
            connection = stack.pop()
            del self._idle[connection]
            if connection.expires_at > now and not connection.transport.is_closing():
                return connection
            connection.transport.abort()
        return None

    def _send(self, call: Call, connection: Connection, now: float) -> None:
        call.connection = connection
        call.sent_at = now
        connection.call = call
        connection.send(call.head + call.body)

    def _start_dial(self, call: Call) -> None:
        call.dialling = self._loop.create_task(self._dial(call))
        self._dials.add(call.dialling)
        call.dialling.add_done_callback(self._dials.discard)

    async def _dial(self, call: Call) -> None:
        try:
            connection = await self._open(call)
        except Refused as refused:
            call.dialling = None
            self._end(call, self._failure(call, refused.kind, refused.text))
        else:
            call.dialling = None
            self._send(call, connection, self._now())

    async def _open(self, call: Call) -> Connection:
        destination = call.destination
        began = self._now()
        addresses = await self._guard.addresses(destination)
        resolved = self._now()
        call.resolve_us = _micros(resolved - began)
        connected = await self._guard.connect(addresses, destination)
        reached = self._now()
        call.connect_us = _micros(reached - resolved)
        connection = Connection(
            call.key,
            now=self._now,
            body_max=self._max_response_bytes,
            on_answer=self._answered,
            on_broken=self._broken,
            on_lost=self._lost,
        )
        await self._establish(connection, connected, destination)
        if destination.scheme == "https":
            call.tls_us = _micros(self._now() - reached)
        self._connections.add(connection)
        self.connections_made += 1
        self.connections_open += 1
        return connection

    async def _establish(
        self, connection: Connection, connected: socket.socket, destination: Destination
    ) -> None:
        tls = destination.scheme == "https"
        try:
            async with asyncio.timeout(TLS_S):
                await self._loop.create_connection(lambda: connection, sock=connected)
                if tls and not connection.transport.is_closing():
                    await connection.secure(self._tls, destination.host)
        except TimeoutError:
            raise Refused(FailureKind.TIMEOUT, "the TLS handshake took too long") from None
        except OSError as error:
            if tls:
                raise Refused(FailureKind.TLS, _tls_text(error)) from error
            raise Refused(*_loss(error)) from error
        if connection.transport.is_closing():
            connection.transport.abort()
            raise Refused(*_loss(None))

    # The way back: what connections call.

    def _answered(self, connection: Connection) -> None:
        call = connection.call
        if call is None:
            return
        connection.call = None
        now = self._now()
        reply = Reply(
            status=connection.status,
            body=connection.body,
            timings=self._timings(call, connection, now),
            retry_after=connection.retry_after or None,
            resent=call.resent,
        )
        # Answered before all was sent: the rest of the request is still to be written.
        if connection.reusable and not connection.is_sending:
            self._keep(connection, now)
        else:
            connection.transport.abort()
        self._calls.discard(call)
        call.done(reply)

    def _broken(self, connection: Connection, kind: FailureKind, text: str) -> None:
        connection.transport.abort()
        if connection.call is not None:
            self._end(connection.call, self._failure(connection.call, kind, text))

    def _lost(self, connection: Connection, error: Exception | None) -> None:
        if connection not in self._connections:
            return  # lost in its TLS handshake: never ours
        self._connections.discard(connection)
        self.connections_open -= 1
        if connection in self._idle:
            self._drop(connection)
        call, connection.call = connection.call, None
        if call is not None:
            if connection.reused and not connection.first_byte_at:
                self._resend(call)
            else:
                self._end(call, self._failure(call, *_loss(error)))
        if self._closed is not None and not self._connections:
            self._closed.set()

    def _resend(self, call: Call) -> None:
        # The receiver closed while the request was on its way; whether it was read is unknown.
        call.resent = True
        call.connection = None
        self.requests_resent += 1
        self._start_dial(call)

    # The end of a call.

    def _end(self, call: Call, exchange: Exchange) -> None:
        if call in self._calls:
            self._forget(call)
            call.done(exchange)

    def _break_off(self, call: Call) -> None:
        if call in self._calls:
            failure = self._failure(call, FailureKind.ABORTED, "broken off by Waypost")
            self._forget(call)
            self._loop.call_soon(call.done, failure)

    def _forget(self, call: Call) -> None:
        self._calls.discard(call)
        if call.dialling is not None:
            call.dialling.cancel()
            call.dialling = None
        if call.connection is not None:
            call.connection.call = None
            call.connection.transport.abort()
            call.connection = None

    def _failure(self, call: Call, kind: FailureKind, text: str) -> TransportFailure:
        timings = self._timings(call, call.connection, self._now())
        return TransportFailure(kind=kind, text=text, timings=timings, resent=call.resent)

    def _timings(self, call: Call, connection: Connection | None, now: float) -> Timings:
        first_byte_at = connection.first_byte_at if connection is not None else 0.0
        return Timings(
            call.resolve_us,
            call.connect_us,
            call.tls_us,
            _micros(first_byte_at - call.sent_at) if first_byte_at else 0,
            _micros(now - call.started_at),
        )

    # Idle connections.

    def _keep(self, connection: Connection, now: float) -> None:
        idle_s = IDLE_S
        if connection.keep_alive_s is not None:
            idle_s = min(idle_s, connection.keep_alive_s - KEEP_ALIVE_MARGIN_S)
        connection.expires_at = min(now + idle_s, connection.born_at + AGE_S)
        connection.reused = True
        stack = self._stacks.get(connection.key)
        if stack is None:
            stack = self._stacks[connection.key] = []
        stack.append(connection)
        self._idle[connection] = None
        if len(self._idle) > self._max_idle:
            oldest = next(iter(self._idle))
            self._drop(oldest)
            oldest.transport.close()

    def _drop(self, connection: Connection) -> None:
        del self._idle[connection]
        self._stacks[connection.key].remove(connection)

    def _sweep(self) -> None:
        self._sweeping = None
        if not self._calls and not self._idle:
            return
        # Before anything is called that may raise: deadlines hang on this timer alone.
        self._sweeping = self._loop.call_later(TICK_S, self._sweep)
        now = self._now()
        for call in [call for call in self._calls if call.deadline <= now]:
            text = "no complete answer in time" if call.connection else "not connected in time"
            self._end(call, self._failure(call, FailureKind.TIMEOUT, text))
        for connection in [idle for idle in self._idle if idle.expires_at <= now]:
            self._drop(connection)
            connection.transport.close()
        for key in [key for key, stack in self._stacks.items() if not stack]:
            del self._stacks[key]


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _tls_text(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the receiver's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"the TLS handshake failed: {error.reason.lower().replace('_', ' ')}"
    return "the connection broke during the TLS handshake"


def _loss(error: Exception | None) -> tuple[FailureKind, str]:
    if isinstance(error, ssl.SSLError):
        return FailureKind.TLS, _tls_text(error)
    if error is None:
        return FailureKind.CONNECTION, "the receiver closed the connection before a whole answer"
    return FailureKind.CONNECTION, "the connection broke before a whole answer"


def _micros(seconds: float) -> int:
    return int(seconds * 1_000_000)
