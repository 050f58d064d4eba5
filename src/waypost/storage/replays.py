"""Replays: the jobs.

A step of a job is read on a reader, and written in one transaction: it moves the job's position and
puts into the queue what the transaction still finds unserved. So a step happens whole or not at
all, and what was served meanwhile is not owed again.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Row, bindparam, func, select, tuple_
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)

from waypost.model import ids
from waypost.model.errors import Conflict, LimitReached, NotFound
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.replay import NO_PLAN, TRANSITIONS, Plan, Replay, ReplayKind, ReplayState
from waypost.storage import pages
from waypost.storage.schema import deliveries, diverted_events, events, replays

UNFINISHED_MAX: Final = 100
"""So many jobs of a project may run or be paused at once."""

NO_SUBSCRIPTION: Final = ids.FIRST
"""Stands in the row of a job that is not for one subscription."""

_UNFINISHED: Final = (ReplayState.RUNNING.value, ReplayState.PAUSED.value)
_LOOKED_THROUGH: Final = {
    ReplayKind.RECOVER: deliveries,
    ReplayKind.MISSING: events,
    ReplayKind.SELECTED: events,
    ReplayKind.DIVERTED: diverted_events,
}
# Statements of each step are made once: to make one takes longer than to execute it.
_RUNNING: Final = (
    select(replays)
    .where(
        replays.c.state == ReplayState.RUNNING.value,
        replays.c.due_us <= bindparam("now_us"),
        tuple_(replays.c.project_id, replays.c.id)
        > tuple_(bindparam("after_project"), bindparam("after_id")),
    )
    .order_by(replays.c.project_id, replays.c.id)
    .limit(1)
)
_IS_DUE: Final = replays.c.due_us <= bindparam("now_us")
_FORESEE: Final = select(
    func.count().filter(_IS_DUE).label("due"),
    func.min(replays.c.due_us).filter(~_IS_DUE).label("next_us"),
).where(replays.c.state == ReplayState.RUNNING.value)
_ADVANCE: Final = (
    change(replays)
    .where(
        replays.c.project_id == bindparam("at_project"),
        replays.c.id == bindparam("at_id"),
        replays.c.state == ReplayState.RUNNING.value,
        replays.c.position == bindparam("at_position"),
        replays.c.within.is_not_distinct_from(bindparam("at_within")),
    )
    .values(
        position=bindparam("to_position"),
        within=bindparam("to_within"),
        state=bindparam("to_state"),
        owed=replays.c.owed + bindparam("more_owed"),
        looked=replays.c.looked + bindparam("more_looked"),
        due_us=bindparam("to_due_us"),
        worked_us=replays.c.worked_us + bindparam("more_us"),
        stepped_us=bindparam("now_us"),
    )
)
_decode_plan = msgspec.json.Decoder(Plan).decode


class Move(msgspec.Struct, frozen=True):
    """What one step makes of a job.

    Attributes:
        position: the last row that was looked at.
        state: the job's new state.
        owed: how many deliveries the step has put into the queue.
        within: up to which subscription the event at `position` is done; None: for all.
        looked: at how many rows the step has looked.
        due_us: when the next step is due, UTC microseconds.
    """

    position: Id
    state: ReplayState
    owed: int = 0
    within: Id | None = None
    looked: int = 0
    due_us: int = 0


def insert(connection: Connection, replay: Replay) -> None:
    """Keep a new job.

    Raises:
        LimitReached: too many jobs of the project are not finished.
    """
    unfinished = select(func.count()).where(
        replays.c.project_id == replay.project_id, replays.c.state.in_(_UNFINISHED)
    )
    if connection.execute(unfinished).scalar_one() >= UNFINISHED_MAX:
        raise LimitReached(f"A project may have {UNFINISHED_MAX} replays that are not finished.")
    plan = None if replay.plan == NO_PLAN else msgspec.json.encode(replay.plan).decode()
    connection.execute(
        insert_into(replays).values(
            project_id=replay.project_id,
            id=replay.id,
            kind=replay.kind.value,
            subscription_id=replay.subscription_id or NO_SUBSCRIPTION,
            begin_us=replay.begin_us,
            end_us=replay.end_us,
            position=replay.position,
            state=replay.state.value,
            owed=replay.owed,
            plan=plan,
            stepped_us=replay.stepped_us,
            idempotency_key=replay.key,
            fingerprint=replay.fingerprint,
        )
    )


def get(connection: Connection, project_id: Id, replay_id: Id) -> Replay:
    """Return a job.

    Raises:
        NotFound: the project has none with this id.
    """
    row = connection.execute(
        select(replays).where(replays.c.project_id == project_id, replays.c.id == replay_id)
    ).one_or_none()
    if row is None:
        raise NotFound(ids.KINDS[ids.REPLAY])
    return _replay(row)


def find_by_key(connection: Connection, project_id: Id, key: str) -> Replay | None:
    """Return the job that was asked for by an idempotency key, or None."""
    row = connection.execute(
        select(replays).where(replays.c.project_id == project_id, replays.c.idempotency_key == key)
    ).one_or_none()
    return None if row is None else _replay(row)


def list_page(
    connection: Connection,
    project_id: Id,
    request: PageRequest,
    subscription_id: Id | None = None,
) -> Page[Replay]:
    """Return one page of a project's jobs, or of one subscription's."""
    query = select(replays).where(replays.c.project_id == project_id)
    if subscription_id is not None:
        query = query.where(replays.c.subscription_id == subscription_id)
    return pages.read(connection, query, (replays.c.id,), request, _replay)


def find_running(connection: Connection, after: tuple[Id, Id], now_us: int) -> Replay | None:
    """Return the running job that follows `after` (project, job), or None behind the last.

    Sweeps all projects, by the index on the state. Jobs whose next step is not due are left out.
    """
    project_id, replay_id = after
    place = {"after_project": project_id, "after_id": replay_id, "now_us": now_us}
    row = connection.execute(_RUNNING, place).one_or_none()
    return None if row is None else _replay(row)


def foresee(connection: Connection, now_us: int) -> tuple[int, int | None]:
    """Return how many jobs have a step that is due, and when the next one of the others has.

    None where no other one waits. Sweeps all projects, by the index on the state.
    """
    row = connection.execute(_FORESEE, {"now_us": now_us}).one()
    return row.due, row.next_us


def advance(connection: Connection, replay: Replay, move: Move, now_us: int) -> bool:
    """Move a job on at a moment, if it still stands where it was read.

    Returns:
        False where the job stands elsewhere: this step was made before, or the job was stopped.
    """
    began_us = replay.stepped_us or ids.moment(replay.id)
    moved = connection.execute(
        _ADVANCE,
        {
            "at_project": replay.project_id,
            "at_id": replay.id,
            "at_position": replay.position,
            "at_within": replay.within,
            "to_position": move.position,
            "to_within": move.within,
            "to_state": move.state.value,
            "more_owed": move.owed,
            "more_looked": move.looked,
            "to_due_us": move.due_us,
            "more_us": max(now_us - began_us, 0),
            "now_us": now_us,
        },
    )
    return moved.rowcount == 1


def read_bounds(connection: Connection, replay: Replay) -> tuple[int, int]:
    """Return the moments of the first and the last thing in a job's range that it will look at."""
    table = _LOOKED_THROUGH[replay.kind]
    conditions = [table.c.project_id == replay.project_id]
    if replay.kind is ReplayKind.RECOVER:
        conditions.append(table.c.subscription_id == replay.subscription_id)
        # About: what was put off has an id of a later moment.
    else:
        conditions.append(table.c.id >= ids.lowest(min(replay.begin_us, replay.end_us)))
    conditions.append(table.c.id < ids.lowest(replay.end_us))
    ends = [
        connection.execute(
            select(table.c.id).where(*conditions).order_by(order).limit(1)
        ).scalar_one_or_none()
        for order in (table.c.id, table.c.id.desc())
    ]
    first, last = ends
    if first is None or last is None:
        return replay.begin_us, replay.end_us
    return ids.moment(first), ids.moment(last)


def enter(
    connection: Connection, project_id: Id, replay_id: Id, state: ReplayState, now_us: int
) -> Replay:
    """Bring a job into another state because a person asks for it; return it as it is now.

    Raises:
        NotFound: the project has none with this id.
        Conflict: it is finished otherwise.
    """
    present = get(connection, project_id, replay_id)
    if present.state is state:
        return present
    if state not in TRANSITIONS[present.state]:
        raise Conflict(f"The replay is {present.state.value}.")
    here = (replays.c.project_id == project_id, replays.c.id == replay_id)
    connection.execute(change(replays).where(*here).values(state=state.value, stepped_us=now_us))
    return get(connection, project_id, replay_id)


def _replay(row: Row[Any]) -> Replay:
    to = row.subscription_id
    return Replay(
        project_id=row.project_id,
        id=row.id,
        kind=ReplayKind(row.kind),
        subscription_id=None if to == NO_SUBSCRIPTION else to,
        begin_us=row.begin_us,
        end_us=row.end_us,
        position=row.position,
        state=ReplayState(row.state),
        owed=row.owed,
        plan=NO_PLAN if row.plan is None else _decode_plan(row.plan),
        within=row.within,
        looked=row.looked,
        due_us=row.due_us,
        worked_us=row.worked_us,
        stepped_us=row.stepped_us,
        key=row.idempotency_key,
        fingerprint=row.fingerprint,
    )
