"""Ownership: which shards this process owns, and for how long it can be sure of that.

A worker lives by its row in the database, which it renews three times within its lease, with a
heartbeat. Each heartbeat also buries the dead, gives up what is beyond this worker's share, and
claims what is free within it. A worker counts its lease from before it asked for it, by its own
monotonic clock, and a margin less: so it has stopped before the database can take it for dead. What
is in flight then is broken off; nobody knows what became of it, so it stays owed. It comes back as
a new worker.

Nothing but its own statements holds a heartbeat up: what claimed shards are owed is looked at, and
how receivers fare is saved before their shards are freed, by jobs of their own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Protocol

import msgspec
import structlog

from waypost.clock import Clock, IdSource
from waypost.engine.job import Job
from waypost.engine.shards import Shards
from waypost.model.errors import Unavailable
from waypost.model.ids import Id
from waypost.model.shards import Shard
from waypost.policy import balance
from waypost.storage import workers
from waypost.storage.apart import Apart, together
from waypost.storage.connection import Connection
from waypost.storage.workers import IDLE_ROLES, Card, Load, Peer

_log = structlog.get_logger(__name__)

_BEATS: Final = 3
"""Heartbeats in a lease."""

_MARGIN: Final = 0.2
"""The part of its lease that a worker does not use."""

_GATHER_S: Final = 0.01
"""What comes together within so long is one heartbeat's."""

_RETRY_S: Final = 0.5
_AFTER_S: Final = 0.05
_MICROS: Final = 1_000_000

STOPPING: Final = "stopping"


class Lanes(Protocol):
    """What ownership needs of the dispatcher."""

    delivered: int

    @property
    def in_flight_count(self) -> int:
        """How many tries are in flight or being settled."""

    @property
    def is_leaving(self) -> bool:
        """Whether something is in flight of a shard that was given up or lost."""

    def resume(self, lanes: Sequence[tuple[Id, Id]]) -> None:
        """Look at lanes that are owed something."""

    def give_up(self, shards: Collection[Shard]) -> None:
        """Start nothing more of some shards."""

    def lose(self, shards: Collection[Shard]) -> None:
        """Break off everything at once."""

    async def save(self) -> None:
        """Save how receivers fare."""

    def lag_us(self, now_us: int) -> int:
        """Return for how long the oldest delivery that is due has waited."""


class OwnershipConfig(msgspec.Struct, frozen=True):
    """How a worker presents itself.

    Attributes:
        lease_s: so long a worker that says nothing is taken for alive.
        role: what it does; in the role `api` it owns no shards.
        name: of the machine and the process, for people.
        listen: where it takes requests, for people.
        version: of the program.
    """

    lease_s: float = 5.0
    role: str = "all"
    name: str = ""
    listen: str = ""
    version: str = ""


class _Beat(msgspec.Struct, frozen=True):
    """What a heartbeat has found."""

    now_us: int
    owned: dict[Shard, int]
    peers: list[Peer]
    free: int


class Ownership:
    """For the loop's thread alone.

    Attributes:
        me: the worker that this process is now; None while it is none.
        tell: called when shards were freed or a worker came, for the others to look.
    """

    def __init__(
        self,
        apart: Apart,
        shards: Shards,
        lanes: Lanes,
        clock: Clock,
        ids: IdSource,
        config: OwnershipConfig,
        look: Callable[[], Awaitable[Sequence[tuple[Id, Id]]]],
    ) -> None:
        """Take what it works with.

        Args:
            apart: a connection for heartbeats alone.
            shards: told what this process owns and until when.
            lanes: take shards and let them go.
            clock: whose monotonic time leases are counted by.
            ids: of workers.
            config: how this process presents itself.
            look: returns the lanes that are owed something, when shards were claimed.
        """
        self._apart = apart
        self._shards = shards
        self._lanes = lanes
        self._clock = clock
        self._ids = ids
        self._config = config
        self._look = look
        self._role = config.role
        self._lease_us = int(config.lease_s * _MICROS)
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._next_s = 0.0
        self._joining: Id | None = None
        self._former: list[Id] = []
        self._leaving: set[Shard] = set()
        self._landed: set[Shard] = set()
        self._quiet: set[Shard] = set()
        self._told = (0.0, 0)
        self._claims = 0
        self.looking = Job("ownership-look", self.look_once)
        self.saving = Job("ownership-save", self.save_once)
        self.me: Id | None = None
        self.tell: Callable[[], None] = lambda: None
        self.aligned: Callable[[int, float, float], None] = lambda *_: None

    def start(self) -> None:
        """Join, and claim a share."""
        self.looking.start()
        self.saving.start()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """Look at the others now."""
        self._wanted.set()

    def left(self, shard: Shard) -> None:
        """A shard that was given up, or lost, is quiet: whoever lacks it may have it."""
        if shard in self._leaving:
            self._landed.add(shard)
            self.saving.wake()
        else:
            self._wanted.set()

    def retire(self) -> None:
        """Give up every shard, each as soon as nothing of it is in flight."""
        self._role = STOPPING
        self._give_up(self._owned())
        self._wanted.set()

    async def leave(self) -> None:
        """Free what is left, and end."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await self.looking.stop()
        await self.saving.stop()
        if self._alarm is not None:
            self._alarm.cancel()
        if self.me is not None:
            self._former.append(self.me)
            self.me = None
        try:
            if self._former:
                await self._apart.run(partial(_bury, former=tuple(self._former)))
                self.tell()
        except Exception as error:  # noqa: BLE001 - its lease ends by itself
            _log.warning("leave_failed", error=str(error))
        await self._apart.close()

    def _owned(self) -> list[Shard]:
        return [shard for shard, epoch in enumerate(self._shards.epochs) if epoch]

    async def _run(self) -> None:
        is_failing = False
        while True:
            try:
                await self.beat()
            except Exception as error:  # noqa: BLE001 - whatever it is, only time can tell
                if not is_failing:
                    # That the database is away is told by whoever connects to it.
                    log = _log.info if isinstance(error, Unavailable) else _log.warning
                    log("heartbeat_failed", error=str(error) or type(error).__name__)
                is_failing = True
                self._next_s = _RETRY_S
            else:
                is_failing = False
            # Not `wait_for`: until Python 3.12 it loses a cancellation that comes with a wake.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._next_s):
                    await self._wanted.wait()
                await asyncio.sleep(_GATHER_S)
            self._wanted.clear()

    async def beat(self) -> None:
        """Say that this worker lives, and do what has become possible since the last time.

        Raises:
            Unavailable: the database does not answer.
        """
        quiet, self._quiet = self._quiet, set()
        asked = self._clock.monotonic()
        me = self.me
        card = self._card() if me is None else None
        try:
            found = await self._apart.run(
                partial(
                    _beat,
                    card=card,
                    former=tuple(self._former),
                    me=me,
                    role=self._role,
                    load=self._load(asked),
                    lease_us=self._lease_us,
                    quiet=quiet,
                )
            )
        except BaseException:
            self._quiet |= quiet
            raise
        self._leaving -= quiet
        if self.me is not me:
            # The answer came too late: the lease was counted as ended meanwhile.
            return
        if found is None:
            self._lose()
            self._next_s = 0.0
            return
        if card is not None:
            self.me, self._joining = card.id, None
            self._former.clear()
        self.aligned(found.now_us, asked, self._clock.monotonic())
        self._renewed(asked)
        if card is not None or quiet:
            self.tell()
        await self._share(found)

    def _card(self) -> Card:
        """Return what this process joins by: the same until it has, for nobody knows how often."""
        if self._joining is None:
            self._joining = self._ids.next()
            self._former.append(self._joining)
        config = self._config
        return Card(self._joining, config.name, self._role, config.listen, config.version)

    def _load(self, now: float) -> Load:
        before, delivered_before = self._told
        delivered = self._lanes.delivered
        self._told = (now, delivered)
        rate = (delivered - delivered_before) / (now - before) if before and now > before else 0.0
        lag_us = self._lanes.lag_us(self._clock.now_us())
        return Load(delivered, rate, lag_us // 1_000, self._lanes.in_flight_count)

    def _renewed(self, asked: float) -> None:
        self._until = asked + self._config.lease_s * (1 - _MARGIN)
        self._shards.lease(self._until)
        self.check()

    def check(self) -> None:
        """Give everything up at once where the lease may have ended; else look again then."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self.me is None:
            return
        left_s = self._until - self._clock.monotonic()
        if left_s <= 0:
            self._lose()
        else:
            # The loop's timers may be early by a little: then it looks once more.
            self._alarm = asyncio.get_running_loop().call_later(left_s, self.check)

    def _lose(self) -> None:
        """This process may own nothing any more: break off what it has begun."""
        assert self.me is not None  # noqa: S101 - only who has a lease can lose it
        _log.warning("lease_lost", worker=self.me.hex())
        self._former.append(self.me)
        self.me = None
        self._shards.lease(0.0)
        self._leaving.clear()
        self._landed.clear()
        self._quiet.clear()
        self._lanes.lose(self._owned())
        self._wanted.set()

    def _give_up(self, shards: Collection[Shard]) -> None:
        if shards:
            self._leaving |= set(shards)
            self._lanes.give_up(shards)

    async def _share(self, found: _Beat) -> None:
        """Give up what is too much, claim what is too little."""
        lease_s = self._config.lease_s
        others = [peer.left_us / _MICROS for peer in found.peers if peer.id != self.me]
        # Whoever does not renew is buried as soon as its lease has ended.
        self._next_s = max(min([lease_s / _BEATS, *(s + _AFTER_S for s in others)]), _AFTER_S)
        me = self.me
        if me is None or self._role in IDLE_ROLES:
            return
        self._agree(found.owned)
        sending = [peer.id for peer in found.peers if peer.role not in IDLE_ROLES]
        plan = balance.plan(sending, me, found.owned, self._leaving, found.free)
        self._give_up(plan.release)
        # What was begun under a lease that is lost has to land first: in one process a delivery is
        # tried only once at a time.
        is_landing = self._lanes.is_leaving and not found.owned
        if plan.claim and not is_landing:
            claimed = await self._apart.run(partial(workers.claim, me=me, most=plan.claim))
            if self.me is me:
                self._take(claimed)
                if self._role in IDLE_ROLES:
                    # It was asked to retire meanwhile.
                    self._give_up(claimed)

    def _agree(self, owned: Mapping[Shard, int]) -> None:
        """Own what the database says: it may have gone back in time, or its answer was lost."""
        epochs = self._shards.epochs
        strange = [shard for shard in self._owned() if owned.get(shard) != epochs[shard]]
        if strange:
            self._lanes.lose(strange)
        if not self._lanes.is_leaving:  # else one of them may not have landed
            self._take({s: e for s, e in owned.items() if not epochs[s] and s not in self._leaving})

    def _take(self, claimed: Mapping[Shard, int]) -> None:
        if not claimed:
            return
        for shard, epoch in claimed.items():
            self._shards.epochs[shard] = epoch
        self._shards.unseen.update(claimed)
        self._claims += 1
        self.looking.wake()
        _log.info("shards_claimed", shards=len(claimed), owned=self._shards.count())

    async def look_once(self) -> bool:
        """Look at what shards are owed that were claimed; False where there are none (any more)."""
        if not self._shards.unseen:
            return False
        claims = self._claims
        self._lanes.resume(await self._look())
        if self._claims == claims:
            self._shards.unseen.clear()
        return bool(self._shards.unseen)

    async def save_once(self) -> bool:
        """Have quiet shards freed, once how their receivers fare is saved; False where none is."""
        me, landed = self.me, frozenset(self._landed)
        if not landed:
            return False
        await self._lanes.save()
        if self.me is me:
            self._landed -= landed
            self._quiet |= landed
            self._wanted.set()
        return bool(self._landed)


def _beat(
    connection: Connection,
    *,
    card: Card | None,
    former: Collection[Id],
    me: Id | None,
    role: str,
    load: Load,
    lease_us: int,
    quiet: Collection[Shard],
) -> _Beat | None:
    """Run a heartbeat's statements; None where this worker is dead by the database's clock."""
    if card is not None:
        _bury(connection, former=former)
        me, now_us = card.id, workers.join(connection, card, lease_us)
    else:
        assert me is not None  # noqa: S101 - it has joined
        renewed = workers.renew(connection, me, role, load, lease_us)
        if renewed is None:
            return None
        now_us = renewed
        if quiet:
            workers.release(connection, me, quiet)
    peers = workers.peers(connection)
    if any(peer.left_us < 0 for peer in peers):
        with together(connection):
            workers.expire(connection)
        peers = workers.peers(connection)
    return _Beat(now_us, workers.owned(connection, me), peers, workers.count_free(connection))


def _bury(connection: Connection, *, former: Collection[Id]) -> None:
    """Take out the workers that this process was, or may have been."""
    for gone in former:
        with together(connection):
            workers.leave(connection, gone)
