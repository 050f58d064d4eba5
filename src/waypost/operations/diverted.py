"""Diverted events: the dead-letter box, looked through, sent again, emptied."""

from typing import Final, Protocol

import msgspec

from waypost.clock import IdSource
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, DivertedEvent, Owed
from waypost.model.errors import Conflict, InvalidInput
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.policy import timestamp
from waypost.policy.settings import type_faults
from waypost.storage import audit, diverted, queue, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.diverted import EVERY, DivertedFilter
from waypost.storage.store import Store

__all__ = ["Diverted", "DivertedFilter"]

DELETED: Final = "diverted_event.delete"
RESENT: Final = "diverted_event.resend"
DELETED_MANY: Final = "diverted_events.delete"

_DELETE_PARTS: Final = 10
"""So many parts of the box does one request look at."""


class Lanes(Protocol):
    """What is told of deliveries that are owed again."""

    def owed(self, owed: list[Owed]) -> None:
        """Take deliveries that were just committed."""
        ...


class Diverted:
    """What people ask of diverted events."""

    def __init__(self, store: Store, lanes: Lanes, source: IdSource) -> None:
        """Take what they are kept in, and the lanes that send them again."""
        self._store = store
        self._lanes = lanes
        self._ids = source

    async def list_page(
        self,
        principal: Principal,
        request: PageRequest,
        which: DivertedFilter = EVERY,
    ) -> Page[DivertedEvent]:
        """Return one page of the project's diverted events.

        Raises:
            InvalidInput: what is asked for is not an event type.
        """
        check(which)
        return await self._store.read(
            lambda c: diverted.list_page(c, principal.project_id, request, which)
        )

    async def get(self, principal: Principal, diverted_id: ids.Id) -> DivertedEvent:
        """Return a diverted event.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        return await self._store.read(lambda c: diverted.get(c, principal.project_id, diverted_id))

    async def list_slice(
        self, principal: Principal, subscription_id: ids.Id, skip: int, size: int
    ) -> list[DivertedEvent]:
        """Return some of what was diverted of a subscription, one for each event, by when it was.

        Raises:
            NotFound: the project has no such subscription.
        """

        def read(connection: Connection) -> list[DivertedEvent]:
            subscriptions.get(connection, principal.project_id, subscription_id)
            place = (principal.project_id, subscription_id)
            return diverted.list_slice(connection, *place, skip, size)

        return await self._store.read(read)

    async def get_latest(
        self, principal: Principal, subscription_id: ids.Id, event_id: ids.Id
    ) -> DivertedEvent:
        """Return what was diverted last of an event and a subscription.

        Raises:
            NotFound: nothing of them is in the box (any more).
        """
        place = (principal.project_id, subscription_id, event_id)
        return await self._store.read(lambda c: diverted.get_latest(c, *place))

    async def resend_latest(
        self, principal: Principal, subscription_id: ids.Id, event_id: ids.Id
    ) -> None:
        """Owe an event to a subscription again, from which it was diverted; who did is kept.

        All that was diverted of the two leaves the box.

        Raises:
            NotFound: nothing of them is in the box (any more).
            Conflict: the subscription is disabled.
        """
        place = (principal.project_id, subscription_id)
        delivery_id, now_us = self._ids.next_at()
        record_id = self._ids.next()

        def owe(connection: Connection) -> Owed:
            found = diverted.get_latest(connection, *place, event_id)
            _require_enabled(connection, *place)
            kind = DeliveryClass.REPLAY
            owed = Owed(place[0], delivery_id, event_id, subscription_id, kind, now_us)
            queue.insert(connection, [owed])
            diverted.take_back(connection, place[0], [(event_id, subscription_id)])
            token = ids.spell(ids.DELIVERY, found.id)
            audit.record(connection, principal, record_id, RESENT, token)
            return owed

        await self._store.write(owe, lambda owed: self._lanes.owed([owed]))

    async def delete_latest(
        self, principal: Principal, subscription_id: ids.Id, event_id: ids.Id
    ) -> None:
        """Take all that was diverted of an event and a subscription out of the box for good.

        Who did is kept.

        Raises:
            NotFound: nothing of them is in the box (any more).
        """
        place = (principal.project_id, subscription_id)
        record_id = self._ids.next()

        def delete(connection: Connection) -> None:
            found = diverted.get_latest(connection, *place, event_id)
            diverted.take_back(connection, place[0], [(event_id, subscription_id)])
            token = ids.spell(ids.DELIVERY, found.id)
            audit.record(connection, principal, record_id, DELETED, token)

        await self._store.write(delete)

    async def resend(self, principal: Principal, diverted_id: ids.Id) -> ids.Id:
        """Owe a diverted event again, as a new delivery, and take it out of the box.

        Should the new delivery fail as well, it is diverted in its turn.

        Returns:
            The id of the new delivery.

        Raises:
            NotFound: the project has none with this id (any more).
            Conflict: its subscription is disabled or deleted.
        """
        delivery_id, now_us = self._ids.next_at()

        def owe(connection: Connection) -> Owed:
            found = diverted.get(connection, principal.project_id, diverted_id)
            _require_enabled(connection, principal.project_id, found.subscription_id)
            owed = Owed(
                project_id=principal.project_id,
                id=delivery_id,
                event_id=found.event_id,
                subscription_id=found.subscription_id,
                kind=DeliveryClass.REPLAY,
                due_us=now_us,
            )
            queue.insert(connection, [owed])
            diverted.delete(connection, principal.project_id, diverted_id)
            return owed

        await self._store.write(owe, lambda owed: self._lanes.owed([owed]))
        return delivery_id

    async def delete(self, principal: Principal, diverted_id: ids.Id) -> None:
        """Take a diverted event out of the box for good; who did is kept.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        record_id = self._ids.next()
        token = ids.spell(ids.DELIVERY, diverted_id)

        def delete(connection: Connection) -> None:
            diverted.delete(connection, principal.project_id, diverted_id)
            audit.record(connection, principal, record_id, DELETED, token)

        await self._store.write(delete)

    async def delete_many(
        self,
        principal: Principal,
        which: DivertedFilter,
        begin_us: int | None,
        end_us: int | None,
    ) -> tuple[int, bool]:
        """Take diverted events out of the box for good, a bounded number; who did is kept.

        Args:
            principal: who asks.
            which: which of them.
            begin_us: with `end_us` the range of their deliveries; None for all until now.
            end_us: UTC microseconds.

        Returns:
            How many were deleted, and whether there may be more of them.

        Raises:
            InvalidInput: what is asked for is no event type, or no range of time; says where.
        """
        check(which, "filter.")
        if begin_us is not None and end_us is not None and end_us <= begin_us:
            raise InvalidInput(details=[("filter.end", "must be later than filter.begin")])
        now_us = ids.moment(self._ids.next())
        after = ids.preceding(ids.lowest(max(begin_us or 0, 1)))
        # What was put off, and diverted before it was due, has an id of a later moment.
        until = ids.LAST if end_us is None or end_us >= now_us else ids.lowest(max(end_us, 0))
        deleted = 0
        for _ in range(_DELETE_PARTS):
            record_id = self._ids.next()

            def delete(
                connection: Connection, after: ids.Id = after, record_id: ids.Id = record_id
            ) -> tuple[int, list[ids.Id]]:
                found, looked_at = diverted.read_chunk(
                    connection, principal.project_id, which, after, until
                )
                count = diverted.delete_many(connection, principal.project_id, found)
                if count:
                    subject = _subject(which, begin_us, end_us, count)
                    audit.record(connection, principal, record_id, DELETED_MANY, subject)
                return count, looked_at

            count, looked_at = await self._store.write(delete)
            deleted += count
            if len(looked_at) < diverted.CHUNK:
                return deleted, False
            after = looked_at[-1]
        return deleted, True


def check(which: DivertedFilter, at: str = "") -> None:
    """Refuse a filter by what is no event type.

    Raises:
        InvalidInput: says which; `at` is what its path begins with.
    """
    details = [(f"{at}{path}", reason) for path, reason in type_faults(which.types)]
    if details:
        raise InvalidInput(details=details)


def _subject(which: DivertedFilter, begin_us: int | None, end_us: int | None, count: int) -> str:
    """Return what the audit trail says of diverted events that were deleted together."""
    said = {
        "count": count,
        "event_subscription": which.subscription_id
        and ids.spell(ids.SUBSCRIPTION, which.subscription_id),
        "event_types": which.types,
        "owner": which.owner,
        "reason": which.reason,
        "begin": None if begin_us is None else timestamp.spell(begin_us),
        "end": None if end_us is None else timestamp.spell(end_us),
    }
    return msgspec.json.encode({name: value for name, value in said.items() if value}).decode()


def _require_enabled(connection: Connection, project_id: ids.Id, subscription_id: ids.Id) -> None:
    subscription = subscriptions.find(connection, project_id, subscription_id)
    if subscription is None:
        raise Conflict("The event subscription was deleted.")
    if subscription.disabled_by is not None:
        raise Conflict("The event subscription is disabled.")
