"""Diverted events: the dead-letter box, looked through, sent again, emptied."""

from typing import Final, Protocol

from waypost.clock import IdSource
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, DivertedEvent, Owed
from waypost.model.errors import Conflict
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.storage import audit, diverted, queue, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.store import Store

DELETED: Final = "diverted_event.delete"


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
        subscription_id: ids.Id | None = None,
    ) -> Page[DivertedEvent]:
        """Return one page of the project's diverted events, or of one subscription's."""
        return await self._store.read(
            lambda c: diverted.list_page(c, principal.project_id, request, subscription_id)
        )

    async def get(self, principal: Principal, diverted_id: ids.Id) -> DivertedEvent:
        """Return a diverted event.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        return await self._store.read(lambda c: diverted.get(c, principal.project_id, diverted_id))

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


def _require_enabled(connection: Connection, project_id: ids.Id, subscription_id: ids.Id) -> None:
    subscription = subscriptions.find(connection, project_id, subscription_id)
    if subscription is None:
        raise Conflict("The event subscription was deleted.")
    if subscription.disabled_by is not None:
        raise Conflict("The event subscription is disabled.")
