"""The transport: one POST over HTTP/1, under a hard deadline, through the guard.

It makes connections, of which its pools keep some. One timer sweeps deadlines and idle
connections, so that a deadline may be late by one tick. Redirects are answers, cookies are not
kept, proxies of the environment are not used, bodies are not decompressed.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

from waypost.clock import Clock, SystemClock
from waypost.egress.connection import Call, Connection, Done, KnownAnswers, micros
from waypost.egress.guard import Guard, Refused
from waypost.egress.pool import Idle, Pool
from waypost.egress.resolver import Resolver
from waypost.model.exchange import Exchange, FailureKind, TransportFailure
from waypost.model.ids import Id
from waypost.policy.egress import EgressRules
from waypost.policy.urls import Destination

__all__ = ["Call", "Done", "Post", "Transport"]

Post = Callable[[bytes, bytes, float, Done], Call]
"""Sends one request (head, body, seconds until it must be answered, who hears of its end)."""

Key = tuple[Id, str, str, int, bool]
"""Project, scheme, host, port, whether any certificate will do.

Connections are never shared between projects, nor between who trusts and who looks.
"""

TICK_S: Final = 0.1
TLS_S: Final = 5.0
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
        self._insecure_tls = _insecure_context()
        self._max_response_bytes = max_response_bytes
        self._known = KnownAnswers()
        self._dials: dict[asyncio.Task[None], Call] = {}
        self._connections: set[Connection] = set()
        self._idle = Idle(max_idle)
        # A pool lives as long as somebody may post to it, or one of its connections stands.
        self._pools: WeakValueDictionary[Key, Pool] = WeakValueDictionary()
        self._sweeping: asyncio.TimerHandle | None = None
        self._closed: asyncio.Event | None = None

    @property
    def connections_idle(self) -> int:
        """How many connections wait for their next request."""
        return len(self._idle)

    @property
    def calls_open(self) -> int:
        """How many requests are on their way."""
        return len(self._calls())

    def to(self, project_id: Id, destination: Destination, *, insecure_tls: bool = False) -> Post:
        """Return what sends requests to a destination; see `Pool.post`.

        Args:
            project_id: whose requests they are; connections are kept apart by it.
            destination: where to.
            insecure_tls: any certificate will do, whoever made it for whichever name and time.
        """
        key = (project_id, destination.scheme, destination.host, destination.port, insecure_tls)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = Pool(
                destination,
                now=self._now,
                all_idle=self._idle,
                dial=self._start_dial,
                abort=self._break_off,
                insecure_tls=insecure_tls,
            )
        return pool.post

    async def close(self) -> None:
        """Break off all calls, drop all connections, and wait until both are gone."""
        self._closed = self._closed or asyncio.Event()
        for call in self._calls():
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

    # Making connections.

    def _start_dial(self, pool: Pool, call: Call) -> None:
        if self._closed is not None:
            self._loop.call_soon(call.done, self._aborted(call))
            return
        call.dialling = self._loop.create_task(self._dial(pool, call))
        self._dials[call.dialling] = call
        call.dialling.add_done_callback(self._dials.pop)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(TICK_S, self._sweep)

    async def _dial(self, pool: Pool, call: Call) -> None:
        try:
            connection = await self._open(pool, call)
        except Refused as refused:
            if call.dialling is not None:
                call.dialling = None
                call.done(self._failure(call, refused.kind, refused.text))
        else:
            call.dialling = None
            call.sent_at = self._now()
            call.connection = connection
            connection.call = call
            connection.send(call.head + call.body)

    async def _open(self, pool: Pool, call: Call) -> Connection:
        destination = pool.destination
        began = self._now()
        addresses = await self._guard.addresses(destination)
        resolved = self._now()
        call.resolve_us = micros(resolved - began)
        connected = await self._guard.connect(addresses, destination)
        reached = self._now()
        call.connect_us = micros(reached - resolved)
        connection = Connection(
            now=self._now,
            known=self._known,
            body_max=self._max_response_bytes,
            on_answer=pool.answered,
            on_broken=self._broken,
            on_lost=partial(self._lost, pool),
        )
        await self._establish(connection, connected, pool)
        if destination.scheme == "https":
            call.tls_us = micros(self._now() - reached)
        self._connections.add(connection)
        self.connections_made += 1
        self.connections_open += 1
        return connection

    async def _establish(
        self, connection: Connection, connected: socket.socket, pool: Pool
    ) -> None:
        destination = pool.destination
        tls = destination.scheme == "https"
        context = self._insecure_tls if pool.insecure_tls else self._tls
        try:
            async with asyncio.timeout(TLS_S):
                await self._loop.create_connection(lambda: connection, sock=connected)
                if tls and not connection.transport.is_closing():
                    await connection.secure(context, destination.host)
        except TimeoutError:
            raise Refused(FailureKind.TIMEOUT, "the TLS handshake took too long") from None
        except OSError as error:
            if tls:
                raise Refused(FailureKind.TLS, _tls_text(error)) from error
            raise Refused(*_loss(error)) from error
        if connection.transport.is_closing():
            connection.transport.abort()
            raise Refused(*_loss(None))

    # What connections call, beside `Pool.answered`.

    def _broken(self, connection: Connection, kind: FailureKind, text: str) -> None:
        connection.transport.abort()
        if connection.call is not None:
            self._end(connection.call, self._failure(connection.call, kind, text))

    def _lost(self, pool: Pool, connection: Connection, error: Exception | None) -> None:
        if connection not in self._connections:
            return  # lost in its TLS handshake: never ours
        self._connections.discard(connection)
        self.connections_open -= 1
        self._idle.forget(connection)
        call = connection.call
        if call is not None:
            if connection.reused and not connection.first_byte_at:
                self._resend(pool, connection, call)
            else:
                self._end(call, self._failure(call, *_loss(error)))
        if self._closed is not None and not self._connections:
            self._closed.set()

    def _resend(self, pool: Pool, connection: Connection, call: Call) -> None:
        # The receiver closed while the request was on its way; whether it was read is unknown.
        connection.call = call.connection = None
        call.resent = True
        self.requests_resent += 1
        self._start_dial(pool, call)

    # The end of a call, but for an answer.

    def _calls(self) -> list[Call]:
        carried = [each.call for each in self._connections if each.call is not None]
        return carried + [call for call in self._dials.values() if call.dialling is not None]

    def _end(self, call: Call, exchange: Exchange) -> None:
        if call.is_open:
            self._forget(call)
            call.done(exchange)

    def _break_off(self, call: Call) -> None:
        if call.is_open:
            aborted = self._aborted(call)
            self._forget(call)
            self._loop.call_soon(call.done, aborted)

    def _forget(self, call: Call) -> None:
        if call.dialling is not None:
            call.dialling.cancel()
            call.dialling = None
        if call.connection is not None:
            call.connection.call = None
            call.connection.transport.abort()
            call.connection = None

    def _aborted(self, call: Call) -> TransportFailure:
        return self._failure(call, FailureKind.ABORTED, "broken off by Waypost")

    def _failure(self, call: Call, kind: FailureKind, text: str) -> TransportFailure:
        first_byte_at = call.connection.first_byte_at if call.connection is not None else 0.0
        timings = call.timings(first_byte_at, self._now())
        return TransportFailure(kind=kind, text=text, timings=timings, resent=call.resent)

    def _sweep(self) -> None:
        self._sweeping = None
        calls = self._calls()
        if not calls and not self._connections:
            return
        # Before anything is called that may raise: deadlines hang on this timer alone.
        self._sweeping = self._loop.call_later(TICK_S, self._sweep)
        now = self._now()
        for call in [call for call in calls if call.deadline <= now]:
            text = "no complete answer in time" if call.connection else "not connected in time"
            self._end(call, self._failure(call, FailureKind.TIMEOUT, text))
        for connection in [idle for idle in self._idle if idle.expires_at <= now]:
            self._idle.close(connection)


def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


def _insecure_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
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
