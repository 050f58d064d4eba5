"""Attempts as people see them: those that ended, and the next one of each delivery owed.

The next attempt of a delivery is no row: its id follows from the queue's row, and so does its
place in the list. An attempt that delivered at the first try has no row either: it is a part of its
delivery's, and has its id.
"""

from collections.abc import Collection, Iterable
from heapq import nlargest, nsmallest
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select

from waypost.model import ids
from waypost.model.delivery import PARKED, AttemptState, Delivery, DeliveryClass, Timings
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.storage import pages
from waypost.storage.schema import attempts, deliveries, queue, subscriptions

ENDED: Final = {
    AttemptStatus.SUCCESS: AttemptState.SUCCESS,
    AttemptStatus.FAILED: AttemptState.FAILED,
}

_OF_FIRST: Final = (None, AttemptStatus.SUCCESS)
"""The filters by status that take an attempt that delivered at the first try."""

_decode_timings = msgspec.msgpack.Decoder(Timings).decode
_same = attempts.alias("same")


def get(
    connection: Connection,
    project_id: ids.Id,
    event_id: ids.Id,
    attempt_id: ids.Id,
    sending: Collection[ids.Id],
) -> ShownAttempt:
    """Return one attempt of an event, ended or to come.

    Raises:
        NotFound: the event has none with this id.
    """
    row = connection.execute(
        _ended(project_id).where(attempts.c.event_id == event_id, attempts.c.id == attempt_id)
    ).one_or_none()
    if row is not None:
        return _with_urls(connection, project_id, [_attempt(row)])[0]
    row = connection.execute(
        _first(project_id).where(deliveries.c.event_id == event_id, deliveries.c.id == attempt_id)
    ).one_or_none()
    if row is not None:
        return _with_urls(connection, project_id, [_first_attempt(row)])[0]
    for waiting in connection.execute(_owed(project_id).where(queue.c.event_id == event_id)):
        if _id_of(waiting) == attempt_id:
            return _with_urls(connection, project_id, [_next(waiting, sending)])[0]
    raise NotFound(ids.KINDS[ids.ATTEMPT])


def list_of_event(
    connection: Connection,
    project_id: ids.Id,
    event_id: ids.Id,
    request: PageRequest,
    status: AttemptStatus | None,
    sending: Collection[ids.Id],
) -> Page[ShownAttempt]:
    """Return one page of an event's attempts.

    Args:
        connection: where from.
        project_id: whose.
        event_id: the event.
        request: which part.
        status: only these; None for all.
        sending: the deliveries, of any event, that are in flight now.
    """
    parts: list[Page[ShownAttempt]] = []
    if status not in ENDED:
        rows = connection.execute(_owed(project_id).where(queue.c.event_id == event_id))
        parts.append(_cut((_next(row, sending) for row in rows), request, status))
    if status is None or status in ENDED:
        mine = attempts.c.event_id == event_id
        parts.append(_page_ended(connection, project_id, mine, request, status))
    if status in _OF_FIRST:
        query = _first(project_id).where(deliveries.c.event_id == event_id)
        parts.append(_page_first(connection, query, request))
    return _finished(connection, project_id, parts, request)


def list_of_subscription(
    connection: Connection,
    project_id: ids.Id,
    subscription_id: ids.Id,
    request: PageRequest,
    status: AttemptStatus | None,
    sending: Collection[ids.Id],
) -> Page[ShownAttempt]:
    """Return one page of a subscription's attempts; arguments as for `list_of_event`."""
    parts: list[Page[ShownAttempt]] = []
    if status is AttemptStatus.SENDING:
        rows: Iterable[Row[Any]] = connection.execute(
            _owed(project_id).where(queue.c.id.in_(sending))
        )
        lane_rows = (row for row in rows if row.subscription_id == subscription_id)
        parts.append(_cut((_next(row, sending) for row in lane_rows), request, status))
    elif status not in ENDED:
        for kind in (*DeliveryClass, PARKED):
            lane = _owed(project_id).where(
                queue.c.subscription_id == subscription_id, queue.c["class"] == int(kind)
            )
            parts.append(_page_owed(connection, lane, request, status, sending))
    if status is None or status in ENDED:
        mine = attempts.c.subscription_id == subscription_id
        parts.append(_page_ended(connection, project_id, mine, request, status))
    if status in _OF_FIRST:
        query = _first(project_id).where(deliveries.c.subscription_id == subscription_id)
        parts.append(_page_first(connection, query, request))
    return _finished(connection, project_id, parts, request)


def list_of_deliveries(
    connection: Connection,
    project_id: ids.Id,
    event_id: ids.Id,
    of: Collection[Delivery],
    most: int,
) -> list[ShownAttempt]:
    """Return the attempts of some deliveries of an event that have ended, newest first.

    Args:
        connection: where from.
        project_id: whose.
        event_id: the event.
        of: the deliveries.
        most: so many at most of each, the latest.
    """
    delivery_ids = [one.id for one in of]
    # Of each delivery the tries are numbered: the latest are told by their numbers.
    last = {one.id: one.attempts for one in of}
    found = [
        _attempt(row)
        for row in connection.execute(
            _ended(project_id).where(
                attempts.c.event_id == event_id, attempts.c.delivery_id.in_(delivery_ids)
            )
        )
        if row.number > last[row.delivery_id] - most
    ]
    first = _first(project_id).where(
        deliveries.c.event_id == event_id, deliveries.c.id.in_(delivery_ids)
    )
    found += [_first_attempt(row) for row in connection.execute(first)]
    return sorted(found, key=_position, reverse=True)


def last_started(
    connection: Connection, project_id: ids.Id, subscription_ids: Collection[ids.Id]
) -> dict[ids.Id, int]:
    """Return when the last attempt of each subscription was due that has ended, UTC microseconds.

    A subscription without one is left out.
    """
    found: dict[ids.Id, int] = {}
    for subscription_id in subscription_ids:
        newest = [
            connection.execute(
                select(table.c.id)
                .where(
                    table.c.project_id == project_id,
                    table.c.subscription_id == subscription_id,
                    *conditions,
                )
                .order_by(table.c.id.desc())
                .limit(1)
            ).scalar_one_or_none()
            for table, conditions in (
                (attempts, ()),
                (deliveries, (deliveries.c.timings.is_not(None),)),
            )
        ]
        known = [attempt_id for attempt_id in newest if attempt_id is not None]
        if known:
            found[subscription_id] = ids.moment(max(known))
    return found


def _finished(
    connection: Connection,
    project_id: ids.Id,
    parts: list[Page[ShownAttempt]],
    request: PageRequest,
) -> Page[ShownAttempt]:
    page = pages.merge(parts, request, _position)
    return Page(_with_urls(connection, project_id, page.items), page.has_more)


def _page_ended(
    connection: Connection,
    project_id: ids.Id,
    which: ColumnElement[bool],
    request: PageRequest,
    status: AttemptStatus | None,
) -> Page[ShownAttempt]:
    query = _ended(project_id).where(which)
    if status is not None:
        query = query.where(attempts.c.state == int(ENDED[status]))
    return pages.read(connection, query, (attempts.c.id,), request, _attempt)


def _page_first(
    connection: Connection, query: Select[Any], request: PageRequest
) -> Page[ShownAttempt]:
    return pages.read(connection, query, (deliveries.c.id,), request, _first_attempt)


def _page_owed(
    connection: Connection,
    lane: Select[Any],
    request: PageRequest,
    status: AttemptStatus | None,
    sending: Collection[ids.Id],
) -> Page[ShownAttempt]:
    """Read the next attempts of one class of a lane.

    An attempt's id begins with the moment when it is due, so the lane's index by due time gives
    their order but for those due at the same microsecond: reading goes on to the end of these.
    """
    up = pages.runs_up(request)
    due = queue.c.due_us
    ordered = lane.where(*_due_within(request)).order_by(due if up else due.desc())
    found: list[ShownAttempt] = []
    last_due = None
    # As they are asked for: a lane may be very long.
    with connection.execute(pages.streamed(connection, ordered)) as rows:
        for row in rows:
            if len(found) > request.size and row.due_us != last_due:
                break
            attempt = _next(row, sending)
            if pages.admits(request, attempt.id) and status in (None, attempt.status):
                found.append(attempt)
                last_due = row.due_us
    return _cut(found, request, status)


def _due_within(request: PageRequest) -> list[ColumnElement[bool]]:
    due = queue.c.due_us
    conditions: list[ColumnElement[bool]] = []
    if request.begin_us is not None:
        conditions.append(due >= request.begin_us)
    if request.end_us is not None:
        conditions.append(due < request.end_us)
    if request.older_than is not None:
        conditions.append(due <= ids.moment(request.older_than))
    if request.newer_than is not None:
        conditions.append(due >= ids.moment(request.newer_than))
    return conditions


def _cut(
    found: Iterable[ShownAttempt], request: PageRequest, status: AttemptStatus | None
) -> Page[ShownAttempt]:
    """Make the page of what was found in no order."""
    wanted = (
        attempt
        for attempt in found
        if pages.admits(request, attempt.id) and status in (None, attempt.status)
    )
    choose = nsmallest if pages.runs_up(request) else nlargest
    nearest = choose(request.size + 1, wanted, key=_position)
    return pages.merge([Page(nearest, has_more=False)], request, _position)


def _with_urls(
    connection: Connection, project_id: ids.Id, shown: list[ShownAttempt]
) -> list[ShownAttempt]:
    found = connection.execute(
        select(subscriptions.c.id, subscriptions.c.url).where(
            subscriptions.c.project_id == project_id,
            subscriptions.c.id.in_({attempt.subscription_id for attempt in shown}),
        )
    )
    urls = {row.id: row.url for row in found}
    return [
        msgspec.structs.replace(attempt, url=urls.get(attempt.subscription_id, ""))
        for attempt in shown
    ]


def _ended(project_id: ids.Id) -> Select[Any]:
    columns = [c for c in attempts.c if c is not attempts.c.response]
    response = func.coalesce(attempts.c.response, _same.c.response, b"").label("response")
    same = and_(
        _same.c.project_id == attempts.c.project_id,
        _same.c.event_id == attempts.c.event_id,
        _same.c.id == attempts.c.same_as,
    )
    return (
        select(*columns, response)
        .select_from(attempts.outerjoin(_same, same))
        .where(attempts.c.project_id == project_id)
    )


def _first(project_id: ids.Id) -> Select[Any]:
    return select(deliveries).where(
        deliveries.c.project_id == project_id, deliveries.c.timings.is_not(None)
    )


def _owed(project_id: ids.Id) -> Select[Any]:
    return select(queue).where(queue.c.project_id == project_id)


def _position(attempt: ShownAttempt) -> bytes:
    return attempt.id


def _id_of(row: Row[Any]) -> ids.Id:
    return ids.attempt_of(row.id, row.attempts + 1, row.due_us)


def _next(row: Row[Any], sending: Collection[ids.Id]) -> ShownAttempt:
    return ShownAttempt(
        project_id=row.project_id,
        id=_id_of(row),
        event_id=row.event_id,
        delivery_id=row.id,
        subscription_id=row.subscription_id,
        number=row.attempts + 1,
        status=AttemptStatus.SENDING if row.id in sending else AttemptStatus.PENDING,
    )


def _attempt(row: Row[Any]) -> ShownAttempt:
    succeeded = row.state == AttemptState.SUCCESS
    return ShownAttempt(
        project_id=row.project_id,
        id=row.id,
        event_id=row.event_id,
        delivery_id=row.delivery_id,
        subscription_id=row.subscription_id,
        number=row.number,
        status=AttemptStatus.SUCCESS if succeeded else AttemptStatus.FAILED,
        status_code=row.status_code,
        response=row.response,
        timings=_decode_timings(row.timings),
        reused_unknown=bool(row.resent),
    )


def _first_attempt(row: Row[Any]) -> ShownAttempt:
    return ShownAttempt(
        project_id=row.project_id,
        id=row.id,
        event_id=row.event_id,
        delivery_id=row.id,
        subscription_id=row.subscription_id,
        number=1,
        status=AttemptStatus.SUCCESS,
        status_code=row.status_code,
        response=row.response,
        timings=_decode_timings(row.timings),
        reused_unknown=bool(row.resent),
    )
