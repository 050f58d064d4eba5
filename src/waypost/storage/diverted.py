"""Diverted events: failed deliveries in the dead-letter box, each under its delivery's id."""

from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, select
from sqlalchemy import delete as delete_from

from waypost.model import ids
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.storage import pages
from waypost.storage.schema import attempts, diverted_events, events

KIND = "diverted event"

_last = attempts.alias("last")
_same = attempts.alias("same")


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
    subscription_id: ids.Id | None = None,
) -> Page[DivertedEvent]:
    """Return one page of a project's diverted events, or of one subscription's."""
    query = _of(project_id)
    if subscription_id is not None:
        query = query.where(diverted_events.c.subscription_id == subscription_id)
    return pages.read(connection, query, (diverted_events.c.id,), request, _diverted)


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


def _of(project_id: ids.Id) -> Select[Any]:
    """Select diverted events with their event's type and their last attempt's answer."""
    type_of = (
        select(events.c.type)
        .where(
            events.c.project_id == diverted_events.c.project_id,
            events.c.id == diverted_events.c.event_id,
        )
        .scalar_subquery()
    )
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
            type_of.label("event_type"),
            func.coalesce(_last.c.status_code, 0).label("status_code"),
            func.coalesce(_last.c.response, _same.c.response, b"").label("response"),
        )
        .select_from(diverted_events.outerjoin(_last, last).outerjoin(_same, same))
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
    )
