"""Blocked keys: looked through, and released."""

from collections.abc import Callable, Sequence
from typing import Final

from waypost.clock import IdSource
from waypost.model import ids
from waypost.model.delivery import BlockedKey, DeliveryClass, Owed
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.storage import audit, blocked_keys, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.store import Store

RELEASED: Final = "blocked_key.release"


class BlockedKeys:
    """What people ask of the keys that wait behind a delivery that was given up."""

    def __init__(
        self, store: Store, owed: Callable[[Sequence[Owed]], None], source: IdSource
    ) -> None:
        """Take what they are kept in, who is told of what may be sent again, and the ids."""
        self._store = store
        self._owed = owed
        self._ids = source

    async def list_page(
        self, principal: Principal, subscription_id: ids.Id, request: PageRequest
    ) -> Page[BlockedKey]:
        """Return one page of a subscription's blocked keys, by the deliveries that block them.

        Raises:
            NotFound: the project has no such subscription.
        """

        def read(connection: Connection) -> Page[BlockedKey]:
            subscriptions.get(connection, principal.project_id, subscription_id)
            place = (principal.project_id, subscription_id)
            return blocked_keys.list_page(connection, *place, request)

        return await self._store.read(read)

    async def release(
        self, principal: Principal, subscription_id: ids.Id, ordering_key: str
    ) -> None:
        """Let what waits behind a blocked key be sent; who did so is kept.

        Raises:
            NotFound: the project has no such subscription, or the key is not blocked.
        """
        project_id = principal.project_id
        record_id, now_us = self._ids.next_at()

        def release(connection: Connection) -> None:
            subscriptions.get(connection, project_id, subscription_id)
            if not blocked_keys.release(connection, project_id, subscription_id, ordering_key):
                raise NotFound("blocked key")
            subject = ids.spell(ids.SUBSCRIPTION, subscription_id)
            audit.record(connection, principal, record_id, RELEASED, subject)

        def after(_: None) -> None:
            # Of no delivery of its own: whoever sends for the subscription looks what there is.
            kind = DeliveryClass.FRESH
            place = (project_id, record_id, record_id, subscription_id)
            self._owed([Owed(*place, kind, now_us)])

        await self._store.write(release, after)
