"""Convoy's events: posted to an endpoint, an owner, everybody or a URL; found, and sent again."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from waypost.clock import Clock
from waypost.dialects.convoy import drafts, paging, things
from waypost.dialects.convoy.answers import Counted, Named, PageOut
from waypost.dialects.convoy.drafts import BroadcastIn, DynamicIn, EventIn, FanOutIn, Posted
from waypost.dialects.convoy.dynamic import Dynamic
from waypost.dialects.convoy.envelope import Answer, read_id
from waypost.dialects.convoy.event_answers import EventOut
from waypost.dialects.convoy.queries import EventsQuery, Paged, SelectionQuery
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.sifting import EVENT_FILTERS, Sieve, chosen
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.dialects.convoy.views import Around, Views, event_out
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Principal, Scope
from waypost.model.replay import Plan, ReplayKind, Route
from waypost.operations.events import Accepted, Events, Seen
from waypost.operations.replays import Replays, Selection, Wanted

PATH: Final = f"{PROJECT_PATH}/events"
ONE_PATH: Final = f"{PATH}/{{event_id}}"
REPLAY_ALSO: Final = "/v1/projects/{project_id}/events/{event_id}/replay"
"""As Convoy's own document prints the path of a replay."""

_DUPLICATE: Final = "Duplicate event received, but will not be sent"


class EventRoutes:
    """Handlers over the operations on events."""

    def __init__(
        self, shelf: Shelf, events: Events, replays: Replays, views: Views, clock: Clock
    ) -> None:
        """Take what events go through, and what shows them."""
        self._shelf = shelf
        self._events = events
        self._replays = replays
        self._views = views
        self._dynamic = Dynamic(shelf)
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about events."""
        reads, writes = Scope.EVENTS_READ, Scope.EVENTS_WRITE
        limit = self._events.limits.max_body_bytes
        post = partial(Operation, "POST", max_bytes=limit, exact=True, status=201, errors=(507,))
        return [
            post(PATH, writes, self.create, shape=EventIn),
            post(f"{PATH}/fanout", writes, self.fan_out, shape=FanOutIn),
            post(f"{PATH}/broadcast", writes, self.broadcast, shape=BroadcastIn),
            post(f"{PATH}/dynamic", Scope.SUBSCRIPTIONS_WRITE, self.dynamic, shape=DynamicIn),
            Operation(
                "POST", f"{PATH}/batchreplay", writes, self.replay_many, query=(SelectionQuery,)
            ),
            Operation(
                "GET", f"{PATH}/countbatchreplayevents", reads, self.count, query=(SelectionQuery,)
            ),
            Operation("GET", PATH, reads, self.list_page, query=(Paged, EventsQuery)),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", f"{ONE_PATH}/replay", writes, self.replay, also=(REPLAY_ALSO,)),
        ]

    async def create(self, call: Call) -> Answer[Named]:
        """Take in an event that is owed to the subscriptions of its endpoint alone."""
        posted = drafts.read(call.body, EventIn, self._events.limits)
        accepted = await self.take(call.principal, posted)
        return taken("Event queued successfully", accepted.id)

    async def take(self, caller: Principal, posted: EventIn) -> Accepted:
        """Take in an event for an endpoint, or for the endpoints of an owner.

        Raises:
            InvalidInput: it says of neither, or of one that is not there; or something else of it
                is not valid.
        """
        owner = None
        if posted.endpoint_id:
            endpoints = [await self._endpoint(caller, posted.endpoint_id)]
        elif posted.app_id:
            owner, endpoints = posted.app_id, await self._of_owner(caller, posted.app_id)
            if not endpoints:
                raise InvalidInput("app ID has no configured endpoints")
        else:
            raise InvalidInput("please provide an endpoint ID")
        return await self._take(caller, posted, endpoints, owner)

    async def fan_out(self, call: Call) -> Answer[Named]:
        """Take in an event that is owed to all endpoints of an owner."""
        posted = drafts.read(call.body, FanOutIn, self._events.limits)
        if not posted.owner_id:
            raise InvalidInput("please provide an owner id")
        endpoints = await self._of_owner(call.principal, posted.owner_id)
        if not endpoints:
            raise InvalidInput("no endpoint has this owner id")
        accepted = await self._take(call.principal, posted, endpoints, posted.owner_id)
        said = "Endpoint fanout event queued successfully"
        return taken(_DUPLICATE if accepted.duplicate else said, accepted.id)

    async def broadcast(self, call: Call) -> Answer[Named]:
        """Take in an event that is owed to whoever wants it."""
        posted = drafts.read(call.body, BroadcastIn, self._events.limits)
        accepted = await self._take(call.principal, posted, (), None)
        return taken("Broadcast event created successfully", accepted.id)

    async def dynamic(self, call: Call) -> Answer[Named]:
        """Take in an event for a URL, which has an endpoint and a subscription from then on."""
        posted = drafts.read(call.body, DynamicIn, self._events.limits)
        caller = call.principal
        if Scope.EVENTS_WRITE not in caller.scopes:
            raise InvalidInput("the key may not send events")
        if not posted.url:
            raise InvalidInput("please provide a url")
        home = await self._shelf.homes.of(caller)
        # What is wrong with the event is told before anything is made for it.
        drafts.draft(posted, self._events.limits, needs_key=home.config.needs_keys)
        endpoint_id = await self._dynamic.endpoint(caller, posted, home)
        accepted = await self._take(caller, posted, [endpoint_id], None)
        return taken("Dynamic event created successfully", accepted.id)

    async def list_page(self, call: Call) -> Answer[PageOut[EventOut]]:
        """List events, and the repetitions of idempotency keys among them."""
        call.allow(
            *EVENT_FILTERS, "query", "body", "brokerMessageId", *paging.PARAMETERS, *paging.DATES
        )
        window = paging.read_window(call, self._clock.now_us())
        listing = paging.read(call, window)
        sieve = await Sieve.of(call, self._shelf)

        async def fetch(request: PageRequest) -> Any:
            page = await self._events.list_seen(call.principal, request)
            await sieve.learn(self._events, call.principal, [one.event for one in page.items])
            return page

        found = await paging.sift(
            fetch, listing, sieve.keeps, lambda one: one.id, is_open=sieve.is_open
        )
        around = await self._around(call.principal, found.page.items)
        data = paging.page_out(
            listing,
            found.page,
            lambda one: one.id,
            lambda one: event_out(one, around),
            found.stopped,
        )
        return Answer("App events fetched successfully", data)

    async def get(self, call: Call) -> Answer[EventOut]:
        """Return an event."""
        seen = await self._events.find(call.principal, call.id("event_id", "event"))
        around = await self._around(call.principal, [seen])
        return Answer("Endpoint event fetched successfully", event_out(seen, around))

    async def replay(self, call: Call) -> Answer[EventOut]:
        """Owe an event to whoever would be owed it if it came now.

        An event that is not there is a bad request here, as it is in Convoy. A repetition of an
        idempotency key was never owed to anybody, and is not now.
        """
        try:
            seen = await self._events.find(call.principal, call.id("event_id", "event"))
        except NotFound as error:
            raise InvalidInput("event not found") from error
        if not seen.is_repeat:
            await self._revive(call.principal, seen)
            to = self._replays.afresh(seen.event)
            await self._replays.owe(call.principal, seen.id, to)
        around = await self._around(call.principal, [seen])
        data = event_out(seen, around, acknowledged_us=self._clock.now_us())
        return Answer("Endpoint event replayed successfully", data)

    async def replay_many(self, call: Call) -> Answer[None]:
        """Owe every event of a selection to whoever would be owed it if it came now."""
        wanted, count = await self._selection(call)
        key = call.one("idempotencyKey")
        if wanted is None or not count:
            pass
        elif key is None:
            await self._replays.ask(call.principal, wanted)
        else:
            first = await self._events.first_of(call.principal, key)
            seen = await self._events.find(call.principal, first or ids.FIRST)
            to = self._replays.afresh(seen.event)
            await self._replays.owe(call.principal, seen.id, to)
        return Answer(f"{count} successful, 0 failed")

    async def count(self, call: Call) -> Answer[Counted]:
        """Count the events that a replay of a selection would be about."""
        _, count = await self._selection(call)
        return Answer("events count successful", {"num": count})

    async def _selection(self, call: Call) -> tuple[Wanted | None, int]:
        """Return the job of a selection, and of how many events it is."""
        if call.one("query") or call.one("body"):
            raise InvalidInput("batch replay does not support search filters")
        call.allow(*EVENT_FILTERS, "query", "body", *paging.DATES)
        begin_us, end_us = paging.read_window(call, self._clock.now_us())
        found = await chosen(call, self._shelf)
        if found is None:
            return None, 0
        plan = Plan(
            owner=found.owner, among=found.subscriptions, content=found.content, route=Route.AFRESH
        )
        wanted = Wanted(ReplayKind.SELECTED, plan, begin_us, end_us)
        counted = Selection(begin_us, end_us, found.owner, found.sources, found.subscriptions)
        return wanted, await self._replays.count(call.principal, counted, key=found.key)

    async def _take(
        self,
        caller: Principal,
        posted: Posted,
        endpoints: Sequence[Id],
        owner: str | None,
    ) -> Accepted:
        home = await self._shelf.homes.of(caller)
        draft = drafts.draft(
            posted,
            self._events.limits,
            needs_key=home.config.needs_keys,
            endpoints=tuple(endpoints),
            owner=owner,
        )
        return await self._events.take(caller, draft)

    async def _endpoint(self, caller: Principal, text: str) -> Id:
        """Return the endpoint that an event is for; it takes everything if nothing is said."""
        try:
            identifier = read_id("endpoint", text)
            if not self._shelf.subscriptions.at(caller.project_id, identifier):
                record = await self._shelf.endpoint(caller, identifier)
                await self._shelf.catch_all(caller, record)
        except NotFound as error:
            raise InvalidInput("endpoint not found") from error
        return identifier

    async def _of_owner(self, caller: Principal, owner: str) -> list[Id]:
        records = await self._shelf.records.all(caller, things.ENDPOINT)
        return [one.id for one in records if things.endpoint_of(one).owner_id == owner]

    async def _revive(self, caller: Principal, seen: Seen) -> None:
        """Have the endpoints of an event take everything that have lost all subscriptions."""
        known = seen.event.attributes.endpoints
        for endpoint_id, record in (
            await self._shelf.records.some(caller, things.ENDPOINT, known)
        ).items():
            at = self._shelf.subscriptions.at(caller.project_id, endpoint_id)
            if record.deleted_us is None and not at:
                await self._shelf.catch_all(caller, record)

    async def _around(self, caller: Principal, seen: Sequence[Seen]) -> Around:
        return await self._views.around(caller, [one.event for one in seen])


def taken(message: str, event_id: Id) -> Answer[Named]:
    """Answer with the event, which Convoy's clients have long asked for."""
    return Answer(message, {"uid": ids.spell_ulid(event_id)}, 201)
