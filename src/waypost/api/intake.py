"""Taking events in: the two fast routes, `POST /v1/events` and `POST /v1/events/batch`.

1. who is calling, and may they;
2. what the request carries: one event or many, native or CloudEvents;
3. parse it, aside where that would take long;
4. hand it to ingest;
5. answer, by joining bytes: nothing is built to be encoded.
"""

import base64
import math
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from waypost.model import ids
from waypost.model.errors import IdempotencyMismatch, InvalidInput, TooManyRequests, WaypostError
from waypost.model.project import Principal, Scope
from waypost.operations.access import Access, digest_of
from waypost.operations.events import Accepted, Events, Places
from waypost.policy import cloudevents, timestamp
from waypost.policy.cloudevents import Mode
from waypost.policy.events import Draft, needs_scan, parse_batch, parse_event
from waypost.policy.media import charset, essence, is_json
from waypost.policy.origin import Origin
from waypost.web.aside import Aside
from waypost.web.errors import Problem, Surfaces, UnsupportedMediaType
from waypost.web.fast import FastRequest, FastRoute, FastRoutes, Header

EVENTS_PATH: Final = "/v1/events"
BATCH_PATH: Final = "/v1/events/batch"
REMAINING: Final = b"x-requests-remaining"

_JSON: Final = "application/json"
_UNPROCESSABLE: Final = 422
_WRITE: Final = Scope.EVENTS_WRITE
_ITEMS: Final = ("events[", "[")
"""What the path of a complaint about one item of a batch starts with."""
_ONE: Final = Places("", "event_type")
_MANY: Final = Places("events[{}].", "event_type")
_PLACES: Final = {
    Mode.STRUCTURED: Places("", "type"),
    Mode.BINARY: Places("ce-", "type"),
    Mode.BATCHED: Places("[{}].", "type"),
}

_log = structlog.get_logger(__name__)


class _Head:
    """What the headers of a request say."""

    __slots__ = (
        "_key_digest",
        "authorization",
        "content_type",
        "idempotency_key",
        "is_cloudevent",
        "project",
    )

    def __init__(self, headers: Sequence[Header]) -> None:
        self._key_digest: bytes | None = None
        self.authorization: bytes | None = None
        self.content_type: bytes | None = None
        self.idempotency_key: bytes | None = None
        self.is_cloudevent = False
        self.project: bytes | None = None
        for name, value in headers:
            if name == b"authorization":
                self.authorization = value
            elif name == b"content-type":
                self.content_type = value
                self.is_cloudevent = self.is_cloudevent or b"cloudevents" in value.lower()
            elif name == b"idempotency-key":
                if self.idempotency_key is not None:
                    raise InvalidInput(details=[("Idempotency-Key", "must be there once")])
                self.idempotency_key = value
            elif name == b"waypost-project":
                self.project = value
            elif name.startswith(b"ce-"):
                self.is_cloudevent = True

    def key_digest(self) -> bytes:
        """Return the digest of the caller's key, made but once.

        Raises:
            NotAuthenticated: there is none.
        """
        found = self._key_digest
        if found is None:
            found = self._key_digest = digest_of(self.authorization)
        return found


def _head_of(request: FastRequest) -> _Head:
    """Return what the headers of a request say, read but once for all that share them."""
    shared = request.head
    if shared is None:
        return _Head(request.headers)
    head = shared.context
    if not isinstance(head, _Head):
        head = shared.context = _Head(request.headers)
    return head


class _Parsed(msgspec.Struct, frozen=True):
    """The events of a request, and how its answer is to look."""

    drafts: Sequence[Draft]
    places: Places
    many: bool


class Intake:
    """The handlers of the fast routes."""

    def __init__(self, access: Access, events: Events, surfaces: Surfaces, aside: Aside) -> None:
        """Take what says who may, what takes events in, and what renders errors."""
        self._access = access
        self._events = events
        self._surfaces = surfaces
        self._aside = aside
        self._moments = _Moments()

    def register(self, routes: FastRoutes) -> None:
        """Enter the two routes."""
        limits = self._events.limits
        for path, many, max_bytes in (
            (EVENTS_PATH, False, limits.max_body_bytes),
            (BATCH_PATH, True, limits.max_batch_bytes),
        ):
            routes.add(
                FastRoute(
                    b"POST",
                    path.encode(),
                    partial(self.post, many=many),
                    max_bytes,
                    self._surfaces.refusals(path),
                )
            )

    def post(self, request: FastRequest, *, many: bool) -> None:
        """Take in the event of a request, or the `many` of a batch."""
        remaining = None
        try:
            head = _head_of(request)
            caller = self._access.recognise(head.key_digest())
            remaining = self._access.spend(caller, reads=False)
            principal = self._access.authorize(caller, _WRITE, head.project)
            if needs_scan(request.body) or self._aside.holds(principal.key_id):
                self._aside.run(
                    principal.key_id,
                    partial(self._parse, request, head, many=many),
                    partial(self._scanned, request, principal, remaining, many=many),
                )
                return
            self._accept(request, principal, remaining, self._parse(request, head, many=many))
        except WaypostError as error:
            self._refuse(request, error, remaining, many=many)

    def _scanned(
        self,
        request: FastRequest,
        principal: Principal,
        remaining: int,
        parsed: _Parsed | BaseException,
        *,
        many: bool,
    ) -> None:
        """Go on with what was parsed aside."""
        if isinstance(parsed, _Parsed):
            self._accept(request, principal, remaining, parsed)
        elif isinstance(parsed, WaypostError):
            self._refuse(request, parsed, remaining, many=many)
        else:
            # A defect of ours; whoever waits is still answered.
            problem = self._surfaces.problem(parsed)
            _log.error("request.failed", exc_info=parsed, debugging_request_id=problem.request_id)
            self._respond(request, problem, remaining)

    def _parse(self, request: FastRequest, head: _Head, *, many: bool) -> _Parsed:
        if request.query:
            raise InvalidInput(details=[("query", "is not known")])
        if head.is_cloudevent:
            mode = cloudevents.mode(request.headers)
            if mode is not None:
                return self._parse_cloudevent(request, head, mode, many=many)
        _require_json(head.content_type)
        key = None if head.idempotency_key is None else head.idempotency_key.decode("latin-1")
        limits = self._events.limits
        if not many:
            return _Parsed([parse_event(request.body, limits, key)], _ONE, many=False)
        if key is not None:
            raise InvalidInput(
                details=[("Idempotency-Key", "must be the field idempotency_key of each event")]
            )
        return _Parsed(parse_batch(request.body, limits), _MANY, many=True)

    def _parse_cloudevent(
        self, request: FastRequest, head: _Head, mode: Mode, *, many: bool
    ) -> _Parsed:
        if head.idempotency_key is not None:
            raise InvalidInput(
                details=[("Idempotency-Key", "must not be given: source and id are the key")]
            )
        if (mode is Mode.BATCHED) is not many:
            right = BATCH_PATH if mode is Mode.BATCHED else EVENTS_PATH
            raise UnsupportedMediaType(f"{mode.name.lower()} CloudEvents go to {right}")
        limits = self._events.limits
        if mode is Mode.BATCHED:
            drafts: Sequence[Draft] = cloudevents.parse_batched(request.body, limits)
        elif mode is Mode.STRUCTURED:
            drafts = [cloudevents.parse_structured(request.body, limits)]
        else:
            drafts = [cloudevents.parse_binary(request.headers, request.body, limits)]
        return _Parsed(drafts, _PLACES[mode], many=many)

    def _accept(
        self, request: FastRequest, principal: Principal, remaining: int, parsed: _Parsed
    ) -> None:
        done = partial(self._answer, request, remaining, parsed)
        if not parsed.drafts:
            done([])
            return
        try:
            origin = Origin(request.headers, BATCH_PATH if parsed.many else EVENTS_PATH)
            self._events.accept(principal, parsed.drafts, parsed.places, done, origin)
        except WaypostError as error:
            self._refuse(request, error, remaining, many=parsed.many)

    def _answer(
        self,
        request: FastRequest,
        remaining: int,
        parsed: _Parsed,
        outcome: list[Accepted] | WaypostError,
    ) -> None:
        if isinstance(outcome, WaypostError):
            self._refuse(request, outcome, remaining, many=parsed.many, places=parsed.places)
            return
        if parsed.many:
            bodies = map(self._body, outcome, parsed.drafts)
            body = b'{"data":[%b]}' % b",".join(bodies)
        else:
            body = self._body(outcome[0], parsed.drafts[0])
        request.respond(202, body, ((REMAINING, b"%d" % remaining),))

    def _body(self, accepted: Accepted, draft: Draft) -> bytes:
        content_type = draft.attributes.content_type
        payload, more = accepted.payload, b""
        if content_type is not None and not is_json(content_type):
            payload = b'"%b"' % base64.b64encode(payload)
            more = b',"payload_encoding":"base64"'
        return b'{"token":"%b","created":"%b","event_type":"%b","payload":%b,"duplicate":%b%b}' % (
            ids.spell(ids.EVENT, accepted.id).encode(),
            self._moments.spell(ids.moment(accepted.id)),
            accepted.type.encode(),
            payload,
            b"true" if accepted.duplicate else b"false",
            more,
        )

    def _refuse(
        self,
        request: FastRequest,
        error: WaypostError,
        remaining: int | None,
        *,
        many: bool,
        places: Places = _MANY,
    ) -> None:
        problem = self._surfaces.problem(error)
        if isinstance(error, TooManyRequests):
            remaining = 0
        if many and isinstance(error, IdempotencyMismatch):
            path = places.at.format(error.at_index) + "idempotency_key"
            problem = msgspec.structs.replace(problem, details=((path, error.message),))
        elif many and any(path.startswith(_ITEMS) for path, _ in problem.details):
            # One bad item refuses the whole batch: the JSON is understood, its content is not.
            problem = msgspec.structs.replace(problem, status=_UNPROCESSABLE)
        self._respond(request, problem, remaining)

    def _respond(self, request: FastRequest, problem: Problem, remaining: int | None) -> None:
        rendered = self._surfaces.render_for(EVENTS_PATH)(problem)
        headers: list[Header] = []
        if remaining is not None:
            headers.append((REMAINING, b"%d" % remaining))
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after_s))))
        request.respond(rendered.status, rendered.body, headers, rendered.content_type.encode())


class _Moments:
    """Spells moments, each second but once: events come many in one."""

    __slots__ = ("_second", "_spelled")

    def __init__(self) -> None:
        self._second = -1
        self._spelled = b""

    def spell(self, at_us: int) -> bytes:
        """Return RFC 3339 text in UTC, to the microsecond."""
        second, micros = divmod(at_us, 1_000_000)
        if second != self._second:
            self._second = second
            self._spelled = timestamp.spell(second * 1_000_000)[:-7].encode()
        return b"%b%06dZ" % (self._spelled, micros)


def _require_json(content_type: bytes | None) -> None:
    if content_type is None or content_type == b"application/json":
        return
    text = content_type.decode("latin-1")
    if essence(text) != _JSON:
        raise UnsupportedMediaType(f"content-type: must be {_JSON} or one of CloudEvents")
    if charset(text) not in {"utf-8", "us-ascii"}:
        raise UnsupportedMediaType("content-type: must be in UTF-8")
