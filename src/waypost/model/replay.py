"""Replays: background jobs that owe again what a subscription has missed.

A job is `running` until it has looked at everything in its range (`done`), or its subscription was
disabled or deleted (`cancelled`). What it has owed until then stays owed.
"""

from enum import StrEnum
from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.ids import Id


class ReplayKind(StrEnum):
    """What a job owes again."""

    RECOVER = "recover"
    MISSING = "replay_missing"


class ReplayState(StrEnum):
    """How far a job is."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


TRANSITIONS: Final[dict[ReplayState, frozenset[ReplayState]]] = {
    ReplayState.RUNNING: frozenset({ReplayState.RUNNING, ReplayState.DONE, ReplayState.CANCELLED}),
    ReplayState.DONE: frozenset(),
    ReplayState.CANCELLED: frozenset(),
}
"""Which state may follow which: RUNNING to RUNNING is one step of the job."""


class Replay(msgspec.Struct, frozen=True):
    """One job. When it was asked for is the moment in its id.

    Attributes:
        begin_us: with `end_us` the range `[begin, end)`, UTC microseconds: of when events were
            accepted (`replay_missing`), or of when deliveries were given up (`recover`).
        position: the last thing that was looked at: an event's id (`replay_missing`), or a
            delivery's (`recover`). The job goes on behind it.
        owed: how many deliveries it has put into the queue.
    """

    project_id: Id
    id: Id
    kind: ReplayKind
    subscription_id: Id
    begin_us: int
    end_us: int
    position: Id = ids.FIRST
    state: ReplayState = ReplayState.RUNNING
    owed: int = 0
