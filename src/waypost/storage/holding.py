"""What the queue and the lanes need of events, many with one statement."""

from collections.abc import Collection, Sequence
from typing import Final

import msgspec
from sqlalchemy import Connection, bindparam, text

from waypost.model.delivery import Owed
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event
from waypost.model.ids import Id

_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode

_HELD: Final = text(
    "SELECT id, type, attributes, routing_version, sequence, "
    "CASE WHEN length(payload) <= :payload_max THEN payload END AS payload "
    "FROM events WHERE project_id = :project_id AND id IN :ids"
).bindparams(bindparam("ids", expanding=True))


_PLACES: Final = text(
    "SELECT id, attributes, sequence FROM events"
    " WHERE project_id = :project_id AND id IN :ids AND sequence IS NOT NULL"
).bindparams(bindparam("ids", expanding=True))


class Held(msgspec.Struct, frozen=True):
    """What is needed of an event.

    Attributes:
        event: None where the payload is too large.
        ordering_key: the event's, if it has a place in an order, and
        sequence: that place.
    """

    event: Event | None
    ordering_key: str | None = None
    sequence: int | None = None


def read(
    connection: Connection, project_id: Id, event_ids: Collection[Id], *, payload_max: int
) -> dict[Id, Held]:
    """Read what is needed of events; those that are gone are left out.

    Payloads larger than `payload_max` bytes are left out; they are loaded to send.
    """
    held: dict[Id, Held] = {}
    if not event_ids:
        return held
    wanted = {"project_id": project_id, "ids": list(event_ids), "payload_max": payload_max}
    for row in connection.execute(_HELD, wanted):
        attributes = _attributes(row.attributes)
        event = None
        if row.payload is not None:
            event = Event(
                project_id, row.id, row.type, row.payload, attributes, row.routing_version
            )
        placed = row.sequence is not None
        held[row.id] = Held(event, attributes.ordering_key if placed else None, row.sequence)
    return held


def read_places(connection: Connection, owed: Sequence[Owed]) -> dict[Id, Held]:
    """Read the events of deliveries that have a place in an order, without payloads."""
    wanted: dict[Id, set[Id]] = {}
    for one in owed:
        wanted.setdefault(one.project_id, set()).add(one.event_id)
    places: dict[Id, Held] = {}
    for project_id, event_ids in wanted.items():
        asked = {"project_id": project_id, "ids": sorted(event_ids)}
        for row in connection.execute(_PLACES, asked):
            places[row.id] = Held(None, _attributes(row.attributes).ordering_key, row.sequence)
    return places


def place_of(held: Held | None) -> tuple[str | None, int | None]:
    """Return the ordering key and the sequence of an event; None and None where it has none."""
    return (None, None) if held is None else (held.ordering_key, held.sequence)


def _attributes(blob: bytes | None) -> Attributes:
    return NO_ATTRIBUTES if blob is None else _decode_attributes(blob)
