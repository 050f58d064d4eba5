"""The refiller: reads the heads of lanes, and single events, from the database.

On a shared database lanes are refilled whenever others have committed something to them, so one
statement reads all lanes that want it. While it runs, and for a moment behind its start, the lanes
that come make up the next one; a lane that comes alone does not wait.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Final

import structlog

from waypost.clock import Clock
from waypost.engine.receiver import Receiver
from waypost.model.delivery import Owed
from waypost.model.errors import Unavailable
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.policy.work import Work
from waypost.storage import chains, queue
from waypost.storage.connection import Connection
from waypost.storage.queue import LaneHead, LaneRow, LaneWanted
from waypost.storage.store import OWED_READERS, Store

_log = structlog.get_logger(__name__)

_AT_ONCE: Final = OWED_READERS
"""Reads under way at once."""

NO_EVENTS: Final[Mapping[Id, Event]] = MappingProxyType({})
INLINE_MAX: Final = 8 * 1024
"""Larger payloads, bytes, are read when they are sent: many are read at once here."""

_LANES: Final = 64
"""Lanes that one statement reads, on a shared database; and"""

_ROWS: Final = 4_000
"""how many deliveries of each class, about."""

_ROWS_MIN: Final = 64
_APART_S: Final = 0.004
"""How much later than the last one a statement that reads lanes begins."""

_PARK_FROM: Final = 32
"""So many deliveries that wait for others are parked; fewer are rather read again."""

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
        self._lanes_at_once, self._at_once = (_LANES, 1) if store.shared else (1, _AT_ONCE)
        self._apart_s = _APART_S if store.shared else 0.0
        self._next_s = 0.0
        self._wanted: dict[Receiver, None] = {}
        self._is_due = False
        self._tasks: set[asyncio.Task[None]] = set()

    def refill(self, receiver: Receiver) -> None:
        """Refill a receiver's lane, at once or with the next ones."""
        self._wanted[receiver] = None
        if self._apart_s:
            self._start_soon()
        else:
            self._start()

    def _start_soon(self) -> None:
        if self._is_due or len(self._tasks) >= self._at_once:
            return
        self._is_due = True
        delay_s = self._next_s - self._loop.time()
        if delay_s <= 0:
            # At the end of this turn of the loop: what the turn brings is read together.
            self._loop.call_soon(self._start)
        else:
            self._loop.call_later(delay_s, self._start)

    def _start(self) -> None:
        self._is_due = False
        while self._wanted and len(self._tasks) < self._at_once:
            some = tuple(islice(self._wanted, self._lanes_at_once))
            for receiver in some:
                del self._wanted[receiver]
            # Some may have been paused, say, since they wanted it.
            receivers = [receiver for receiver in some if receiver.lane.needs_refill()]
            if receivers:
                self._next_s = self._loop.time() + self._apart_s
                most = max(_ROWS // len(receivers), _ROWS_MIN)
                limits = [min(r.lane.begin_refill(), most) for r in receivers]
                task = self._loop.create_task(self._refill(receivers, limits))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._wanted:
            self._start_soon()

    async def load(self, project_id: Id, event_id: Id) -> Event | None:
        """Return one event with its payload, or None where there is none any more."""
        async with self._places:
            return await self._store.read_owed(
                lambda connection: queue.find_event(connection, project_id, event_id)
            )

    async def stop(self) -> None:
        """Break off what is being read."""
        self._wanted.clear()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _refill(self, receivers: Sequence[Receiver], limits: Sequence[int]) -> None:
        try:
            heads, now_us = await self._read(receivers, limits)
        except asyncio.CancelledError:
            for receiver in receivers:
                receiver.lane.abort_refill()
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the lanes must be filled
            if not isinstance(error, Unavailable):
                _log.exception("refill_failed")
            await asyncio.sleep(_RETRY_S)
            for receiver in receivers:
                receiver.lane.abort_refill()
                self._refilled(receiver, ())
            return
        for receiver, head in zip(receivers, heads, strict=True):
            self._fill(receiver, head, now_us)

    async def _park(self, lanes: Sequence[LaneWanted], heads: Sequence[LaneHead]) -> None:
        """Put out of the way what has to wait for others, where it stands in it."""
        for lane, head in zip(lanes, heads, strict=True):
            if len(head.parkable) >= _PARK_FROM or (head.parkable and head.cut_us is not None):
                place, now_us = (lane.project_id, lane.subscription_id), self._clock.now_us()
                await self._store.write(
                    partial(_park, place=place, delivery_ids=head.parkable, now_us=now_us)
                )

    def _fill(self, receiver: Receiver, head: LaneHead, now_us: int) -> None:
        works = [work_of(row.owed, row.event) for row in head.rows]
        replays_cut_us = head.replays_cut_us
        if replays_cut_us is not None and replays_cut_us > now_us:
            receiver.lane.know_later(replays_cut_us)
            replays_cut_us = None
        entered = receiver.lane.end_refill(
            works,
            now_us,
            read_us=self._clock.now_us(),
            reached_end=head.cut_us is None or head.cut_us > now_us,
            next_due_us=head.cut_us,
            replays_left=replays_cut_us is not None,
            chains=[[_placed(row, key) for row in rows] for key, rows in head.chains.items()],
            behind=head.behind,
        )
        if head.blocks and receiver.lane.order is not None:
            receiver.lane.order.know_blocks(head.blocks)
        self._refilled(receiver, entered)

    async def _read(
        self, receivers: Sequence[Receiver], limits: Sequence[int]
    ) -> tuple[list[LaneHead], int]:
        asked_us = self._clock.now_us()
        lanes = [
            LaneWanted(
                receiver.subscription.project_id,
                receiver.subscription.id,
                limit,
                tuple(receiver.lane.known),
                receiver.lane.ask(),
                asked_us,
            )
            for receiver, limit in zip(receivers, limits, strict=True)
        ]
        async with self._places:
            now_us = self._clock.now_us()
            heads = await self._store.read_owed(
                partial(queue.read_heads, lanes=lanes, payload_max=INLINE_MAX)
            )
        await self._park(lanes, heads)
        return heads, now_us


def work_of(owed: Owed, event: Event | None = None) -> Work:
    """Return what a lane holds of a delivery as it stands in the queue."""
    return Work(
        owed.id,
        owed.event_id,
        int(owed.kind),
        owed.due_us,
        owed.attempts,
        event,
        replay_id=owed.replay_id,
    )


def _placed(row: LaneRow, key: str) -> Work:
    work = work_of(row.owed, row.event)
    work.key, work.sequence = key, row.sequence or 0
    return work


def _park(
    connection: Connection, *, place: tuple[Id, Id], delivery_ids: Sequence[Id], now_us: int
) -> None:
    chains.park(connection, *place, delivery_ids, now_us)
