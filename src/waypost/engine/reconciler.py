"""The reconciler: a slow look at what is owed, in case nobody was told of it.

Lanes hear of every commit, and at the start of everything that is owed. That neither is needed for
correctness is seen to here: a lane that is owed something and knows of nothing reads its queue.
"""

from typing import Final

from waypost.engine.dispatcher import Dispatcher
from waypost.engine.job import Job
from waypost.storage import queue
from waypost.storage.store import Store

EVERY_S: Final = 60.0


class Reconciler:
    """Compares what is owed with what the lanes know of, once a minute."""

    def __init__(self, store: Store, dispatcher: Dispatcher) -> None:
        """Take the store, and whose lanes are looked at."""
        self._store = store
        self._dispatcher = dispatcher
        self.job = Job("reconciler", self.run_once, every_s=EVERY_S)

    async def run_once(self) -> bool:
        """Look once; False: nothing is left to look at."""
        self._dispatcher.resume(await self._store.read_owed(queue.list_lanes))
        return False
