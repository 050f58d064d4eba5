"""Meta events: listed, looked into, and sent again."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from waypost.clock import Clock
from waypost.dialects.convoy import meta, paging
from waypost.dialects.convoy.config import RETRY_MAX_S, MetaKind, ProjectConfig
from waypost.dialects.convoy.envelope import Answer, born, spelled
from waypost.dialects.convoy.projects import Homes
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.dialects.convoy.views import status_of
from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState
from waypost.model.errors import Conflict, NotFound
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.project import Principal, Scope
from waypost.model.shown import ShownAttempt
from waypost.operations.deliveries import Deliveries
from waypost.operations.events import Events
from waypost.operations.replays import Replays

PATH: Final = f"{PROJECT_PATH}/meta-events"
ONE_PATH: Final = f"{PATH}/{{meta_id}}"

_KIND: Final = "meta event"
_KINDS: Final = tuple(one.value for one in MetaKind)

Last = tuple[Delivery, ShownAttempt | None]


class MetaRoutes:
    """Handlers over the operations on events and deliveries, in the hidden project."""

    def __init__(
        self,
        homes: Homes,
        events: Events,
        deliveries: Deliveries,
        replays: Replays,
        clock: Clock,
    ) -> None:
        """Take what meta events go by, what they are kept in, and what sends them again."""
        self._homes = homes
        self._events = events
        self._deliveries = deliveries
        self._replays = replays
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about meta events."""
        reads, writes = Scope.EVENTS_READ, Scope.EVENTS_WRITE
        return [
            Operation("GET", PATH, reads, self.list_page),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", f"{ONE_PATH}/resend", writes, self.resend),
        ]

    async def list_page(self, call: Call) -> Answer:
        """List meta events, each with its latest delivery."""
        call.allow(*paging.PARAMETERS, *paging.DATES)
        window = paging.read_window(call, self._clock.now_us())
        listing = paging.read(call, window)
        hidden = _hidden(call.principal)
        page = await self._events.list_page(hidden, listing.request, types=_KINDS)
        home = (await self._homes.of(call.principal)).config
        last = await self._last(call.principal, [one.id for one in page.items])
        project = ids.spell_ulid(call.principal.project_id)
        data = paging.page_out(
            listing,
            page,
            lambda one: one.id,
            lambda one: self._shape(project, home, one, last.get(one.id)),
        )
        return Answer("Meta events fetched successfully", data)

    async def get(self, call: Call) -> Answer:
        """Return a meta event, with the headers of its last request."""
        event = await self._find(call)
        return Answer("Meta event fetched successfully", await self._shown(call, event))

    async def resend(self, call: Call) -> Answer:
        """Send a meta event once more, unless it is still owed."""
        event = await self._find(call)
        hidden, hook_id = _hidden(call.principal), meta.hook_id(call.principal.project_id)
        last = (await self._last(call.principal, [event.id])).get(event.id)
        if last is None or last[0].state is DeliveryState.PENDING:
            raise Conflict("the meta event is still being sent")
        if not await self._replays.owe(hidden, event.id, [hook_id]):
            raise Conflict("meta events are not enabled")
        data = await self._shown(call, event)
        return Answer("Meta event processed for retry successfully", data)

    async def _find(self, call: Call) -> Event:
        try:
            seen = await self._events.find(_hidden(call.principal), call.id("meta_id", _KIND))
        except NotFound as error:
            raise NotFound(_KIND) from error
        if seen.event.type not in _KINDS:
            raise NotFound(_KIND)
        return seen.event

    async def _last(self, caller: Principal, event_ids: Sequence[Id]) -> dict[Id, Last]:
        hook_id = meta.hook_id(caller.project_id)
        return await self._deliveries.last_of(_hidden(caller), event_ids, hook_id)

    async def _shown(self, call: Call, event: Event) -> dict[str, Any]:
        home = (await self._homes.of(call.principal)).config
        last = (await self._last(call.principal, [event.id])).get(event.id)
        project = ids.spell_ulid(call.principal.project_id)
        shown = self._shape(project, home, event, last)
        if last is not None and last[1] is not None:
            of = _hidden(call.principal)
            _, headers = await self._deliveries.attempt(of, event.id, last[1].id)
            shown["attempt"]["request_http_header"] = headers or {}
        return shown

    def _shape(
        self, project: str, home: ProjectConfig, event: Event, last: Last | None
    ) -> dict[str, Any]:
        delivery, attempt = (None, None) if last is None else last
        body = meta.body_of(event)
        ended_us = None if delivery is None else delivery.finished_us
        due_us = None if delivery is None else delivery.due_us
        is_sending = delivery is not None and self._deliveries.is_sending(delivery.id)
        return {
            "uid": ids.spell_ulid(event.id),
            "project_id": project,
            "event_type": event.type,
            "status": "Scheduled"
            if delivery is None
            else status_of(delivery, is_sending=is_sending),
            "metadata": {
                "data": msgspec.Raw(body),
                "raw": body.decode(),
                "strategy": home.strategy.type,
                "next_send_time": spelled(due_us or ended_us),
                "num_trials": 0 if delivery is None else delivery.attempts,
                "interval_seconds": home.strategy.duration,
                "retry_limit": home.strategy.retry_count,
                "max_retry_seconds": int(RETRY_MAX_S),
            },
            "attempt": None
            if attempt is None
            else {
                "request_http_header": {},
                "response_http_header": {},
                "response_data": attempt.response.decode(errors="replace"),
            },
            "created_at": born(event.id),
            "updated_at": born(event.id) if ended_us is None else spelled(ended_us),
            "deleted_at": None,
        }


def _hidden(caller: Principal) -> Principal:
    """Return the caller in the hidden project that meta events are kept in."""
    return msgspec.structs.replace(caller, project_id=ids.alerts_of(caller.project_id))
