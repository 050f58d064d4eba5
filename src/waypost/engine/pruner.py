"""The pruner: forgets what has had its time, a little at a time, so that no commit waits long."""

from waypost.clock import Clock
from waypost.engine.job import Job
from waypost.storage import idempotency
from waypost.storage.store import Store

_EVERY_S = 60.0


class Pruner:
    """Deletes idempotency keys whose time is over."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Take the store and the clock that expiry is judged by."""
        self._store = store
        self._clock = clock
        self.job = Job("pruner", self.run_once, every_s=_EVERY_S)

    async def run_once(self) -> bool:
        """Delete one batch; False where nothing is left to delete."""
        now_us = self._clock.now_us()
        deleted = await self._store.write(lambda held: idempotency.prune(held, now_us))
        return deleted >= idempotency.CHUNK
