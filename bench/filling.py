"""Fills a database with settled events, far faster than a server could write them.

The rows are copies of those that the server itself has written for a few events, the samples: only
the ids and the moments of delivery are others. Ids are UUIDv7 in growing order, spread over the
days before now, so tables, indexes and partitions are as they would be after days of steady
traffic.
"""

# ruff: noqa: S608 - the names in these statements are our own

import json
import os
import re
import sqlite3
import struct
import time
import uuid
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

KEYS = {
    "events": "id",
    "deliveries": "event_id",
    "attempts": "event_id",
    "diverted_events": "event_id",
}
"""What holds an event, by the column in which its id stands."""
MOMENTS = {"deliveries": "finished_us", "diverted_events": "diverted_us"}
PARTITIONED = ("events", "deliveries", "attempts")
DELIVERIES_MAX = 3
COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_END = b"\xff\xff"
_FIRST_BOUND = """
    SELECT min(substring(pg_get_expr(c.relpartbound, c.oid) FROM $$FROM \\('([0-9a-f-]+)'\\)$$))
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass
"""

Filled = tuple[bytes, ...]
"""What differs from row to row: event, moment of delivery (µs, eight bytes), deliveries."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An event that the server has settled, by its id; every so many-th is a copy of it."""

    event: bytes
    every: int = 1


def sample(accepted: bytes, every: int = 1) -> Sample:
    """The event that an answer of `POST /v1/events` has acknowledged."""
    token: str = json.loads(accepted)["token"]
    return Sample(uuid.UUID(token.rpartition("_")[2]).bytes, every)


def shares(samples: Sequence[Sample], first: int, count: int) -> list[list[int]]:
    """Which of so many events are copies of each sample: of several, of the rarest."""
    order = sorted(range(len(samples)), key=lambda at: -samples[at].every)
    found: list[list[int]] = [[] for _ in samples]
    for at in range(count):
        number = first + at + 1
        found[next(one for one in order if number % samples[one].every == 0)].append(at)
    return found


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
    width = 10 * (1 + DELIVERIES_MAX)
    while part := list(islice(times, CHUNK)):
        chance = os.urandom(width * len(part))
        yield [
            (
                identifier(at_ms, chance[at : at + 10]),
                struct.pack(">q", at_ms * 1000 + DELIVERED_AFTER_US),
                *(
                    identifier(at_ms, chance[begin : begin + 10])
                    for begin in range(at + 10, at + width, 10)
                ),
            )
            for at, at_ms in zip(range(0, len(chance), width), part, strict=True)
        ]


def fill(database: Database, events: int, say: Say, samples: Sequence[Sample]) -> None:
    """Fill it with copies of events that its server has settled."""
    until_ms = time.time_ns() // 1_000_000 - SOME_FREE_TIME_MS
    if isinstance(database, SqliteFile):
        fill_sqlite(database, events, until_ms, say, samples)
    elif isinstance(database, PostgresDatabase):
        fill_postgres(database, events, until_ms, say, samples)


# --- SQLite ---------------------------------------------------------------------------------------


def fill_sqlite(
    database: SqliteFile, events: int, until_ms: int, say: Say, samples: Sequence[Sample]
) -> None:
    """Insert in large transactions, without waiting for the disk until all is in."""
    with sqlite3.connect(database.path, isolation_level=None) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -262144")
        inserts = [sqlite_inserts(connection, sample.event) for sample in samples]
        done = 0
        for rows in fillings(events, until_ms):
            values = [(row[0], int.from_bytes(row[1], "big"), *row[2:]) for row in rows]
            connection.execute("BEGIN")
            for among, copies in zip(shares(samples, done, len(rows)), inserts, strict=True):
                mine = [values[at] for at in among]
                for insert, order in copies if mine else ():
                    connection.executemany(insert, picked(mine, order))
            connection.execute("COMMIT")
            done += len(rows)
            say(progress(done, events))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.sync()


def sqlite_inserts(connection: sqlite3.Connection, event: bytes) -> list[tuple[str, Sequence[int]]]:
    """Statements that copy the rows of an event, with gaps; and what fills them, in order."""
    deliveries = [
        row[0]
        for row in connection.execute(
            "SELECT id FROM deliveries WHERE event_id = ? ORDER BY id", (event,)
        )
    ]
    rows = [
        (table, row)
        for table, key in KEYS.items()
        for row in connection.execute(f"SELECT * FROM {table} WHERE {key} = ?", (event,)).fetchall()
    ]
    return [_sqlite_insert(connection, table, row, (event, deliveries)) for table, row in rows]


def _sqlite_insert(
    connection: sqlite3.Connection, table: str, row: Sequence[object], of: tuple[bytes, list[bytes]]
) -> tuple[str, Sequence[int]]:
    names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
    moment = row[names.index(MOMENTS[table])] if table in MOMENTS else None
    there = [of[0], moment, *of[1]]
    (count,) = connection.execute("SELECT count(*) FROM sqlite_temp_master").fetchone()
    kept = f"kept_{count}"
    found = names.index("id")
    key = f"{KEYS[table]} = ? AND id = ?"
    connection.execute(
        f"CREATE TEMP TABLE {kept} AS SELECT * FROM {table} WHERE {key}", (of[0], row[found])
    )
    columns = [
        "?" if _stands(value, there) else name for value, name in zip(row, names, strict=True)
    ]
    insert = f"INSERT INTO {table} SELECT {', '.join(columns)} FROM {kept}"
    return insert, [there.index(value) for value in row if _stands(value, there)]


def _stands(value: object, there: Sequence[object]) -> bool:
    return value is not None and value in there


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
        parts = b"|".join(re.escape(part) for part in there if part)
        pieces = re.split(b"(" + parts + b")", row)
        pieces[::2] = [piece.replace(b"%", b"%%") for piece in pieces[::2]]
        order = [there.index(part) for part in pieces[1::2]]
        pieces[1::2] = [b"%b"] * len(order)
        return cls(b"".join(pieces), order)

    def rows(self, fillings: Sequence[Filled]) -> bytes:
        """The rows of these fillings, one behind the other."""
        pattern = self.pattern
        return b"".join([pattern % values for values in picked(fillings, self.order)])


def fill_postgres(
    database: PostgresDatabase, events: int, until_ms: int, say: Say, samples: Sequence[Sample]
) -> None:
    """COPY in binary, then what autovacuum would have done meanwhile."""
    with database.connect() as connection:
        make_partitions(connection, until_ms)
        cuts = [list(stencils(connection, sample.event)) for sample in samples]
        done = 0
        for rows in fillings(events, until_ms):
            copied: dict[str, list[bytes]] = {table: [] for table in KEYS}
            for among, mine in zip(shares(samples, done, len(rows)), cuts, strict=True):
                filled = [rows[at] for at in among]
                for table, cut in mine if filled else ():
                    copied[table].append(cut.rows(filled))
            for table, parts in copied.items():
                with connection.cursor().copy(f"COPY {table} FROM STDIN (FORMAT binary)") as copy:
                    copy.write(COPY_HEAD + b"".join(parts) + COPY_END)
            done += len(rows)
            say(progress(done, events))
        say("vacuum, analyze, checkpoint")
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def stencils(connection: psycopg.Connection, event: bytes) -> Iterator[tuple[str, Stencil]]:
    """The stencils of the rows of an event, each with its table."""
    token = str(uuid.UUID(bytes=event))
    deliveries = [
        row[0].bytes
        for row in connection.execute(
            "SELECT id FROM deliveries WHERE event_id = %s ORDER BY id", (token,)
        )
    ]
    for table, key in KEYS.items():
        moment = MOMENTS.get(table, "0::bigint")
        found = connection.execute(
            f"SELECT id, {moment} FROM {table} WHERE {key} = %s".encode(), (token,)
        ).fetchall()
        for identity, at_us in found:
            asked = f"SELECT * FROM {table} WHERE {key} = '{token}' AND id = '{identity}'"
            with connection.cursor().copy(f"COPY ({asked}) TO STDOUT (FORMAT binary)") as copy:
                row = b"".join(bytes(part) for part in copy)[len(COPY_HEAD) : -len(COPY_END)]
            at = struct.pack(">q", at_us) if table in MOMENTS else b""
            yield table, Stencil.cut(row, (event, at, *deliveries))


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
