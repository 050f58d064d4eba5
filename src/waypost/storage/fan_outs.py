"""Fan-outs: events whose deliveries were too many for the commit that accepted them."""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy import insert as insert_into

from waypost.model.event import Attributes
from waypost.model.ids import ID_BYTES, Id, moment
from waypost.policy.timing import due_at
from waypost.storage.connection import Connection
from waypost.storage.schema import events, fan_outs

_decode = msgspec.msgpack.Decoder(Attributes).decode

CHUNK: Final = 500
"""Deliveries made in one transaction."""


class FanOut(msgspec.Struct, frozen=True):
    """The next part of a fan-out.

    Attributes:
        subscriptions: those whose deliveries are to be made now.
        due_us: when they are due first, UTC microseconds; it may lie in the past.
        position: how many had theirs made before.
        ended: no part follows.
    """

    project_id: Id
    event_id: Id
    subscriptions: tuple[Id, ...]
    due_us: int
    position: int
    ended: bool


def insert(connection: Connection, project_id: Id, event_id: Id, takers: Sequence[Id]) -> None:
    """Keep the fan-out of an event to some subscriptions."""
    connection.execute(
        insert_into(fan_outs).values(
            project_id=project_id, event_id=event_id, subscriptions=b"".join(takers), position=0
        )
    )


def find_next(connection: Connection) -> FanOut | None:
    """Return the next part of the oldest fan-out of some project, or None. Sweeps all projects."""
    row = connection.execute(
        select(fan_outs, events.c.attributes)
        .join(
            events,
            (events.c.project_id == fan_outs.c.project_id) & (events.c.id == fan_outs.c.event_id),
            isouter=True,
        )
        .order_by(fan_outs.c.project_id, fan_outs.c.event_id)
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    end = row.position + CHUNK
    part = row.subscriptions[row.position * ID_BYTES : end * ID_BYTES]
    return FanOut(
        row.project_id,
        row.event_id,
        tuple(part[at : at + ID_BYTES] for at in range(0, len(part), ID_BYTES)),
        0 if row.attributes is None else due_at(_decode(row.attributes), moment(row.event_id)),
        row.position,
        ended=end * ID_BYTES >= len(row.subscriptions),
    )


def advance(connection: Connection, part: FanOut) -> bool:
    """Move a fan-out behind a part whose deliveries are made, or end it.

    Returns:
        False where it stood elsewhere by now: the part was made by somebody else.
    """
    where = (
        fan_outs.c.project_id == part.project_id,
        fan_outs.c.event_id == part.event_id,
        fan_outs.c.position == part.position,
    )
    if part.ended:
        return connection.execute(delete(fan_outs).where(*where)).rowcount == 1
    moved = update(fan_outs).where(*where).values(position=part.position + CHUNK)
    return connection.execute(moved).rowcount == 1
