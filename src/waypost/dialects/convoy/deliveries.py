"""Convoy's event deliveries: found, looked into, and sent again.

Nothing is re-opened: what is sent again is a delivery of its own, with an id of its own.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.clock import Clock
from waypost.dialects.convoy import paging, things
from waypost.dialects.convoy.answers import Counted, PageOut
from waypost.dialects.convoy.envelope import Answer, read_id
from waypost.dialects.convoy.event_answers import AttemptOut, DeliveryOut
from waypost.dialects.convoy.queries import ChosenQuery, Paged
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.dialects.convoy.views import (
    STATUSES,
    Around,
    Views,
    attempt_out,
    delivery_out,
    status_of,
)
from waypost.model.delivery import Delivery, DeliveryState
from waypost.model.errors import Conflict, InvalidInput, NotFound
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal, Scope
from waypost.model.replay import Plan, ReplayKind, ReplayState
from waypost.operations.deliveries import Deliveries, DeliveryFilter, position
from waypost.operations.events import Events
from waypost.operations.replays import Replays, Wanted

PATH: Final = f"{PROJECT_PATH}/eventdeliveries"
ONE_PATH: Final = f"{PATH}/{{delivery_id}}"
ATTEMPTS_SHOWN: Final = 10
FORCED_MAX: Final = 1_000
"""How many deliveries may be sent again by their ids."""
FILTERS: Final = (
    "endpointId",
    "eventId",
    "subscriptionId",
    "idempotencyKey",
    "status",
    "eventType",
    "event_type",
    "brokerMessageId",
)

COUNTED_MAX: Final = 10_000
"""So far the deliveries are counted that a query asks for."""

_ENDED: Final = {
    "Success": DeliveryState.DELIVERED,
    "Failure": DeliveryState.FAILED,
    "Discarded": DeliveryState.CANCELLED,
}
_WAITING: Final = frozenset(STATUSES) - set(_ENDED)
_FAILED: Final = frozenset({DeliveryState.FAILED, DeliveryState.CANCELLED})
_RUNNING: Final = PageRequest(100)


class IdsIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which deliveries."""

    ids: Annotated[list[str], Meta(min_length=1, max_length=FORCED_MAX)]


class Asked(msgspec.Struct, frozen=True):
    """Which deliveries a query asks for; what is None or empty does not narrow.

    Attributes:
        subscriptions: to one of these.
        nothing: there can be none.
    """

    subscriptions: frozenset[Id] = frozenset()
    event_id: Id | None = None
    key: str | None = None
    statuses: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    nothing: bool = False

    @property
    def which(self) -> DeliveryFilter:
        """Return as much of it as the list knows to narrow by."""
        one = next(iter(self.subscriptions)) if len(self.subscriptions) == 1 else None
        states = {_ENDED.get(status, DeliveryState.PENDING) for status in self.statuses}
        return DeliveryFilter(
            state=next(iter(states)) if len(states) == 1 else None,
            event_id=self.event_id,
            subscription_id=one,
            types=tuple(sorted(self.types)),
        )

    @property
    def waiting(self) -> frozenset[str]:
        """The statuses of what is still owed, where some of them but not all are asked for."""
        waiting = self.statuses - set(_ENDED)
        return frozenset() if len(waiting) == len(_WAITING) else waiting

    @property
    def parts(self) -> list[DeliveryFilter]:
        """Return all of it but what is `waiting`, in parts that the list knows to narrow by."""
        states: set[DeliveryState | None] = {
            _ENDED.get(status, DeliveryState.PENDING) for status in self.statuses - self.waiting
        }
        if not self.statuses:
            states.add(None)
        return [
            DeliveryFilter(state, self.event_id, to, tuple(sorted(self.types)))
            for to in sorted(self.subscriptions) or (None,)
            for state in states
        ]

    @property
    def is_whole(self) -> bool:
        """Whether the list narrows by all of it."""
        return (
            len(self.subscriptions) <= 1
            and len(self.statuses) <= 1
            and self.statuses <= set(_ENDED)
        )


class DeliveryRoutes:
    """Handlers over the operations on deliveries."""

    def __init__(
        self,
        shelf: Shelf,
        deliveries: Deliveries,
        events: Events,
        replays: Replays,
        views: Views,
        clock: Clock,
    ) -> None:
        """Take what deliveries are kept in, what sends them again, and what shows them."""
        self._shelf = shelf
        self._deliveries = deliveries
        self._events = events
        self._replays = replays
        self._views = views
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about deliveries."""
        reads, writes = Scope.EVENTS_READ, Scope.EVENTS_WRITE
        attempts = f"{ONE_PATH}/deliveryattempts"
        return [
            Operation("GET", PATH, reads, self.list_page, query=(Paged, ChosenQuery)),
            Operation("POST", f"{PATH}/forceresend", writes, self.force, IdsIn),
            Operation("POST", f"{PATH}/batchretry", writes, self.retry_many, query=(ChosenQuery,)),
            Operation(
                "GET", f"{PATH}/countbatchretryevents", reads, self.count, query=(ChosenQuery,)
            ),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", f"{ONE_PATH}/resend", writes, self.resend),
            Operation("GET", attempts, reads, self.attempts),
            Operation("GET", f"{attempts}/{{attempt_id}}", reads, self.attempt),
        ]

    async def list_page(self, call: Call) -> Answer[PageOut[DeliveryOut]]:
        """List deliveries, by event and then by delivery."""
        call.allow(*FILTERS, *paging.PARAMETERS, *paging.DATES)
        window = paging.read_window(call, self._clock.now_us())
        listing = paging.read(call, window, joined=2)
        asked = await self._asked(call)
        found = await self._sifted(call.principal, listing, asked)
        around, events = await self._around(call.principal, found.page.items)
        data = paging.page_out(
            listing,
            found.page,
            position,
            lambda one: self._shape(one, events.get(one.event_id), around),
            found.stopped,
        )
        return Answer("Event deliveries fetched successfully", data)

    async def get(self, call: Call) -> Answer[DeliveryOut]:
        """Return a delivery."""
        found = await self._find(call.principal, call.id("delivery_id", "delivery"))
        data = await self._shown(call.principal, found)
        return Answer("Event delivery fetched successfully", data)

    async def resend(self, call: Call) -> Answer[DeliveryOut]:
        """Send what has failed or was discarded once more; return the new delivery."""
        found = await self._find(call.principal, call.id("delivery_id", "delivery"))
        if found.state is DeliveryState.DELIVERED:
            raise Conflict("event already sent")
        if found.state not in _FAILED:
            raise Conflict("cannot resend event that did not fail previously")
        await self._require_active(call.principal, found)
        again = await self._again(call.principal, found)
        data = await self._shown(call.principal, again)
        return Answer("App event processed for retry successfully", data)

    async def force(self, call: Call) -> Answer[None]:
        """Send what was delivered once more."""
        body: IdsIn = call.body
        done = failed = 0
        for text in dict.fromkeys(body.ids):
            try:
                await self._force(call.principal, text)
                done += 1
            except (Conflict, NotFound):
                failed += 1
        return Answer(f"{done} successful, {failed} failed")

    async def retry_many(self, call: Call) -> Answer[None]:
        """Send what a query asks for of the failed deliveries once more, behind the answer."""
        call.allow(*FILTERS, *paging.DATES)
        begin_us, end_us = paging.read_window(call, self._clock.now_us())
        asked = await self._asked(call)
        if asked.statuses - {"Failure"}:
            reason = "only deliveries with the status Failure can be retried in a batch"
            raise InvalidInput(details=[("status", reason)])
        if asked.event_id is not None or asked.key is not None:
            await self._retry_one(call, asked)
        elif not asked.nothing:
            await self._require_none_running(call.principal)
            for of in asked.subscriptions or (None,):
                plan = Plan(event_types=tuple(sorted(asked.types)), of=of)
                wanted = Wanted(ReplayKind.DIVERTED, plan, begin_us, end_us)
                await self._replays.ask(call.principal, wanted)
        return Answer("Batch retry processing")

    async def count(self, call: Call) -> Answer[Counted]:
        """Count the deliveries that a query asks for, up to a bound."""
        call.allow(*FILTERS, *paging.DATES)
        window = paging.read_window(call, self._clock.now_us())
        request = PageRequest(COUNTED_MAX, None, None, *window)
        asked = await self._asked(call)
        count = 0
        if not asked.nothing:
            count = await self._deliveries.count(call.principal, request, asked.parts)
        if asked.waiting:
            # What is sent right now no statement can tell.
            listing = paging.Listing(request)
            some = msgspec.structs.replace(asked, statuses=asked.waiting)
            found = await self._sifted(call.principal, listing, some, COUNTED_MAX)
            count = min(count + len(found.page.items), COUNTED_MAX)
        return Answer("event deliveries count successful", {"num": count})

    async def attempts(self, call: Call) -> Answer[list[AttemptOut]]:
        """Return the latest attempts of a delivery, newest first."""
        found = await self._find(call.principal, call.id("delivery_id", "delivery"))
        tried = await self._deliveries.attempts_of(call.principal, [found], ATTEMPTS_SHOWN)
        endpoint_id = await self._endpoint_of(call.principal, found)
        shown = [attempt_out(one, endpoint_id) for one in tried[:ATTEMPTS_SHOWN]]
        return Answer("Event delivery attempts fetched successfully", shown)

    async def attempt(self, call: Call) -> Answer[AttemptOut]:
        """Return an attempt of a delivery, with the headers of its request."""
        found = await self._find(call.principal, call.id("delivery_id", "delivery"))
        attempt_id = call.id("attempt_id", "attempt")
        one, headers = await self._deliveries.attempt(call.principal, found.event_id, attempt_id)
        if one.delivery_id != found.id:
            raise NotFound("attempt")
        endpoint_id = await self._endpoint_of(call.principal, found)
        shown = attempt_out(one, endpoint_id, headers)
        return Answer("Event delivery attempt fetched successfully", shown)

    async def _asked(self, call: Call) -> Asked:
        endpoints = [read_id("endpoint", text) for text in call.many("endpointId")]
        statuses = frozenset(call.many("status"))
        wrong = sorted(statuses - set(STATUSES))
        if wrong:
            raise InvalidInput(details=[("status", f"must be among {', '.join(STATUSES)}")])
        wanted: set[Id] = {read_id("subscription", text) for text in call.many("subscriptionId")}
        nothing = call.one("brokerMessageId") is not None
        if endpoints:
            at = await self._at(call.principal, endpoints)
            wanted = wanted & at if wanted else at
            nothing = nothing or not wanted
        event_id = call.one("eventId")
        types = frozenset([*call.many("eventType"), *call.many("event_type")])
        key = call.one("idempotencyKey")
        event = None if event_id is None else read_id("event", event_id)
        if key is not None:
            first = await self._events.first_of(call.principal, key)
            nothing = nothing or first is None or event not in {None, first}
            event = first
        return Asked(frozenset(wanted), event, key, statuses, types, nothing)

    async def _at(self, caller: Principal, endpoints: Sequence[Id]) -> set[Id]:
        """Return the subscriptions of endpoints; another surface's is its own endpoint."""
        parts = await self._shelf.at(caller, *endpoints)
        found = {one.id for one in parts}
        for one in set(endpoints) - {part.parent for part in parts}:
            with suppress(NotFound):
                found.add((await self._shelf.subscriptions.get(caller, one)).id)
        return found

    async def _sifted(
        self,
        caller: Principal,
        listing: paging.Listing,
        asked: Asked,
        most: int | None = None,
    ) -> paging.Sifted[Delivery]:
        if asked.nothing:
            return paging.Sifted(Page([], has_more=False))

        async def fetch(request: PageRequest) -> Page[Delivery]:
            return await self._deliveries.list_page(caller, request, asked.which)

        return await paging.sift(
            fetch,
            listing,
            lambda one: self._keeps(one, asked),
            position,
            is_open=asked.is_whole,
            most=most,
        )

    def _keeps(self, one: Delivery, asked: Asked) -> bool:
        status = status_of(one, is_sending=self._deliveries.is_sending(one.id))
        return (not asked.statuses or status in asked.statuses) and (
            not asked.subscriptions or one.subscription_id in asked.subscriptions
        )

    async def _retry_one(self, call: Call, asked: Asked) -> None:
        """Send what has failed of one event once more."""
        listing = paging.Listing(PageRequest(paging.PER_PAGE_MAX))
        failed = msgspec.structs.replace(asked, statuses=frozenset({"Failure"}))
        found = await self._sifted(call.principal, listing, failed)
        if asked.event_id is None or not found.page.items:
            return
        to = list(dict.fromkeys(one.subscription_id for one in found.page.items))
        await self._replays.owe(call.principal, asked.event_id, to)

    async def _force(self, caller: Principal, text: str) -> None:
        found = await self._find(caller, read_id("delivery", text))
        if found.state is not DeliveryState.DELIVERED:
            raise Conflict("only successful events can be force resent")
        await self._again(caller, found)

    async def _require_none_running(self, caller: Principal) -> None:
        page = await self._replays.list_page(caller, _RUNNING)
        for one in page.items:
            if one.kind is ReplayKind.DIVERTED and one.state is ReplayState.RUNNING:
                raise Conflict("an active batch retry already exists")

    async def _require_active(self, caller: Principal, delivery: Delivery) -> None:
        """Refuse to send to an endpoint that nothing is sent to."""
        try:
            to = await self._shelf.subscriptions.get(caller, delivery.subscription_id)
        except NotFound as error:
            raise Conflict("the endpoint is deleted") from error
        if to.disabled_by is not None:
            raise Conflict("the endpoint is currently inactive")
        if to.paused:
            raise Conflict("the endpoint is currently paused")

    async def _again(self, caller: Principal, delivery: Delivery) -> Delivery:
        owed = await self._replays.owe(caller, delivery.event_id, [delivery.subscription_id])
        if not owed:
            raise Conflict("the endpoint is currently inactive")
        return msgspec.structs.replace(
            delivery,
            id=owed[0].id,
            state=DeliveryState.PENDING,
            attempts=0,
            due_us=owed[0].due_us,
            finished_us=None,
            reason=None,
            diverted=False,
        )

    async def _find(self, caller: Principal, delivery_id: Id) -> Delivery:
        known = set(await self._shelf.records.ids_of(caller, things.SUBSCRIPTION))
        known.update(self._shelf.subscriptions.known(caller.project_id))
        return await self._deliveries.find(caller, delivery_id, sorted(known))

    async def _endpoint_of(self, caller: Principal, delivery: Delivery) -> Id:
        wanted = [delivery.subscription_id]
        found = await self._shelf.records.some(caller, things.SUBSCRIPTION, wanted)
        record = found.get(delivery.subscription_id)
        if record is None or record.parent is None:
            return delivery.subscription_id
        return record.parent

    async def _around(
        self, caller: Principal, some: Sequence[Delivery]
    ) -> tuple[Around, dict[Id, Event]]:
        events = await self._events.some(caller, [one.event_id for one in some])
        owed: dict[Id, dict[Id, Id]] = {}
        for one in some:
            owed.setdefault(one.event_id, {})[one.subscription_id] = one.id
        return await self._views.around(caller, list(events.values()), owed), events

    async def _shown(self, caller: Principal, delivery: Delivery) -> DeliveryOut:
        around, events = await self._around(caller, [delivery])
        return self._shape(delivery, events.get(delivery.event_id), around)

    def _shape(self, one: Delivery, event: Event | None, around: Around) -> DeliveryOut:
        return delivery_out(one, event, around, is_sending=self._deliveries.is_sending(one.id))
