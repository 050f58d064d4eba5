"""Deliveries as people see them: the owed ones of the queue and the final ones, in one list.

The list runs by event and then by delivery, both newest first, which is how both tables are
indexed; a position is the two ids joined.
"""

from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, exists, select

from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.storage import pages
from waypost.storage.schema import deliveries, diverted_events, events, queue


class DeliveryFilter(msgspec.Struct, frozen=True):
    """Which deliveries of a project are asked for; what is None or empty does not narrow."""

    state: DeliveryState | None = None
    event_id: ids.Id | None = None
    subscription_id: ids.Id | None = None
    types: tuple[str, ...] = ()


def position(delivery: Delivery) -> bytes:
    """Return a delivery's position in the list."""
    return delivery.event_id + delivery.id


def get(
    connection: Connection, project_id: ids.Id, event_id: ids.Id, delivery_id: ids.Id
) -> Delivery:
    """Return one delivery of an event.

    Raises:
        NotFound: the project has none with these ids.
    """
    of_event = DeliveryFilter(event_id=event_id)
    for table, query, model in (
        (queue, _owed(project_id), _pending),
        (deliveries, _ended(project_id), _final),
    ):
        chosen = query.where(*_conditions(table, of_event), table.c.id == delivery_id)
        row = connection.execute(chosen).one_or_none()
        if row is not None:
            return model(row)
    raise NotFound(ids.KINDS[ids.DELIVERY])


def list_page(
    connection: Connection, project_id: ids.Id, request: PageRequest, which: DeliveryFilter
) -> Page[Delivery]:
    """Return one page of a project's deliveries; the range of time is that of their events."""
    parts: list[Page[Delivery]] = []
    if which.state in (None, DeliveryState.PENDING):
        query = _owed(project_id).where(*_conditions(queue, which))
        order = (queue.c.event_id, queue.c.id)
        parts.append(pages.read(connection, query, order, request, _pending))
    if which.state is not DeliveryState.PENDING:
        query = _ended(project_id).where(*_conditions(deliveries, which))
        if which.state is not None:
            query = query.where(deliveries.c.state == int(which.state))
        order = (deliveries.c.event_id, deliveries.c.id)
        parts.append(pages.read(connection, query, order, request, _final))
    return pages.merge(parts, request, position)


def _owed(project_id: ids.Id) -> Select[Any]:
    return select(queue, _type_of(queue)).where(queue.c.project_id == project_id)


def _ended(project_id: ids.Id) -> Select[Any]:
    diverted = exists().where(
        diverted_events.c.project_id == deliveries.c.project_id,
        diverted_events.c.id == deliveries.c.id,
    )
    return select(deliveries, _type_of(deliveries), diverted.label("diverted")).where(
        deliveries.c.project_id == project_id
    )


def _type_of(table: Table) -> ColumnElement[str]:
    """Return the type of a row's event; by a look-up, so that the order of the list is kept."""
    return (
        select(events.c.type)
        .where(events.c.project_id == table.c.project_id, events.c.id == table.c.event_id)
        .scalar_subquery()
        .label("event_type")
    )


def _conditions(table: Table, which: DeliveryFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if which.event_id is not None:
        conditions.append(table.c.event_id == which.event_id)
    if which.subscription_id is not None:
        conditions.append(table.c.subscription_id == which.subscription_id)
    if which.types:
        conditions.append(_type_of(table).in_(which.types))
    return conditions


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
