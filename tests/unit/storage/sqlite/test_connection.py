"""Connections to a file, as they are set up."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, OperationalError

from tests.support.database import adopt
from waypost.storage.sqlite.connection import connect, raw


def test_a_writer_makes_the_file_and_keeps_its_log_itself(tmp_path: Path) -> None:
    connection = adopt(connect(tmp_path / "w.db"))
    assert isinstance(raw(connection), sqlite3.Connection)
    names = ("journal_mode", "synchronous", "wal_autocheckpoint", "foreign_keys")
    found = [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]
    assert found == ["wal", 2, 0, 1]


def test_a_reader_neither_makes_nor_writes(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="unable to open"):
        connect(tmp_path / "none.db", read_only=True)
    adopt(connect(tmp_path / "w.db"))
    connection = adopt(connect(tmp_path / "w.db", read_only=True))
    with pytest.raises(OperationalError, match="readonly"):
        connection.execute(text("CREATE TABLE a (b)"))


def test_what_is_no_database_is_not_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    open_file = sqlite3.connect

    def spy(*args: Any, **named: Any) -> sqlite3.Connection:
        opened.append(open_file(*args, **named))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", spy)
    (tmp_path / "w.db").write_bytes(b"no database" * 100)
    with pytest.raises(DatabaseError, match="not a database"):
        connect(tmp_path / "w.db")
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_an_error_does_not_tell_what_was_to_be_written(tmp_path: Path) -> None:
    connection = adopt(connect(tmp_path / "w.db"))
    with pytest.raises(OperationalError) as caught:
        connection.execute(text("SELECT :hidden FROM nothing"), {"hidden": "a secret"})
    assert "a secret" not in str(caught.value)
