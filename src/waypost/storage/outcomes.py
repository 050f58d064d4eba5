"""Outcomes: how events stand, over all that they are or were owed to.

An event that owes something is pending. It has failed where a subscription that was owed it never
got it, not by a later delivery either: what was sent again makes up for what had failed. Else it is
delivered, and so is one that nobody wanted. What a subscription's own program skipped was not
wanted.
"""

from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, FromClause, case, exists, or_, select

from waypost.model import ids
from waypost.model.delivery import DeliveryState, EventStatus, Reason
from waypost.model.errors import NotFound
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.storage import pages
from waypost.storage.schema import deliveries, events, fan_outs, queue

LOOKED_AT: Final = 2_000
"""So many events are looked at for one page: one that is sought among many may be on a later page,
and the pages before it empty."""


class Sought(msgspec.Struct, frozen=True):
    """Which events are asked for; what is None or empty does not narrow."""

    event_id: Id | None = None
    type: str | None = None
    statuses: frozenset[EventStatus] = frozenset()


class Summary(msgspec.Struct, frozen=True):
    """An event in a few words."""

    id: Id
    type: str
    status: EventStatus


class Found(msgspec.Struct, frozen=True):
    """One page of what was sought, newest first.

    Attributes:
        older_than: the position from which to go on; None where nothing is left to look at.
    """

    items: list[Summary]
    older_than: Id | None


def status_of(connection: Connection, project_id: Id, event_id: Id) -> EventStatus:
    """Return how an event stands.

    Raises:
        NotFound: the project has none with this id (any more).
    """
    row = connection.execute(
        select(_status(events)).where(events.c.project_id == project_id, events.c.id == event_id)
    ).one_or_none()
    if row is None:
        raise NotFound(ids.KINDS[ids.EVENT])
    return EventStatus(row.status)


def list_page(
    connection: Connection, project_id: Id, request: PageRequest, sought: Sought
) -> Found:
    """Return one page of a project's events; it may be short of items, or empty, before the end."""
    narrow = bool(sought.statuses) or sought.type is not None
    looked_at = max(request.size, LOOKED_AT) if narrow else request.size
    query = select(events.c.project_id, events.c.id, events.c.type).where(
        events.c.project_id == project_id
    )
    if sought.event_id is not None:
        query = query.where(events.c.id == sought.event_id)
    within = msgspec.structs.replace(request, size=looked_at)
    window = query.where(*pages.within((events.c.id,), within)).order_by(events.c.id.desc())
    candidates = window.limit(looked_at).subquery()
    chosen = select(candidates).order_by(candidates.c.id.desc()).limit(request.size)
    if sought.type is not None:
        chosen = chosen.where(candidates.c.type == sought.type)
    if sought.statuses:
        wanted = sorted(one.value for one in sought.statuses)
        chosen = chosen.where(_standing(candidates).in_(wanted))
    # How they stand is asked of those that are shown alone.
    shown = chosen.subquery()
    rows = connection.execute(select(shown, _status(shown)).order_by(shown.c.id.desc())).all()
    items = [Summary(row.id, row.type, EventStatus(row.status)) for row in rows]
    if len(items) == request.size:
        last: Id | None = items[-1].id
    else:
        end = window.with_only_columns(events.c.id).offset(looked_at - 1).limit(1)
        last = connection.execute(end).scalar_one_or_none()
    if last is None:
        return Found(items, None)
    rest = msgspec.structs.replace(request, size=1, older_than=last)
    more = query.where(*pages.within((events.c.id,), rest)).limit(1)
    return Found(items, last if connection.execute(more).first() else None)


def _status(of: FromClause) -> ColumnElement[str]:
    return _standing(of).label("status")


def _standing(of: FromClause) -> ColumnElement[str]:
    return case(
        (or_(_exists(queue, of), _exists(fan_outs, of)), EventStatus.PENDING.value),
        (_is_missed(of), EventStatus.FAILED.value),
        else_=EventStatus.DELIVERED.value,
    )


def _exists(table: Any, of: FromClause) -> ColumnElement[bool]:
    return (
        exists()
        .where(table.c.project_id == of.c.project_id, table.c.event_id == of.c.id)
        .correlate(of)
    )


def _is_missed(of: FromClause) -> ColumnElement[bool]:
    """Whether a subscription was owed the event and never got it."""
    later = deliveries.alias("later")
    made_up_for = exists().where(
        later.c.project_id == deliveries.c.project_id,
        later.c.event_id == deliveries.c.event_id,
        later.c.subscription_id == deliveries.c.subscription_id,
        later.c.state == int(DeliveryState.DELIVERED),
    )
    return (
        exists()
        .where(
            deliveries.c.project_id == of.c.project_id,
            deliveries.c.event_id == of.c.id,
            deliveries.c.state != int(DeliveryState.DELIVERED),
            or_(deliveries.c.reason.is_(None), deliveries.c.reason != Reason.SKIPPED.value),
            ~made_up_for,
        )
        .correlate(of)
    )
