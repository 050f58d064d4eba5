"""Expiry: ends what is worth nothing any more when its turn has come, without a try.

It is `failed`, with the reason that it expired, and not diverted: whoever set the limit has said
that it is of no use later.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from waypost.clock import Clock
from waypost.engine.job import log_failed
from waypost.engine.receiver import Receiver
from waypost.policy.work import Work
from waypost.storage import queue
from waypost.storage.store import Store

_RETRY_S: Final = 1.0


class Expiry:
    """For the loop's thread alone."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store,
        clock: Clock,
        ended: Callable[[Receiver, Work], None],
        kept: Callable[[Receiver, Work], None],
    ) -> None:
        """Take the store, and whom to tell.

        `ended` is told of each that has ended; `kept` of each that could not be ended now.
        """
        self._loop = loop
        self._store = store
        self._clock = clock
        self._ended = ended
        self._kept = kept
        self._expired: dict[Receiver, list[Work]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, receiver: Receiver, work: Work) -> None:
        """End a delivery soon; it has taken a slot as if it were tried, and keeps it until then."""
        self._expired.setdefault(receiver, []).append(work)
        if self._task is None:
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        try:
            while self._expired:
                receiver, works = self._expired.popitem()
                await self._end(receiver, works)
        finally:
            self._task = None

    async def _end(self, receiver: Receiver, works: list[Work]) -> None:
        of, now_us = receiver.subscription, self._clock.now_us()
        identifiers = [work.id for work in works]
        try:
            await self._store.write(
                lambda connection: queue.expire(
                    connection, of.project_id, of.id, identifiers, now_us=now_us
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, they stay owed
            log_failed("expiry_failed", error)
            await asyncio.sleep(_RETRY_S)
            told = self._kept
        else:
            told = self._ended
        for work in works:
            told(receiver, work)

    async def stop(self) -> None:
        """Wait until what was added has ended."""
        if self._task is not None:
            await self._task
