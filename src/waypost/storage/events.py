"""Events, read; they are written by the hot path alone."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Connection,
    LargeBinary,
    Row,
    Select,
    bindparam,
    cast,
    exists,
    func,
    literal,
    select,
)

from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event
from waypost.model.page import Page, PageRequest
from waypost.storage import pages
from waypost.storage.matching import is_among, is_of_producers
from waypost.storage.schema import events

_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode
_GET: Final = select(events).where(
    events.c.project_id == bindparam("at_project"), events.c.id == bindparam("at_event")
)
_NEWEST: Final = (
    select(events.c.id)
    .where(events.c.project_id == bindparam("at_project"))
    .order_by(events.c.id.desc())
    .limit(1)
)
_EMPTY = cast(literal(b"{}"), LargeBinary)


def get(connection: Connection, project_id: ids.Id, event_id: ids.Id) -> Event:
    """Return an event with its payload.

    Raises:
        NotFound: the project has none with this id (any more).
    """
    place = {"at_project": project_id, "at_event": event_id}
    row = connection.execute(_GET, place).one_or_none()
    if row is None:
        raise NotFound(ids.KINDS[ids.EVENT])
    return of_row(row)


def newest(connection: Connection, project_id: ids.Id) -> ids.Id | None:
    """Return the event of a project that has the last id; None where there is none."""
    found: ids.Id | None = connection.execute(_NEWEST, {"at_project": project_id}).scalar()
    return found


def demand(connection: Connection, project_id: ids.Id, event_id: ids.Id) -> None:
    """Make sure that an event exists.

    Raises:
        NotFound: the project has none with this id (any more).
    """
    found = exists().where(events.c.project_id == project_id, events.c.id == event_id)
    if not connection.execute(select(found)).scalar_one():
        raise NotFound(ids.KINDS[ids.EVENT])


def list_some(connection: Connection, project_id: ids.Id, wanted: Sequence[ids.Id]) -> list[Event]:
    """Return those of some events that are still there, with their payloads, oldest first.

    Where the payloads weigh too much it ends early, with at least one.
    """
    if not wanted:
        return []
    query = (
        select(events)
        .where(events.c.project_id == project_id, events.c.id.in_(wanted))
        .order_by(events.c.id)
    )
    found: list[Event] = []
    weight = 0
    with connection.execute(pages.streamed(connection, query)) as rows:
        for row in rows:
            if weight >= pages.PAGE_BYTES:
                break
            found.append(of_row(row))
            weight += len(found[-1].payload)
    return found


def types_of(
    connection: Connection, project_id: ids.Id, event_ids: Sequence[ids.Id]
) -> dict[ids.Id, str]:
    """Return the types of these events, of those that are there."""
    rows = connection.execute(
        select(events.c.id, events.c.type).where(
            events.c.project_id == project_id, events.c.id.in_(event_ids)
        )
    )
    return {row.id: row.type for row in rows}


def list_page(
    connection: Connection,
    project_id: ids.Id,
    request: PageRequest,
    *,
    types: tuple[str, ...] = (),
    with_payload: bool = True,
) -> Page[Event]:
    """Return one page of a project's events.

    Args:
        connection: where from.
        project_id: whose.
        request: which part; a page is also cut where its payloads weigh too much.
        types: only events of these types; empty for all, but for those of system events.
        with_payload: False leaves the payloads where they are: each is `{}`.
    """
    columns = [c for c in events.c if c is not events.c.payload]
    payload = events.c.payload if with_payload else _EMPTY.label("payload")
    query = select(*columns, payload).where(events.c.project_id == project_id)
    if not types:
        query = query.where(is_of_producers())
        return pages.read(connection, query, (events.c.id,), request, of_row, _weight)
    query = query.where(events.c.id.in_(list_ids(connection, project_id, request, types)))
    # As a term: by a range of the column SQLite would look among all that stand in it.
    place = func.coalesce(events.c.id, events.c.id)
    return pages.read(connection, query, (place,), request, of_row, _weight)


def list_ids(
    connection: Connection, project_id: ids.Id, request: PageRequest, types: Sequence[str]
) -> list[ids.Id]:
    """Return which events are on a page of these types, and which one is behind it.

    They are read type by type, from the index of types, however rare one is, in the order in which
    the page is found. All that is asked for stands in that index: for more, SQLite would rather go
    through all events.
    """
    found: set[ids.Id] = set()
    for one in types:
        found.update(connection.execute(of_type(project_id, request, one)).scalars())
    return sorted(found, reverse=not pages.runs_up(request))[: request.size + 1]


def of_type(project_id: ids.Id, request: PageRequest, kind: str) -> Select[Any]:
    """Return the query of the ids of `list_ids`, of one type."""
    key = events.c.id
    return (
        select(key)
        .where(events.c.project_id == project_id, is_among((kind,)))
        .where(*pages.within((key,), request))
        .order_by(key if pages.runs_up(request) else key.desc())
        .limit(request.size + 1)
    )


def _weight(event: Event) -> int:
    return len(event.payload)


def without_payload(row: Row[Any]) -> Event:
    """Make an event of a row that holds all but the payload, which is then empty."""
    return of_row(row, b"")


def of_row(row: Row[Any], payload: bytes | None = None) -> Event:
    """Make an event of a row of its table; `payload` stands for one that was not read."""
    return Event(
        project_id=row.project_id,
        id=row.id,
        type=row.type,
        payload=row.payload if payload is None else payload,
        attributes=(
            NO_ATTRIBUTES if row.attributes is None else _decode_attributes(row.attributes)
        ),
        routing_version=row.routing_version,
    )
