"""Replays: background jobs that owe again what was missed, given up, or is wanted once more.

A job is `running` until it has looked at everything that it was asked about (`done`), or is
`cancelled`: by a person, or because the one subscription that it is for was disabled or deleted. A
person may let it be `paused` in between. What it has owed until then stays owed.
"""

from enum import StrEnum
from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.delivery import Reason
from waypost.model.ids import Id


class ReplayKind(StrEnum):
    """What a job owes again.

    RECOVER and MISSING: what one subscription failed to get, or was never owed. SELECTED: what a
    selection of events is to be owed by a route. DIVERTED: what stands in the dead-letter box.
    """

    RECOVER = "recover"
    MISSING = "replay_missing"
    SELECTED = "replay"
    DIVERTED = "resend_diverted"


class ReplayState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


TRANSITIONS: Final[dict[ReplayState, frozenset[ReplayState]]] = {
    ReplayState.RUNNING: frozenset(ReplayState),
    ReplayState.PAUSED: frozenset({ReplayState.RUNNING, ReplayState.CANCELLED}),
    ReplayState.DONE: frozenset(),
    ReplayState.CANCELLED: frozenset(),
}
"""Which state may follow which: RUNNING to RUNNING is one step of the job."""


class Route(StrEnum):
    """To whom the events of a selection are owed again.

    AS_BEFORE: to whom each was owed before. AFRESH: to those that would be owed it now. TO: to one
    subscription, whatever it asks for.
    """

    AS_BEFORE = "as_before"
    AFRESH = "afresh"
    TO = "to_subscription"


class Order(StrEnum):
    """In which order a job goes through what it is asked about."""

    OLDEST_FIRST = "oldest_first"
    NEWEST_FIRST = "newest_first"


class PastState(StrEnum):
    """What became of an event's last delivery to a subscription."""

    DELIVERED = "delivered"
    FAILED = "failed"
    DIVERTED = "diverted"
    CANCELLED = "cancelled"


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job is asked for beside its range of time; what is None or empty does not narrow.

    Attributes:
        event_types: exact names, prefixes as `card.*`, or `*`.
        owner: of the events.
        of: only what was owed to this subscription before.
        among: only what was owed to one of these before (SELECTED alone).
        state: only where the last delivery ended so: to `of`, or to any subscription.
        content: a filter of the events' content, in JSON.
        reason: why it was diverted (DIVERTED alone).
        route: SELECTED alone.
        rate: deliveries a second at most; None for as fast as it goes.
        first_us: with `last_us`, between which moments there is anything to look at: for progress.
    """

    event_types: tuple[str, ...] = ()
    owner: str | None = None
    of: Id | None = None
    among: tuple[Id, ...] = ()
    state: PastState | None = None
    content: str | None = None
    reason: Reason | None = None
    route: Route = Route.AS_BEFORE
    order: Order = Order.OLDEST_FIRST
    rate: float | None = None
    first_us: int = 0
    last_us: int = 0


NO_PLAN: Final = Plan()


class Replay(msgspec.Struct, frozen=True):
    """One job. When it was asked for is the moment in its id.

    Attributes:
        subscription_id: to whom it owes; None where that differs from event to event.
        begin_us: with `end_us` the range `[begin, end)`, UTC microseconds: of when events were
            accepted (`replay_missing`, `replay`), of when deliveries were given up (`recover`), or
            of when they were diverted (`resend_diverted`).
        position: the last thing that was looked at: an event's id (`replay_missing`, `replay`), or
            a delivery's. The job goes on behind it, in its order.
        within: set where the event at `position` is done for the subscriptions up to this one only.
        owed: how many deliveries it has put into the queue.
        looked: at how many events, or deliveries, it has looked.
        due_us: its next step is not made before, UTC microseconds.
        worked_us: for how long it has run, pauses left out, microseconds.
        stepped_us: when its last step was made, or when it was started or resumed.
        key: the idempotency key that it was asked for by, with
        fingerprint: of what was asked for.
    """

    project_id: Id
    id: Id
    kind: ReplayKind
    subscription_id: Id | None
    begin_us: int
    end_us: int
    position: Id = ids.FIRST
    state: ReplayState = ReplayState.RUNNING
    owed: int = 0
    plan: Plan = NO_PLAN
    within: Id | None = None
    looked: int = 0
    due_us: int = 0
    worked_us: int = 0
    stepped_us: int = 0
    key: str | None = None
    fingerprint: bytes | None = None

    @property
    def shard_id(self) -> Id:
        """The id by which the process that does the job is told."""
        return self.id if self.subscription_id is None else self.subscription_id

    def progress(self) -> float:
        """Return how much of its range lies behind it, from 0 to 1."""
        if self.state is ReplayState.DONE:
            return 1.0
        if self.position in {ids.FIRST, ids.LAST}:
            return 0.0
        span_us = max(self.plan.last_us - self.plan.first_us, 1)
        done_us = ids.moment(self.position) - self.plan.first_us
        if self.plan.order is Order.NEWEST_FIRST:
            done_us = self.plan.last_us - ids.moment(self.position)
        return min(max(done_us / span_us, 0.0), 1.0)

    def left_us(self) -> int | None:
        """Return for about how long it will run, microseconds; None where that can't be told."""
        progress = self.progress()
        if self.state is not ReplayState.RUNNING or not progress:
            return None
        return int(self.worked_us * (1 - progress) / progress)
