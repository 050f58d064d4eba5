"""The server's HTTP protocol: uvicorn's, with fast routes, deadlines and limits.

A connection has turns: its unanswered requests in their order, each served the fast way or by
ASGI. Only the first turn may write. A fast turn is handed to its handler as soon as all of it is
there and everything ahead of it has been handed over; an ASGI turn starts when it is the first.

What uvicorn's protocol lacks is here: deadlines, ceilings, answers that keep their order also for
what is refused, a close that does not lose the last response, and requests that ask for an upgrade
that nobody offers (RFC 9110 §7.8 lets a server ignore that; uvicorn would lose their bodies).

The class leans on the inner workings of uvicorn's, so uvicorn's version is pinned exactly.
"""

import asyncio
from collections import deque
from typing import Any, ClassVar, Final

import httptools
import structlog
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from waypost.web.fast import INTERNAL_ERROR, Answer, FastRoute, handle
from waypost.web.framing import (
    Framing,
    Refused,
    bound_head,
    check_target,
    read_framing,
    too_large,
    without_upgrade,
)
from waypost.web.front import RETRY_SOON, HttpFront, overloaded
from waypost.web.limits import BETWEEN, BODY, HEAD, NEW, PARTING, is_overdue
from waypost.web.memo import HEAD_END
from waypost.web.progress import Progress
from waypost.web.turns import AsgiTurn, FastTurn, PartingTransport

JSON: Final = b"application/json"
_IDLE: Final = frozenset((NEW, BETWEEN))
"""The phases in which the parser holds nothing."""

_log = structlog.get_logger(__name__)


def protocol_class(front: HttpFront) -> type["HttpProtocol"]:
    """Return the class for ``uvicorn.Config(http=..., ws="none")``, bound to `front`."""
    return type("BoundHttpProtocol", (HttpProtocol,), {"front": front})


class _Stop(Exception):
    """Ends the parsing, from inside a callback, when nothing that follows may be read."""


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    front: ClassVar[HttpFront]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take what uvicorn hands to every connection."""
        super().__init__(config, server_state, app_state, _loop)
        self.url = b""
        self.limits = self.front.limits
        self.budget = self.front.budget
        self.known = self.front.known.by_bytes
        # What the parser is reading, if it held nothing when that came.
        self.fresh = b""
        self.peer: str | None = None
        self.unanswered: deque[FastTurn | AsgiTurn] = deque()
        # The request that is being received, or was received last.
        self.turn: FastTurn | AsgiTurn | None = None
        self.advancing = False
        self.phase = NEW
        self.since = 0.0
        self.stalled_since: float | None = None
        # Whatever comes in from now on is thrown away.
        self.deaf = False
        # More is on its way that will be thrown away.
        self.unread = False
        self.half_closed = False
        self.progress = Progress()

    # --- the transport's calls --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # narrower than asyncio says, as uvicorn has it
        """Begin, unless there are too many connections."""
        super().connection_made(transport)
        connections = self.front.connections
        self.peer = connections.peer_of(self.client[0] if self.client else None)
        if connections.admit(self, self.peer, self.loop):
            self.since = connections.now
            return
        self.deaf = True
        self.phase = PARTING
        body, _ = self.front.refusal(b"", 503, "Too many connections")
        self._write((503, body, RETRY_SOON, JSON), keep_alive=False)
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everything that is under way that the client has gone."""
        self.connections.discard(self)
        self.front.connections.leave(self, self.peer)
        self.deaf = True
        self.phase = PARTING
        for turn in self.unanswered:
            turn.abandon()
        self.unanswered.clear()
        self.turn = None
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment] # it is used no more

    def eof_received(self) -> bool | None:  # type: ignore[override] # as asyncio has it, and uvicorn not
        """Keep the connection of a client that only waits for its fast answers."""
        if (
            self.phase == BETWEEN
            and self.unanswered
            and all(type(turn) is FastTurn for turn in self.unanswered)
            and self.transport.can_write_eof()
        ):
            self.unanswered[-1].keep_alive = False
            self.deaf = self.half_closed = True
            return True
        return None

    def data_received(self, data: bytes) -> None:
        """Serve what came in: a whole request with a known head here, all else by the parser.

        Here everything is done that the parser's calls would do, where nothing is ahead of the
        request: its turn begins, is complete and is handed over.
        """
        if self.deaf:
            return
        if not self.unanswered and self.phase in _IDLE:
            head, _, body = data.partition(HEAD_END)
            known = self.known.get(head)
            if known and len(data) == known.size and self.budget.take(known.length):
                self.phase = BETWEEN
                turn = FastTurn(self, known.route, known.headers, self.budget, known.length)
                turn.head = known
                turn.body = body
                turn.is_complete = turn.handed_over = True
                self.unanswered.append(turn)
                handle(known.route, turn)
                if len(self.unanswered) >= self.limits.pipelined:
                    self.flow.pause_reading()
                return
            self.fresh = data
        self._parse(data)
        self.fresh = b""

    def _parse(self, data: bytes) -> None:
        """Parse what came in; the parser calls the `on_` methods."""
        split = self.phase == HEAD
        self.progress.chunk = len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self.fresh = b""
                self._ignore_upgrades(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._parsing_failed(error)
        if self.phase != BETWEEN:
            try:
                self.progress.bound(self.phase, self.limits.head_bytes, split=split)
            except Refused as refused:
                self.refuse(refused)

    def pause_writing(self) -> None:
        """Read no more from a client that does not read what it is sent."""
        self.flow.pause_writing()
        self.flow.pause_reading()
        self.stalled_since = self.front.connections.now

    def resume_writing(self) -> None:
        """Go on."""
        self.flow.resume_writing()
        self.stalled_since = None
        self._resume_reading()

    # --- the parser's calls -----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        if self.deaf:
            raise _Stop
        self.url = b""
        self.headers = []
        self.phase = HEAD
        self.since = self.front.connections.now
        self.progress.carried = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are thrown away, as RFC 9110 §6.5.1 allows."""
        if self.phase == HEAD:
            self.headers.append((name.lower(), value.strip()))

    def on_headers_complete(self) -> None:
        """Decide how the request is served, before any of its body is kept."""
        parser = self.parser
        limits = self.limits
        if (
            self.progress.carried
            or self.progress.chunk > limits.head_bytes
            or len(self.headers) > limits.head_fields
            or len(self.url) > limits.target_bytes
        ):
            bound_head(self.url, self.headers, limits)
        if parser.should_upgrade():
            if parser.get_method() == b"CONNECT":
                raise Refused(501, "CONNECT is not supported")
            self.turn = None
            return
        version = parser.get_http_version()
        framing = read_framing(self.headers, version)
        methods = self.front.routes.methods_at(self.url)
        route = methods.get(parser.get_method()) if methods is not None else None
        if route is None or framing.length is None or framing.expects:
            self._begin_asgi(framing)
        else:
            self._begin_fast(route, framing, version)
        self.phase = BODY
        self.progress.begin_body()

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body."""
        self.progress.received += len(body)
        turn = self.turn
        if type(turn) is FastTurn:
            turn.receive(body)
        elif type(turn) is AsgiTurn and not turn.cycle.response_complete:
            self._bound_body(turn)
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Hand the request over, if it may start."""
        turn = self.turn
        if turn is None:  # it asked for an upgrade, and comes again without
            return
        self.phase = BETWEEN
        self.since = self.front.connections.now
        if not turn.keep_alive:
            self.deaf = True
        fresh, self.fresh = self.fresh, b""
        if type(turn) is FastTurn:
            turn.complete()
            if fresh and turn.route and turn.keep_alive:
                self.front.known.learn(fresh, turn.route, turn.headers, len(turn.body))
            if turn.may_start:
                self._hand_over(turn)
            if len(self.unanswered) >= self.limits.pipelined:
                self.flow.pause_reading()
        else:
            super().on_message_complete()

    # --- turns ------------------------------------------------------------------------------------

    def _begin_fast(self, route: FastRoute, framing: Framing, version: str) -> None:
        """Begin a fast turn, or refuse it."""
        length = framing.length or 0
        if framing.encoded:
            raise Refused(415, "Content-Encoding is not supported")
        if length > route.max_body_bytes:
            raise Refused(413, too_large(route.max_body_bytes))
        unanswered = self.unanswered
        cost = self.front.take(length, behind=bool(unanswered))
        turn = FastTurn(self, route, self.headers, self.budget, cost)
        turn.keep_alive = version == "1.1" and self.parser.should_keep_alive()
        if unanswered:
            previous = unanswered[-1]
            turn.may_start = (
                type(previous) is FastTurn
                and previous.handed_over
                and not (route.alone or (previous.route is not None and previous.route.alone))
            )
        unanswered.append(turn)
        self.turn = turn

    def _hand_over(self, turn: FastTurn) -> None:
        """Call the handler of a fast turn."""
        turn.handed_over = True
        if turn.route is not None:
            handle(turn.route, turn)

    def _begin_asgi(self, framing: Framing) -> None:
        """Begin an ASGI turn as uvicorn does, or refuse it."""
        length = framing.length or 0
        if length > self.limits.body_bytes:
            raise Refused(413, too_large(self.limits.body_bytes))
        check_target(self.url)
        cost = self.front.take(length, behind=bool(self.unanswered))
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        self.headers = self.scope["headers"] = headers
        self.expect_100_continue = framing.expects
        # When it starts is decided below: to uvicorn each request is the first.
        self.cycle = None  # type: ignore[assignment] # uvicorn begins so too
        super().on_headers_complete()
        turn = AsgiTurn(self.cycle, self.app, self.front.budget, cost)
        self.cycle.transport = PartingTransport(self, self.transport)  # type: ignore[assignment] # all of a transport that a cycle calls
        self.turn = turn
        self.unanswered.append(turn)
        if len(self.unanswered) == 1:
            self._run(turn)
        else:
            self.flow.pause_reading()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        """Leave it to `_run`."""

    def _run(self, turn: AsgiTurn) -> None:
        """Start the application."""
        turn.handed_over = True
        super()._start_asgi_task(turn.cycle, turn)

    def on_response_complete(self) -> None:
        """The application has answered the first turn."""
        self.server_state.total_requests += 1
        self.unanswered.popleft()
        self.advance()

    def advance(self) -> None:
        """Write the answers whose turn it is, and start the turn that is first then."""
        if self.advancing:
            return
        self.advancing = True
        unanswered = self.unanswered
        while unanswered and self.phase != PARTING:
            first = unanswered[0]
            if not first.handed_over:
                self._start(first)
            answer = first.answer
            if answer is None:
                break
            unanswered.popleft()
            self._write(answer, keep_alive=first.keep_alive)
            self.server_state.total_requests += 1
            if not first.keep_alive:
                self.part()
        self.advancing = False
        if not unanswered:
            # An idle connection holds no body.
            if type(self.turn) is FastTurn:
                self.turn = None
            if self.phase == BETWEEN:
                self.since = self.front.connections.now
        if self.flow.read_paused:
            self._resume_reading()

    def _start(self, first: FastTurn | AsgiTurn) -> None:
        """Start the first turn, as soon as it can be."""
        if type(first) is AsgiTurn:
            self._run(first)
        elif type(first) is FastTurn:
            first.may_start = True
            if first.is_complete:
                self._hand_over(first)

    def _write(self, answer: Answer, *, keep_alive: bool) -> None:
        """Write a whole response."""
        if answer[0] >= 400:
            self.front.errors.add(answer[0])
        defaults = self.server_state.default_headers
        self.transport.write(self.front.heads.render(defaults, answer, keep_alive=keep_alive))

    def _resume_reading(self) -> None:
        """Read on, unless the client must first read, or be answered."""
        flow = self.flow
        if (
            flow.read_paused
            and not flow.write_paused
            and len(self.unanswered) < self.limits.pipelined
        ):
            flow.resume_reading()

    # --- refusing and closing ---------------------------------------------------------------------

    def refuse(self, refused: Refused) -> None:
        """Answer what is being received with an error, after everything ahead of it, and part."""
        turn = self.turn if self.phase == BODY else None
        self.deaf = self.unread = True
        if type(turn) is AsgiTurn and turn.cycle.response_started:
            self.part()
            return
        if turn is not None:
            self.unanswered.pop()
            turn.abandon()
        refusal = FastTurn(self, None, (), self.budget, 0)
        refusal.keep_alive = False
        refusal.handed_over = True
        self.phase = BETWEEN
        self.turn = refusal
        self.unanswered.append(refusal)
        body, headers = self.front.refusal(self.url, refused.status, refused.message)
        refusal.respond(refused.status, body, [*refused.headers, *headers])

    def part(self) -> None:
        """Close once everything written has gone out.

        If more is coming in, only the sending half is closed at first, and what comes is thrown
        away for a while: a full close would reset the connection, and with it the response.
        """
        if self.phase == PARTING:
            return
        linger = self.unread or self.phase in {HEAD, BODY}
        self.deaf = True
        self.phase = PARTING
        self.since = self.front.connections.now
        if linger and not self.half_closed and self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Answer what has come, and close; uvicorn calls this when it drains."""
        if self.phase == PARTING or not self.unanswered:
            self.deaf = True
            self.phase = PARTING
            self.transport.close()
            return
        self.unanswered[-1].keep_alive = False
        if self.phase != BODY:
            self.deaf = True

    def check(self, now: float) -> None:
        """Close or refuse what is overdue; the sweep calls this."""
        limits = self.limits
        # Times are noted by the clock of the last sweep, so they may be early by one.
        now -= limits.sweep_s
        if self.stalled_since is not None and now - self.stalled_since > limits.stall_s:
            self.transport.abort()
            return
        phase = self.phase
        if phase == BETWEEN and self.unanswered:
            return
        if self.flow.read_paused and phase in {HEAD, BODY}:
            # We do not read: the client cannot be blamed.
            self.since = self.front.connections.now
            return
        if not is_overdue(phase, now - self.since, self.progress.received, limits):
            return
        if phase in {HEAD, BODY}:
            self.refuse(Refused(408, "The request did not arrive in time"))
        elif phase == PARTING:
            self.transport.abort()
        else:
            self.part()

    # --- what is wrong with the input -------------------------------------------------------------

    def _parsing_failed(self, error: httptools.HttpParserError) -> None:
        """Refuse what could not be parsed, or what a callback refused."""
        cause = error.__context__
        if self.deaf or isinstance(cause, _Stop):
            return
        if isinstance(cause, Refused):
            self.refuse(cause)
        elif cause is None:
            self.refuse(Refused(400, f"Invalid HTTP: {error}"))
        else:
            _log.error("request.failed", exc_info=cause)
            self.refuse(Refused(500, INTERNAL_ERROR))

    def _bound_body(self, turn: AsgiTurn) -> None:
        """Count what comes of a body that did not announce its length."""
        if self.progress.received > self.limits.body_bytes:
            raise Refused(413, too_large(self.limits.body_bytes))
        if not turn.reserve(self.progress.received):
            raise overloaded()

    def _ignore_upgrades(self, rest: memoryview) -> None:
        """Parse a request that asked for an upgrade as if it had not, and what follows it.

        The parser takes what follows such a head for another protocol.
        """
        while True:
            version = self.parser.get_http_version().encode("ascii")
            method = self.parser.get_method()
            self.parser.feed_data(without_upgrade(method, self.url, version, self.headers))
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            else:
                return
