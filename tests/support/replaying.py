"""A replayer on a store, for tests of what it does."""

import asyncio
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, select

from tests.support.database import Records
from waypost.engine.refiller import NO_EVENTS
from waypost.engine.replayer import Replayer
from waypost.engine.router import Router
from waypost.model.delivery import Owed
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.replay import Replay, ReplayKind
from waypost.model.subscription import Subscription
from waypost.storage import replays, schema
from waypost.storage.store import Store

MOMENT = 2_000_000_000_000_000
"""Later than whatever tests make."""


class Desk:
    """A replayer on a store, and what it has told of."""

    def __init__(self, records: Records, store: Store) -> None:
        """Make a replayer that sends nothing."""
        self.records = records
        self.store = store
        self.told: list[Owed] = []
        self.events: dict[Id, Event] = {}
        self.done = asyncio.Event()
        self.router = Router()
        self.router.load({records.project: 1}, ())
        self.replayer = self.another()

    def another(self) -> Replayer:
        """Return one more replayer on the same store."""
        return Replayer(self.store, self.take, self.records.ids, self.router)

    def take(self, owed: Sequence[Owed], events: Mapping[Id, Event] = NO_EVENTS) -> None:
        """Note what the lanes are told of."""
        self.told += owed
        self.events |= events
        self.done.set()

    async def start(self, kind: ReplayKind, subscription: Subscription) -> Replay:
        """Keep a job for one subscription, or of the dead-letter box, whose range ends now."""
        self.records.clock.forward(1)
        replay_id, now_us = self.records.ids.next_at()
        place = (subscription.project_id, replay_id)
        to = None if kind is ReplayKind.DIVERTED else subscription.id
        replay = Replay(*place, kind, to, 0, now_us)
        await self.store.write(lambda c: replays.insert(c, replay))
        return replay

    async def look(self, replay: Replay) -> Replay:
        """Return a job as it is now."""
        return await self.store.read(lambda c: replays.get(c, replay.project_id, replay.id))

    async def queued(self) -> list[tuple[Id, Id, int]]:
        """Return what the queue holds: events, subscriptions and classes."""

        def read(connection: Connection) -> list[tuple[Id, Id, int]]:
            table = schema.queue
            rows = connection.execute(
                select(table.c.event_id, table.c.subscription_id, table.c["class"]).order_by(
                    table.c.id
                )
            )
            return [(row[0], row[1], row[2]) for row in rows]

        return await self.store.read(read)

    async def finish(self) -> int:
        """Do all steps that are due; return how many."""
        steps = 0
        while await self.replayer.run_once():
            steps += 1
        return steps
