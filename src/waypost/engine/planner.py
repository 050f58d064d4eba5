"""The planner: finds what the next step of a replay owes to whom; nothing is written here.

What it reads may change before the step is written, so a step carries what it goes by, and whoever
writes it compares. A dry run asks for steps as well and writes none of them: it sees what a job
would do, because it does what a job does.
"""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import msgspec

from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.replay import Order, Replay, ReplayKind, Route
from waypost.model.subscription import Subscription
from waypost.policy import filters
from waypost.policy.content import Content
from waypost.policy.filters import Filter
from waypost.policy.routing import wants
from waypost.storage import diverted, missed, selecting, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.diverted import DivertedFilter, InBox
from waypost.storage.missed import Candidate
from waypost.storage.selecting import Pair, Past
from waypost.storage.store import Store

PAIRS_MAX: Final = 1_000
"""So many deliveries does one step owe, at most."""

_TURN: Final = 10
"""After so many events whoever else waits for the loop has a turn."""


class Step(msgspec.Struct, frozen=True):
    """What one step of a job owes to whom, and what it goes by.

    Attributes:
        pairs: events and the subscriptions that are owed them, in the job's order.
        position: the last thing that was looked at.
        within: up to which subscription the event at `position` is done; None: for all.
        looked: how many events, or deliveries, were looked at.
        ended: there is nothing behind it.
        subscription: as it was read, where the job is for one: None: it is disabled or deleted.
        version: the version of the routing by which events were matched again.
        box: what leaves the dead-letter box for the pairs, one for one.
    """

    replay: Replay
    pairs: Sequence[Pair]
    position: Id
    within: Id | None = None
    looked: int = 0
    ended: bool = False
    subscription: Subscription | None = None
    version: int | None = None
    box: Sequence[InBox] = ()


class _Found(msgspec.Struct, frozen=True):
    """What was read for a step of a selection."""

    slice: selecting.Slice
    past: list[Past]
    pending: set[Pair]


class Planner:
    """Plans the steps of jobs. For the loop's thread alone."""

    def __init__(self, store: Store, router: Router) -> None:
        """Take the store, and the subscriptions as they are now."""
        self._store = store
        self._router = router
        # The last one stays compiled from step to step.
        self._filter: Filter | None = None

    async def plan(self, replay: Replay, most: int = PAIRS_MAX) -> Step:
        """Return the next step of a job, which owes `most` deliveries at most."""
        if replay.kind is ReplayKind.DIVERTED:
            return await self._store.read(partial(_in_box, replay=replay, most=most))
        if replay.kind is not ReplayKind.SELECTED:
            return await self._store.read(partial(_missed, replay=replay))
        version = self._router.routes(replay.project_id).version
        # One more than needed: the first may have been done in part.
        found = await self._store.read(partial(_read, replay=replay, most=most + 1))
        step = await self._select(replay, found, most)
        to = replay.subscription_id
        return msgspec.structs.replace(
            step,
            version=version if replay.plan.route is Route.AFRESH else None,
            subscription=None if to is None else self._enabled(replay.project_id, to),
        )

    async def _select(self, replay: Replay, found: _Found, most: int) -> Step:
        """Choose the pairs of a slice, up to so many."""
        part = found.slice
        before = _before(replay, found)
        pairs: list[Pair] = []
        for number, event in enumerate(part.found, 1):
            if number % _TURN == 0:
                await asyncio.sleep(0)
            for to in self._takers(replay, event, before.get(event.id, ())):
                is_done = event.id == replay.position and to <= (replay.within or ids.LAST)
                if is_done or (event.id, to) in found.pending:
                    continue
                pairs.append((event.id, to))
                if len(pairs) == most:
                    # It is looked at once more, and counted then.
                    return Step(replay, pairs, event.id, to, looked=part.place(event.id) - 1)
        position = replay.position if part.position is None else part.position
        return Step(replay, pairs, position, looked=part.looked, ended=part.ended)

    def _takers(self, replay: Replay, event: Event, before: Iterable[Id]) -> list[Id]:
        """Return who is owed an event again, in the order of their ids."""
        plan = replay.plan
        if not self._is_about(replay, event, before):
            return []
        if plan.route is Route.TO:
            return [] if replay.subscription_id is None else [replay.subscription_id]
        if plan.route is Route.AS_BEFORE:
            known = (self._enabled(replay.project_id, one) for one in before)
            return sorted(one.id for one in known if one is not None)
        routes = self._router.routes(replay.project_id)
        taken = routes.takers(event.type, event.payload, event.attributes)
        return sorted(one.id for one in taken if one.disabled_by is None)

    def _is_about(self, replay: Replay, event: Event, before: Iterable[Id]) -> bool:
        """Tell whether an event of a slice is one that a job is asked for."""
        plan = replay.plan
        if (plan.of or plan.among or plan.state) and not before:
            return False
        content = Content(event.payload, event.attributes, event.type)
        return plan.content is None or self._compiled(plan.content).matches(content)

    def _enabled(self, project_id: Id, subscription_id: Id) -> Subscription | None:
        found = self._router.find(project_id, subscription_id)
        return None if found is None or found.disabled_by is not None else found

    def _compiled(self, text: str) -> Filter:
        if self._filter is None or self._filter.text != text:
            self._filter = filters.restored(text)
        return self._filter


def _read(connection: Connection, replay: Replay, most: int) -> _Found:
    plan = replay.plan
    with_payload = plan.content is not None or plan.route is Route.AFRESH
    part = selecting.read_slice(connection, replay, with_payload=with_payload, most=most)
    event_ids = [event.id for event in part.found]
    past: list[Past] = []
    if plan.route is Route.AS_BEFORE or plan.of or plan.among or plan.state:
        past = selecting.read_past(connection, replay.project_id, event_ids, plan.of)
    return _Found(part, past, selecting.read_pending(connection, replay.project_id, event_ids))


def _before(replay: Replay, found: _Found) -> dict[Id, list[Id]]:
    """Return to whom each event was owed before, as far as the plan asks."""
    plan = replay.plan
    before: dict[Id, list[Id]] = {}
    for one in found.past:
        pair = (one.event_id, one.subscription_id)
        if plan.among and one.subscription_id not in plan.among:
            continue
        if plan.state is None or (plan.state is one.state and pair not in found.pending):
            before.setdefault(one.event_id, []).append(one.subscription_id)
    return before


def _in_box(connection: Connection, replay: Replay, most: int) -> Step:
    """Plan a step through the dead-letter box."""
    up = replay.plan.order is Order.OLDEST_FIRST
    begin, end = ids.lowest(replay.begin_us), ids.lowest(replay.end_us)
    if replay.end_us >= ids.moment(replay.id):
        # Up to now: what was put off, and diverted before it was due, has an id of a later moment.
        end = ids.LAST
    after = max(replay.position, ids.preceding(begin)) if up else min(replay.position, end)
    found, looked_at = diverted.read_chunk(
        connection,
        replay.project_id,
        box_filter(replay),
        after,
        end if up else begin,
        up=up,
        # What is owed again and fails again is not met once more.
        before_us=ids.moment(replay.id),
    )
    taken = found[:most]
    pairs = [(one.event_id, one.subscription_id) for one in taken]
    if len(found) > most:
        last = taken[-1].id
        return Step(replay, pairs, last, looked=looked_at.index(last) + 1, box=taken)
    position = looked_at[-1] if looked_at else replay.position
    ended = len(looked_at) < diverted.CHUNK
    return Step(replay, pairs, position, looked=len(looked_at), ended=ended, box=taken)


def box_filter(replay: Replay) -> DivertedFilter:
    """Return what a job looks for in the dead-letter box."""
    plan = replay.plan
    return DivertedFilter(plan.of, plan.event_types, plan.owner, plan.reason)


def _missed(connection: Connection, replay: Replay) -> Step:
    """Plan a step through what one subscription has missed."""
    subscription = enabled(connection, replay)
    if subscription is None:
        return Step(replay, (), replay.position, ended=True)
    found = missed.read_slice(connection, replay)
    chosen = _choose(connection, replay, subscription, found.candidates)
    return Step(
        replay,
        [(event_id, subscription.id) for event_id in chosen],
        found.position,
        looked=found.looked,
        ended=found.ended,
        subscription=subscription,
    )


def enabled(connection: Connection, replay: Replay) -> Subscription | None:
    """Return the subscription that a job is for; None where it is disabled or deleted."""
    if replay.subscription_id is None:
        return None
    found = subscriptions.find(connection, replay.project_id, replay.subscription_id)
    return None if found is None or found.disabled_by is not None else found


def _choose(
    connection: Connection, replay: Replay, subscription: Subscription, events: Sequence[Candidate]
) -> list[Id]:
    """Return those events that a subscription would be owed by its present settings."""
    taken = [one for one in events if _takes(subscription, one)]
    if subscription.filter is None:
        return [one.event_id for one in taken]
    compiled = filters.restored(subscription.filter)
    asked = {one.event_id: one.type for one in taken if not one.targets}
    matched = {
        one.event_id
        for one in missed.read_holdings(connection, replay, list(asked))
        if compiled.matches(Content(one.payload, one.attributes, asked[one.event_id]))
    }
    # What an event is aimed at is owed it whatever it holds.
    return [one.event_id for one in taken if one.targets or one.event_id in matched]


def _takes(subscription: Subscription, event: Candidate) -> bool:
    """Tell whether a subscription takes an event, what it holds aside."""
    if event.targets:
        return subscription.id in event.targets
    if event.endpoints and subscription.endpoint_id not in event.endpoints:
        return False
    return wants(subscription, event.type, event.owner)
