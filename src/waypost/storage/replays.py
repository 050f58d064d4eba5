"""Replays: the jobs, and what each of them finds in the database.

A step of a job is read in slices by primary key, on a reader, and written in one transaction: it
moves the job's position and puts into the queue what the transaction still finds unserved. So a
step happens whole or not at all, and what was served meanwhile is not owed again.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    exists,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.storage import pages
from waypost.storage.schema import deliveries, events, fan_outs, replays

SLICE: Final = 1_000
"""How many rows one step of a job looks at."""

_PAYLOADS: Final = 50
"""How many payloads are in memory at once."""

_INDEXED_BY = {"sqlite": "INDEXED BY {}", "postgresql": ""}
"""What SQLite guesses without statistics is a walk through the project: it is told the index."""

_NOT_PENDING = {
    dialect: text(
        f"NOT EXISTS (SELECT 1 FROM queue {by.format('ix_queue_event')}"
        " WHERE queue.project_id = events.project_id AND queue.event_id = events.id"
        " AND queue.subscription_id = :subscription_id)"
    )
    for dialect, by in _INDEXED_BY.items()
}
_TAKE_BACK = {
    dialect: text(
        f"DELETE FROM diverted_events {by.format('ix_diverted_event')}"
        " WHERE project_id = :project_id"
        " AND event_id = :event_id AND subscription_id = :subscription_id"
    )
    for dialect, by in _INDEXED_BY.items()
}


class place_of(FunctionElement[int]):  # noqa: N801 - stands in a statement as functions do
    """Where in some bytes others begin, from 1; 0 where they are not in them."""

    type = Integer()
    inherit_cache = True


@compiles(place_of)
def _on_sqlite(element: Any, compiler: Any, **named: Any) -> str:
    return f"instr({compiler.process(element.clauses, **named)})"


@compiles(place_of, "postgresql")
def _on_postgresql(element: Any, compiler: Any, **named: Any) -> str:
    inside, wanted = element.clauses
    return f"position({compiler.process(wanted, **named)} IN {compiler.process(inside, **named)})"


_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode


class Candidate(msgspec.Struct, frozen=True):
    """An event that a job has come upon, as far as a filter asks."""

    event_id: Id
    type: str
    owner: str | None
    targets: tuple[Id, ...]


class Holding(msgspec.Struct, frozen=True):
    """What an event holds."""

    event_id: Id
    payload: bytes
    attributes: Attributes


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


def read_holdings(
    connection: Connection, replay: Replay, event_ids: Sequence[Id]
) -> Iterator[Holding]:
    """Read what these events hold, a few at a time; those that are gone are left out."""
    for start in range(0, len(event_ids), _PAYLOADS):
        rows = connection.execute(
            select(events.c.id, events.c.payload, events.c.attributes).where(
                *_are(replay, event_ids[start : start + _PAYLOADS])
            )
        )
        for row in rows:
            yield Holding(row.id, row.payload, _attributes(row))


def unserved(connection: Connection, replay: Replay, event_ids: Sequence[Id]) -> list[Id]:
    """Return those of a slice's events that are still there to be owed, oldest first."""
    if not event_ids:
        return []
    if replay.kind is ReplayKind.MISSING:
        served = or_(_has_delivery(replay), _is_yet_to_be_owed(replay))
    else:
        served = _has_delivery(
            replay,
            deliveries.c.state == DeliveryState.DELIVERED.value,
            deliveries.c.finished_us >= replay.begin_us,
        )
    not_pending = _NOT_PENDING[connection.dialect.name].bindparams(
        subscription_id=replay.subscription_id
    )
    rows = connection.execute(
        select(events.c.id)
        .where(*_are(replay, event_ids), not_pending, ~served)
        .order_by(events.c.id)
    )
    return list(rows.scalars())


def take_back(
    connection: Connection, project_id: Id, subscription_id: Id, event_ids: Sequence[Id]
) -> None:
    """Take events that are owed to a subscription again out of its dead-letter box."""
    if event_ids:
        place = {"project_id": project_id, "subscription_id": subscription_id}
        take_back = _TAKE_BACK[connection.dialect.name]
        connection.execute(take_back, [{**place, "event_id": one} for one in event_ids])


def _missing_slice(connection: Connection, replay: Replay) -> Slice:
    # One lower bound: of two, the database would search by either.
    behind = max(replay.position, _before(ids.lowest(replay.begin_us)))
    rows = connection.execute(
        select(events.c.id, events.c.type, events.c.attributes)
        .where(
            events.c.project_id == replay.project_id,
            events.c.id > behind,
            events.c.id < ids.lowest(replay.end_us),
        )
        .order_by(events.c.id)
        .limit(SLICE)
    ).all()
    found = [_candidate(row) for row in rows]
    fresh = set(unserved(connection, replay, [one.event_id for one in found]))
    return _slice(replay, rows, [one for one in found if one.event_id in fresh])


def _before(identifier: Id) -> Id:
    return (int.from_bytes(identifier, "big") - 1).to_bytes(ids.ID_BYTES, "big")


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
    return _slice(replay, rows, _candidates(connection, replay, fresh))


def _given_up_behind(
    connection: Connection,
    replay: Replay,
    event_ids: Collection[Id],
    rows: Sequence[Any],
) -> set[Id]:
    """Return the events that were given up in the range once more, behind these rows."""
    if not event_ids:
        return set()
    again = _has_delivery(
        replay,
        deliveries.c.id > rows[-1].id,
        deliveries.c.state != DeliveryState.DELIVERED.value,
        deliveries.c.finished_us >= replay.begin_us,
        deliveries.c.finished_us < replay.end_us,
    )
    found = connection.execute(select(events.c.id).where(*_are(replay, event_ids), again))
    return set(found.scalars())


def _are(replay: Replay, event_ids: Collection[Id]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions of being one of these events."""
    return events.c.project_id == replay.project_id, events.c.id.in_(event_ids)


def _has_delivery(replay: Replay, *conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition of an event that it has such a final delivery to the subscription."""
    return exists().where(
        deliveries.c.project_id == events.c.project_id,
        deliveries.c.event_id == events.c.id,
        deliveries.c.subscription_id == replay.subscription_id,
        *conditions,
    )


def _is_yet_to_be_owed(replay: Replay) -> ColumnElement[bool]:
    """Return the condition of an event that its fan-out will bring it to the subscription."""
    return exists().where(
        fan_outs.c.project_id == events.c.project_id,
        fan_outs.c.event_id == events.c.id,
        place_of(fan_outs.c.subscriptions, replay.subscription_id) > 0,
    )


def _candidates(connection: Connection, replay: Replay, event_ids: Sequence[Id]) -> list[Candidate]:
    """Return these events as far as filters ask."""
    if not event_ids:
        return []
    rows = connection.execute(
        select(events.c.id, events.c.type, events.c.attributes)
        .where(*_are(replay, event_ids))
        .order_by(events.c.id)
    )
    return [_candidate(row) for row in rows]


def _slice(replay: Replay, rows: Sequence[Any], candidates: list[Candidate]) -> Slice:
    position = rows[-1].id if rows else replay.position
    return Slice(candidates, position, ended=len(rows) < SLICE)


def _candidate(row: Any) -> Candidate:
    attributes = _attributes(row)
    return Candidate(row.id, row.type, attributes.owner, attributes.targets)


def _attributes(row: Any) -> Attributes:
    blob = row.attributes
    return NO_ATTRIBUTES if blob is None else _decode_attributes(blob)


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
