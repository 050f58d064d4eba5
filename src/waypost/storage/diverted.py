"""Diverted events: failed deliveries in the dead-letter box, each under its delivery's id."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Select,
    and_,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy import delete as delete_from

from waypost.model import ids
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import NotFound
from waypost.model.event import Attributes
from waypost.model.page import Page, PageRequest
from waypost.policy.routing import takes_type
from waypost.storage import pages
from waypost.storage.matching import INDEXED_BY, is_of_types, may_be_of_owner
from waypost.storage.schema import attempts, diverted_events, events

KIND = "diverted event"

_ROUNDS: Final = 20
"""So many pages are read, at most, to fill one."""

CHUNK: Final = 1_000
"""How many diverted events are looked at by one step of whoever goes through them."""

_TAKE_BACK = {
    dialect: text(
        f"DELETE FROM diverted_events {by.format('ix_diverted_event')}"
        " WHERE project_id = :project_id"
        " AND event_id = :event_id AND subscription_id = :subscription_id"
    )
    for dialect, by in INDEXED_BY.items()
}
_IN_BOX = {
    dialect: text(
        f"SELECT event_id, subscription_id FROM diverted_events {by.format('ix_diverted_event')}"
        " WHERE project_id = :project_id AND event_id IN :event_ids"
    ).bindparams(bindparam("event_ids", expanding=True))
    for dialect, by in INDEXED_BY.items()
}
_IS_LAST = {
    dialect: text(
        f"NOT EXISTS (SELECT 1 FROM diverted_events AS later {by.format('ix_diverted_event')}"
        " WHERE later.project_id = diverted_events.project_id"
        " AND later.event_id = diverted_events.event_id AND later.id > diverted_events.id"
        " AND later.subscription_id = diverted_events.subscription_id)"
    )
    for dialect, by in INDEXED_BY.items()
}
"""Nothing of the same event was diverted from the same subscription behind it."""

_ITS_EVENT: Final = and_(
    events.c.project_id == diverted_events.c.project_id, events.c.id == diverted_events.c.event_id
)

_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode
_last = attempts.alias("last")
_same = attempts.alias("same")


class DivertedFilter(msgspec.Struct, frozen=True):
    """Which diverted events are asked for; what is None or empty does not narrow.

    Attributes:
        types: of the events: exact names, prefixes as `card.*`, or `*`.
        owner: of the events.
    """

    subscription_id: ids.Id | None = None
    types: tuple[str, ...] = ()
    owner: str | None = None
    reason: Reason | None = None


EVERY: Final = DivertedFilter()


class InBox(msgspec.Struct, frozen=True):
    """A diverted event, as far as it takes to owe it again."""

    id: ids.Id
    event_id: ids.Id
    subscription_id: ids.Id


def get(connection: Connection, project_id: ids.Id, diverted_id: ids.Id) -> DivertedEvent:
    """Return a diverted event.

    Raises:
        NotFound: the project has none with this id (any more).
    """
    row = connection.execute(
        _of(project_id).where(diverted_events.c.id == diverted_id)
    ).one_or_none()
    if row is None:
        raise NotFound(KIND)
    return _diverted(row)


def list_page(
    connection: Connection,
    project_id: ids.Id,
    request: PageRequest,
    which: DivertedFilter = EVERY,
) -> Page[DivertedEvent]:
    """Return one page of a project's diverted events.

    A page is shorter than it might be, or even empty with more behind it, only where a great many
    events look like the owner's and are not.
    """
    found: list[DivertedEvent] = []
    for _ in range(_ROUNDS):
        chosen = _chosen(project_id, which, request)
        query = _of(project_id).join(chosen, diverted_events.c.id == chosen.c.id)
        rows = pages.read(connection, query, (chosen.c.id,), request, _row)
        found += [_diverted(row) for row in rows.items if _is_owners(row, which)]
        if len(found) >= request.size or not rows.has_more:
            break
        request = _behind(request, rows.items)
    found.sort(key=lambda one: one.id, reverse=True)
    return Page(found, rows.has_more)


def get_latest(
    connection: Connection, project_id: ids.Id, subscription_id: ids.Id, event_id: ids.Id
) -> DivertedEvent:
    """Return what was diverted last of an event and a subscription.

    Raises:
        NotFound: nothing of them is in the box (any more).
    """
    row = connection.execute(
        _of(project_id)
        .where(
            diverted_events.c.event_id == event_id,
            diverted_events.c.subscription_id == subscription_id,
        )
        .order_by(diverted_events.c.id.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise NotFound(KIND)
    return _diverted(row)


def list_slice(
    connection: Connection, project_id: ids.Id, subscription_id: ids.Id, skip: int, size: int
) -> list[DivertedEvent]:
    """Return some of what was diverted of a subscription, one for each event, by when it was.

    Of an event that was diverted several times it is the last.
    """
    place = (diverted_events.c.diverted_us, diverted_events.c.id)
    # What is skipped is looked at no further.
    chosen = connection.execute(
        select(diverted_events.c.id)
        .where(
            diverted_events.c.project_id == project_id,
            diverted_events.c.subscription_id == subscription_id,
            _IS_LAST[connection.dialect.name],
        )
        .order_by(*place)
        .limit(size)
        .offset(skip)
    ).scalars()
    wanted = chosen.all()
    rows = connection.execute(_of(project_id).where(diverted_events.c.id.in_(wanted)))
    found = {row.id: _diverted(row) for row in rows}
    return [found[one] for one in wanted]


def read_chunk(
    connection: Connection,
    project_id: ids.Id,
    which: DivertedFilter,
    after: ids.Id,
    until: ids.Id,
    *,
    up: bool = True,
    before_us: int | None = None,
) -> tuple[list[InBox], list[ids.Id]]:
    """Read the next diverted events, in the order of their ids, or against it.

    Args:
        connection: where from.
        project_id: whose.
        which: which of them.
        after: the id behind which they are looked for, in the order asked for.
        until: the id at which the search ends, itself not found where the order is upward.
        up: oldest first.
        before_us: only what was diverted before this moment, UTC microseconds; None: all.

    Returns:
        Those that are asked for, and the ids of all that were looked at: at most `CHUNK`.
    """
    key = diverted_events.c.id
    of = _conditions(DivertedFilter(subscription_id=which.subscription_id))
    # One bound on each side: of two, the database would search by either.
    bounds = (key > after, key < until) if up else (key < after, key >= until)
    rows = connection.execute(
        select(diverted_events, events.c.type, events.c.attributes)
        .join(events, _ITS_EVENT)
        .where(diverted_events.c.project_id == project_id, *bounds, *of)
        .order_by(key if up else key.desc())
        .limit(CHUNK)
    ).all()
    found = [
        InBox(row.id, row.event_id, row.subscription_id)
        for row in rows
        if which.reason in {None, row.reason}
        and (before_us is None or row.diverted_us < before_us)
        and (not which.types or takes_type(which.types, row.type))
        and _is_owners(row, which)
    ]
    return found, [row.id for row in rows]


def present(connection: Connection, project_id: ids.Id, box: Sequence[InBox]) -> set[ids.Id]:
    """Return which of these are still in the box."""
    rows = connection.execute(
        select(diverted_events.c.id).where(
            diverted_events.c.project_id == project_id,
            diverted_events.c.id.in_([one.id for one in box]),
        )
    )
    return set(rows.scalars())


def delete_many(connection: Connection, project_id: ids.Id, box: Sequence[InBox]) -> int:
    """Take these out of the box for good; return how many were in it."""
    return connection.execute(
        delete_from(diverted_events).where(
            diverted_events.c.project_id == project_id,
            diverted_events.c.id.in_([one.id for one in box]),
        )
    ).rowcount


def take_back(
    connection: Connection, project_id: ids.Id, pairs: Sequence[tuple[ids.Id, ids.Id]]
) -> None:
    """Take what is owed again out of the box: events, each with the subscription."""
    if not pairs:
        return
    # Most often there is none, and one statement tells so.
    event_ids = list({event_id for event_id, _ in pairs})
    found = connection.execute(
        _IN_BOX[connection.dialect.name], {"project_id": project_id, "event_ids": event_ids}
    )
    if boxed := {(row.event_id, row.subscription_id) for row in found}.intersection(pairs):
        connection.execute(
            _TAKE_BACK[connection.dialect.name],
            [
                {"project_id": project_id, "event_id": event_id, "subscription_id": to}
                for event_id, to in boxed
            ],
        )


def delete(connection: Connection, project_id: ids.Id, diverted_id: ids.Id) -> None:
    """Take a diverted event out of the box; its delivery stays failed.

    Raises:
        NotFound: the project has none with this id (any more).
    """
    gone = connection.execute(
        delete_from(diverted_events).where(
            diverted_events.c.project_id == project_id, diverted_events.c.id == diverted_id
        )
    )
    if not gone.rowcount:
        raise NotFound(KIND)


def _chosen(project_id: ids.Id, which: DivertedFilter, request: PageRequest) -> FromClause:
    """Return which diverted events a page holds, and the one behind it.

    Apart from their attempts, which are looked up for these alone; and the events are looked up
    where they are asked for, those of one type in its index.
    """
    key = diverted_events.c.id
    by_event = bool(which.types) or which.owner is not None
    return (
        select(key)
        .select_from(diverted_events.join(events, _ITS_EVENT) if by_event else diverted_events)
        .where(diverted_events.c.project_id == project_id, *_conditions(which))
        .where(*pages.within((key,), request))
        .order_by(key if pages.runs_up(request) else key.desc())
        .limit(request.size + 1)
        .subquery("chosen")
    )


def _conditions(which: DivertedFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if which.subscription_id is not None:
        conditions.append(diverted_events.c.subscription_id == which.subscription_id)
    if which.reason is not None:
        conditions.append(diverted_events.c.reason == which.reason.value)
    if which.types:
        conditions.append(is_of_types(which.types))
    if which.owner is not None:
        conditions.append(may_be_of_owner(which.owner))
    return conditions


def _is_owners(row: Row[Any], which: DivertedFilter) -> bool:
    if which.owner is None:
        return True
    return row.attributes is not None and _decode_attributes(row.attributes).owner == which.owner


def _behind(request: PageRequest, rows: Sequence[Row[Any]]) -> PageRequest:
    """Return the request for what follows a page, in the direction that it was read in."""
    if pages.runs_up(request):
        return msgspec.structs.replace(request, newer_than=rows[0].id)
    return msgspec.structs.replace(request, older_than=rows[-1].id)


def _row(row: Row[Any]) -> Row[Any]:
    return row


def _of(project_id: ids.Id) -> Select[Any]:
    """Select diverted events with their event's type and their last attempt's answer."""
    latest = (
        select(attempts.c.id)
        .where(
            attempts.c.project_id == diverted_events.c.project_id,
            attempts.c.event_id == diverted_events.c.event_id,
            attempts.c.delivery_id == diverted_events.c.id,
        )
        .order_by(attempts.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = and_(
        _last.c.project_id == diverted_events.c.project_id,
        _last.c.event_id == diverted_events.c.event_id,
        _last.c.id == latest,
    )
    same = and_(
        _same.c.project_id == _last.c.project_id,
        _same.c.event_id == _last.c.event_id,
        _same.c.id == _last.c.same_as,
    )
    return (
        select(
            diverted_events,
            events.c.type.label("event_type"),
            events.c.attributes,
            func.coalesce(_last.c.status_code, 0).label("status_code"),
            func.coalesce(_last.c.response, _same.c.response, b"").label("response"),
        )
        .select_from(
            diverted_events.outerjoin(events, _ITS_EVENT)
            .outerjoin(_last, last)
            .outerjoin(_same, same)
        )
        .where(diverted_events.c.project_id == project_id)
    )


def _diverted(row: Row[Any]) -> DivertedEvent:
    return DivertedEvent(
        project_id=row.project_id,
        id=row.id,
        event_id=row.event_id,
        subscription_id=row.subscription_id,
        event_type=row.event_type or "",
        reason=Reason(row.reason),
        diverted_us=row.diverted_us,
        attempts=row.attempts,
        status_code=row.status_code,
        response=row.response,
        request_id=None
        if row.attributes is None
        else _decode_attributes(row.attributes).request_id,
    )
