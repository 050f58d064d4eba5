"""Changes to hand to a store, and what comes back."""

import asyncio
from typing import Any

from sqlalchemy import func, select

from tests.support.database import Records
from waypost.model.delivery import AttemptState, DeliveryState
from waypost.storage import schema
from waypost.storage.changes import Acceptance, Entry, Settlement
from waypost.storage.store import Store


class Told:
    """What a change was answered with, when it was."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._more = asyncio.Event()

    def __call__(self, change: Any) -> None:
        self.all.append(change)
        self._more.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.all) < count:
                self._more.clear()
                await self._more.wait()


def acceptance(records: Records, told: Told, **parts: Any) -> Acceptance:
    """Return an acceptance of one event that is owed to nobody."""
    event_id = records.ids.next()
    kind = parts.get("kind", "a")
    entry = Entry(event_id, (records.project, event_id, kind, b"{}", None, 1), [], None, b"")
    return Acceptance(
        parts.get("project", records.project), b"k" * 16, 1, [entry], 0, 1, told, keyed=False
    )


def settlement(records: Records, told: Told, delivery_id: bytes, event_id: bytes) -> Settlement:
    """Return the settlement of a first try that failed for good."""
    subscription = b"s" * 16
    return Settlement(
        records.project,
        event_id,
        delivery_id,
        0,
        (
            *(records.project, event_id, delivery_id, delivery_id, subscription, 1),
            *(int(AttemptState.FAILED), 500, b"", None, b"\x90", 0),
        ),
        told,
        delivery=(
            *(records.project, event_id, delivery_id, subscription),
            *(int(DeliveryState.FAILED), 1, 1, None),
        ),
    )


async def count(store: Store, table: str) -> int:
    query = select(func.count()).select_from(schema.metadata.tables[table])
    return int(await store.read(lambda c: c.execute(query).scalar_one()))
