"""Partitions: on PostgreSQL, what grows is kept in one table for each day or week of its events.

The bounds are ids: an event belongs where the moment of its id does, and so does what hangs on it.
There is no default partition: what has no place is refused, and places are made days ahead. New
ones begin where an old one ends, whatever its width. On SQLite there are none, and nothing is done.

To drop a partition costs nothing per row. It is done only where nothing refers to any of its
events, which is looked at while everybody else is locked out of it: whoever would refer to an event
must read it first.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum, StrEnum
from typing import Final

import msgspec
from sqlalchemy import Connection, exists, or_, select, text
from sqlalchemy.exc import DBAPIError

from waypost.model import ids
from waypost.model.replay import ReplayKind, ReplayState
from waypost.storage.retention import go_by_index
from waypost.storage.schema import (
    PARTITIONED,
    diverted_events,
    fan_outs,
    projects,
    queue,
    replays,
)

_MICROS: Final = 1_000_000
_HOUR_US: Final = 3_600 * _MICROS
DAY_US: Final = 24 * _HOUR_US

BEHIND_US: Final = _HOUR_US
"""So far back there is a partition in any case: clocks differ, and a commit takes its time."""

AHEAD_US: Final = 7 * DAY_US
"""So far ahead partitions are made."""

_LOCK_TIMEOUT_MS: Final = 100
"""Everybody who comes behind a drop waits for as long as it waits for those before it."""

_GIVEN_UP: Final = frozenset({"55P03", "40P01"})
"""Another holds the lock, or two wait for each other."""

_CHECK_VIOLATION: Final = "23514"
_LAST_US: Final = 253_402_214_400 * _MICROS
"""The last day of the calendar, in the place of a bound that there is not."""

_BOUNDS: Final = re.compile(
    r"FROM \((?:'([0-9a-f-]{36})'|MINVALUE)\) TO \((?:'([0-9a-f-]{36})'|MAXVALUE)\)"
)
_LIST: Final = text(
    "SELECT c.relname, p.relname AS parent, pg_get_expr(c.relpartbound, c.oid) AS bounds,"
    " greatest(c.reltuples, 0)::bigint AS estimate"
    " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " JOIN pg_class p ON p.oid = i.inhparent"
    " WHERE i.inhparent IN (SELECT to_regclass(name) FROM unnest(cast(:tables AS text[])) AS name)"
)


class Width(StrEnum):
    """How much time a partition covers. Days begin at midnight UTC, weeks on Mondays."""

    DAY = "day"
    WEEK = "week"


class Kept(Enum):
    """Why a partition is not dropped."""

    OWED = "owed"
    DIVERTED = "diverted"
    REPLAYED = "replayed"


class Busy(Exception):
    """Somebody is using the tables: try again later."""


class Partition(msgspec.Struct, frozen=True):
    """One partition of each table: events from `begin_us` up to before `end_us`.

    Attributes:
        tables: the name of each table's partition, by the table's own.
        rows: how many rows the database believes to be in each, by the table's name.
    """

    begin_us: int
    end_us: int
    tables: dict[str, str]
    rows: dict[str, int]

    @property
    def name(self) -> str:
        """What it is called in the log: its first and last day."""
        return f"{_day(self.begin_us)}..{_day(self.end_us - 1)}"


def exist(connection: Connection) -> bool:
    """Tell whether this database has partitions at all."""
    return connection.dialect.name == "postgresql"


def list_all(connection: Connection) -> list[Partition]:
    """Return all partitions, oldest first."""
    if not exist(connection):
        return []
    found: dict[tuple[int, int], Partition] = {}
    for row in connection.execute(_LIST, {"tables": [table.name for table in PARTITIONED]}):
        bounds = _BOUNDS.search(row.bounds)
        if bounds is not None:
            begin_us, end_us = _moment(bounds[1], 0), _moment(bounds[2], _LAST_US)
            place = found.setdefault((begin_us, end_us), Partition(begin_us, end_us, {}, {}))
            place.tables[row.parent] = row.relname
            place.rows[row.parent] = row.estimate
    return [found[bounds] for bounds in sorted(found)]


def covered_until(partitions: Sequence[Partition], now_us: int) -> int:
    """Return up to which moment every event that is made from now on has a place."""
    until_us = now_us
    for partition in partitions:
        if partition.begin_us <= until_us and len(partition.tables) == len(PARTITIONED):
            until_us = max(until_us, partition.end_us)
    return until_us


def whole_until(partitions: Sequence[Partition], cut_us: int) -> int:
    """Return the end of the last partition that lies before `cut_us` altogether.

    What is behind it waits until its whole partition has had its time.
    """
    return min(
        (partition.begin_us for partition in partitions if partition.end_us > cut_us),
        default=cut_us,
    )


def ensure(connection: Connection, from_us: int, to_us: int, width: Width) -> list[str]:
    """Make the partitions that events of a span of time need, where they are missing.

    No other table is locked against reading or writing: a partition is made as a table of its own,
    and attached when it is there.

    Args:
        connection: in a transaction that has read nothing yet.
        from_us: the first moment of the span, UTC microseconds.
        to_us: its last moment.
        width: of the new ones.

    Returns:
        The names of the tables that were made.
    """
    if not exist(connection):
        return []
    # One at a time. This lock hinders nobody else, and is taken before anything is read.
    connection.execute(
        text(f"LOCK TABLE ONLY {PARTITIONED[0].name} IN SHARE UPDATE EXCLUSIVE MODE")
    )
    present = list_all(connection)
    made: list[str] = []
    for table in (table.name for table in PARTITIONED):
        taken = [(p.begin_us, p.end_us) for p in present if table in p.tables]
        for begin_us, end_us in _missing(taken, from_us, to_us, width):
            name = f"{table}_p{_day(begin_us)}"
            begin, end = ids.lowest(begin_us).hex(), ids.lowest(end_us).hex()
            connection.execute(
                text(
                    f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
                    " INCLUDING STORAGE INCLUDING COMPRESSION)"
                )
            )
            connection.execute(
                text(
                    f"ALTER TABLE {table} ATTACH PARTITION {name}"
                    f" FOR VALUES FROM ('{begin}') TO ('{end}')"
                )
            )
            made.append(name)
    return made


def make_ahead(connection: Connection, now_us: int, width: Width) -> list[str]:
    """Make the partitions that events will need in the days to come; as `ensure` does."""
    return ensure(connection, now_us - BEHIND_US, now_us + AHEAD_US, width)


def find_hold(connection: Connection, partition: Partition) -> Kept | None:
    """Return why a partition can't be dropped, or None. Sweeps all projects."""
    go_by_index(connection)
    first, end = ids.lowest(partition.begin_us), ids.lowest(partition.end_us)
    # The first row of each project, and not EXISTS, which would be made a join of all rows.
    refers = [
        select(table.c.project_id)
        .where(
            table.c.project_id == projects.c.id, table.c.event_id >= first, table.c.event_id < end
        )
        .limit(1)
        .scalar_subquery()
        .is_not(None)
        for table in (queue, fan_outs, diverted_events)
    ]
    # A job that owes again what failed goes by deliveries, of events however old.
    runs = exists().where(
        replays.c.state == ReplayState.RUNNING.value,
        replays.c.kind != ReplayKind.DIVERTED.value,
        or_(replays.c.kind == ReplayKind.RECOVER.value, replays.c.begin_us < partition.end_us),
    )
    # One statement, so that all is seen at one moment: what leaves one place enters another.
    conditions = [*(select(projects.c.id).where(one).exists() for one in refers), runs]
    found = connection.execute(select(*conditions)).one()
    reasons = (Kept.OWED, Kept.OWED, Kept.DIVERTED, Kept.REPLAYED)
    return next((reason for reason, holds in zip(reasons, found, strict=True) if holds), None)


def drop(connection: Connection, partition: Partition) -> Kept | None:
    """Drop a partition with everything in it, unless something refers to one of its events.

    Args:
        connection: in a transaction that has read nothing yet: what it reads must be what holds
            once everybody is locked out.
        partition: as it was listed.

    Returns:
        Why it is kept; None where it is gone.

    Raises:
        Busy: the tables are in use, and nobody shall wait for long.
    """
    try:
        connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        # Nobody comes to a partition but by its table. Events come last: their lock is the one
        # that producers notice.
        tables = ", ".join(f"ONLY {table.name}" for table in reversed(PARTITIONED))
        connection.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
        kept = find_hold(connection, partition)
        if kept is None:
            connection.execute(text(f"DROP TABLE {', '.join(partition.tables.values())}"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) in _GIVEN_UP:
            raise Busy from error
        raise
    return kept


def lacks_place(error: BaseException) -> bool:
    """Tell whether a row was refused because its partition is gone, or was never made."""
    diagnosis = getattr(error, "diag", None)
    return (
        getattr(error, "sqlstate", None) == _CHECK_VIOLATION
        and getattr(diagnosis, "table_name", None) in {table.name for table in PARTITIONED}
        and not getattr(diagnosis, "constraint_name", None)
    )


def _moment(bound: str | None, otherwise: int) -> int:
    return otherwise if bound is None else ids.moment(bytes.fromhex(bound.replace("-", "")))


def _missing(
    taken: Sequence[tuple[int, int]], from_us: int, to_us: int, width: Width
) -> list[tuple[int, int]]:
    """Return the bounds that fill what is not taken of a span, as wide as there is room for."""
    missing: list[tuple[int, int]] = []
    at_us = from_us
    while at_us <= to_us:
        holder = next((end for begin, end in taken if begin <= at_us < end), None)
        if holder is not None:
            at_us = holder
            continue
        begin_us = max([_start_of(at_us, width), *(end for _, end in taken if end <= at_us)])
        end_us = min([_end_of(at_us, width), *(begin for begin, _ in taken if begin > at_us)])
        missing.append((begin_us, end_us))
        at_us = end_us
    return missing


def _start_of(at_us: int, width: Width) -> int:
    """Return where the day or week of a moment begins."""
    day = datetime.fromtimestamp(at_us // _MICROS, UTC).date()
    if width is Width.WEEK:
        day -= timedelta(days=day.weekday())
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return int(midnight.timestamp()) * _MICROS


def _end_of(at_us: int, width: Width) -> int:
    return _start_of(at_us, width) + (7 * DAY_US if width is Width.WEEK else DAY_US)


def _day(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us // _MICROS, UTC):%Y%m%d}"
