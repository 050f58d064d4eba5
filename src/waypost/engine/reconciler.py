"""The reconciler: a slow look at what is owed, in case nobody was told of it.

Lanes hear of every commit, and at the start of everything that is owed. That neither is needed for
correctness is seen to here: a lane that is owed something and knows of nothing reads its queue.

Where other processes commit deliveries too, they may be the only way in which a lane hears of them.
So the look is more frequent there, and compares what each lane was owed last. That may be known of
this process' own commits, though what another one has committed before is not. So every tenth look
has all lanes that are owed something read their queues.
"""

from collections.abc import Callable, Sequence
from typing import Final

from waypost.engine.dispatcher import Dispatcher
from waypost.engine.job import Job
from waypost.engine.router import Router
from waypost.model.flow import LaneState
from waypost.model.ids import Id
from waypost.storage import lane_states, queue, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.store import Store

EVERY_S: Final = 60.0
SHARED_EVERY_S: Final = 1.0
_TRUSTING: Final = 9
"""So many looks go by what each lane was owed last, before one that does not."""


async def look(store: Store, router: Router) -> Sequence[tuple[Id, Id]]:
    """Return the lanes that are owed something, for whoever has just come to own them.

    How their subscriptions fare was known to their former owner alone, and is read too.
    """

    def read(
        connection: Connection,
    ) -> tuple[Sequence[tuple[Id, Id]], dict[Id, int], dict[Id, LaneState]]:
        return (
            queue.list_lanes(connection),
            subscriptions.failing_since(connection),
            lane_states.load_all(connection),
        )

    lanes, failing_since_us, states = await store.read_owed(read)
    router.fare(failing_since_us, states)
    return lanes


Newest = Callable[[Connection], Sequence[tuple[Id, Id, Id | None]]]
"""Reads (project, subscription, delivery) of what each lane was owed last."""


class Reconciler:
    """Compares what is owed with what the lanes know of, again and again."""

    def __init__(self, store: Store, dispatcher: Dispatcher, newest: Newest | None = None) -> None:
        """Take the store, and whose lanes are looked at.

        `newest` is given where other processes commit deliveries too.
        """
        self._store = store
        self._dispatcher = dispatcher
        self._newest = newest
        self._trusted = 0
        every_s = EVERY_S if newest is None else SHARED_EVERY_S
        self.job = Job("reconciler", self.run_once, every_s=every_s)

    async def run_once(self) -> bool:
        """Look once; False: nothing is left to look at."""
        if self._newest is None:
            self._dispatcher.resume(await self._store.read_owed(queue.list_lanes))
        elif self._trusted < _TRUSTING:
            self._trusted += 1
            self._dispatcher.roster.missed(await self._store.read_owed(self._newest))
        else:
            self._dispatcher.roster.look(await self._store.read_owed(queue.list_lanes))
            self._trusted = 0
        return False
