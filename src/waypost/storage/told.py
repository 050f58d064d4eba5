"""What is to be told: found in what the database holds, and marked as told where it was.

Each mark is set in the transaction that keeps the system event, if what it tells of still is as it
was found: so nothing is told twice, and what a crash has kept from being told is found again.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec
from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from waypost.model.delivery import PARKED, DeliveryClass, Reason
from waypost.model.event import SYSTEM
from waypost.model.flow import BreakerState, Wait
from waypost.model.ids import Id
from waypost.model.replay import ReplayKind, ReplayState
from waypost.storage import lane_states, pages
from waypost.storage.replays import NO_SUBSCRIPTION
from waypost.storage.schema import (
    diverted_events,
    events,
    lane_state,
    queue,
    replays,
    subscriptions,
    told,
)

Place = tuple[Id, Id]
"""A project and one of its subscriptions."""

CHUNK: Final = 1_000
"""So many diverted events are looked at in one transaction."""

COUNTED_MAX: Final = 100_000
"""A backlog is counted no further."""

_FINISHED: Final = (ReplayState.DONE.value, ReplayState.CANCELLED.value)


class What(StrEnum):
    """What is marked as told of a subscription as long as it is so."""

    FAILING = "failing"
    BREAKER = "breaker"
    BACKLOG = "backlog"


class Found(msgspec.Struct, frozen=True):
    """A subscription of which something is to be told.

    Attributes:
        at_us: since when it fails, until when its breaker is open, or up to when it was told.
        told_us: up to when it was told before; None: it was not.
        openings: how often in a row its breaker has opened.
    """

    project_id: Id
    subscription_id: Id
    at_us: int
    told_us: int | None = None
    openings: int = 0


class Box(msgspec.Struct, frozen=True):
    """Deliveries of a subscription that went to the dead-letter box.

    Attributes:
        looked: how many were looked at and marked.
        count: how many of these are to be told of; those of system events are not.
        delivery_id: of the last of them, where there is one; so the rest.
    """

    looked: int
    count: int
    reason: Reason
    delivery_id: Id | None = None
    event_id: Id | None = None

    def behind(self, before: "Box") -> "Box":
        """Return this part together with those before it."""
        last = before if self.delivery_id is None else self
        return msgspec.structs.replace(last, count=before.count + self.count)


NOTHING: Final = Box(0, 0, Reason.EXHAUSTED)


class Finished(msgspec.Struct, frozen=True):
    """A replay that is finished and was not told of; no subscription: it was to several."""

    project_id: Id
    id: Id
    kind: ReplayKind
    subscription_id: Id | None
    state: ReplayState
    owed: int


class Backlog(msgspec.Struct, frozen=True):
    """What a subscription is owed: since when the oldest is due, and how much there is."""

    oldest_us: int
    deliveries: int
    waits_for: Wait | None


def find_failing(
    connection: Connection, now_us: int, levels_us: Sequence[int], limit: int
) -> list[Found]:
    """Return subscriptions that have failed for one of some times, which was not told of yet.

    Sweeps all projects, by the index on those that fail.
    """
    since = subscriptions.c.failing_since_us
    reached = (
        and_(since <= now_us - level, or_(told.c.at_us.is_(None), told.c.at_us < since + level))
        for level in levels_us
    )
    rows = connection.execute(
        select(subscriptions.c.project_id, subscriptions.c.id, since, told.c.at_us)
        .join(
            told, _marks(subscriptions.c.project_id, subscriptions.c.id, What.FAILING), isouter=True
        )
        .where(
            since <= now_us - min(levels_us),
            subscriptions.c.deleted_at_us.is_(None),
            subscriptions.c.disabled_by.is_(None),
            or_(*reached),
        )
        .order_by(since)
        .limit(limit)
    )
    return [Found(row[0], row[1], row[2], row[3]) for row in rows]


def find_recovered(connection: Connection, limit: int) -> list[Found]:
    """Return subscriptions of whose failing was told, and which do not fail any more, or anew.

    Sweeps all projects, by what was told.
    """
    rows = connection.execute(
        select(told.c.project_id, told.c.subscription_id, told.c.at_us)
        .join(subscriptions, _is_of(subscriptions.c.project_id, subscriptions.c.id))
        .where(
            told.c.what == What.FAILING.value,
            or_(
                subscriptions.c.failing_since_us.is_(None),
                subscriptions.c.failing_since_us > told.c.at_us,
            ),
        )
        .limit(limit)
    )
    return [Found(row[0], row[1], row[2]) for row in rows]


def find_opened(connection: Connection, limit: int) -> list[Found]:
    """Return subscriptions whose breaker is open, or half open, of which nothing was told.

    Sweeps all projects, by the index on such breakers.
    """
    state = lane_state.c
    rows = connection.execute(
        select(state.project_id, state.subscription_id, state.opened_until_us, state.openings)
        .join(told, _marks(state.project_id, state.subscription_id, What.BREAKER), isouter=True)
        .where(state.breaker != BreakerState.CLOSED.value, told.c.at_us.is_(None))
        .limit(limit)
    )
    return [Found(row[0], row[1], row[2], openings=row[3]) for row in rows]


def find_closed(connection: Connection, before_us: int, limit: int) -> list[Found]:
    """Return subscriptions of whose open breaker was told before a moment, and is closed by now.

    Sweeps all projects, by what was told.
    """
    is_open = lane_state.c.breaker != BreakerState.CLOSED.value
    rows = connection.execute(
        select(told.c.project_id, told.c.subscription_id, told.c.at_us)
        .join(
            lane_state,
            and_(_is_of(lane_state.c.project_id, lane_state.c.subscription_id), is_open),
            isouter=True,
        )
        .where(
            told.c.what == What.BREAKER.value,
            told.c.at_us <= before_us,
            lane_state.c.breaker.is_(None),
        )
        .limit(limit)
    )
    return [Found(row[0], row[1], row[2]) for row in rows]


def list_told(connection: Connection, what: What) -> list[Place]:
    """Return every subscription of which something was told. Sweeps all projects."""
    rows = connection.execute(
        select(told.c.project_id, told.c.subscription_id).where(told.c.what == what.value)
    )
    return [(row[0], row[1]) for row in rows]


def find_boxes(connection: Connection, after: Place, limit: int) -> list[Place]:
    """Return subscriptions, behind one of them, with diverted events that were not told of.

    Sweeps all projects, by one look-up in the index for each subscription.
    """
    found: list[Place] = []
    place = (diverted_events.c.project_id, diverted_events.c.subscription_id)
    while len(found) < limit:
        row = connection.execute(
            select(*place)
            .where(diverted_events.c.told == 0, tuple_(*place) > tuple_(*after))
            .order_by(*place)
            .limit(1)
        ).one_or_none()
        if row is None:
            break
        after = (row[0], row[1])
        found.append(after)
    return found


def empty_box(connection: Connection, project_id: Id, subscription_id: Id) -> Box:
    """Mark some of a subscription's diverted events as told, and return what there is to tell."""
    box = diverted_events.c
    rows = connection.execute(
        select(box.id, box.event_id, box.reason, events.c.type)
        .join(
            events,
            and_(events.c.project_id == box.project_id, events.c.id == box.event_id),
            isouter=True,
        )
        .where(box.project_id == project_id, box.subscription_id == subscription_id, box.told == 0)
        .order_by(box.id)
        .limit(CHUNK)
    ).all()
    connection.execute(
        update(diverted_events)
        .where(box.project_id == project_id, box.id.in_([row.id for row in rows]))
        .values(told=1)
    )
    # What becomes of system events makes no system events.
    meant = [row for row in rows if not (row.type or "").startswith(SYSTEM)]
    if not meant:
        return msgspec.structs.replace(NOTHING, looked=len(rows))
    last = meant[-1]
    return Box(len(rows), len(meant), Reason(last.reason), last.id, last.event_id)


def find_finished(connection: Connection, limit: int) -> list[Finished]:
    """Return replays that are finished and were not told of.

    Sweeps all projects, by the index on those that were not told of.
    """
    rows = connection.execute(
        select(replays)
        .where(replays.c.told == 0, replays.c.state.in_(_FINISHED))
        .order_by(replays.c.project_id, replays.c.id)
        .limit(limit)
    )
    return [
        Finished(
            row.project_id,
            row.id,
            ReplayKind(row.kind),
            None if row.subscription_id == NO_SUBSCRIPTION else row.subscription_id,
            ReplayState(row.state),
            row.owed,
        )
        for row in rows
    ]


def mark_finished(connection: Connection, project_id: Id, replay_id: Id) -> bool:
    """Mark a replay as told; False where it was before."""
    marked = connection.execute(
        update(replays)
        .where(replays.c.project_id == project_id, replays.c.id == replay_id, replays.c.told == 0)
        .values(told=1)
    )
    return marked.rowcount == 1


def read_backlog(
    connection: Connection, project_id: Id, subscription_id: Id, before_us: int
) -> Backlog | None:
    """Return what a subscription is owed, where some of it is due since before a moment."""
    here = (queue.c.project_id == project_id, queue.c.subscription_id == subscription_id)
    due = [
        connection.execute(
            select(func.min(queue.c.due_us)).where(*here, queue.c["class"] == int(kind))
        ).scalar_one()
        for kind in (*DeliveryClass, PARKED)
    ]
    oldest_us = min((one for one in due if one is not None), default=before_us)
    if oldest_us >= before_us:
        return None
    count = pages.count(connection, select(queue.c.id).where(*here), COUNTED_MAX)
    state = lane_states.find(connection, project_id, subscription_id)
    waits = None if state is None or state.waits is None else state.waits.what
    return Backlog(oldest_us, count, waits)


def mark(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    what: What,
    at_us: int,
    before_us: int | None = None,
) -> bool:
    """Mark something as told of a subscription, up to a moment.

    Args:
        connection: inside a write.
        project_id: the project.
        subscription_id: of which subscription.
        what: what was told.
        at_us: up to when, UTC microseconds.
        before_us: up to when it was told before; None: it was not.

    Returns:
        False where it was told otherwise meanwhile.
    """
    if before_us is not None and not forget(
        connection, project_id, subscription_id, what, before_us
    ):
        return False
    present = connection.execute(
        select(told.c.at_us).where(*_is(project_id, subscription_id), told.c.what == what.value)
    ).one_or_none()
    if present is not None:
        return False
    connection.execute(
        insert(told).values(
            project_id=project_id, subscription_id=subscription_id, what=what.value, at_us=at_us
        )
    )
    return True


def forget(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    what: What,
    at_us: int | None = None,
) -> bool:
    """Forget that something was told: it is not so any more.

    `at_us`: only where it was told up to then.

    Returns:
        Whether it was told.
    """
    statement = delete(told).where(*_is(project_id, subscription_id), told.c.what == what.value)
    if at_us is not None:
        statement = statement.where(told.c.at_us == at_us)
    return connection.execute(statement).rowcount == 1


def forget_all(connection: Connection, project_id: Id, subscription_id: Id) -> None:
    """Forget what was told of a subscription that is no more."""
    connection.execute(delete(told).where(*_is(project_id, subscription_id)))


def _is(project_id: Id, subscription_id: Id) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return told.c.project_id == project_id, told.c.subscription_id == subscription_id


def _is_of(project: Column[Any], subscription: Column[Any]) -> ColumnElement[bool]:
    """Return the condition by which what was told is joined with what it is of."""
    return and_(told.c.project_id == project, told.c.subscription_id == subscription)


def _marks(project: Column[Any], subscription: Column[Any], what: What) -> ColumnElement[bool]:
    return and_(_is_of(project, subscription), told.c.what == what.value)
