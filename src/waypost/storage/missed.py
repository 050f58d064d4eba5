"""What one subscription has missed: deliveries that were given up, events that were never owed.

It is read in slices by primary key. What the transaction that owes it still finds unserved is owed.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    exists,
    or_,
    select,
    text,
)

from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.model.ids import Id
from waypost.model.replay import Replay, ReplayKind
from waypost.storage.matching import INDEXED_BY, place_of
from waypost.storage.schema import deliveries, events, fan_outs

SLICE: Final = 1_000
"""How many rows one step of a job looks at."""

_PAYLOADS: Final = 50
"""How many payloads are in memory at once."""

_NOT_PENDING = {
    dialect: text(
        f"NOT EXISTS (SELECT 1 FROM queue {by.format('ix_queue_event')}"
        " WHERE queue.project_id = events.project_id AND queue.event_id = events.id"
        " AND queue.subscription_id = :subscription_id)"
    )
    for dialect, by in INDEXED_BY.items()
}
_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode


class Candidate(msgspec.Struct, frozen=True):
    """An event that a job has come upon, as far as a filter asks."""

    event_id: Id
    type: str
    owner: str | None
    targets: tuple[Id, ...]
    endpoints: tuple[Id, ...] = ()


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
        looked: how many rows were looked at.
    """

    candidates: list[Candidate]
    position: Id
    ended: bool
    looked: int = 0


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


def _missing_slice(connection: Connection, replay: Replay) -> Slice:
    # One lower bound: of two, the database would search by either.
    behind = max(replay.position, ids.preceding(ids.lowest(replay.begin_us)))
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
            # What ended in the range is of an event from before the range's end. Its own id may be
            # of a later moment: it was put off, and ended before it was due.
            deliveries.c.event_id < ids.lowest(replay.end_us),
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
    return Slice(candidates, position, ended=len(rows) < SLICE, looked=len(rows))


def _candidate(row: Any) -> Candidate:
    attributes = _attributes(row)
    return Candidate(row.id, row.type, attributes.owner, attributes.targets, attributes.endpoints)


def _attributes(row: Any) -> Attributes:
    blob = row.attributes
    return NO_ATTRIBUTES if blob is None else _decode_attributes(blob)
