"""One connection to a receiver: writes a request, reads its bounded answer, may do so again.

A call is one request on its way; a connection carries one call at a time. It knows HTTP/1 and
nothing of deadlines, pools or deliveries. Whatever the receiver sends, memory stays bounded: all
heads of an answer (interim ones included) share one cap, the body has one, and so have the bytes
on the wire, which chunk extensions and trailers would else inflate.

Sources: RFC 9112 (framing), RFC 9110, sections 15.2 (interim answers) and 10.2.3 (Retry-After).
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from typing import Final, cast

import httptools
import msgspec
from msgspec.structs import replace

from waypost.model.delivery import Timings
from waypost.model.exchange import Consent, Exchange, FailureKind

HEAD_MAX: Final = 32 * 1024
INTERIM_MAX: Final = 8
KNOWN_MAX: Final = 256
KNOWN_BYTES_MAX: Final = 512

_SWITCHING: Final = 101
_FINAL: Final = 200
_STATUS_END: Final = 600
_BODILESS: Final = (204, 304)
_KEEP_ALIVE: Final = re.compile(rb"timeout\s*=\s*([0-9]{1,9})", re.IGNORECASE)
_CONSENT: Final = {b"webhook-allowed-origin": "origin", b"webhook-allowed-rate": "rate"}
_NOTED: Final = frozenset(
    {b"content-length", b"transfer-encoding", b"retry-after", b"keep-alive", *_CONSENT}
)

_VERSION: Final = b"HTTP/1.1 "

Done = Callable[[Exchange], None]

Answer = tuple[int, bytes, str | None, int | None]
"""What a connection tells of an answer: status, body, retry_after, keep_alive_s."""


class _Surplus(Exception):
    """Another answer began after the end of the one that was asked for."""


class KnownAnswers:
    """What was read from answers that receivers give again and again, byte for byte.

    An answer is known by all its bytes, so what it says does not depend on who gave it. Only
    whole answers are, that came in one piece and leave the connection as it was before them: the
    same bytes need not be parsed again. What is kept is bounded; when it is full, all is forgotten.
    """

    __slots__ = ("_answers", "find")

    def __init__(self) -> None:
        """Know none."""
        self._answers: dict[bytes, Answer] = {}
        self.find: Callable[[bytes], Answer | None] = self._answers.get

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._answers)

    def keep(self, raw: bytes, answer: Answer) -> None:
        """Keep what was read from a whole answer, unless it is long or not of HTTP/1.1."""
        if len(raw) <= KNOWN_BYTES_MAX and raw.startswith(_VERSION):
            if len(self._answers) >= KNOWN_MAX:
                self._answers.clear()
            self._answers[raw] = answer


class Call(msgspec.Struct, eq=False):
    """One request on its way, until its `done` was called.

    Attributes:
        breaker: breaks it off.
        head: what is sent, with `body` behind it.
        started_at: when it was asked for, monotonic seconds.
        sent_at: when it was written, or `started_at` before.
        deadline: until when its whole answer must have come, monotonic seconds.
        done: hears of the end.
        connection: what carries it, or carried it.
        dialling: makes a connection for it; None once it has one.
    """

    breaker: Callable[["Call"], None]
    head: bytes
    body: bytes
    started_at: float
    sent_at: float
    deadline: float
    done: Done
    connection: "Connection | None" = None
    dialling: asyncio.Task[None] | None = None
    resent: bool = False
    resolve_us: int = 0
    connect_us: int = 0
    tls_us: int = 0

    @property
    def is_open(self) -> bool:
        """Tell whether its end is still to come."""
        carrier = self.connection
        return self.dialling is not None or (carrier is not None and carrier.call is self)

    def abort(self) -> None:
        """Break off: `done` hears of ABORTED soon after, not from inside this call.

        Without effect where the call has ended.
        """
        self.breaker(self)

    def timings(self, first_byte_at: float, now: float) -> Timings:
        """Return how long its parts took; `first_byte_at` is 0.0 where no byte came."""
        total_us = first_byte_us = micros(now - self.started_at)
        if first_byte_at != now or self.sent_at != self.started_at:
            first_byte_us = micros(first_byte_at - self.sent_at) if first_byte_at else 0
        return Timings(self.resolve_us, self.connect_us, self.tls_us, first_byte_us, total_us)


class Connection(asyncio.Protocol):
    """An HTTP/1 connection that carries one exchange at a time.

    Attributes:
        call: the call whose answer it reads, or None.
        transport: set as soon as the connection stands.
        status: the final status of the present answer; of the one before until it begins to come.
        body: after an answer: the first bytes of its body.
        retry_after: its `Retry-After`; empty where several disagree, None where there is none.
        keep_alive_s: how long the receiver says it keeps an idle connection; None: it does not say.
        consent: what the answer allows; None where it says nothing of that.
        first_byte_at: when the first byte of the answer came, monotonic seconds; 0.0 before, and
            for an answer that was known and came all at once.
        reused: it has carried an exchange before.
        reusable: after an answer: the connection may carry another exchange.
    """

    __slots__ = (
        "_body_max",
        "_broken",
        "_framed",
        "_interim",
        "_known",
        "_left",
        "_now",
        "_on_answer",
        "_on_broken",
        "_on_lost",
        "_over",
        "_parser",
        "_pieces",
        "_reading",
        "_room",
        "_wire",
        "body",
        "born_at",
        "call",
        "consent",
        "expires_at",
        "first_byte_at",
        "keep_alive_s",
        "retry_after",
        "reusable",
        "reused",
        "status",
        "transport",
    )

    def __init__(
        self,
        *,
        now: Callable[[], float],
        known: KnownAnswers,
        body_max: int,
        on_answer: Callable[["Connection"], None],
        on_broken: Callable[["Connection", FailureKind, str], None],
        on_lost: Callable[["Connection", Exception | None], None],
    ) -> None:
        """Take what to call: a complete answer, an unusable one, and the end of the connection."""
        self.call: Call | None = None
        self.born_at = self.expires_at = now()
        self.reused = False
        self._now = now
        self._known = known
        self._body_max = body_max
        self._on_answer = on_answer
        self._on_broken = on_broken
        self._on_lost = on_lost
        self._parser = httptools.HttpResponseParser(self)
        self._reading = False
        self._over = False
        self.retry_after: str | None = None
        self.keep_alive_s: int | None = None
        self.consent: Consent | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = self._wire = cast("asyncio.Transport", transport)

    async def secure(self, context: ssl.SSLContext, host: str) -> None:
        """Go on over TLS, verified for `host`.

        Raises:
            OSError: the handshake failed (`ssl.SSLError`), or the connection broke in it.
        """
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(self._wire, self, context, server_hostname=host)
        if secured is None:
            raise ConnectionAbortedError
        self.transport = secured

    def send(self, request: bytes) -> None:
        """Write a whole request, and expect its answer."""
        self.first_byte_at = 0.0
        self._reading = True
        self.transport.write(request)

    @property
    def is_sending(self) -> bool:
        """Say whether a part of the request has not left yet: as plain bytes or as encrypted."""
        transport, wire = self.transport, self._wire
        return bool(
            transport.get_write_buffer_size()
            or (wire is not transport and wire.get_write_buffer_size())
        )

    def data_received(self, data: bytes) -> None:
        """Read on; bytes that nobody asked for end the connection."""
        if not self._reading:
            self.transport.abort()
            return
        if self.first_byte_at:
            self._read(data)
            if self._over:
                self._conclude()
            return
        answer = self._known.find(data)
        if answer is None:
            self._begin()
            self._read(data)
            if self._over:
                self._conclude(data)
        else:
            # The parser stands where it would after reading it: at the start of a message.
            self._reading = False
            self.reusable = True
            self.status, self.body, self.retry_after, self.keep_alive_s = answer
            self._on_answer(self)

    def _begin(self) -> None:
        self.first_byte_at = self._now()
        self.status = 0
        self.retry_after = self.keep_alive_s = self.consent = None
        self.reusable = False
        self._pieces: list[bytes] = []
        self._room = self._body_max
        self._left = HEAD_MAX
        self._interim = 0
        self._framed = False
        self._over = False
        self._broken: tuple[FailureKind, str] | None = None

    def _read(self, data: bytes) -> None:
        if len(data) <= self._left:
            self._left -= len(data)
            self._parse(data)
        else:
            self._parse_bounded(data)

    def connection_lost(self, error: Exception | None) -> None:
        """Take the end of the connection as the end of a body that has no other."""
        begun = self._reading and self.first_byte_at
        if begun and error is None and self.status and not self._framed:
            self._conclude()
        self._reading = False
        self._on_lost(self, error)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # After the end of an answer this is only the reason not to use the connection again.
            self.reusable = False
            if not self._over:
                self._break(FailureKind.PROTOCOL, "the receiver's answer is not valid HTTP/1")

    def _parse_bounded(self, data: bytes) -> None:
        while data and not self._broken:
            piece, data = data[: self._left], data[self._left :]
            self._left -= len(piece)
            self._parse(piece)
            if data and not self._left:
                self._cut()
                return

    def _cut(self) -> None:
        self.reusable = False
        self._over = True
        if not self.status:
            self._break(FailureKind.TOO_LARGE, "the receiver's answer has too large a head")

    def _break(self, kind: FailureKind, text: str) -> None:
        self._over = True
        self._broken = self._broken or (kind, text)

    def _conclude(self, whole: bytes = b"") -> None:
        self._reading = False
        if self._broken is not None:
            self._on_broken(self, *self._broken)
            return
        self.body = b"".join(self._pieces)
        if whole and self.reusable and not self._interim:
            answer = (self.status, self.body, self.retry_after, self.keep_alive_s)
            self._known.keep(whole, answer)
        self._on_answer(self)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Stop at bytes after a complete answer: they belong to no request."""
        if self._over:
            raise _Surplus

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note the few headers that matter; a trailer is none of them."""
        name = name.lower()
        if name not in _NOTED or self.status:
            return
        if name == b"content-length":
            self._framed = True
        elif name == b"transfer-encoding":
            self._framed = value.lower().rstrip().endswith(b"chunked")
        elif name == b"retry-after":
            text = value.decode("latin-1").strip()
            self.retry_after = text if self.retry_after in {None, text} else ""
        elif name == b"keep-alive":
            kept = _KEEP_ALIVE.search(value)
            self.keep_alive_s = int(kept[1]) if kept else None
        else:
            field, text = _CONSENT[name], value.decode("latin-1").strip()
            found = self.consent or Consent()
            known = getattr(found, field)
            self.consent = replace(found, **{field: text if known in {None, text} else ""})

    def on_headers_complete(self) -> None:
        """Tell the final answer from an interim one."""
        status = self._parser.get_status_code()
        if _FINAL <= status < _STATUS_END:
            self.status = status
            # A body in one-byte chunks costs six bytes on the wire for each of its own.
            self._left = HEAD_MAX + 6 * self._body_max
            self._over = status in _BODILESS
        elif status == _SWITCHING or not 100 <= status < _FINAL:
            self._break(FailureKind.PROTOCOL, f"the receiver answered with status {status}")
        else:
            self._interim += 1
            if self._interim > INTERIM_MAX:
                self._break(FailureKind.PROTOCOL, "the receiver sent too many interim answers")

    def on_body(self, piece: bytes) -> None:
        """Keep the body up to its cap; what lies beyond is not waited for."""
        if len(piece) > self._room:
            piece = piece[: self._room]
            self._over = True
        self._room -= len(piece)
        self._pieces.append(piece)

    def on_message_complete(self) -> None:
        """End the exchange, or pass over an interim answer."""
        if self.status:
            # Cut before its end, the answer leaves bytes in flight. And one that allows something
            # ends its connection, so that none which comes behind it needs to take that back.
            self.reusable = (
                (not self._over or self.status in _BODILESS)
                and self.consent is None
                and bool(self._parser.should_keep_alive())
            )
            self._over = True
        else:
            self.retry_after = self.keep_alive_s = self.consent = None
            self._framed = False


def micros(seconds: float) -> int:
    """Return whole microseconds."""
    return int(seconds * 1_000_000)
