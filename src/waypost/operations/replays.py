"""Replays: one event again, everything that failed, everything that was missed; and examples."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from waypost.clock import IdSource
from waypost.engine.ingest import Accepted, Ingest
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.errors import Conflict, InvalidInput, WaypostError
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.replay import Replay, ReplayKind
from waypost.model.subscription import Subscription
from waypost.operations.event_types import Catalogue, example_of
from waypost.policy.events import Draft, is_type
from waypost.policy.routing import wants
from waypost.storage import event_types, events, queue, replays, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.store import Store

EXAMPLE_TYPE: Final = "example"
"""The type of an example where nobody says which: no catalogue, no type that is asked for."""


class Replays:
    """What people ask to be sent again, and what becomes of it."""

    def __init__(
        self,
        store: Store,
        owed: Callable[[Sequence[Owed]], None],
        wake: Callable[[], None],
        source: IdSource,
    ) -> None:
        """Take what jobs are kept in, who sends what is owed anew, and who does the jobs."""
        self._store = store
        self._owed = owed
        self._wake = wake
        self._ids = source

    async def resend(self, principal: Principal, event_id: Id, subscription_id: Id) -> None:
        """Owe an event to a subscription once more, now, whatever its filter says.

        Raises:
            NotFound: the project has no such event (any more), or no such subscription.
            Conflict: the subscription is disabled.
        """
        project_id = principal.project_id
        delivery_id, now_us = self._ids.next_at()
        owed = Owed(
            project_id, delivery_id, event_id, subscription_id, DeliveryClass.REPLAY, now_us
        )

        def write(connection: Connection) -> None:
            events.demand(connection, project_id, event_id)
            require_enabled(connection, project_id, subscription_id)
            queue.insert(connection, [owed])
            replays.take_back(connection, project_id, subscription_id, [event_id])

        await self._store.write(write, lambda _: self._owed([owed]))

    async def start(
        self,
        principal: Principal,
        kind: ReplayKind,
        subscription_id: Id,
        begin_us: int | None,
        end_us: int | None,
    ) -> Replay:
        """Start a job.

        `recover` owes every event whose delivery was given up in the range and that was not
        delivered since the range began; `replay_missing` owes every event of the range that was
        never owed. Both owe what the subscription's filter takes, and nothing that is pending.

        Args:
            principal: who asks.
            kind: what to owe again.
            subscription_id: to whom.
            begin_us: the first moment of the range, UTC microseconds; None: as far as there is.
            end_us: the end of the range, itself not in it; None, and what is yet to come: now.

        Raises:
            NotFound: the project has no such subscription.
            Conflict: the subscription is disabled.
        """
        replay_id, now_us = self._ids.next_at()
        replay = Replay(
            project_id=principal.project_id,
            id=replay_id,
            kind=kind,
            subscription_id=subscription_id,
            begin_us=0 if begin_us is None else max(begin_us, 0),
            end_us=now_us if end_us is None else min(max(end_us, 0), now_us),
        )

        def write(connection: Connection) -> None:
            require_enabled(connection, principal.project_id, subscription_id)
            replays.insert(connection, replay)

        await self._store.write(write, lambda _: self._wake())
        return replay

    async def get(self, principal: Principal, replay_id: Id) -> Replay:
        """Return a job.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._store.read(lambda c: replays.get(c, principal.project_id, replay_id))

    async def list_page(
        self, principal: Principal, request: PageRequest, subscription_id: Id | None = None
    ) -> Page[Replay]:
        """Return one page of the project's jobs, or of one subscription's."""
        return await self._store.read(
            lambda c: replays.list_page(c, principal.project_id, request, subscription_id)
        )


class Examples:
    """Sends examples, for whoever sets a receiver up."""

    def __init__(self, store: Store, ingest: Ingest, catalogue: Catalogue) -> None:
        """Take the store, what takes events in, and the event types that strict projects take."""
        self._store = store
        self._ingest = ingest
        self._catalogue = catalogue

    async def send(self, principal: Principal, subscription_id: Id, event_type: str | None) -> Id:
        """Accept an event that is marked as an example and owed to one subscription alone.

        Its payload is the catalogue's example of the type, or an object with nothing but the type.

        Args:
            principal: who asks.
            subscription_id: to whom, whatever its filter says.
            event_type: None for the first that the subscription asks for.

        Returns:
            The id of the event.

        Raises:
            NotFound: the project has no such subscription.
            Conflict: the subscription is disabled.
            InvalidInput: it is no event type, or not in the catalogue of a strict project.
        """
        project_id = principal.project_id
        if event_type is not None:
            if not is_type(event_type):
                raise InvalidInput(details=[("event_type", "is not an event type")])
            self._catalogue.require(project_id, event_type, "event_type")

        def read(connection: Connection) -> tuple[str, bytes | None]:
            subscription = require_enabled(connection, project_id, subscription_id)
            name = event_type or _first_type(connection, subscription)
            entry = event_types.find(connection, project_id, name)
            return name, None if entry is None else entry.example

        name, example = await self._store.read(read)
        attributes = Attributes(targets=(subscription_id,), example=True)
        accepted = await self._accept(principal, Draft(name, example_of(name, example), attributes))
        return accepted.id

    async def _accept(self, principal: Principal, draft: Draft) -> Accepted:
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

        def done(result: list[Accepted] | WaypostError) -> None:
            if answer.cancelled():
                return
            if isinstance(result, WaypostError):
                answer.set_exception(result)
            else:
                answer.set_result(result[0])

        self._ingest.accept(principal, [draft], done)
        return await answer


def require_enabled(connection: Connection, project_id: Id, subscription_id: Id) -> Subscription:
    """Return a subscription that may be owed something.

    Raises:
        NotFound: the project has none with this id.
        Conflict: it is disabled.
    """
    subscription = subscriptions.get(connection, project_id, subscription_id)
    if subscription.disabled_by is not None:
        raise Conflict("The event subscription is disabled.")
    return subscription


def _first_type(connection: Connection, subscription: Subscription) -> str:
    """Return a type that a subscription asks for: one it names, else one of the catalogue."""
    named = (name for name in subscription.event_types or () if is_type(name))
    catalogue = event_types.list_all(connection, subscription.project_id)
    wanted = (entry.name for entry in catalogue if wants(subscription, entry.name, None))
    return next(named, None) or next(wanted, None) or EXAMPLE_TYPE
