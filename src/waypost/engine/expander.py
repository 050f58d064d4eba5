"""The expander: makes the deliveries that were too many for the commit that accepted their event.

Each part is one transaction: its deliveries enter the queue and the marker moves on. Between two
parts nothing is remembered, so a crash neither loses nor doubles a delivery.
"""

from collections.abc import Callable, Sequence

from waypost.clock import IdSource
from waypost.engine.job import Job
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.ids import moved
from waypost.storage import fan_outs, queue
from waypost.storage.connection import Connection
from waypost.storage.fan_outs import FanOut
from waypost.storage.store import Store


class Expander:
    """Expands great fan-outs, part by part."""

    def __init__(
        self, store: Store, owed: Callable[[Sequence[Owed]], None], source: IdSource
    ) -> None:
        """Take the store, who is told of what is owed, and the source of ids."""
        self._store = store
        self._owed = owed
        self._ids = source
        self.job = Job("expander", self.run_once)

    async def run_once(self) -> bool:
        """Make one part of one fan-out; False where there is none."""
        part = await self._store.read(fan_outs.find_next)
        if part is None:
            return False
        owed = [self._delivery(part, subscription_id) for subscription_id in part.subscriptions]

        def write(connection: Connection) -> list[Owed]:
            if not fan_outs.advance(connection, part):
                return []
            queue.insert(connection, owed)
            return owed

        await self._store.write(write, self._owed)
        return True

    def _delivery(self, part: FanOut, subscription_id: bytes) -> Owed:
        delivery_id, due_us = self._ids.next_at()
        if part.due_us > due_us:
            delivery_id, due_us = moved(delivery_id, part.due_us), part.due_us
        return Owed(
            part.project_id,
            delivery_id,
            part.event_id,
            subscription_id,
            DeliveryClass.FRESH,
            due_us,
        )
