"""Replays: the jobs, and what each of them finds in the database.

A step of a job is read in slices by primary key, on a reader, and written in one transaction: it
moves the job's position and puts into the queue what the transaction still finds unserved. So a
step happens whole or not at all, and what was served meanwhile is not owed again.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    case,
    select,
    tuple_,
)
from sqlalchemy import (
    delete as delete_from,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)

from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.storage import pages
from waypost.storage.schema import deliveries, diverted_events, events, queue, replays

SLICE: Final = 1_000
"""How many rows one step of a job looks at."""

_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode


class Candidate(msgspec.Struct, frozen=True):
    """An event that a job has come upon, as far as a filter asks."""

    event_id: Id
    type: str
    owner: str | None
    targets: tuple[Id, ...]


class Slice(msgspec.Struct, frozen=True):
    """What a job finds behind its position.

    Attributes:
        position: the last row that was looked at.
        ended: there is nothing behind it.
    """

    candidates: list[Candidate]
    position: Id
    ended: bool


def insert(connection: Connection, replay: Replay) -> None:
    """Keep a new job."""
    connection.execute(
        insert_into(replays).values(
            project_id=replay.project_id,
            id=replay.id,
            kind=replay.kind.value,
            subscription_id=replay.subscription_id,
            begin_us=replay.begin_us,
            end_us=replay.end_us,
            position=replay.position,
            state=replay.state.value,
            owed=replay.owed,
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


def find_running(connection: Connection, after: tuple[Id, Id]) -> Replay | None:
    """Return the running job that follows `after` (project, job), or None behind the last.

    Sweeps all projects, by the index on the state.
    """
    row = connection.execute(
        select(replays)
        .where(
            replays.c.state == ReplayState.RUNNING.value,
            tuple_(replays.c.project_id, replays.c.id) > tuple_(*after),
        )
        .order_by(replays.c.project_id, replays.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _replay(row)


def advance(
    connection: Connection, replay: Replay, position: Id, state: ReplayState, owed: int
) -> bool:
    """Move a job on, if it still stands where it was read.

    Args:
        connection: inside a write.
        replay: the job as it was read.
        position: the last row that was looked at.
        state: its new state.
        owed: how many deliveries this step has put into the queue.

    Returns:
        False where the job stands elsewhere: this step was made before.
    """
    moved = connection.execute(
        change(replays)
        .where(
            replays.c.project_id == replay.project_id,
            replays.c.id == replay.id,
            replays.c.state == ReplayState.RUNNING.value,
            replays.c.position == replay.position,
        )
        .values(position=position, state=state.value, owed=replays.c.owed + owed)
    )
    return moved.rowcount == 1


def read_slice(connection: Connection, replay: Replay) -> Slice:
    """Read what a job finds behind its position, filters aside."""
    if replay.kind is ReplayKind.MISSING:
        return _missing_slice(connection, replay)
    return _recover_slice(connection, replay)


def unserved(connection: Connection, replay: Replay, event_ids: Sequence[Id]) -> list[Id]:
    """Return those of a slice's events that the job has to owe again, in the same order."""
    if not event_ids:
        return []
    owed = _served(connection, queue, replay, event_ids)
    if replay.kind is ReplayKind.MISSING:
        served = owed | _served(connection, deliveries, replay, event_ids)
    else:
        served = owed | _delivered(connection, replay, event_ids)
    return [event_id for event_id in event_ids if event_id not in served]


def take_back(
    connection: Connection, project_id: Id, subscription_id: Id, event_ids: Sequence[Id]
) -> None:
    """Take events that are owed to a subscription again out of its dead-letter box."""
    if event_ids:
        conditions = _of_events(diverted_events, project_id, subscription_id, event_ids)
        connection.execute(delete_from(diverted_events).where(*conditions))


def _missing_slice(connection: Connection, replay: Replay) -> Slice:
    rows = connection.execute(
        select(events.c.id, events.c.type, events.c.attributes)
        .where(
            events.c.project_id == replay.project_id,
            events.c.id > replay.position,
            events.c.id >= ids.lowest(replay.begin_us),
            events.c.id < ids.lowest(replay.end_us),
        )
        .order_by(events.c.id)
        .limit(SLICE)
    ).all()
    found = [_candidate(row) for row in rows]
    fresh = set(unserved(connection, replay, [one.event_id for one in found]))
    return _slice(replay, rows, [one for one in found if one.event_id in fresh])


def _recover_slice(connection: Connection, replay: Replay) -> Slice:
    """Read the subscription's deliveries, oldest first, for those that were given up in the range.

    An event that was given up several times is taken at the last one, so that a job owes it once,
    however far apart they are.
    """
    rows = connection.execute(
        select(deliveries.c.id, deliveries.c.event_id, deliveries.c.state, deliveries.c.finished_us)
        .where(
            deliveries.c.project_id == replay.project_id,
            deliveries.c.subscription_id == replay.subscription_id,
            deliveries.c.id > replay.position,
            # What ended in the range was made before the range's end.
            deliveries.c.id < ids.lowest(replay.end_us),
        )
        .order_by(deliveries.c.id)
        .limit(SLICE)
    ).all()
    given_up = {
        row.event_id: None
        for row in rows
        if row.state != DeliveryState.DELIVERED
        and replay.begin_us <= row.finished_us < replay.end_us
    }
    again = _given_up_behind(connection, replay, given_up, rows)
    fresh = unserved(connection, replay, [one for one in given_up if one not in again])
    return _slice(replay, rows, _candidates(connection, replay.project_id, fresh))


def _given_up_behind(
    connection: Connection,
    replay: Replay,
    event_ids: Collection[Id],
    rows: Sequence[Any],
) -> set[Id]:
    """Return the events that were given up in the range once more, behind these rows."""
    if not event_ids:
        return set()
    found = connection.execute(
        select(deliveries.c.event_id).where(
            *_of_job(deliveries, replay, event_ids),
            deliveries.c.id > rows[-1].id,
            deliveries.c.state != DeliveryState.DELIVERED.value,
            deliveries.c.finished_us >= replay.begin_us,
            deliveries.c.finished_us < replay.end_us,
        )
    )
    return {row.event_id for row in found}


def _delivered(connection: Connection, replay: Replay, event_ids: Iterable[Id]) -> set[Id]:
    """Return the events that were delivered to the job's subscription since its range began."""
    rows = connection.execute(
        select(deliveries.c.event_id).where(
            *_of_job(deliveries, replay, event_ids),
            deliveries.c.state == DeliveryState.DELIVERED.value,
            deliveries.c.finished_us >= replay.begin_us,
        )
    )
    return {row.event_id for row in rows}


def _served(
    connection: Connection, table: Table, replay: Replay, event_ids: Iterable[Id]
) -> set[Id]:
    """Return the events that have a row for the job's subscription."""
    rows = connection.execute(select(table.c.event_id).where(*_of_job(table, replay, event_ids)))
    return {row.event_id for row in rows}


def _of_job(
    table: Table, replay: Replay, event_ids: Iterable[Id]
) -> tuple[ColumnElement[bool], ...]:
    return _of_events(table, replay.project_id, replay.subscription_id, event_ids)


def _of_events(
    table: Table, project_id: Id, subscription_id: Id, event_ids: Iterable[Id]
) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of a row of these events for a subscription."""
    # A plain comparison would offer the index by subscription, which may hold millions of rows.
    for_it = case((table.c.subscription_id == subscription_id, 1), else_=0)
    return (table.c.project_id == project_id, table.c.event_id.in_(event_ids), for_it == 1)


def _candidates(connection: Connection, project_id: Id, event_ids: Sequence[Id]) -> list[Candidate]:
    """Return the events of a project with these ids; retention may have taken some."""
    if not event_ids:
        return []
    rows = connection.execute(
        select(events.c.id, events.c.type, events.c.attributes)
        .where(events.c.project_id == project_id, events.c.id.in_(event_ids))
        .order_by(events.c.id)
    )
    return [_candidate(row) for row in rows]


def _slice(replay: Replay, rows: Sequence[Any], candidates: list[Candidate]) -> Slice:
    position = rows[-1].id if rows else replay.position
    return Slice(candidates, position, ended=len(rows) < SLICE)


def _candidate(row: Any) -> Candidate:
    blob = row.attributes
    attributes = NO_ATTRIBUTES if blob is None else _decode_attributes(blob)
    return Candidate(row.id, row.type, attributes.owner, attributes.targets)


def _replay(row: Row[Any]) -> Replay:
    return Replay(
        project_id=row.project_id,
        id=row.id,
        kind=ReplayKind(row.kind),
        subscription_id=row.subscription_id,
        begin_us=row.begin_us,
        end_us=row.end_us,
        position=row.position,
        state=ReplayState(row.state),
        owed=row.owed,
    )
