"""How a subscription fares: its latest attempts, and what it is owed; at a bounded cost."""

from typing import Final

import msgspec
from sqlalchemy import Connection, func, select

from waypost.model import ids
from waypost.model.delivery import (
    PARKED,
    AttemptState,
    DeliveryClass,
    DeliveryState,
    Timings,
)
from waypost.model.ids import Id
from waypost.model.shown import ShownAttempt
from waypost.policy.health import Sampled
from waypost.storage import attempts as tried
from waypost.storage import pages
from waypost.storage.schema import attempts, deliveries, diverted_events, queue

SAMPLED: Final = 1_000
"""So many attempts are looked at, the latest."""

COUNTED: Final = 10_000
"""Up to so many deliveries that are owed are counted, of each class."""

_decode_timings = msgspec.msgpack.Decoder(Timings).decode


class Backlog(msgspec.Struct, frozen=True):
    """What a subscription is owed.

    Attributes:
        size: how many deliveries.
        exact: else there are more.
        oldest: the one that was made first, among those that were counted; None: nothing is owed.
    """

    size: int
    exact: bool
    oldest: Id | None


def read_latest(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    since_us: int,
    until_us: int | None = None,
) -> tuple[list[Sampled], Id | None]:
    """Return a subscription's latest attempts since a moment, and the id of the oldest of them.

    `until_us`: those from that moment on are left out; both are UTC microseconds.
    """
    last = ids.LAST if until_us is None else ids.lowest(until_us)
    found: list[tuple[Id, Sampled]] = []
    for table, columns in ((attempts, (attempts.c.state,)), (deliveries, ())):
        rows = connection.execute(
            select(table.c.id, table.c.timings, *columns)
            .where(
                table.c.project_id == project_id,
                table.c.subscription_id == subscription_id,
                table.c.id >= ids.lowest(since_us),
                table.c.id < last,
            )
            .order_by(table.c.id.desc())
            .limit(SAMPLED)
        )
        found += [
            (
                row.id,
                Sampled(
                    table is deliveries or row.state == AttemptState.SUCCESS,
                    _decode_timings(row.timings).total_us,
                ),
            )
            for row in rows
            # What was not delivered at the first try has its tries in the other table.
            if row.timings is not None
        ]
    found.sort(key=lambda one: one[0], reverse=True)
    latest = found[:SAMPLED]
    return [one for _, one in latest], latest[-1][0] if latest else None


def find_last_failure(
    connection: Connection, project_id: Id, subscription_id: Id
) -> ShownAttempt | None:
    """Return the last attempt that failed, among the latest; None where there is none."""
    newest = (
        select(attempts.c.event_id, attempts.c.id, attempts.c.state)
        .where(attempts.c.project_id == project_id, attempts.c.subscription_id == subscription_id)
        .order_by(attempts.c.id.desc())
        .limit(SAMPLED)
        .subquery()
    )
    last = connection.execute(
        select(newest.c.event_id, newest.c.id)
        .where(newest.c.state == int(AttemptState.FAILED))
        .order_by(newest.c.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return None
    return tried.get(connection, project_id, last.event_id, last.id, ())


def count_deliveries(connection: Connection, project_id: Id, subscription_id: Id) -> int:
    """Count the deliveries of a subscription, owed and ended, up to a bound of each."""
    total = 0
    for table in (queue, deliveries):
        some = select(table.c.id).where(
            table.c.project_id == project_id,
            table.c.subscription_id == subscription_id,
        )
        total += pages.count(connection, some, COUNTED)
    return total


def read_backlog(connection: Connection, project_id: Id, subscription_id: Id) -> Backlog:
    """Count what a subscription is owed, up to a bound, and find the oldest of it."""
    size, exact = 0, True
    oldest: list[Id] = []
    for kind in (*DeliveryClass, PARKED):
        some = (
            select(queue.c.id)
            .where(
                queue.c.project_id == project_id,
                queue.c.subscription_id == subscription_id,
                queue.c["class"] == int(kind),
            )
            .order_by(queue.c.due_us)
            .limit(COUNTED + 1)
            .subquery()
        )
        count = connection.execute(select(func.count()).select_from(some)).scalar_one()
        first = select(some.c.id).order_by(some.c.id).limit(1)
        oldest += connection.execute(first).scalars()
        size += min(count, COUNTED)
        exact = exact and count <= COUNTED
    return Backlog(size, exact, min(oldest, default=None))


class Tally(msgspec.Struct, frozen=True):
    """How a subscription's latest deliveries have ended, `SAMPLED` at most, and what was diverted.

    Attributes:
        ended: how many, by state.
        diverted: how many are in the dead-letter box, as many at most.
        backlog: what it is owed.
        last_failure: its last attempt that failed, among the latest.
    """

    ended: dict[DeliveryState, int]
    diverted: int
    backlog: Backlog
    last_failure: ShownAttempt | None


def read_tally(connection: Connection, project_id: Id, subscription_id: Id) -> Tally:
    """Count what a subscription was delivered and not, at a bounded cost."""
    latest = (
        select(deliveries.c.state)
        .where(
            deliveries.c.project_id == project_id, deliveries.c.subscription_id == subscription_id
        )
        .order_by(deliveries.c.id.desc())
        .limit(SAMPLED)
        .subquery()
    )
    rows = connection.execute(
        select(latest.c.state, func.count().label("total")).group_by(latest.c.state)
    )
    box = (
        select(diverted_events.c.id)
        .where(
            diverted_events.c.project_id == project_id,
            diverted_events.c.subscription_id == subscription_id,
        )
        .limit(SAMPLED)
        .subquery()
    )
    return Tally(
        {DeliveryState(row.state): row.total for row in rows},
        connection.execute(select(func.count()).select_from(box)).scalar_one(),
        read_backlog(connection, project_id, subscription_id),
        find_last_failure(connection, project_id, subscription_id),
    )
