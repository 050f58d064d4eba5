"""Copies: everything of a SQLite database brought into a PostgreSQL one, as it is.

Tables are copied one after the other, by their keys and in chunks. Each chunk is a transaction,
which also records how far the copy has come: whatever breaks it off, it goes on from there. At the
end both databases are read once more, and what does not agree is told. Until then no server starts
on the new one.

A row is encoded as PostgreSQL's binary COPY has it, so the same bytes are written, read back and
summed up. The sum does not depend on the order of the rows.
"""

import hashlib
import os
import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql
from sqlalchemy import (
    BigInteger,
    Connection,
    Float,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    select,
    text,
)

from waypost.model import ids
from waypost.model.errors import ConfigInvalid, Conflict
from waypost.storage import facts, migrations, partitions
from waypost.storage.location import PostgresUrl
from waypost.storage.partitions import Width
from waypost.storage.postgres.connection import PostgresOptions, raw
from waypost.storage.postgres.preparation import COPY_FACT, demand_primary, describe, open_apart
from waypost.storage.schema import PARTITIONED, metadata
from waypost.storage.sqlite import preparation as file_preparation
from waypost.storage.sqlite.instance import InstanceLock

COPIED: Final = tuple(
    table
    for table in metadata.sorted_tables
    # What the processes on a PostgreSQL database know of each other has no past.
    if table.name not in {"config_changes", "config_version", "shards", "workers"}
)
"""The tables that are copied, in their order."""

Told = Callable[[str, str, int, int], None]
"""Hears what is being done, with which table, how many rows of it are done and of how many."""

_CHUNK_ROWS: Final = 10_000
_CHUNK_BYTES: Final = 8 * 1024 * 1024
_FETCH: Final = 500
_LOCK: Final = 7_238_946_001_552_002
_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL: Final = b"\xff\xff"
_NULL: Final = struct.pack("!i", -1)
_SUM_BYTES: Final = 16

Key = list[int | str]
"""The key of a row, as JSON can hold it: bytes as hexadecimal digits."""


class Progress(msgspec.Struct):
    """How far a copy has come, as the new database records it.

    Attributes:
        source: the default project of the database that is copied: it tells databases apart.
        table: the number of the table that is being copied.
        after: the key of the last row that was copied; None before the first.
        rows: how many rows of the table were copied.
    """

    source: str
    table: int = 0
    after: Key | None = None
    rows: int = 0


class Copied(msgspec.Struct, frozen=True):
    """A table that was copied: how many rows, and their sum on both sides."""

    table: str
    rows: int
    checksum: str


class Unlike(Conflict):
    """The copy is not like its source."""


def copy(
    source: Path, target: PostgresUrl, options: PostgresOptions, width: Width, told: Told
) -> list[Copied]:
    """Copy a SQLite database that no process has open; return what was copied.

    Args:
        source: the file.
        target: an empty database, or one that this copy was begun into.
        options: how connections to it are made.
        width: of the partitions that it gets.
        told: hears how far it is.

    Raises:
        ConfigInvalid: one of the two can't be used; says why and what to do.
        DatabaseInUse: a process has the file.
        Conflict: the target holds something else, or another copy into it runs.
        Unlike: it was copied, and yet the two differ.
    """
    demand_file(source)
    with (
        _held(source),
        file_preparation.open_apart(source) as old,
        open_apart(target, options, name="copy") as new,
        _alone(new),
    ):
        _demand_tables(old, source)
        demand_primary(describe(new), target)
        migrations.demand_head(new)
        reader: Any = old.connection.driver_connection
        progress = _begin(old, new)
        _make_partitions(reader, new, width)
        for number in range(progress.table, len(COPIED)):
            _copy_table(reader, new, COPIED[number], progress, told)
            progress = Progress(progress.source, number + 1)
        new.execute(text("SET synchronous_commit = on"))
        copied = [_compare(reader, new, table, told) for table in COPIED]
        facts.forget(new, COPY_FACT)
    return copied


def demand_file(source: Path) -> None:
    """Make sure that there is a database to copy.

    Raises:
        ConfigInvalid: there is none.
    """
    if not source.is_file():
        raise ConfigInvalid(f"there is no database at {source}")


@contextmanager
def _held(source: Path) -> Iterator[None]:
    lock = InstanceLock.acquire(source, Path(os.devnull))
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _alone(new: Connection) -> Iterator[None]:
    new.execute(text("SET statement_timeout = 0"))
    # Only the last commit must be on disk; it takes those before it along.
    new.execute(text("SET synchronous_commit = off"))
    got = new.execute(text(f"SELECT pg_try_advisory_lock({_LOCK})")).scalar_one()
    if not got:
        raise Conflict("another copy into this database is running")
    yield


def _demand_tables(old: Connection, source: Path) -> None:
    revision = migrations.current_revision(old)
    if revision is None:
        raise ConfigInvalid(f"{source} is empty: there is nothing to copy")
    if revision != migrations.HEAD:
        raise ConfigInvalid(
            f"{source} has the schema {revision!r}, and this Waypost copies {migrations.HEAD!r}:"
            f" run `waypost migrate --database-url sqlite:///{source}` first"
        )


def _begin(old: Connection, new: Connection) -> Progress:
    """Return how far the copy has come; one that was not begun is begun."""
    source = facts.find(old, facts.DEFAULT_PROJECT)
    if source is None:
        raise ConfigInvalid("the database to copy was never used: there is nothing in it")
    recorded = facts.find(new, COPY_FACT)
    if recorded is not None:
        progress = msgspec.json.decode(recorded, type=Progress)
        if progress.source != source:
            raise Conflict("a copy of another database into this one was begun: empty it first")
        return progress
    for table in COPIED:
        if new.execute(select(text("1")).select_from(table).limit(1)).first() is not None:
            raise Conflict(
                f"the database to copy into is not empty, there are {table.name}: name a new one"
            )
    progress = Progress(source)
    facts.record(new, COPY_FACT, msgspec.json.encode(progress).decode())
    return progress


def _make_partitions(reader: sqlite3.Connection, new: Connection, width: Width) -> None:
    moments = [
        ids.moment(event_id)
        for table in PARTITIONED
        for (project_id,) in reader.execute("SELECT id FROM projects")
        for extreme in ("min", "max")
        for (event_id,) in reader.execute(
            f"SELECT {extreme}({_event_column(table)}) FROM {table.name} WHERE project_id = ?",
            (project_id,),
        )
        if event_id is not None
    ]
    if moments:
        with raw(new).transaction():
            partitions.ensure(new, min(moments), max(moments), width)


def _event_column(table: Table) -> str:
    return "event_id" if "event_id" in table.c else "id"


def _copy_table(
    reader: sqlite3.Connection, new: Connection, table: Table, progress: Progress, told: Told
) -> None:
    (total,) = reader.execute(f"SELECT count(*) FROM {table.name}").fetchone()
    told("copying", table.name, progress.rows, total)
    encode = _encoder(table)
    key = [list(table.c).index(column) for column in table.primary_key]
    chunk, size = [_HEAD], 0
    for rows in _rows(reader, table, progress.after):
        for row in rows:
            chunk.append(encode(row))
            size += len(chunk[-1])
        progress.rows += len(rows)
        progress.after = [_plain(rows[-1][at]) for at in key]
        if len(chunk) > _CHUNK_ROWS or size > _CHUNK_BYTES:
            _write(new, table, chunk, progress)
            told("copying", table.name, progress.rows, total)
            chunk, size = [_HEAD], 0
    # The last chunk, with which the next table is begun.
    after = Progress(progress.source, progress.table + 1)
    _write(new, table, chunk, after)
    told("copying", table.name, progress.rows, total)


def _rows(
    reader: sqlite3.Connection, table: Table, after: Key | None
) -> Iterator[list[tuple[Any, ...]]]:
    key = ", ".join(column.name for column in table.primary_key)
    columns = ", ".join(f'"{column.name}"' for column in table.c)
    where, values = "", []
    if after is not None:
        values = [
            bytes.fromhex(str(value)) if _is_bytes(column) else value
            for column, value in zip(table.primary_key, after, strict=True)
        ]
        where = f" WHERE ({key}) > ({', '.join('?' * len(values))})"
    cursor = reader.execute(f"SELECT {columns} FROM {table.name}{where} ORDER BY {key}", values)
    while rows := cursor.fetchmany(_FETCH):
        yield rows


def _write(new: Connection, table: Table, chunk: Sequence[bytes], progress: Progress) -> None:
    """Write a chunk, and how far the copy has come with it: both or neither."""
    connection = raw(new)
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.c)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)")
    with connection.transaction():
        with connection.cursor().copy(
            statement.format(sql.Identifier(table.name), columns)
        ) as copied:
            copied.write(b"".join((*chunk, _TAIL)))
        facts.record(new, COPY_FACT, msgspec.json.encode(progress).decode())


def _compare(reader: sqlite3.Connection, new: Connection, table: Table, told: Told) -> Copied:
    """Read a table on both sides.

    Raises:
        Unlike: they differ.
    """
    (total,) = reader.execute(f"SELECT count(*) FROM {table.name}").fetchone()
    told("comparing", table.name, 0, 2 * total)
    encode = _encoder(table)
    sums = []
    for number, encoded in enumerate(
        (
            (encode(row) for rows in _rows(reader, table, None) for row in rows),
            _read_back(raw(new), table),
        )
    ):
        rows, checksum = 0, 0
        for row in encoded:
            rows += 1
            checksum += int.from_bytes(hashlib.blake2b(row, digest_size=_SUM_BYTES).digest())
            if rows % _CHUNK_ROWS == 0:
                told("comparing", table.name, number * total + rows, 2 * total)
        sums.append((rows, f"{checksum % (1 << 8 * _SUM_BYTES):032x}"))
    told("comparing", table.name, 2 * total, 2 * total)
    if sums[0] != sums[1]:
        raise Unlike(
            f"{table.name} differs: {sums[0][0]} rows with the checksum {sums[0][1]} were to be"
            f" copied, and {sums[1][0]} with {sums[1][1]} are there. Something else has written to"
            " the new database: empty it and copy again"
        )
    return Copied(table.name, *sums[0])


def _read_back(connection: psycopg.Connection[Any], table: Table) -> Iterator[bytes]:
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.c)
    query = sql.SQL("SELECT {} FROM {}").format(columns, sql.Identifier(table.name))
    if table.name == "facts":
        query = sql.SQL("{} WHERE name <> {}").format(query, sql.Literal(COPY_FACT))
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
    # libpq hands out one row at a time; the first one comes behind the head.
    with connection.cursor().copy(statement) as copied:
        for message in copied:
            row = bytes(message).removeprefix(_HEAD)
            if row and row != _TAIL:
                yield row


def _encoder(table: Table) -> Callable[[Sequence[Any]], bytes]:
    """Return what encodes a row of a table for COPY."""
    fields = [(column.name, _field(column.type)) for column in table.c]
    count = struct.pack("!h", len(fields))

    def encode(row: Sequence[Any]) -> bytes:
        parts = [count]
        for (name, field), value in zip(fields, row, strict=True):
            if value is None:
                parts.append(_NULL)
                continue
            try:
                content = field(value)
            except (struct.error, UnicodeEncodeError, ValueError) as error:
                raise ConfigInvalid(
                    f"{name} of a row of {table.name} can't be kept in PostgreSQL: {error}"
                ) from error
            parts += (len(content).to_bytes(4), content)
        return b"".join(parts)

    return encode


def _field(kind: Any) -> Callable[[Any], bytes]:
    if isinstance(kind, LargeBinary):
        return bytes
    if isinstance(kind, Text):
        return _text
    if isinstance(kind, Float):
        return struct.Struct("!d").pack
    size = (
        "!q" if isinstance(kind, BigInteger) else "!h" if isinstance(kind, SmallInteger) else "!i"
    )
    return struct.Struct(size).pack


def _text(value: str) -> bytes:
    if "\0" in value:
        raise ValueError("it holds the character U+0000")
    return value.encode()


def _is_bytes(column: Any) -> bool:
    return isinstance(column.type, LargeBinary)


def _plain(value: bytes | int | str) -> int | str:
    return value.hex() if isinstance(value, bytes) else value
