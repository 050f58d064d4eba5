"""Fills a database with delivered events, far faster than a server could write them.

The rows are copies of those that the server itself has written for one event: only the ids and the
moment of delivery are others. Ids are UUIDv7 in growing order, spread over the days before now, so
tables, indexes and partitions are as they would be after days of steady traffic.
"""

# ruff: noqa: S608 - the names in these statements are our own

import os
import re
import sqlite3
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import psycopg

from bench.databases import Database, SqliteFile
from bench.postgres import PostgresDatabase
from bench.rounds import Say

DAYS = 7.0
DAY_MS = 86_400_000
CHUNK = 50_000
DELIVERED_AFTER_US = 3_000
SOME_FREE_TIME_MS = 60_000
"""Before now: what the server has written lies behind what is filled in."""

EVENTS, DELIVERIES = "events", "deliveries"
PARTITIONED = (EVENTS, DELIVERIES, "attempts")
COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
_FIRST_BOUND = """
    SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \\('([0-9a-f-]+)'\\)$$))
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass
"""

Filled = tuple[bytes, bytes, bytes]
"""What differs from row to row: event, delivery, moment of delivery (µs, eight bytes)."""


def event_times(events: int, until_ms: int) -> Iterator[int]:
    """Milliseconds of so many events, evenly over `DAYS` until then."""
    span = int(DAYS * DAY_MS)
    return (until_ms - span + number * span // events for number in range(events))


def identifier(at_ms: int, chance: bytes) -> bytes:
    """A UUIDv7 of that millisecond, with ten bytes of chance."""
    return b"%b%c%c%c%b" % (
        at_ms.to_bytes(6, "big"),
        0x70 | chance[0] & 0x0F,
        chance[1],
        0x80 | chance[2] & 0x3F,
        chance[3:],
    )


def fillings(events: int, until_ms: int) -> Iterator[list[Filled]]:
    """What differs, for each event, in the order of time, many at once."""
    times = event_times(events, until_ms)
    while part := list(islice(times, CHUNK)):
        chance = os.urandom(20 * len(part))
        yield [
            (
                identifier(at_ms, chance[at : at + 10]),
                identifier(at_ms, chance[at + 10 : at + 20]),
                struct.pack(">q", at_ms * 1000 + DELIVERED_AFTER_US),
            )
            for at, at_ms in zip(range(0, len(chance), 20), part, strict=True)
        ]


def fill(database: Database, events: int, say: Say) -> None:
    """Fill it; its server must have delivered at least one event to its only subscription."""
    until_ms = time.time_ns() // 1_000_000 - SOME_FREE_TIME_MS
    if isinstance(database, SqliteFile):
        fill_sqlite(database, events, until_ms, say)
    elif isinstance(database, PostgresDatabase):
        fill_postgres(database, events, until_ms, say)


# --- SQLite ---------------------------------------------------------------------------------------


def fill_sqlite(database: SqliteFile, events: int, until_ms: int, say: Say) -> None:
    """Insert in large transactions, without waiting for the disk until all is in."""
    with sqlite3.connect(database.path, isolation_level=None) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        inserts = [sqlite_insert(connection, table) for table in (EVENTS, DELIVERIES)]
        done = 0
        for rows in fillings(events, until_ms):
            values = [(event, delivery, int.from_bytes(at, "big")) for event, delivery, at in rows]
            connection.execute("BEGIN")
            for insert, order in inserts:
                connection.executemany(insert, picked(values, order))
            connection.execute("COMMIT")
            done += len(rows)
            say(progress(done, events))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.sync()


def sqlite_insert(connection: sqlite3.Connection, table: str) -> tuple[str, Sequence[int]]:
    """A statement that copies the only row of a table, with gaps; and what fills them, in order."""
    there: Sequence[object] = connection.execute(
        "SELECT event_id, id, finished_us FROM deliveries ORDER BY event_id LIMIT 1"
    ).fetchone()
    key = "id" if table == EVENTS else "event_id"
    connection.execute(
        f"CREATE TEMP TABLE one_{table} AS SELECT * FROM {table} WHERE {key} = ?", there[:1]
    )
    cursor = connection.execute(f"SELECT * FROM one_{table}")
    values: Sequence[object] = cursor.fetchone()
    columns = [
        "?" if value in there else column[0]
        for column, value in zip(cursor.description, values, strict=True)
    ]
    insert = f"INSERT INTO {table} SELECT {', '.join(columns)} FROM one_{table}"
    return insert, [there.index(value) for value in values if value in there]


def picked(rows: Iterable[Sequence[Any]], order: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    """Of each row the values at these places."""
    columns = list(zip(*rows, strict=True))
    return zip(*(columns[place] for place in order), strict=True)


# --- PostgreSQL -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stencil:
    """One row as COPY writes it in binary, with gaps for what differs."""

    pattern: bytes
    order: Sequence[int]
    """What fills the gaps, in the order in which they come."""

    @classmethod
    def cut(cls, row: bytes, there: Filled) -> "Stencil":
        """Cut what is there out of a row; what does not occur in it makes no gap."""
        order = sorted(range(len(there)), key=lambda number: row.find(there[number]))
        pattern = row.replace(b"%", b"%%")
        for part in there:
            pattern = pattern.replace(part, b"%b", 1)
        return cls(pattern, [number for number in order if there[number] in row])

    def rows(self, fillings: Sequence[Filled]) -> bytes:
        """The rows of these fillings, one behind the other."""
        pattern = self.pattern
        return b"".join([pattern % values for values in picked(fillings, self.order)])


def fill_postgres(database: PostgresDatabase, events: int, until_ms: int, say: Say) -> None:
    """COPY in binary, then what autovacuum would have done meanwhile."""
    with database.connect() as connection:
        make_partitions(connection, until_ms)
        stencils = {table: stencil(connection, table) for table in (EVENTS, DELIVERIES)}
        done = 0
        for rows in fillings(events, until_ms):
            for table, cut in stencils.items():
                with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
                    copy.write(COPY_HEAD + cut.rows(rows) + COPY_END)
            done += len(rows)
            say(progress(done, events))
        say("vacuum, analyze, checkpoint")
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def stencil(connection: psycopg.Connection, table: str) -> Stencil:
    """The stencil of a table, from the first event that was delivered."""
    found = connection.execute(
        "SELECT event_id::text, id::text, finished_us FROM deliveries ORDER BY event_id LIMIT 1"
    ).fetchone()
    assert found is not None  # noqa: S101 - an event was delivered before
    event, delivery, at = found
    key = "id" if table == EVENTS else "event_id"
    asked = f"COPY (SELECT * FROM {table} WHERE {key} = '{event}') TO STDOUT (FORMAT binary)"
    with connection.cursor().copy(asked.encode()) as copy:
        row = b"".join(bytes(part) for part in copy)[len(COPY_HEAD) : -len(COPY_END)]
    ids = [bytes.fromhex(one.replace("-", "")) for one in (event, delivery)]
    return Stencil.cut(row, (ids[0], ids[1], struct.pack(">q", at)))


def make_partitions(connection: psycopg.Connection, until_ms: int) -> None:
    """Add partitions of a day each before the first that there is, for the days to be filled."""
    for table in PARTITIONED:
        found = connection.execute(_FIRST_BOUND, (table,)).fetchone()
        assert found is not None  # noqa: S101 - an aggregate has a row
        for name, begin, end in days_before(str(found[0]), until_ms - int(DAYS * DAY_MS)):
            connection.execute(
                f"CREATE TABLE {table}_{name} PARTITION OF {table} "
                f"FOR VALUES FROM ('{begin}') TO ('{end}')".encode()
            )


def days_before(bound: str, first_ms: int) -> list[tuple[str, str, str]]:
    """Days that lead up to a bound, from one that begins before `first_ms`: name, begin, end."""
    end_ms = int(re.sub("-", "", bound)[:12], 16)
    found = []
    end = bound
    while end_ms > first_ms:
        end_ms -= DAY_MS
        begin = f"{end_ms >> 16:08x}-{end_ms & 0xFFFF:04x}-7000-8000-000000000000"
        found.append((f"filled_{end_ms // DAY_MS}", begin, end))
        end = begin
    return found


def progress(done: int, events: int) -> str:
    """How far the filling is."""
    return f"filled {done:,} of {events:,} events ({done / events:.0%})"
