"""`POST /events` on the fast way: an event for an endpoint whose subscriptions are in memory.

What that does not tell is asked of the database, behind the other requests: an endpoint without
subscriptions, the endpoints of an owner, a key that was used for something else.
"""

import asyncio
import math
from collections.abc import Coroutine
from functools import lru_cache, partial
from typing import Any, Final

import msgspec
import structlog

from waypost.dialects.convoy import drafts, envelope
from waypost.dialects.convoy.config import REQUEST_ID_HEADER
from waypost.dialects.convoy.drafts import EventIn
from waypost.dialects.convoy.envelope import Answer
from waypost.dialects.convoy.events import PATH, EventRoutes, taken
from waypost.dialects.convoy.format import Signed
from waypost.dialects.convoy.table import BASE, let_in
from waypost.model import ids
from waypost.model.errors import IdempotencyMismatch, WaypostError
from waypost.model.ids import Id
from waypost.model.project import Principal, Scope
from waypost.operations.access import Access
from waypost.operations.events import Accepted, Events, Places
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.events import needs_scan
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces
from waypost.web.fast import Family, FastRequest, FastRoute, FastRoutes, Header
from waypost.web.requests import demand_json

_PLACES: Final = Places("", "event_type")
_QUEUED: Final = "Event queued successfully"
_NAMED: Final = "{project_id}"
_JSON: Final = b"application/json"

_log = structlog.get_logger(__name__)

Read = tuple[EventIn, bytes]
"""What was read of a body, and the data in it."""


class Intake:
    """Takes events in. For the loop's thread alone."""

    def __init__(
        self,
        access: Access,
        surfaces: Surfaces,
        aside: Aside,
        events: Events,
        subscriptions: Subscriptions,
        routes: EventRoutes,
    ) -> None:
        """Take what says who may, what renders errors, what takes events in, and the long way."""
        self._access = access
        self._surfaces = surfaces
        self._aside = aside
        self._events = events
        self._subscriptions = subscriptions
        self._routes = routes
        self._tasks: set[asyncio.Task[None]] = set()

    def register(self, routes: FastRoutes) -> None:
        """Enter the routes of all projects."""
        before, _, after = f"{BASE}{PATH}".partition(_NAMED)
        routes.families.append(Family(b"POST", before.encode(), after.encode(), self._route))

    def _route(self, path: bytes, project: bytes) -> FastRoute:
        limit = self._events.limits.max_body_bytes
        refuse = self._surfaces.refusals(path.decode("latin-1"))
        serve = partial(self.post, project.decode("latin-1"))
        return FastRoute(b"POST", path, serve, limit, refuse)

    def post(self, project: str, request: FastRequest) -> None:
        """Take in an event; `project` is what the path names."""
        try:
            key = request.header(b"authorization")
            principal = let_in(self._access, key, project, Scope.EVENTS_WRITE, reads=False)
            media = request.header(b"content-type")
            if media is not None and media != _JSON:
                demand_json(media.decode("latin-1"))
            read = partial(_read, request.body, self._events)
            if needs_scan(request.body) or self._aside.holds(principal.key_id):
                then = partial(self._go_on, request, principal)
                self._aside.run(principal.key_id, read, then)
                return
            self._accept(request, principal, *read())
        except WaypostError as error:
            self._refuse(request, error)

    def _go_on(self, request: FastRequest, principal: Principal, read: Read | Exception) -> None:
        """Go on with what was read aside."""
        if isinstance(read, Exception):
            if not isinstance(read, WaypostError):
                _log.error("request.failed", exc_info=read)
            self._refuse(request, read)
            return
        try:
            self._accept(request, principal, *read)
        except WaypostError as error:
            self._refuse(request, error)

    def _accept(
        self, request: FastRequest, principal: Principal, posted: EventIn, payload: bytes
    ) -> None:
        endpoint_id = ids.find_ulid(posted.endpoint_id) if posted.endpoint_id else None
        needs_key = self._needs_key(principal, endpoint_id)
        if endpoint_id is None or needs_key is None:
            self._spawn(request, self._take(request, principal, posted))
            return
        draft = drafts.made(posted, payload, needs_key=needs_key, endpoints=(endpoint_id,))
        done = partial(self._answer, request, principal, posted)
        self._events.accept(principal, [draft], _PLACES, done)

    def _needs_key(self, principal: Principal, endpoint_id: Id | None) -> bool | None:
        """Tell whether an endpoint's events must have a key; None where nothing is known of it."""
        if endpoint_id is None:
            return None
        for one in self._subscriptions.at(principal.project_id, endpoint_id):
            if one.format_settings is not None:
                signed = _signed(one.format_settings)
                return signed.request_id_header != REQUEST_ID_HEADER
        return None

    def _answer(
        self,
        request: FastRequest,
        principal: Principal,
        posted: EventIn,
        outcome: list[Accepted] | WaypostError,
    ) -> None:
        if isinstance(outcome, IdempotencyMismatch):
            # It left its receipt: only the event is to be found that holds the key.
            key = posted.idempotency_key or ""
            self._spawn(request, self._repeat(request, principal, key, outcome))
        elif isinstance(outcome, WaypostError):
            self._refuse(request, outcome)
        else:
            self._respond(request, taken(_QUEUED, outcome[0].id))

    async def _repeat(
        self, request: FastRequest, principal: Principal, key: str, error: WaypostError
    ) -> None:
        first = await self._events.first_of(principal, key)
        if first is None:
            raise error
        self._respond(request, taken(_QUEUED, first))

    async def _take(self, request: FastRequest, principal: Principal, posted: EventIn) -> None:
        accepted = await self._routes.take(principal, posted)
        self._respond(request, taken(_QUEUED, accepted.id))

    def _spawn(self, request: FastRequest, work: Coroutine[Any, Any, None]) -> None:
        """Do what has to wait, and refuse the request where that fails."""

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if error is None:
                return
            if not isinstance(error, WaypostError):
                _log.error("request.failed", exc_info=error)
            self._refuse(request, error)

        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    def _respond(self, request: FastRequest, answer: Answer) -> None:
        request.respond(answer.status, answer.encoded())

    def _refuse(self, request: FastRequest, error: BaseException) -> None:
        problem = self._surfaces.problem(error)
        rendered = envelope.render(problem)
        headers: list[Header] = []
        if problem.retry_after_s is not None:
            headers.append((b"retry-after", b"%d" % max(1, math.ceil(problem.retry_after_s))))
        request.respond(rendered.status, rendered.body, headers, rendered.content_type.encode())


def _read(body: bytes, events: Events) -> Read:
    posted = drafts.read(body, EventIn, events.limits)
    return posted, drafts.checked(posted, events.limits)


@lru_cache(maxsize=4096)
def _signed(settings: str) -> Signed:
    return msgspec.json.decode(settings, type=Signed)
