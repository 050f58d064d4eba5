"""The refiller: reads the heads of lanes, and single events, from the database."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import structlog

from waypost.clock import Clock
from waypost.engine.receiver import Receiver
from waypost.model.errors import Unavailable
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.policy.lane import Work
from waypost.storage import queue
from waypost.storage.queue import LaneHead
from waypost.storage.store import OWED_READERS, Store

_log = structlog.get_logger(__name__)

_AT_ONCE: Final = OWED_READERS
"""Reads under way at once."""

_INLINE_MAX: Final = 8 * 1024
"""Larger payloads are read when they are sent: a refill reads a window of them at once."""

_RETRY_S: Final = 1.0


class Refiller:
    """Fills lanes from the database, a few at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        store: Store,
        clock: Clock,
        window: int,
        refilled: Callable[[Receiver, Sequence[Work]], None],
    ) -> None:
        """Take the store, and what to call with what entered a lane."""
        self._loop = loop
        self._store = store
        self._clock = clock
        self._window = window
        self._refilled = refilled
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def refill(self, receiver: Receiver) -> None:
        """Start to refill a receiver's lane."""
        limit = receiver.lane.begin_refill()
        task = self._loop.create_task(self._refill(receiver, limit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def load(self, project_id: Id, event_id: Id) -> Event | None:
        """Return one event with its payload, or None where there is none any more."""
        async with self._places:
            return await self._store.read_owed(
                lambda connection: queue.find_event(connection, project_id, event_id)
            )

    async def stop(self) -> None:
        """Break off what is being read."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _refill(self, receiver: Receiver, limit: int) -> None:
        lane = receiver.lane
        try:
            head, now_us = await self._read(receiver, limit)
        except asyncio.CancelledError:
            lane.abort_refill()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the lane must be filled
            if not isinstance(error, Unavailable):
                _log.exception("refill_failed")
            await asyncio.sleep(_RETRY_S)
            lane.abort_refill()
            self._refilled(receiver, ())
            return
        works = [
            Work(
                row.owed.id,
                row.owed.event_id,
                int(row.owed.kind),
                row.owed.due_us,
                row.owed.attempts,
                row.event,
            )
            for row in head.rows
        ]
        reached_end = head.cut_us is None or head.cut_us > now_us
        entered = lane.end_refill(
            works,
            now_us,
            read_us=self._clock.now_us(),
            reached_end=reached_end,
            next_due_us=head.cut_us,
        )
        self._refilled(receiver, entered)

    async def _read(self, receiver: Receiver, limit: int) -> tuple[LaneHead, int]:
        subscription = receiver.subscription
        async with self._places:
            now_us = self._clock.now_us()
            head = await self._store.read_owed(
                partial(
                    queue.read_head,
                    project_id=subscription.project_id,
                    subscription_id=subscription.id,
                    limit=limit,
                    payload_max=_INLINE_MAX,
                )
            )
        return head, now_us
