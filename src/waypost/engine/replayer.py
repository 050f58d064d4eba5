"""The replayer: does the durable jobs that owe events again.

Where processes share the database, each does the jobs of its shards. It would be right, but wasted,
if two did the same: the position is compared when it is moved.

1. look, on a reader: the next job whose turn it is;
2. plan its next step, as `waypost.engine.planner` tells: beside what is live, in a lull;
3. owe, in one transaction: what still is to be owed goes into the queue and the position moves on;
   in a lull as well;
4. hand what was committed to the lanes.

Between two steps nothing is remembered, so a job goes on after a crash where its last step ended.
A job with a rate makes small steps, and each tells when the next one is due.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import msgspec

from waypost.clock import IdSource
from waypost.engine.job import Job
from waypost.engine.lull import Lull
from waypost.engine.planner import PAIRS_MAX, Planner, Step, enabled
from waypost.engine.refiller import INLINE_MAX
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.model.subscription import Subscription
from waypost.policy.background import GAP_US, Background
from waypost.storage import (
    diverted,
    holding,
    missed,
    projects,
    queue,
    replays,
    selecting,
    subscriptions,
)
from waypost.storage.connection import Connection
from waypost.storage.holding import Held
from waypost.storage.replays import Move
from waypost.storage.selecting import Pair
from waypost.storage.store import Store

_START: Final = (ids.FIRST, ids.FIRST)
_MICROS: Final = 1_000_000
_GAP_MIN_US: Final = 500
_LULL_S: Final = 0.02
"""So long a step waits for a lull, at most: live events that are further apart seldom meet one."""


class Speed(msgspec.Struct, frozen=True):
    """How fast a job owes.

    Attributes:
        rate: deliveries a second.
        step_us: about how long what one step owes takes at that rate.
    """

    rate: float
    step_us: int = 100_000

    @property
    def gap_us(self) -> int:
        """How far apart its tries may start beside what is live, and yet keep the rate."""
        return max(min(GAP_US, int(_MICROS / self.rate / 2)), _GAP_MIN_US)


BESIDE: Final = Speed(100.0, 500_000)
"""That of a job without a rate, while anything live comes in.

A step keeps live events waiting that come just then: a millisecond, and three for each hundred
deliveries. Small ones have room in the lulls between live events; smaller still, the millisecond
would be most of it. Who is in more of a hurry gives a rate."""


class Replayer:
    """Does jobs in turn, a step each, so that a long one does not keep the others waiting.

    Attributes:
        mine: tells whether a subscription's jobs are done here, or one that is for several.
    """

    def __init__(
        self,
        store: Store,
        owed: Callable[[Sequence[Owed], Mapping[Id, Event]], None],
        source: IdSource,
        router: Router,
        background: Background | None = None,
        lull: Lull | None = None,
    ) -> None:
        """Take the store, who is told of what is owed anew, ids, who hears of what, and the pace.

        `owed` gets the events as well, but those with large payloads.
        `background` tells whether anything live comes in; None: nothing does.
        `lull` tells when that has just been dealt with.
        """
        self.mine: Callable[[Id], bool] = lambda _: True
        self._store = store
        self._owed = owed
        self._ids = source
        self._planner = Planner(store, router)
        self._background = background or Background()
        self._lull = lull or Lull()
        self._last = _START
        self.job = Job("replayer", self.run_once)

    async def run_once(self) -> bool:
        """Do one step of the job whose turn it is; False where none is due."""
        now_us = ids.moment(self._ids.next())
        replay, others, soonest_us = await self._store.read(partial(self._look, now_us=now_us))
        if replay is None:
            self._wake_at(soonest_us, now_us)
            return False
        self._last = (replay.project_id, replay.id)
        speed = None if replay.plan.rate is None else Speed(replay.plan.rate)
        lull_s = 0.0 if self._background.is_quiet(now_us) else _LULL_S
        if speed is None and lull_s:
            speed = BESIDE
        if speed is not None:
            self._background.gap_us = speed.gap_us
        await self._lull.wait(lull_s)
        step = await self._planner.plan(replay, at_once(speed))
        held = await self._hold(step)
        await self._lull.wait(lull_s)
        made = [self._ids.next_at() for _ in step.pairs]
        now_us = ids.moment(self._ids.next())
        owe = partial(_owe, step=step, held=held, made=made, now_us=now_us, speed=speed)
        events = {key: one.event for key, one in held.items() if one.event is not None}
        owed = await self._store.write(owe, lambda owed: self._owed(owed, events))
        due_us = next_due_us(replay, len(owed), now_us, speed)
        if others or step.ended or not owed or due_us <= now_us:
            return True
        # Nothing is due before then: a look would find that out.
        self._wake_at(due_us if soonest_us is None else min(due_us, soonest_us), now_us)
        return False

    def _wake_at(self, due_us: int | None, now_us: int) -> None:
        if due_us is not None:
            self.job.wake_in((due_us - now_us) / _MICROS)

    async def _hold(self, step: Step) -> dict[Id, Held]:
        """Read the events of a step at once: each try would read its own else."""
        event_ids = {event_id for event_id, _ in step.pairs}
        project_id = step.replay.project_id
        return await self._store.read(
            partial(
                holding.read, project_id=project_id, event_ids=event_ids, payload_max=INLINE_MAX
            )
        )

    def _look(self, connection: Connection, now_us: int) -> tuple[Replay | None, bool, int | None]:
        """Return the job whose turn it is, if others wait too, and when the next one's comes."""
        replay = self._next(connection, self._last, now_us)
        if replay is None and self._last != _START:
            replay = self._next(connection, _START, now_us)
        due, soonest_us = replays.foresee(connection, now_us)
        return replay, due > 1, soonest_us

    def _next(self, connection: Connection, after: tuple[Id, Id], now_us: int) -> Replay | None:
        while True:
            replay = replays.find_running(connection, after, now_us)
            if replay is None or self.mine(replay.shard_id):
                return replay
            after = (replay.project_id, replay.id)


def at_once(speed: Speed | None) -> int:
    """Return how many deliveries one step owes at most."""
    if speed is None:
        return PAIRS_MAX
    return min(max(int(speed.rate * speed.step_us / _MICROS), 1), PAIRS_MAX)


def next_due_us(replay: Replay, owed: int, now_us: int, speed: Speed | None) -> int:
    """Return when a job's next step is due, after one that has owed so many.

    What it could not do in time because others kept it waiting it does not make up for.
    """
    if speed is None or not owed:
        return replay.due_us
    return max(replay.due_us, now_us - speed.step_us) + int(owed * _MICROS / speed.rate)


def _owe(
    connection: Connection,
    *,
    step: Step,
    held: Mapping[Id, Held],
    made: Sequence[tuple[Id, int]],
    now_us: int,
    speed: Speed | None = None,
) -> list[Owed]:
    """Write one step, if everything that it goes by still holds; return what is owed by it."""
    replay = step.replay
    if replay.subscription_id is not None:
        present = enabled(connection, replay)
        if present is None:
            move = Move(replay.position, ReplayState.CANCELLED, within=replay.within)
            replays.advance(connection, replay, move, now_us)
            return []
        if step.subscription is None or _wanted(present) != _wanted(step.subscription):
            return []
    if step.version is not None and step.version != _version(connection, replay):
        return []
    fresh = _fresh(connection, step)
    move = Move(
        step.position,
        ReplayState.DONE if step.ended else ReplayState.RUNNING,
        len(fresh),
        step.within,
        step.looked,
        next_due_us(replay, len(fresh), now_us, speed),
    )
    if not replays.advance(connection, replay, move, now_us):
        return []
    owed = [
        Owed(
            project_id=replay.project_id,
            id=delivery_id,
            event_id=event_id,
            subscription_id=subscription_id,
            kind=DeliveryClass.REPLAY,
            due_us=due_us,
            replay_id=replay.id,
        )
        for (event_id, subscription_id), (delivery_id, due_us) in zip(fresh, made, strict=False)
    ]
    queue.insert(connection, owed, held)
    diverted.take_back(connection, replay.project_id, fresh)
    return owed


def _fresh(connection: Connection, step: Step) -> list[Pair]:
    """Return those of a step's pairs that are still to be owed."""
    replay = step.replay
    event_ids = [event_id for event_id, _ in step.pairs]
    if replay.kind in {ReplayKind.RECOVER, ReplayKind.MISSING}:
        unserved = missed.unserved(connection, replay, event_ids)
        return [(event_id, to) for event_id in unserved for to in (replay.subscription_id,) if to]
    pairs: Sequence[Pair] = step.pairs
    if replay.kind is ReplayKind.DIVERTED:
        present = diverted.present(connection, replay.project_id, step.box)
        pairs = [pair for pair, one in zip(pairs, step.box, strict=True) if one.id in present]
    takers = {to for _, to in pairs}
    takers = subscriptions.enabled_of(connection, replay.project_id, takers)
    pending = selecting.read_pending(connection, replay.project_id, event_ids)
    return [p for p in dict.fromkeys(pairs) if p[1] in takers and p not in pending]


def _version(connection: Connection, replay: Replay) -> int:
    return projects.routing_version(connection, replay.project_id)


def _wanted(subscription: Subscription) -> tuple[object, ...]:
    """Return what decides about which events a subscription is owed."""
    return subscription.event_types, subscription.owner, subscription.filter
