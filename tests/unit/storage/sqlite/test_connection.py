"""Connections to a file, as they are set up."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from waypost.storage.sqlite.connection import connect, raw


def test_a_writer_makes_the_file_and_keeps_its_log_itself(tmp_path: Path) -> None:
    with connect(tmp_path / "w.db") as connection:
        assert isinstance(raw(connection), sqlite3.Connection)
        names = ("journal_mode", "synchronous", "wal_autocheckpoint", "foreign_keys")
        found = [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]
        assert found == ["wal", 2, 0, 1]


def test_a_reader_neither_makes_nor_writes(tmp_path: Path) -> None:
    with pytest.raises(OperationalError, match="unable to open"):
        connect(tmp_path / "none.db", read_only=True)
    connect(tmp_path / "w.db").close()
    with (
        connect(tmp_path / "w.db", read_only=True) as connection,
        pytest.raises(OperationalError, match="readonly"),
    ):
        connection.execute(text("CREATE TABLE a (b)"))
