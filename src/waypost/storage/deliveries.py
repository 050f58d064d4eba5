"""Deliveries as people see them: the owed ones of the queue and the final ones, in one list.

The list runs by event and then by delivery, both newest first, which is how both tables are
indexed; a position is the two ids joined.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Row,
    Table,
    and_,
    exists,
    func,
    literal_column,
    select,
    union_all,
)

from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason
from waypost.model.page import Page, PageRequest
from waypost.storage import events as stored_events
from waypost.storage import pages
from waypost.storage.matching import is_among
from waypost.storage.schema import deliveries, diverted_events, events, queue

ADDRESSEES_MAX: Final = 1_000
"""So many deliveries of an event are looked at to tell to whom it is owed."""

_ADDRESSED_MAX: Final = 10_000
"""So many deliveries of several events are read at once."""

_SOME: Final = 500

STEP_MAX: Final = 2_000
WALKED: Final = 20_000
"""So many events of a type are gone through for a page, and so many of them at once."""

LOOKED_MAX: Final = 20_000
"""So many deliveries that were missed are looked at to count those of some types."""

FEW: Final = 5_000
"""So many rows of a subscription are sorted rather than looked for among all others."""

_BY_SUBSCRIPTION: Final = {
    queue.name: (queue.c["class"], queue.c.due_us, queue.c.id),
    deliveries.name: (deliveries.c.id,),
}
"""In which order each table's index of subscriptions holds the rows of one."""


_DELIVERED: Final = str(int(DeliveryState.DELIVERED))


class DeliveryFilter(msgspec.Struct, frozen=True):
    """Which deliveries of a project are asked for; what is None or empty does not narrow."""

    state: DeliveryState | None = None
    event_id: ids.Id | None = None
    subscription_id: ids.Id | None = None
    types: tuple[str, ...] = ()


def position(delivery: Delivery) -> bytes:
    """Return a delivery's position in the list."""
    return delivery.event_id + delivery.id


def list_page(
    connection: Connection, project_id: ids.Id, request: PageRequest, which: DeliveryFilter
) -> Page[Delivery]:
    """Return one page of a project's deliveries; the range of time is that of their events."""
    if which.types and which.event_id is None:
        return _page_of_types(connection, project_id, request, which)
    return _page(connection, project_id, request, which)


def count(
    connection: Connection, project_id: ids.Id, request: PageRequest, which: DeliveryFilter
) -> int:
    """Count a project's deliveries, up to the size of the page that is asked for.

    Where types are asked for, so many events of each at most are looked at, the newest; where what
    was missed is asked for as well, the newest `LOOKED_MAX` of it.
    """
    found = 0
    if which.state in {None, DeliveryState.PENDING}:
        rows = _rows(connection, queue, project_id, which)
        conditions = [*_conditions(rows, which), *pages.within(_order(rows, None), request)]
        found = pages.count(connection, select(rows.c.id).where(*conditions), request.size)
    if which.state is not DeliveryState.PENDING:
        found += _count_final(connection, project_id, request, which)
    return min(found, request.size)


def _count_final(
    connection: Connection, project_id: ids.Id, request: PageRequest, which: DeliveryFilter
) -> int:
    every = msgspec.structs.replace(which, types=())
    if not which.types or which.event_id is not None:
        found = _places(connection, project_id, request, which, None)
        return pages.count(connection, select(found), request.size)
    if which.state in {None, DeliveryState.DELIVERED}:
        around = _of_events(request, request.size)
        among = union_all(
            *(
                select(stored_events.of_type(project_id, around, one).subquery())
                for one in which.types
            )
        ).subquery()
        rows = _rows(connection, deliveries, project_id, every)
        query = select(rows.c.id).join(among, rows.c.event_id == among.c.id)
        query = query.where(*_conditions(rows, every), *_in_state(rows, which.state))
        return pages.count(connection, query, request.size)
    looked = msgspec.structs.replace(request, size=LOOKED_MAX)
    found = _places(connection, project_id, looked, every, None)
    its_event = and_(events.c.project_id == project_id, events.c.id == found.c.event_id)
    # Joined: a mere look whether there is one would pass over the index of types.
    query = select(found).join(events, its_event).where(is_among(which.types))
    return pages.count(connection, query, request.size)


def _page_of_types(
    connection: Connection, project_id: ids.Id, request: PageRequest, which: DeliveryFilter
) -> Page[Delivery]:
    """Read a page by going through the events of the types, however rare they are.

    Where a great many of them were owed to nobody, what is left is looked for among all deliveries.
    """
    up, size = pages.runs_up(request), request.size
    found: list[Delivery] = []
    step, walked = size, 0
    while True:
        among = None
        if walked < WALKED:
            around = _of_events(request, step)
            among = stored_events.list_ids(connection, project_id, around, which.types)
        part = _page(connection, project_id, request, which, among)
        found += part.items[::-1] if up else part.items
        has_more = part.has_more or len(found) > size
        if has_more or among is None or len(among) <= step:
            found = found[:size]
            return Page(found[::-1] if up else found, has_more)
        last = among[-1]
        if up:
            request = msgspec.structs.replace(request, newer_than=last + ids.LAST)
        else:
            request = msgspec.structs.replace(request, older_than=last + ids.FIRST)
        walked, step = walked + step, min(2 * step, STEP_MAX)


def _of_events(request: PageRequest, size: int) -> PageRequest:
    """Return the request for the events that the deliveries of a page may be of."""
    older, newer = request.older_than, request.newer_than
    first = None if newer is None else newer[: ids.ID_BYTES]
    last = None if older is None else older[: ids.ID_BYTES]
    return msgspec.structs.replace(
        request,
        size=size,
        newer_than=first if first in {None, ids.FIRST} else ids.preceding(first),
        older_than=last if last in {None, ids.LAST} else ids.following(last),
    )


def _page(
    connection: Connection,
    project_id: ids.Id,
    request: PageRequest,
    which: DeliveryFilter,
    among: Sequence[ids.Id] | None = None,
) -> Page[Delivery]:
    """Read one page, of these events alone where some are given."""
    if among is not None and not among:
        return Page([], has_more=False)
    parts: list[Page[Delivery]] = []
    if which.state in {None, DeliveryState.PENDING}:
        rows = _rows(connection, queue, project_id, which)
        query = select(rows, _type_of(rows)).where(*_conditions(rows, which, among))
        parts.append(pages.read(connection, query, _order(rows, among), request, _pending))
    if which.state is not DeliveryState.PENDING:
        found = _places(connection, project_id, request, which, among)
        query = (
            select(deliveries, _type_of(deliveries), _is_diverted(deliveries))
            .join(
                found,
                and_(deliveries.c.event_id == found.c.event_id, deliveries.c.id == found.c.id),
            )
            .where(deliveries.c.project_id == project_id)
        )
        parts.append(pages.read(connection, query, (found.c.event_id, found.c.id), request, _final))
    return pages.merge(parts, request, position)


def list_of_event(
    connection: Connection,
    project_id: ids.Id,
    event_id: ids.Id,
    subscription_ids: Collection[ids.Id],
    most: int,
) -> list[Delivery]:
    """Return the latest deliveries of an event to these subscriptions, newest first.

    Args:
        connection: where from.
        project_id: whose.
        event_id: the event.
        subscription_ids: to whom.
        most: so many at most to each.
    """
    found: list[Delivery] = []
    for table, model in ((queue, _pending), (deliveries, _final)):
        # A range of one: with `=`, SQLite without statistics may take the index of subscriptions.
        of_event = (
            table.c.project_id == project_id,
            table.c.event_id.between(event_id, event_id),
        )
        columns = [_type_of(table)] if table is queue else [_type_of(table), _is_diverted(table)]
        number = (
            func.row_number()
            .over(partition_by=table.c.subscription_id, order_by=table.c.id.desc())
            .label("number")
        )
        numbered = (
            select(table, *columns, number)
            .where(*of_event, table.c.subscription_id.in_(subscription_ids))
            .subquery()
        )
        rows = connection.execute(select(numbered).where(numbered.c.number <= most))
        found += [model(row) for row in rows]
    return sorted(found, key=lambda one: one.id, reverse=True)


def addressees(
    connection: Connection, project_id: ids.Id, event_ids: Sequence[ids.Id]
) -> dict[ids.Id, dict[ids.Id, ids.Id]]:
    """Return to whom some events are or were owed, each with the latest delivery.

    Of events with very many deliveries, not all are told.
    """
    found: dict[ids.Id, dict[ids.Id, ids.Id]] = {one: {} for one in event_ids}
    for table in (queue, deliveries):
        of_all = (
            select(table.c.event_id, table.c.subscription_id, table.c.id)
            .where(table.c.project_id == project_id, table.c.event_id.in_(event_ids))
            .limit(_ADDRESSED_MAX)
        )
        rows: list[Row[Any]] = list(connection.execute(of_all)) if event_ids else []
        if len(rows) == _ADDRESSED_MAX:
            rows = [row for one in event_ids for row in _latest(connection, table, project_id, one)]
        for row in rows:
            last = found[row.event_id].get(row.subscription_id, ids.FIRST)
            found[row.event_id][row.subscription_id] = max(last, row.id)
    return found


def _latest(
    connection: Connection, table: Table, project_id: ids.Id, event_id: ids.Id
) -> list[Row[Any]]:
    # A range of one, as above.
    query = (
        select(table.c.event_id, table.c.subscription_id, table.c.id)
        .where(table.c.project_id == project_id, table.c.event_id.between(event_id, event_id))
        .order_by(table.c.id.desc())
        .limit(ADDRESSEES_MAX)
    )
    return list(connection.execute(query))


def find(
    connection: Connection,
    project_id: ids.Id,
    delivery_id: ids.Id,
    subscription_ids: Sequence[ids.Id],
) -> Delivery | None:
    """Return a delivery by its id alone; None where it is none of these subscriptions'."""
    owed = select(queue, _type_of(queue)).where(
        queue.c.project_id == project_id, queue.c.id == delivery_id
    )
    for row in connection.execute(owed):
        return _pending(row)
    # What has ended is found by the index of subscriptions, in which it is the second column.
    for at in range(0, len(subscription_ids), _SOME):
        ended = select(deliveries, _type_of(deliveries), _is_diverted(deliveries)).where(
            deliveries.c.project_id == project_id,
            deliveries.c.subscription_id.in_(subscription_ids[at : at + _SOME]),
            deliveries.c.id.between(delivery_id, delivery_id),
        )
        for row in connection.execute(ended):
            return _final(row)
    return None


def _places(
    connection: Connection,
    project_id: ids.Id,
    request: PageRequest,
    which: DeliveryFilter,
    among: Sequence[ids.Id] | None,
) -> FromClause:
    """Return where the final deliveries of a page stand, and the one behind it.

    Apart from all else of them: an index tells it, and nothing is sorted but places.
    """
    columns = ["project_id", "event_id", "id", "subscription_id"]
    if which.state is not None:
        columns.append("state")
    rows = _rows(connection, deliveries, project_id, which, columns)
    order = _order(rows, among)
    conditions = [
        *_conditions(rows, which, among),
        *_in_state(rows, which.state),
        *pages.within(order, request),
    ]
    up = pages.runs_up(request)
    return (
        select(rows.c.event_id, rows.c.id)
        .where(*conditions)
        .order_by(*(order if up else [column.desc() for column in order]))
        .limit(request.size + 1)
        .subquery("places")
    )


def _rows(
    connection: Connection,
    table: Table,
    project_id: ids.Id,
    which: DeliveryFilter,
    columns: Sequence[str] | None = None,
) -> FromClause:
    """Return what to look in: of a project, or of one of its subscriptions; these columns, or all.

    The list's order is that of an index in which all subscriptions' rows stand. Where one has only
    a few of them, it is quicker to find these by the index of subscriptions and to sort them: the
    inner query's own order chooses that index, and its limit keeps it apart from the outer one.
    """
    chosen = table.c if columns is None else [table.c[name] for name in columns]
    of_project = select(*chosen).where(table.c.project_id == project_id)
    if which.subscription_id is None or which.event_id is not None:
        return of_project.subquery()
    mine = of_project.where(table.c.subscription_id == which.subscription_id)
    few = mine.order_by(*_BY_SUBSCRIPTION[table.name]).limit(FEW + 1).subquery()
    count = connection.execute(select(func.count()).select_from(few)).scalar_one()
    return mine.subquery() if count > FEW else few


def _order(
    rows: FromClause, among: Sequence[ids.Id] | None
) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the order of the list; as a term where some events are looked for.

    By a range of the column SQLite would look among all that stand in it.
    """
    event_id = rows.c.event_id
    return (event_id if among is None else func.coalesce(event_id, event_id), rows.c.id)


def _in_state(rows: FromClause, state: DeliveryState | None) -> list[ColumnElement[bool]]:
    """Return the condition of a delivery that it has ended so."""
    if state is None:
        return []
    if state is DeliveryState.DELIVERED:
        return [rows.c.state == int(state)]
    # In words, as the index of what was missed has it.
    return [
        rows.c.state == literal_column(str(int(state))),
        rows.c.state != literal_column(_DELIVERED),
    ]


def _conditions(
    rows: FromClause, which: DeliveryFilter, among: Sequence[ids.Id] | None = None
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if among is not None:
        conditions.append(rows.c.event_id.in_(among))
    if which.event_id is not None:
        # A range of one: with `=`, SQLite without statistics walks through the whole project.
        conditions.append(rows.c.event_id.between(which.event_id, which.event_id))
    if which.subscription_id is not None:
        conditions.append(rows.c.subscription_id == which.subscription_id)
    if which.types:
        conditions.append(_type_of(rows).in_(which.types))
    return conditions


def _type_of(rows: FromClause) -> ColumnElement[str]:
    """Return the type of a row's event; by a look-up, so that the order of the list is kept."""
    return (
        select(events.c.type)
        .where(events.c.project_id == rows.c.project_id, events.c.id == rows.c.event_id)
        .scalar_subquery()
        .label("event_type")
    )


def _is_diverted(rows: FromClause) -> ColumnElement[bool]:
    return (
        exists()
        .where(diverted_events.c.project_id == rows.c.project_id, diverted_events.c.id == rows.c.id)
        .label("diverted")
    )


def _pending(row: Row[Any]) -> Delivery:
    return Delivery(
        project_id=row.project_id,
        id=row.id,
        event_id=row.event_id,
        subscription_id=row.subscription_id,
        event_type=row.event_type or "",
        state=DeliveryState.PENDING,
        attempts=row.attempts,
        due_us=row.due_us,
    )


def _final(row: Row[Any]) -> Delivery:
    return Delivery(
        project_id=row.project_id,
        id=row.id,
        event_id=row.event_id,
        subscription_id=row.subscription_id,
        event_type=row.event_type or "",
        state=DeliveryState(row.state),
        attempts=row.attempts,
        finished_us=row.finished_us,
        reason=None if row.reason is None else Reason(row.reason),
        diverted=bool(row.diverted),
    )
