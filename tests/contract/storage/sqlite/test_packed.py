"""Packed rows: SQLite takes apart what was put together, whatever it holds."""

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.storage.sqlite.packed import MAX_ROWS, Kind, PackedInsert, Together

COLUMNS = {
    "name": Kind.TEXT,
    "id": Kind.ID,
    "state": Kind.SHARED,
    "at": Kind.NUMBER,
    "note": Kind.NULL,
    "body": Kind.BLOB,
    "owner": Kind.ID,
    "answer": Kind.BLOB,
}
INSERT = PackedInsert("things", COLUMNS)

ID = st.binary(min_size=16, max_size=16)
NUMBER = st.integers(min_value=-(2**63), max_value=2**63 - 1)
# SQLite ends a text that it casts from bytes at no zero, but its own functions do.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
ROWS = st.lists(st.tuples(TEXT, ID, NUMBER, st.binary(), ID, st.binary()), max_size=40)


def things() -> sqlite3.Connection:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    raw.execute(f"CREATE TABLE things ({','.join(COLUMNS)})")
    return raw


def kept(raw: sqlite3.Connection) -> list[tuple[Any, ...]]:
    return raw.execute("SELECT * FROM things ORDER BY rowid").fetchall()


@given(ROWS)
def test_rows_come_out_as_they_went_in(drawn: list[tuple[Any, ...]]) -> None:
    raw = things()
    rows = [(name, one, 7, at, None, *rest) for name, one, at, *rest in drawn]
    INSERT.run(raw.cursor(), rows)
    assert kept(raw) == rows
    raw.close()


@pytest.mark.parametrize("count", [0, 1, MAX_ROWS - 1, MAX_ROWS, MAX_ROWS + 1, 3 * MAX_ROWS])
def test_any_number_of_rows(count: int) -> None:
    raw = things()
    rows = [("é" * n, n.to_bytes(16), 1, n, None, b"", b"o" * 16, b"a" * n) for n in range(count)]
    INSERT.run(raw.cursor(), rows)
    assert kept(raw) == rows
    raw.close()


def test_statements_together_have_their_effect_together_or_none() -> None:
    raw = things()
    cursor = raw.cursor()
    both = Together(
        "both",
        INSERT.statement,
        "SELECT RAISE(ABORT, 'other') WHERE changes() <> ?1",
        "UPDATE things SET state = ?2 WHERE at = ?1",
    )
    both.install(cursor)
    both.install(cursor)
    rows = [("n", bytes([n]) * 16, 1, n, None, b"b", b"o" * 16, b"") for n in (1, 2)]
    both.run(cursor, [*INSERT.bind(rows), 2, 2, 9])
    assert [(row[3], row[2]) for row in kept(raw)] == [(1, 1), (2, 9)]
    with pytest.raises(sqlite3.IntegrityError, match="other"):
        both.run(cursor, [*INSERT.bind(rows), 3, 2, 9])
    assert len(kept(raw)) == 2
    raw.close()
