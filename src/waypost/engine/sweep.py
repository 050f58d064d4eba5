"""A sweep through what has had its time, step by step.

It goes through the parts of the work in the order of `PARTS`, project by project, by key. A step
finds a few rows on a reader and deletes them in one write: as many as take two milliseconds,
since every commit that comes meanwhile waits for it. Between two steps nothing is remembered but
the position, so a sweep may be broken off anywhere, and go on, or begin anew.

Nothing is deleted while it is owed. Where that is wanted, what is owed for longer than events are
kept is given up first, under a reason of its own, and goes to the dead-letter box, where it is seen
and can be sent again until that has had its time, too.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from waypost.clock import Clock
from waypost.model import ids
from waypost.model.ids import Id
from waypost.storage import answers, counters, idempotency, partitions, retention
from waypost.storage.connection import Connection
from waypost.storage.partitions import BEHIND_US, Busy, Kept, Partition
from waypost.storage.retention import Cuts, Key
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

T = TypeVar("T")

OWED: Final = "queue"
PARTITIONS: Final = "partitions"
COUNTERS: Final = "ordering_counters"
_EXPIRING: Final = {
    "idempotency_keys": (idempotency.count_expired, idempotency.prune),
    "answers": (answers.count_expired, answers.prune),
}
"""What goes by an expiry of its own: how it is counted, and how a part of it is deleted."""

_KINDS: Final = {kind.name: kind for kind in retention.KINDS}
_DIVERTED, *_OTHERS = _KINDS
PARTS: Final = (OWED, _DIVERTED, PARTITIONS, *_OTHERS, COUNTERS, *_EXPIRING)
"""Tables, but for one, in the order in which they are worked on."""

BUSY: Final = "busy"
"""Why a partition is kept that somebody is using."""

_PASSING: Final = frozenset({BUSY, Kept.REPLAYED.value})
"""Reasons that are over soon."""

_WRITE_S: Final = 0.002
"""What one write shall take, about, where every commit waits for it;"""

_SHARED_WRITE_S: Final = 0.05
"""and where only this process's other rare writes do."""

_LEAST: Final = 100
_MOST: Final = 2_000
_COUNTED: Final = 10_000


class Order(msgspec.Struct, frozen=True):
    """What a sweep is to do.

    Attributes:
        cuts: what has had its time.
        now_us: the present, UTC microseconds.
        give_up: give up what is owed for events that have had their time.
    """

    cuts: Cuts
    now_us: int
    give_up: bool = False

    @property
    def dry(self) -> bool:
        """Whether it only counts."""
        return self.cuts.ahead


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where a sweep stands.

    Attributes:
        part: one of `PARTS`.
        project_id: the project whose rows were looked at last.
        key: the last of them; empty: none yet.
        until_us: events from this moment on are left to a later sweep: their partition can't be
            dropped just now, and to delete it row by row would be a waste.
    """

    part: str = PARTS[0]
    project_id: Id = ids.FIRST
    key: Key = ()
    until_us: int | None = None

    def next_part(self) -> "Position | None":
        """Return the beginning of the part that follows, or None behind the last."""
        following = PARTS.index(self.part) + 1
        return (
            Position(PARTS[following], until_us=self.until_us) if following < len(PARTS) else None
        )


class Step(msgspec.Struct, frozen=True):
    """What a step has done.

    Attributes:
        rows: how many rows it has deleted, given up, or only counted, by table; of a partition that
            it has dropped, about.
        position: where the sweep stands now; None: at its end.
        dropped: the partition that it has dropped.
        kept: the partition that could not be dropped, and why.
        took_s: how long it took to be committed: long where others commit as well.
    """

    rows: dict[str, int]
    position: Position | None
    dropped: str | None = None
    kept: tuple[str, str] | None = None
    took_s: float = 0.0


class Sweep:
    """Does steps, and learns how much a step may hold."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Take the store, and the clock that a step is timed by."""
        self._store = store
        self._clock = clock
        self._write_s = _SHARED_WRITE_S if store.shared else _WRITE_S
        self._limit = 2 * _LEAST

    async def step(self, order: Order, position: Position) -> Step:
        """Do one step from a position."""
        if position.until_us is not None:
            events_us = min(order.cuts.events_us, position.until_us)
            order = replace(order, cuts=replace(order.cuts, events_us=events_us))
        if position.part == PARTITIONS:
            return await self._drop_one(order, position)
        if position.part in _EXPIRING:
            return await self._expire(order, position)
        if position.part == COUNTERS:
            return await self._counters(order, position)
        if position.part == OWED and not order.give_up:
            return Step({}, position.next_part())
        limit = _COUNTED if order.dry else self._limit
        found = await self._store.read(partial(_find, order=order, at=position, limit=limit))
        if found is None:
            return Step({}, position.next_part())
        project_id, keys, close = found
        here = replace(position, project_id=project_id, key=keys[-1])
        if order.dry:
            return Step({here.part: len(keys)}, here)
        if here.part == OWED:
            forget = partial(_give_up, order=order, project_id=project_id, keys=keys)
        else:
            kind, cuts = _KINDS[here.part], order.cuts
            forget = partial(
                retention.delete,
                kind=kind,
                project_id=project_id,
                keys=keys,
                cuts=cuts,
                close=close,
            )
        count, took_s = await self._write(forget)
        return Step({here.part: count}, here, took_s=took_s)

    async def _expire(self, order: Order, position: Position) -> Step:
        part = position.part
        count_expired, prune = _EXPIRING[part]
        if order.dry:
            count = await self._store.read(lambda c: count_expired(c, order.now_us))
            return Step({part: count}, position.next_part())
        limit = self._limit
        count, took_s = await self._write(lambda c: prune(c, order.now_us, limit))
        rows = {part: count} if count else {}
        return Step(rows, position if count == limit else position.next_part(), took_s=took_s)

    async def _counters(self, order: Order, position: Position) -> Step:
        """Look at some counters, and forget those that nobody has used for long."""
        last = position.key[0].decode() if position.key else ""
        after, before_us = (position.project_id, last), order.now_us - counters.IDLE_US
        limit = _COUNTED if order.dry else self._limit
        idle, looked = await self._store.read(
            lambda c: counters.find_idle(c, after, before_us, limit)
        )
        if looked is None:
            return Step({}, position.next_part())
        project_id, name = looked
        count, took_s = len(idle), 0.0
        if idle and not order.dry:
            count, took_s = await self._write(
                lambda c: counters.forget(c, project_id, idle, before_us)
            )
        here = replace(position, project_id=project_id, key=(name.encode(),))
        return Step({COUNTERS: count}, here, took_s=took_s)

    async def _drop_one(self, order: Order, position: Position) -> Step:
        """Drop the next partition that has had its time altogether."""
        after = position.key[0] if position.key else ids.FIRST
        before_us = min(order.cuts.events_us, order.now_us - BEHIND_US)
        due = [
            one
            for one in await self._store.read(partitions.list_all)
            if one.end_us <= before_us
            and ids.lowest(one.end_us) > order.cuts.behind
            and ids.lowest(one.begin_us) > after
        ]
        if not due or order.dry:
            return Step({}, position.next_part())
        partition = due[0]
        here = replace(position, key=(ids.lowest(partition.begin_us),))
        # Looked at first where it costs nobody anything.
        kept = await self._store.read(lambda c: partitions.find_hold(c, partition))
        reason = None if kept is None else kept.value
        took_s = 0.0
        if reason is None:
            reason, took_s = await self._drop(partition)
        if reason is None:
            _log.info("partition_dropped", partition=partition.name, rows=partition.rows)
            return Step(partition.rows, here, dropped=partition.name, took_s=took_s)
        _log.info("partition_kept", partition=partition.name, reason=reason)
        if reason in _PASSING:
            here = replace(here, until_us=partition.begin_us)
        return Step({}, here, kept=(partition.name, reason), took_s=took_s)

    async def _drop(self, partition: Partition) -> tuple[str | None, float]:
        try:
            kept, took_s = await self._write(lambda c: partitions.drop(c, partition))
        except Busy:
            return BUSY, 0.0
        return None if kept is None else kept.value, took_s

    async def _write(self, fn: Callable[[Connection], T]) -> tuple[T, float]:
        """Run a write; return its result and how long it took to be committed."""
        clock = self._clock
        asked = clock.monotonic()

        def timed(connection: Connection) -> tuple[T, float]:
            began = clock.monotonic()
            return fn(connection), clock.monotonic() - began

        result, held_s = await self._store.write(timed)
        self._learn(held_s)
        return result, clock.monotonic() - asked

    def _learn(self, held_s: float) -> None:
        """Hold others up a little less, or a little longer, with the next write."""
        if held_s > 2 * self._write_s:
            self._limit = max(_LEAST, self._limit // 2)
        elif held_s < self._write_s / 2:
            self._limit = min(_MOST, self._limit * 2)


def _find(
    connection: Connection, *, order: Order, at: Position, limit: int
) -> tuple[Id, list[Key], bool] | None:
    """Return the next rows behind a position, if there are any.

    Returns:
        Their project, their keys, and whether they are close together.
    """
    retention.go_by_index(connection)
    project_id: Id | None = at.project_id
    after = at.key
    while project_id is not None:
        if at.part == OWED:
            keys = retention.find_owed(connection, project_id, after, order.cuts, limit)
            if keys:
                return project_id, keys, False
        else:
            kind = _KINDS[at.part]
            keys = retention.find(connection, kind, project_id, after, order.cuts, limit)
            if keys:
                close = not order.dry and retention.are_close(connection, kind, project_id, keys)
                return project_id, keys, close
        project_id, after = _next_project(connection, order, at.part, project_id), ()
    return None


def _next_project(connection: Connection, order: Order, part: str, after: Id) -> Id | None:
    if part == OWED:
        return retention.next_project_owed(connection, after, order.cuts)
    return retention.next_project(connection, _KINDS[part], after, order.cuts)


def _give_up(connection: Connection, *, order: Order, project_id: Id, keys: list[Key]) -> int:
    given_up = retention.expire(connection, project_id, keys, order.now_us)
    by_subscription = Counter(one.subscription_id.hex() for one in given_up)
    _log.warning(
        "owed_given_up",
        reason="kept for longer than the retention",
        project=project_id.hex(),
        deliveries=len(given_up),
        subscriptions=dict(by_subscription),
    )
    return len(given_up)
