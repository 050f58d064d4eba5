"""The pruner: forgets what has had its time, and makes places for what is to come.

Once a minute it sweeps through what has had its time since the last sweep, and once an hour through
everything. It rests between the steps, so that deleting takes only a part of the time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from waypost.clock import Clock
from waypost.engine.job import Job
from waypost.engine.sweep import OWED, Order, Position, Step, Sweep
from waypost.model import ids
from waypost.storage import partitions
from waypost.storage.partitions import AHEAD_US, DAY_US, Partition, Width
from waypost.storage.retention import NEVER, Cuts
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

EVERY_S: Final = 60.0
_PREPARE_EVERY_US: Final = 30 * 1_000_000
_ALL_EVERY_US: Final = 3_600 * 1_000_000

_PATIENCE_US: Final = 600 * 1_000_000
"""After so long a sweep takes twice its share, and twice as much again each time."""

ASKED_SHARE: Final = 0.2
"""How much of the time deleting takes that somebody waits for, or that hinders nobody."""

AUDIT_US: Final = 400 * DAY_US
"""The audit trail is small, and asked for when the year is over."""


class PrunerConfig(msgspec.Struct, frozen=True):
    """How long things are kept.

    Attributes:
        retention_us: events, with all that hangs on them; None: for ever.
        diverted_retention_us: diverted events, and their events with them; None: for ever.
        prune_owed: give up what is owed for longer than `retention_us`.
        width: of new partitions.
        share: how much of the time deleting may take, where one thread writes for everybody.
    """

    retention_us: int | None = 90 * DAY_US
    diverted_retention_us: int | None = None
    prune_owed: bool = False
    width: Width = Width.WEEK
    share: float = 0.02


class Pruner:
    """Does what must be done from time to time, lest the database grows for ever.

    Attributes:
        pruned: how many rows were deleted, by table; of dropped partitions, about.
        given_up: how many deliveries were given up while they were owed.
        dropped: how many partitions were dropped.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        config: PrunerConfig,
        is_mine: Callable[[], bool] | None = None,
    ) -> None:
        """Take what is needed.

        Args:
            store: what is swept through.
            clock: by which things have had their time.
            config: how long they are kept.
            is_mine: tells whether this process sweeps; None: it does. Two at once do no harm, but
                work for nothing.
        """
        self._store = store
        self._clock = clock
        self._config = config
        self._is_mine = is_mine or (lambda: True)
        self._share = ASKED_SHARE if store.shared else config.share
        self._sweep = Sweep(store, clock)
        self._order: Order | None = None
        self._position = Position()
        self._partitions: list[Partition] = []
        self._covered_us: int | None = None
        self._prepared_us = NEVER
        self._swept: Counter[str] = Counter()
        self._swept_all_us = NEVER
        self._swept_until = ids.FIRST
        self.pruned: Counter[str] = Counter()
        self.given_up = 0
        self.dropped = 0
        self.job = Job("pruner", self.run_once, every_s=EVERY_S)

    async def prepare(self) -> None:
        """Make the partitions that are missing for the days to come; before events are accepted."""
        now_us = self._prepared_us = self._clock.now_us()
        await self._look_at_partitions(now_us)
        if self._covered_us is not None and self._covered_us < now_us + AHEAD_US:
            width = self._config.width
            made = await self._store.write(lambda c: partitions.make_ahead(c, now_us, width))
            if made:
                _log.info("partitions_made", tables=made)
            await self._look_at_partitions(now_us)

    def shortage(self) -> str | None:
        """Return what is wrong where partitions are about to run out: events would be refused."""
        covered_us = self._covered_us
        if covered_us is None or covered_us >= self._clock.now_us() + DAY_US:
            return None
        until = datetime.fromtimestamp(covered_us // 1_000_000, UTC)
        return f"there are partitions only until {until:%Y-%m-%d %H:%M} UTC; the log says why"

    async def run_once(self) -> bool:
        """Do one step of a sweep; False where it was the last."""
        if self._clock.now_us() - self._prepared_us >= _PREPARE_EVERY_US:
            await self.prepare()
        if not self._is_mine():
            self._order = None
            return False
        if self._order is None:
            self._order, self._position = self._begin(), Position()
        step = await self.step(self._order, self._position, self._share_of(self._order))
        self._swept.update(step.rows)
        if step.position is not None:
            self._position = step.position
            return True
        self._end(self._order)
        return False

    async def step(self, order: Order, position: Position, share: float = ASKED_SHARE) -> Step:
        """Do one step of any sweep, and rest so long that it takes only a share of the time."""
        step = await self._sweep.step(order, position)
        if not order.dry:
            self.given_up += step.rows.get(OWED, 0)
            self.pruned.update({name: n for name, n in step.rows.items() if n and name != OWED})
            self.dropped += step.dropped is not None
            await asyncio.sleep(step.took_s * (1 / max(share, self._config.share) - 1))
        return step

    def order(self, before_us: int | None, diverted_before_us: int | None, *, dry: bool) -> Order:
        """Return the order of a sweep that somebody asks for.

        Args:
            before_us: the moment up to which events go, UTC microseconds; None: by the settings.
            diverted_before_us: the same for diverted events.
            dry: only count.
        """
        now_us = self._clock.now_us()
        usual = self._cuts(now_us)
        cuts = msgspec.structs.replace(
            usual,
            events_us=usual.events_us if before_us is None else min(before_us, now_us),
            diverted_us=(
                usual.diverted_us if diverted_before_us is None else min(diverted_before_us, now_us)
            ),
            ahead=dry,
        )
        return Order(cuts, now_us, give_up=self._config.prune_owed)

    def _begin(self) -> Order:
        now_us = self._clock.now_us()
        cuts = self._cuts(now_us)
        everything = now_us - self._swept_all_us >= _ALL_EVERY_US
        if everything:
            self._swept_all_us = now_us
        cuts = msgspec.structs.replace(
            cuts,
            # Rows of a partition wait until it can be dropped whole.
            events_us=partitions.whole_until(self._partitions, cuts.events_us),
            behind=ids.FIRST if everything else self._swept_until,
        )
        self._swept.clear()
        return Order(cuts, now_us, give_up=self._config.prune_owed)

    def _share_of(self, order: Order) -> float:
        """Return the share of a sweep: the longer it takes, the more has piled up behind it."""
        late = (self._clock.now_us() - order.now_us) // _PATIENCE_US
        return min(self._share * (1 << min(late, 16)), max(self._share, ASKED_SHARE))

    def _end(self, order: Order) -> None:
        self._order = None
        until_us, left_us = order.cuts.events_us, self._position.until_us
        self._swept_until = ids.lowest(until_us if left_us is None else min(until_us, left_us))
        rows = {name: count for name, count in self._swept.items() if count}
        if rows:
            _log.info("pruned", rows=rows)

    def _cuts(self, now_us: int) -> Cuts:
        config = self._config
        return Cuts(
            events_us=_before(now_us, config.retention_us),
            diverted_us=_before(now_us, config.diverted_retention_us),
            audit_us=_before(now_us, None if config.retention_us is None else AUDIT_US),
        )

    async def _look_at_partitions(self, now_us: int) -> None:
        self._partitions = await self._store.read(partitions.list_all)
        if self._store.shared:
            self._covered_us = partitions.covered_until(self._partitions, now_us)


def _before(now_us: int, span_us: int | None) -> int:
    return NEVER if span_us is None else max(now_us - span_us, NEVER)
