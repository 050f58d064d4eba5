"""The replayer: does the durable jobs that owe again what subscriptions have missed.

Where processes share the database, each does the jobs for the subscriptions that it sends to. It
would be right, but wasted, if two did the same: the position is compared when it is moved.

1. look, on a reader: the next job, and a slice of what lies behind its position;
2. choose what the subscription takes by its present types, owner and filter;
3. owe, in one transaction: what is still unserved goes into the queue and the position moves on;
4. hand what was committed to the lanes.

Between two steps nothing is remembered, so a job goes on after a crash where its last step ended.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from waypost.clock import IdSource
from waypost.engine.job import Job
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.ids import Id
from waypost.model.replay import Replay, ReplayState
from waypost.model.subscription import Subscription
from waypost.policy import filters
from waypost.policy.content import Content
from waypost.policy.routing import wants
from waypost.storage import queue, replays, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.replays import Candidate, Slice
from waypost.storage.store import Store

_START: Final = (ids.FIRST, ids.FIRST)


class _Step(msgspec.Struct, frozen=True):
    """What one step of a job goes by; no subscription: it is disabled or deleted.

    Attributes:
        chosen: those events of the slice that the subscription takes.
    """

    replay: Replay
    subscription: Subscription | None
    slice: Slice
    chosen: Sequence[Id] = ()


class Replayer:
    """Does jobs in turn, a step each, so that a long one does not keep the others waiting.

    Attributes:
        mine: tells whether a subscription's jobs are done here.
    """

    def __init__(
        self, store: Store, owed: Callable[[Sequence[Owed]], None], source: IdSource
    ) -> None:
        """Take the store, who is told of what is owed anew, and the source of ids."""
        self.mine: Callable[[Id], bool] = lambda _: True
        self._store = store
        self._owed = owed
        self._ids = source
        self._last = _START
        self.job = Job("replayer", self.run_once)

    async def run_once(self) -> bool:
        """Do one step of the job whose turn it is; False where there is no job."""
        step = await self._store.read(self._look)
        if step is None:
            return False
        replay = step.replay
        self._last = (replay.project_id, replay.id)
        delivery_ids = [self._ids.next() for _ in step.chosen]
        owe = partial(_owe, step=step, delivery_ids=delivery_ids)
        await self._store.write(owe, self._owed)
        return True

    def _look(self, connection: Connection) -> _Step | None:
        replay = self._next(connection, self._last)
        if replay is None and self._last != _START:
            replay = self._next(connection, _START)
        if replay is None:
            return None
        subscription = _enabled(connection, replay)
        if subscription is None:
            return _Step(replay, None, Slice([], replay.position, ended=True))
        found = replays.read_slice(connection, replay)
        chosen = _choose(connection, replay, subscription, found.candidates)
        return _Step(replay, subscription, found, chosen)

    def _next(self, connection: Connection, after: tuple[Id, Id]) -> Replay | None:
        while True:
            replay = replays.find_running(connection, after)
            if replay is None or self.mine(replay.subscription_id):
                return replay
            after = (replay.project_id, replay.id)


def _owe(
    connection: Connection,
    *,
    step: _Step,
    delivery_ids: Sequence[Id],
) -> list[Owed]:
    """Write one step, if everything that it goes by still holds; return what is owed by it."""
    replay = step.replay
    subscription = _enabled(connection, replay)
    if subscription is None:
        replays.advance(connection, replay, replay.position, ReplayState.CANCELLED, 0)
        return []
    if step.subscription is None or _wanted(subscription) != _wanted(step.subscription):
        return []
    fresh = replays.unserved(connection, replay, step.chosen)
    state = ReplayState.DONE if step.slice.ended else ReplayState.RUNNING
    if not replays.advance(connection, replay, step.slice.position, state, len(fresh)):
        return []
    owed = [
        Owed(
            project_id=replay.project_id,
            id=delivery_id,
            event_id=event_id,
            subscription_id=replay.subscription_id,
            kind=DeliveryClass.REPLAY,
            due_us=ids.moment(delivery_id),
        )
        for event_id, delivery_id in zip(fresh, delivery_ids, strict=False)
    ]
    queue.insert(connection, owed)
    replays.take_back(connection, replay.project_id, replay.subscription_id, fresh)
    return owed


def _enabled(connection: Connection, replay: Replay) -> Subscription | None:
    found = subscriptions.find(connection, replay.project_id, replay.subscription_id)
    return None if found is None or found.disabled_by is not None else found


def _wanted(subscription: Subscription) -> tuple[object, ...]:
    """Return what decides about which events a subscription is owed."""
    return subscription.event_types, subscription.owner, subscription.filter


def _choose(
    connection: Connection, replay: Replay, subscription: Subscription, events: Sequence[Candidate]
) -> list[Id]:
    """Return those events that a subscription would be owed by its present settings."""
    taken = [one for one in events if _takes(subscription, one)]
    if subscription.filter is None:
        return [one.event_id for one in taken]
    compiled = filters.restored(subscription.filter)
    asked = [one.event_id for one in taken if not one.targets]
    matched = {
        one.event_id
        for one in replays.read_holdings(connection, replay, asked)
        if compiled.matches(Content(one.payload, one.attributes))
    }
    # What an event is aimed at is owed it whatever it holds.
    return [one.event_id for one in taken if one.targets or one.event_id in matched]


def _takes(subscription: Subscription, event: Candidate) -> bool:
    """Tell whether a subscription takes an event, what it holds aside."""
    if event.targets:
        return subscription.id in event.targets
    return wants(subscription, event.type, event.owner)
