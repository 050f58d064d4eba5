"""Events: taken in, and read back."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from waypost.engine.ingest import Accepted, Done, Ingest
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.delivery import EventStatus
from waypost.model.errors import IdempotencyMismatch, InvalidInput, WaypostError
from waypost.model.event import NO_ATTRIBUTES, Event, Receipt
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.operations.event_types import Catalogue
from waypost.policy import timing
from waypost.policy.events import Draft, EventLimits
from waypost.policy.origin import Origin
from waypost.policy.stream import Position
from waypost.policy.system_events import taken_by
from waypost.storage import deliveries, events, idempotency, outcomes, pages, receipts, streams
from waypost.storage.connection import Connection
from waypost.storage.outcomes import Found, Sought, Summary
from waypost.storage.store import Store

__all__ = ["Accepted", "Events", "Found", "Places", "Seen", "Sought", "Summary"]


class Places(msgspec.Struct, frozen=True):
    """Where the parts of an event stood in the request, for complaints about them.

    Attributes:
        at: what paths start with; `{}` stands for the event's index.
        type_name: what its type is called there.
    """

    at: str
    type_name: str


class Seen(msgspec.Struct, frozen=True):
    """An event as it came: the first time, or again under the same idempotency key.

    Attributes:
        id: the event's own, or that of the repetition.
    """

    id: ids.Id
    event: Event
    is_repeat: bool = False


_PLACES: Final = Places("", "event_type")


def _is_ahead(identifier: ids.Id, cut: Sequence[Event], request: PageRequest) -> bool:
    """Tell whether a position stands before the end of a page that was cut for its weight."""
    if pages.runs_up(request):
        return identifier < cut[0].id
    return identifier > cut[-1].id


class Events:
    """What producers and readers ask of events."""

    def __init__(
        self,
        store: Store,
        ingest: Ingest,
        router: Router,
        catalogue: Catalogue,
        limits: EventLimits,
    ) -> None:
        """Take what events are kept in, and what takes them in."""
        self._store = store
        self._ingest = ingest
        self._router = router
        self._catalogue = catalogue
        self.limits = limits

    def accept(
        self,
        principal: Principal,
        drafts: Sequence[Draft],
        places: Places,
        done: Done,
        origin: Origin | None = None,
    ) -> None:
        """Take in the events of one request: all, or none.

        Args:
            principal: who sends them; they belong to its project.
            drafts: the events.
            places: where they stood in the request.
            done: called once, later or at once, as `Ingest.accept` says.
            origin: the request, where filters may read of it.

        Raises:
            InvalidInput: a type is not in the catalogue of a strict project, a target is not a
                subscription of the project, or it can't be delivered when it should be; `done` is
                not called.
        """
        project_id = principal.project_id
        for index, draft in enumerate(drafts):
            if not self._catalogue.known(project_id, draft.type):
                path = places.at.format(index) + places.type_name
                self._catalogue.require(project_id, draft.type, path)
            if draft.attributes is NO_ATTRIBUTES:
                continue
            if timing.is_timed(draft.attributes):
                timing.check(draft.attributes, self._ingest.now_us(), places.at.format(index))
            if draft.attributes.targets:
                self._require_targets(project_id, draft, places.at.format(index))
        self._ingest.accept(principal, drafts, done, origin)

    async def take(self, principal: Principal, draft: Draft) -> Accepted:
        """Take in an event, and wait until it is on disk. Raises what `accept` does, and why not.

        A key that was used for something else is, for whom this is called, a repetition as well.
        """
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

        def done(result: list[Accepted] | WaypostError) -> None:
            if answer.cancelled():
                return
            if isinstance(result, WaypostError):
                answer.set_exception(result)
            else:
                answer.set_result(result[0])

        self.accept(principal, [draft], _PLACES, done)
        try:
            return await answer
        except IdempotencyMismatch:
            key = draft.attributes.idempotency_key or ""
            first = await self.first_of(principal, key)
            if first is None:
                raise
            return Accepted(first, draft.type, draft.payload, duplicate=True)

    async def first_of(self, principal: Principal, key: str) -> ids.Id | None:
        """Return the event that holds an idempotency key; None where none does."""
        return await self._store.read(lambda c: idempotency.find(c, principal.project_id, key))

    async def some(self, principal: Principal, event_ids: Sequence[ids.Id]) -> dict[ids.Id, Event]:
        """Return those of some events that are still there, by id; not all if they are heavy."""
        wanted = list(dict.fromkeys(event_ids))
        found = await self._store.read(lambda c: events.list_some(c, principal.project_id, wanted))
        return {one.id: one for one in found}

    async def find(self, principal: Principal, event_id: ids.Id) -> Seen:
        """Return an event, by its own id or by that of a repetition of its key.

        Raises:
            NotFound: the project has none (any more).
        """
        project_id = principal.project_id

        def read(connection: Connection) -> Seen:
            first = receipts.find(connection, project_id, event_id)
            if first is None:
                return Seen(event_id, events.get(connection, project_id, event_id))
            return Seen(event_id, events.get(connection, project_id, first), is_repeat=True)

        return await self._store.read(read)

    async def list_seen(self, principal: Principal, request: PageRequest) -> Page[Seen]:
        """Return one page of the project's events and of the repetitions of their keys."""
        project_id = principal.project_id

        def read(connection: Connection) -> Page[Seen]:
            found = events.list_page(connection, project_id, request)
            again = receipts.list_page(connection, project_id, request)
            firsts = {
                one.id: one
                for one in events.list_some(
                    connection, project_id, list({first for _, first in again.items})
                )
            }
            repeats = [
                Seen(own, firsts[first], is_repeat=True)
                for own, first in again.items
                if first in firsts
            ]
            mine = Page([Seen(one.id, one) for one in found.items], found.has_more)
            if found.has_more and found.items and len(found.items) < request.size:
                # The page was cut for its weight: what lies behind the cut waits for the next one.
                repeats = [one for one in repeats if _is_ahead(one.id, found.items, request)]
            parts = (mine, Page(repeats, again.has_more))
            return pages.merge(parts, request, lambda seen: seen.id)

        return await self._store.read(read)

    async def addressees(
        self, principal: Principal, event_ids: Sequence[ids.Id]
    ) -> dict[ids.Id, dict[ids.Id, ids.Id]]:
        """Return to whom some events are or were owed, each with the latest delivery."""
        return await self._store.read(
            lambda c: deliveries.addressees(c, principal.project_id, event_ids)
        )

    async def get(self, principal: Principal, event_id: ids.Id) -> tuple[Event, list[Receipt]]:
        """Return an event, and the latest repetitions of its idempotency key.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        project_id = principal.project_id
        return await self._store.read(
            lambda c: (
                events.get(c, project_id, event_id),
                receipts.list_latest(c, project_id, event_id),
            )
        )

    async def list_page(
        self,
        principal: Principal,
        request: PageRequest,
        *,
        types: tuple[str, ...] = (),
        with_payload: bool = True,
    ) -> Page[Event]:
        """Return one page of the project's events.

        No types: of all that producers send. System events are named, or `waypost.*` is.
        """
        names = [name for one in types for name in taken_by(one)]
        return await self._store.read(
            lambda c: events.list_page(
                c, principal.project_id, request, types=tuple(names), with_payload=with_payload
            )
        )

    async def status(self, principal: Principal, event_id: ids.Id) -> tuple[Event, EventStatus]:
        """Return an event, and how it stands over all that it is or was owed to.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        project_id = principal.project_id
        return await self._store.read(
            lambda c: (
                events.get(c, project_id, event_id),
                outcomes.status_of(c, project_id, event_id),
            )
        )

    async def seek(self, principal: Principal, request: PageRequest, sought: Sought) -> Found:
        """Return one page of the project's events and how they stand.

        A page may be short of items, or empty, before the end: so many events are looked at.
        """
        return await self._store.read(
            lambda c: outcomes.list_page(c, principal.project_id, request, sought)
        )

    async def read_on(
        self,
        principal: Principal,
        position: Position,
        size: int,
        *,
        until: ids.Id | None = None,
        event_type: str | None = None,
    ) -> tuple[list[Event], Position]:
        """Read the project's events behind a position, oldest first; none is ever passed over.

        Args:
            principal: who reads.
            position: where the reader is.
            size: how many at most; fewer where their payloads weigh much.
            until: only events before this id; None for all.
            event_type: only events of this type; None for all.

        Returns:
            The events, and where the reader is then.
        """
        now_us = self._ingest.now_us()
        return await self._store.read(
            lambda c: streams.read_on_from(
                c, principal.project_id, position, until, event_type, size, now_us
            )
        )

    async def list_of_request(self, principal: Principal, request_id: ids.Id) -> list[Event]:
        """Return the project's events of a request, oldest first, a bounded number."""
        return await self._store.read(
            lambda c: streams.list_of_request(c, principal.project_id, request_id)
        )

    def _require_targets(self, project_id: ids.Id, draft: Draft, at: str) -> None:
        for index, target in enumerate(draft.attributes.targets):
            if self._router.find(project_id, target) is None:
                path = f"{at}targets[{index}]"
                raise InvalidInput(details=[(path, "is not an event subscription of the project")])
