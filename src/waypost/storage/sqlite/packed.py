"""Many rows for SQLite in a few values: how what happens for every event is bound.

To bind a value to a statement costs the interpreter about as much as SQLite takes for the whole
row, and holds up the event loop's thread. So all values of a column of ids are bound as one, their
bytes one behind the other, and so is everything that has a variable length, with an index of where
each ends. SQLite takes them apart, which it does beside the interpreter.

Each call of the database library gives the interpreter's lock away several times, and gets it back
when the loop's thread lets go of it. So statements that follow one another are one call: the body
of a trigger on a view, which both belong to the connection and never reach the database's file.
"""

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import accumulate, chain
from typing import Any, Final

import msgspec

from waypost.storage.changes import Row

MAX_ROWS: Final = 128
"""Rows of one statement at most: their bytes are copied to be bound."""

_DIGITS: Final = 10
_ENTRY: Final = b"%%0%dd" % _DIGITS
_encode: Final = msgspec.json.encode


class Kind(Enum):
    """How a column's values are bound."""

    ID = "16 bytes"
    NUMBER = "a whole number; one column of a table is of this kind"
    TEXT = "text of any length"
    BLOB = "bytes of any length"
    SHARED = "the same value in all rows"
    NULL = "no value in any row"


def pack_ids(ids: Sequence[bytes]) -> bytes:
    """Return ids as one value."""
    return b"".join(ids)


def pack_numbers(numbers: Sequence[int]) -> str:
    """Return one number a row as one value, which `json_each` takes apart.

    It makes the rows: `key` is the place of one, from 0, and `value` its number.
    """
    return _encode(numbers).decode()


def id_at(parameter: int) -> str:
    """Return the SQL of the id of a row, of those that are packed in a parameter."""
    return f"substr(?{parameter}, key * 16 + 1, 16)"


class PackedInsert:
    """An INSERT into one table."""

    def __init__(self, table: str, columns: Mapping[str, Kind]) -> None:
        """Make the statement; rows hold the columns in this order."""
        self._places = {
            kind: [at for at, of in enumerate(columns.values()) if of is kind] for kind in Kind
        }
        places = self._places
        self._sized = places[Kind.TEXT] + places[Kind.BLOB]
        whole = places[Kind.NUMBER] + places[Kind.ID] + places[Kind.SHARED]
        values = {at: f"?{parameter}" for parameter, at in enumerate(whole, 1)}
        values |= {at: id_at(int(values[at][1:])) for at in places[Kind.ID]}
        values[places[Kind.NUMBER][0]] = "value"
        values |= dict.fromkeys(places[Kind.NULL], "NULL")
        for order, at in enumerate(self._sized):
            part = _part(order, len(self._sized), len(whole) + 1)
            values[at] = f"CAST({part} AS TEXT)" if at in places[Kind.TEXT] else part
        self.statement = (
            f"INSERT INTO {table} ({','.join(columns)}) "
            f"SELECT {','.join(values[at] for at in sorted(values))} FROM json_each(?1)"
        )

    def run(self, cursor: sqlite3.Cursor, rows: Sequence[Row]) -> None:
        """Insert rows."""
        for start in range(0, len(rows), MAX_ROWS):
            cursor.execute(self.statement, self.bind(rows[start : start + MAX_ROWS]))

    def bind(self, rows: Sequence[Row]) -> list[Any]:
        """Return the parameters of the statement that inserts rows; there is at least one."""
        columns = list(zip(*rows, strict=True))
        places = self._places
        bound: list[Any] = [pack_numbers(columns[places[Kind.NUMBER][0]])]
        bound += [pack_ids(columns[at]) for at in places[Kind.ID]]
        bound += [columns[at][0] for at in places[Kind.SHARED]]
        if self._sized:
            sized: list[Iterable[bytes]] = [
                map(str.encode, columns[at]) for at in places[Kind.TEXT]
            ]
            sized += [columns[at] for at in places[Kind.BLOB]]
            parts = list(chain.from_iterable(zip(*sized, strict=True)))
            ends = tuple(accumulate(map(len, parts), initial=0))
            # Of no bytes at all `substr` makes NULL.
            parts.append(b".")
            bound += (b"".join(parts), _ENTRY * len(ends) % ends)
        return bound


class Together:
    """Statements with numbered parameters that are run as one."""

    def __init__(self, name: str, *statements: str) -> None:
        """Make the one; `name` is that of nothing else of a connection."""
        self._name = name
        columns: list[str] = []
        body = ""
        for at, statement in enumerate(statements):
            body += re.sub(r"\?(\d+)", rf"NEW.p{at}_\1", statement) + ";\n"
            count = max(map(int, re.findall(r"\?(\d+)", statement)))
            columns += [f"p{at}_{number}" for number in range(1, count + 1)]
        self._view = (
            f"CREATE TEMP VIEW IF NOT EXISTS {name} ({','.join(columns)}) "
            f"AS SELECT {','.join(['NULL'] * len(columns))}"
        )
        self._trigger = (
            f"CREATE TEMP TRIGGER IF NOT EXISTS {name}_run INSTEAD OF INSERT ON {name} "
            f"BEGIN\n{body}END"
        )
        self._statement = f"INSERT INTO {name} VALUES ({','.join('?' * len(columns))})"

    def install(self, cursor: sqlite3.Cursor) -> None:
        """Make it known to a connection."""
        cursor.execute(self._view)
        cursor.execute(self._trigger)

    def run(self, cursor: sqlite3.Cursor, parameters: Sequence[Any]) -> None:
        """Run the statements; `parameters` are those of all of them, in their order.

        Raises:
            sqlite3.Error: one of them failed; none has had an effect.
        """
        cursor.execute(self._statement, parameters)


def _part(order: int, of: int, parameter: int) -> str:
    """Return the SQL of one of the values of a row that have a variable length.

    Args:
        order: which one of them, from 0.
        of: how many of them a row has.
        parameter: holds their bytes, the next one where they end, 0 first.
    """
    begin, end = (
        f"CAST(substr(?{parameter + 1}, (key * {of} + {entry}) * {_DIGITS} + 1, {_DIGITS})"
        " AS INTEGER)"
        for entry in (order, order + 1)
    )
    return f"substr(?{parameter}, {begin} + 1, {end} - {begin})"
