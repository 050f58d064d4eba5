"""Socotra's events and diverted events: read, sent again, deleted."""

from typing import Final

from waypost.dialects.socotra import permissions as may
from waypost.dialects.socotra import wire
from waypost.dialects.socotra.routes import TENANT, Call, Operation
from waypost.dialects.socotra.shapes import SliceQuery, StreamQuery
from waypost.dialects.socotra.wire import COUNT, DivertedOut, EventOut, EventsOut, Stream
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.project import Principal
from waypost.operations.diverted import Diverted
from waypost.operations.events import Events
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.events import is_type
from waypost.policy.stream import Position
from waypost.policy.terms import terms_of

_EVENTS: Final = f"{TENANT}/events"
_BOX: Final = f"{TENANT}/webhooks/{{webhookLocator}}/diverted"
_DIVERTED: Final = f"{_BOX}/{{eventLocator}}"


class EventHandlers:
    """What is asked of events."""

    def __init__(self, events: Events) -> None:
        """Take the operations."""
        self._events = events

    def operations(self) -> list[Operation]:
        """Return the rows of the table."""
        listing = (may.EVENTS_READ, may.EVENTS_LIST)
        return [
            Operation(
                "fetchMultipleEvents",
                "GET",
                f"{_EVENTS}/list",
                listing,
                self.stream,
                query=StreamQuery,
            ),
            Operation(
                "fetchEventsForARequest",
                "GET",
                f"{_EVENTS}/request/{{locator}}",
                (may.EVENTS_READ,),
                self.of_request,
            ),
            Operation("fetchEvent", "GET", f"{_EVENTS}/{{locator}}", (may.EVENTS_READ,), self.get),
        ]

    async def get(self, call: Call) -> EventOut:
        """Return an event."""
        event, _ = await self._events.get(call.principal, call.locators["locator"])
        return wire.event_out(event)

    async def of_request(self, call: Call) -> list[EventOut]:
        """Return the events of a request; there may be none."""
        found = await self._events.list_of_request(call.principal, call.locators["locator"])
        return [wire.event_out(event) for event in found]

    async def stream(self, call: Call) -> EventsOut:
        """Return the next part of the stream."""
        asked = _read_stream(call.query)
        found, position = await self._events.read_on(
            call.principal,
            asked.position,
            asked.size,
            until=asked.until,
            event_type=asked.type,
        )
        token = wire.spell_stream(Stream(position, asked.until, asked.type, asked.size))
        return EventsOut(token, [wire.event_out(event) for event in found])


def _read_stream(asked: StreamQuery) -> Stream:
    begin_us, end_us = asked.start_timestamp, asked.end_timestamp
    if asked.paging_token is not None:
        if any(one is not None for one in (begin_us, end_us, asked.type, asked.page_size)):
            raise InvalidInput(details=[("pagingToken", "Must be alone")])
        return wire.read_stream(asked.paging_token)
    if asked.type is not None and not is_type(asked.type):
        raise InvalidInput(details=[("type", "Must be an event type")])
    if begin_us is not None and end_us is not None and end_us <= begin_us:
        raise InvalidInput(details=[("endTimestamp", "Must be later than startTimestamp")])
    after = ids.FIRST if begin_us is None else ids.preceding(ids.lowest(max(begin_us, 1)))
    until = None if end_us is None else ids.lowest(end_us)
    return Stream(Position(after), until, asked.type, asked.page_size or COUNT)


class DivertedHandlers:
    """What is asked of diverted events: each is a webhook's of an event."""

    def __init__(self, diverted: Diverted, subscriptions: Subscriptions) -> None:
        """Take the operations."""
        self._diverted = diverted
        self._subscriptions = subscriptions

    def operations(self) -> list[Operation]:
        """Return the rows of the table."""
        listing = (may.DIVERTED_READ, may.DIVERTED_LIST)
        resend, delete = (may.DIVERTED_RESEND,), (may.DIVERTED_DELETE,)
        return [
            Operation(
                "fetchMultipleDivertedEvents",
                "GET",
                _BOX,
                listing,
                self.list_slice,
                query=SliceQuery,
            ),
            Operation("fetchDivertedEvent", "GET", _DIVERTED, (may.DIVERTED_READ,), self.get),
            Operation("deleteDivertedEvent", "DELETE", _DIVERTED, delete, self.delete),
            Operation(
                "resendDivertedEvent",
                "POST",
                f"{_DIVERTED}/resend",
                resend,
                self.resend,
                errors=(404, 409),
            ),
        ]

    async def list_slice(self, call: Call) -> list[DivertedOut]:
        """List what was diverted of a webhook, by when it was."""
        asked: SliceQuery = call.query
        webhook_id = call.locators["webhookLocator"]
        found = await self._diverted.list_slice(
            call.principal, webhook_id, asked.offset, asked.count
        )
        triggers = await self._triggers(call.principal, webhook_id)
        return [wire.diverted_out(one, triggers) for one in found]

    async def get(self, call: Call) -> DivertedOut:
        """Return one."""
        found = await self._diverted.get_latest(call.principal, *_place(call))
        triggers = await self._triggers(call.principal, call.locators["webhookLocator"])
        return wire.diverted_out(found, triggers)

    async def resend(self, call: Call) -> dict[str, str]:
        """Send one again."""
        await self._diverted.resend_latest(call.principal, *_place(call))
        return {}

    async def delete(self, call: Call) -> dict[str, str]:
        """Delete one."""
        await self._diverted.delete_latest(call.principal, *_place(call))
        return {}

    async def _triggers(self, principal: Principal, webhook_id: ids.Id) -> frozenset[str] | None:
        webhook = await self._subscriptions.get(principal, webhook_id)
        defaults = self._subscriptions.defaults(principal.project_id)
        triggers = terms_of(webhook, defaults).failure_handling.triggers
        return None if triggers is None else frozenset(triggers)


def _place(call: Call) -> tuple[ids.Id, ids.Id]:
    return call.locators["webhookLocator"], call.locators["eventLocator"]
