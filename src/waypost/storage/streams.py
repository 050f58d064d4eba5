"""Events in the order of their acceptance, and those that one request has brought."""

from typing import Final

import msgspec
from sqlalchemy import Connection, select, text

from waypost.model import ids
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.policy.stream import Position, read_on
from waypost.storage import events
from waypost.storage.matching import INDEXED_BY, is_among, is_of_producers
from waypost.storage.request_index import REQUEST_INDEX
from waypost.storage.schema import events as table

OF_REQUEST_MAX: Final = 1_000
"""So many events of one request are found, the first."""

_OF_REQUEST: Final = {
    dialect: text(
        f"SELECT id FROM events {INDEXED_BY[dialect].format('ix_events_request')}"
        f" WHERE project_id = :project_id AND {index.where}"
        f" AND {index.value} >= :first AND {index.value} < :behind ORDER BY id LIMIT :most"
    )
    for dialect, index in REQUEST_INDEX.items()
}
"""What is compared has what stands behind the value at its end; the range has all of that."""


def read_on_from(
    connection: Connection,
    project_id: Id,
    position: Position,
    until: Id | None,
    event_type: str | None,
    size: int,
    now_us: int,
) -> tuple[list[Event], Position]:
    """Read a project's events behind a position, oldest first, and tell where the reader is then.

    Args:
        connection: where from.
        project_id: whose.
        position: where the reader is.
        until: only events before this id; None for all.
        event_type: only events of this type; None for all, but for those of system events.
        size: how many at most; fewer where their payloads weigh much.
        now_us: the present, UTC microseconds.
    """
    key = table.c.id
    query = select(key).where(table.c.project_id == project_id, key > position.after)
    if until is not None:
        query = query.where(key < until)
    query = query.where(is_of_producers() if event_type is None else is_among((event_type,)))
    query = query.order_by(key).limit(size + len(position.seen) + 1)
    found = list(connection.execute(query).scalars())
    read, _ = read_on(position, found, size, now_us)
    shown = events.list_some(connection, project_id, read)
    if len(shown) < len(read):
        # Cut for its weight, or some were deleted just now: what is shown is what was read.
        size = len(shown)
    return shown, read_on(position, found, size, now_us)[1]


def list_of_request(connection: Connection, project_id: Id, request_id: Id) -> list[Event]:
    """Return the events of a request, oldest first.

    Those that name it in any spelling of the id; and the one whose own id it is, where that names
    none.
    """
    found: set[Id] = {request_id}
    for spelled in ids.spellings(request_id):
        value = msgspec.msgpack.encode(spelled)
        rows = connection.execute(
            _OF_REQUEST[connection.dialect.name],
            {
                "project_id": project_id,
                "first": value,
                "behind": value[:-1] + bytes([value[-1] + 1]),
                "most": OF_REQUEST_MAX,
            },
        )
        found.update(row.id for row in rows)
    some = events.list_some(connection, project_id, sorted(found))
    return [one for one in some if request_of(one) == request_id][:OF_REQUEST_MAX]


def request_of(event: Event) -> Id:
    """Return the id of the request that has brought an event; its own where none is told."""
    named = event.attributes.request_id
    return (ids.find_spelled(named) if named else None) or event.id
