"""Retention: finding what has had its time, and deleting it, a few rows at a time.

An event's age is that of its id. It goes where nothing refers to it any more: no delivery that is
owed, none that stands in the dead-letter box, no fan-out, no running replay that may come upon it.
The event goes first, in one piece; what hangs on it goes by being without an event, so whatever
stops the work in between, nothing is left that is never found, and no half-forgotten event is taken
for one that was never owed.

A part of the work is found on a reader and deleted in a write, which looks once more whether each
row may go: what was owed again meanwhile stays.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    exists,
    insert,
    or_,
    select,
    text,
    true,
)
from sqlalchemy import (
    delete as delete_from,
)

from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.ids import Id
from waypost.model.replay import ReplayKind, ReplayState
from waypost.storage import pages
from waypost.storage.schema import (
    attempts,
    audit,
    deliveries,
    diverted_events,
    events,
    fan_outs,
    former_routes,
    projects,
    queue,
    receipts,
    replays,
    transactions,
)

NEVER: Final = 0
"""Nothing is older than that."""

_BY_INDEX: Final = text(
    "SELECT set_config(name, 'off', true) FROM unnest(ARRAY["
    "'enable_seqscan', 'enable_hashjoin', 'enable_mergejoin', 'enable_gathermerge', 'jit']) AS name"
)

Key = tuple[Id, ...]
"""A row's primary key without the project."""

_MOST_BETWEEN: Final = 4
"""So many rows may lie between, for each one that goes, where they are deleted all at once."""


class Cuts(msgspec.Struct, frozen=True):
    """What has had its time: all before these moments, UTC microseconds; `NEVER` for nothing.

    Attributes:
        events_us: events by their ids, with all that hangs on them, and finished replays.
        diverted_us: diverted events, by when they were diverted.
        audit_us: the audit trail.
        behind: events up to this id were looked at not long ago: what of them stayed, stays.
        ahead: find a row that may go once what holds it now has gone by the same cuts: to count
            what would go.
    """

    events_us: int = NEVER
    diverted_us: int = NEVER
    audit_us: int = NEVER
    behind: Id = ids.FIRST
    ahead: bool = False


class Kind(msgspec.Struct, frozen=True):
    """One table that retention works on.

    Attributes:
        table: the table.
        key: the columns of its primary key behind the project.
        end: the first part of the key that has not had its time.
        may_go: the condition that a row before that may go; of the project, nothing is said in it.
        by_event: the key begins with the event's id.
    """

    table: Table
    key: tuple[str, ...]
    end: Callable[[Cuts], Id]
    may_go: Callable[[Cuts], ColumnElement[bool]]
    by_event: bool = False

    @property
    def name(self) -> str:
        """The table's name."""
        return str(self.table.name)


def _event_may_go(cuts: Cuts) -> ColumnElement[bool]:
    return ~_is_referred_to(cuts)


def _is_referred_to(cuts: Cuts) -> ColumnElement[bool]:
    """Return the condition of an event that something holds it."""
    # A range of one: with `=`, SQLite without statistics walks through all that the project owes.
    holding = {
        table.name: exists().where(
            table.c.project_id == events.c.project_id,
            table.c.event_id.between(events.c.id, events.c.id),
        )
        for table in (queue, fan_outs, diverted_events)
    }
    if cuts.ahead:
        stays = diverted_events.c.diverted_us >= cuts.diverted_us
        holding[diverted_events.name] = holding[diverted_events.name].where(stays)
    return or_(*holding.values())


def _of_event_that_went(table: Table) -> Callable[[Cuts], ColumnElement[bool]]:
    def may_go(cuts: Cuts) -> ColumnElement[bool]:
        has_event = exists().where(
            events.c.project_id == table.c.project_id,
            events.c.id == table.c.event_id,
            # Known already, but not to PostgreSQL: it need not look at any other partition.
            events.c.id < ids.lowest(cuts.events_us),
        )
        if cuts.ahead:
            has_event = has_event.where(_is_referred_to(cuts))
        return ~has_event

    return may_go


def _diverted_may_go(cuts: Cuts) -> ColumnElement[bool]:
    # A delivery's id is older than its diversion, so that the key bounds the search.
    return diverted_events.c.diverted_us < cuts.diverted_us


def _replay_may_go(_cuts: Cuts) -> ColumnElement[bool]:
    finished = (ReplayState.DONE.value, ReplayState.CANCELLED.value)
    return replays.c.state.in_(finished)


def _audit_may_go(_cuts: Cuts) -> ColumnElement[bool]:
    return true()


def _events_end(cuts: Cuts) -> Id:
    return ids.lowest(cuts.events_us)


KINDS: Final = (
    Kind(diverted_events, ("id",), lambda cuts: ids.lowest(cuts.diverted_us), _diverted_may_go),
    Kind(events, ("id",), _events_end, _event_may_go, by_event=True),
    *(
        Kind(table, ("event_id", "id"), _events_end, _of_event_that_went(table), by_event=True)
        for table in (deliveries, attempts, receipts, transactions)
    ),
    Kind(replays, ("id",), _events_end, _replay_may_go),
    # Settings that ended before the oldest event was accepted.
    Kind(former_routes, ("id",), _events_end, lambda _: true()),
    Kind(audit, ("id",), lambda cuts: ids.lowest(cuts.audit_us), _audit_may_go),
)
"""In the order in which they are worked on: a diverted event holds its event, which holds all."""


def go_by_index(connection: Connection) -> None:
    """Have PostgreSQL look rows up by their keys for the rest of a transaction.

    It may else read all of a partition for a few of its rows, and do so for each few of them.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_BY_INDEX)


def find(
    connection: Connection,
    kind: Kind,
    project_id: Id,
    after: Key,
    cuts: Cuts,
    limit: int,
) -> list[Key]:
    """Return the next rows of a project that may go, in the order of their keys.

    Args:
        connection: where from.
        kind: which table.
        project_id: the project.
        after: the key behind which they are looked for; empty: from the first.
        cuts: what has had its time.
        limit: how many at most.
    """
    columns = _columns(kind)
    cuts = _of_project(connection, kind, project_id, cuts)
    rows = connection.execute(
        select(*columns)
        .where(
            kind.table.c.project_id == project_id,
            *(_behind(columns, after) if after else _not_looked_at(kind, cuts)),
            columns[0] < kind.end(cuts),
            kind.may_go(cuts),
        )
        .order_by(*columns)
        .limit(limit)
    )
    return [tuple(row) for row in rows]


def are_close(connection: Connection, kind: Kind, project_id: Id, keys: Sequence[Key]) -> bool:
    """Tell whether most of the rows between the first and the last of these are these."""
    most = _MOST_BETWEEN * len(keys)
    columns = _columns(kind)
    between = select(columns[0]).where(
        kind.table.c.project_id == project_id,
        columns[0] >= keys[0][0],
        columns[0] <= keys[-1][0],
    )
    return pages.count(connection, between, most + 1) <= most


def delete(
    connection: Connection,
    kind: Kind,
    project_id: Id,
    keys: Sequence[Key],
    cuts: Cuts,
    *,
    close: bool = False,
) -> int:
    """Delete those of a project's rows that still may go. In a write only.

    Args:
        connection: inside a write.
        kind: which table.
        project_id: the project.
        keys: as `find` returns them.
        cuts: what has had its time.
        close: as `are_close` says. Then what may go between the first and the last is deleted all
            at once, which takes a tenth of the time; else row by row, since what lies between would
            have to be looked through.

    Returns:
        How many rows were deleted.
    """
    go_by_index(connection)
    columns = _columns(kind)
    cuts = _of_project(connection, kind, project_id, cuts)
    end = kind.end(cuts)
    statement = delete_from(kind.table).where(
        kind.table.c.project_id == project_id, kind.may_go(cuts)
    )
    if close:
        return connection.execute(statement.where(*_between(columns, keys, end))).rowcount
    # One statement for many keys: SQLite finds no row by a list of pairs but by walking.
    rows = [{f"at_{n}": part for n, part in enumerate(key)} for key in keys if key[0] < end]
    here = [column == bindparam(f"at_{n}") for n, column in enumerate(columns)]
    return connection.execute(statement.where(*here), rows).rowcount if rows else 0


def next_project(connection: Connection, kind: Kind, after: Id, cuts: Cuts) -> Id | None:
    """Return the next project of which rows may go, or None behind the last.

    Sweeps all projects, by a look at the beginning of each one's rows.
    """
    first = select(kind.table.c.project_id).where(
        kind.table.c.project_id == projects.c.id,
        *_not_looked_at(kind, cuts),
        _columns(kind)[0] < kind.end(cuts),
        kind.may_go(cuts),
    )
    return _next_with(connection, first, after)


def _next_with(connection: Connection, rows: Select[Any], after: Id) -> Id | None:
    """Return the next project that has such rows."""
    # The first row, and not EXISTS: PostgreSQL would make a join of all rows out of that.
    has_one = rows.limit(1).scalar_subquery().is_not(None)
    return connection.execute(
        select(projects.c.id).where(projects.c.id > after, has_one).order_by(projects.c.id).limit(1)
    ).scalar_one_or_none()


def _columns(kind: Kind) -> list[ColumnElement[Any]]:
    return [kind.table.c[name] for name in kind.key]


def _between(
    columns: Sequence[ColumnElement[Any]], keys: Sequence[Key], end: Id
) -> list[ColumnElement[bool]]:
    """Return the conditions of standing between the first and the last key, and before an end."""
    column, *rest = columns
    first, last = keys[0], keys[-1]
    # One bound on each side: of two, the database would search by either.
    conditions = [column >= first[0], column < min(end, ids.following(last[0]))]
    if rest:
        conditions.append(or_(column > first[0], rest[0] >= first[1]))
        conditions.append(or_(column < last[0], rest[0] <= last[1]))
    return conditions


def _behind(columns: Sequence[ColumnElement[Any]], after: Key) -> list[ColumnElement[bool]]:
    """Return the conditions of standing behind a key, with one lower bound to search by."""
    first = columns[0]
    if len(columns) == 1:
        return [first > after[0]]
    # The first part alone bounds the search on both databases; SQLite would scan by a pair.
    return [first >= after[0], or_(first > after[0], columns[1] > after[1])]


def _not_looked_at(kind: Kind, cuts: Cuts) -> list[ColumnElement[bool]]:
    return [kind.table.c[kind.key[0]] > cuts.behind] if kind.by_event else []


def _of_project(connection: Connection, kind: Kind, project_id: Id, cuts: Cuts) -> Cuts:
    """Return what has had its time in a project: no event that a running replay may come upon.

    A job that owes again what failed goes by deliveries, of events however old. One that goes
    through the dead-letter box needs no hold: what is diverted holds its event. A paused one holds
    nothing: nobody knows for how long it is.
    """
    if not kind.by_event:
        return cuts
    running = connection.execute(
        select(replays.c.kind, replays.c.begin_us).where(
            replays.c.state == ReplayState.RUNNING.value, replays.c.project_id == project_id
        )
    )
    begins = [
        NEVER if row.kind == ReplayKind.RECOVER else row.begin_us
        for row in running
        if row.kind != ReplayKind.DIVERTED
    ]
    return msgspec.structs.replace(cuts, events_us=min([cuts.events_us, *begins]))


class Expired(msgspec.Struct, frozen=True):
    """A delivery that is owed for an event that has had its time."""

    id: Id
    event_id: Id
    subscription_id: Id


def next_project_owed(connection: Connection, after: Id, cuts: Cuts) -> Id | None:
    """Return the next project that owes what has had its time, or None behind the last.

    Sweeps all projects, by a look at the oldest event that each one owes.
    """
    first = select(queue.c.project_id).where(
        queue.c.project_id == projects.c.id, queue.c.event_id < ids.lowest(cuts.events_us)
    )
    return _next_with(connection, first, after)


def find_owed(
    connection: Connection, project_id: Id, after: Key, cuts: Cuts, limit: int
) -> list[Key]:
    """Return what a project owes for events that have had their time, as (event, delivery)."""
    columns = (queue.c.event_id, queue.c.id)
    rows = connection.execute(
        select(*columns)
        .where(
            queue.c.project_id == project_id,
            *(_behind(columns, after) if after else ()),
            queue.c.event_id < ids.lowest(cuts.events_us),
        )
        .order_by(*columns)
        .limit(limit)
    )
    return [tuple(row) for row in rows]


def expire(
    connection: Connection, project_id: Id, keys: Sequence[Key], now_us: int
) -> list[Expired]:
    """Give up what a project still owes of these, and put it into the dead-letter box.

    Args:
        connection: inside a write.
        project_id: the project.
        keys: as `find_owed` returns them.
        now_us: the present, UTC microseconds.

    Returns:
        What was given up.
    """
    owed = connection.execute(
        delete_from(queue)
        .where(queue.c.project_id == project_id, queue.c.id.in_([key[1] for key in keys]))
        .returning(queue.c.id, queue.c.event_id, queue.c.subscription_id, queue.c.attempts)
    ).all()
    if not owed:
        return []
    same = [
        {
            "project_id": project_id,
            "event_id": row.event_id,
            "id": row.id,
            "subscription_id": row.subscription_id,
            "attempts": row.attempts,
            "reason": Reason.EXPIRED.value,
        }
        for row in owed
    ]
    final = {"state": DeliveryState.FAILED.value, "finished_us": now_us}
    connection.execute(insert(deliveries), [{**row, **final} for row in same])
    connection.execute(insert(diverted_events), [{**row, "diverted_us": now_us} for row in same])
    return [Expired(row.id, row.event_id, row.subscription_id) for row in owed]
