"""What must be true of a database before it is opened."""

import sqlite3
from pathlib import Path

import pytest

from waypost.clock import SystemEntropy
from waypost.model.errors import ConfigInvalid
from waypost.storage import key_file
from waypost.storage.sqlite.instance import DatabaseInUse
from waypost.storage.sqlite.preparation import Prepared, prepare


def prepared(database: Path, key: bytes | None = None) -> Prepared:
    return prepare(database, database.with_name("socket"), key, SystemEntropy())


def test_the_first_start_makes_folder_database_and_key(tmp_path: Path) -> None:
    database = tmp_path / "new" / "w.db"
    first = prepared(database)
    assert key_file.read(database) == first.secret_key
    assert database.stat().st_mode & 0o777 == 0o600
    assert not first.unclean
    first.lock.release()
    second = prepared(database)
    assert second.secret_key == first.secret_key
    second.lock.release()


def test_a_database_in_use_is_refused(tmp_path: Path) -> None:
    first = prepared(tmp_path / "w.db")
    with pytest.raises(DatabaseInUse):
        prepared(tmp_path / "w.db")
    first.lock.release()


def test_another_key_is_refused_and_the_lock_given_back(tmp_path: Path) -> None:
    prepared(tmp_path / "w.db", bytes(range(32))).lock.release()
    with pytest.raises(ConfigInvalid, match="not the one that this database was written under"):
        prepared(tmp_path / "w.db", bytes(range(1, 33)))
    prepared(tmp_path / "w.db", bytes(range(32))).lock.release()


def test_a_lost_key_is_not_replaced_by_a_new_one(tmp_path: Path) -> None:
    prepared(tmp_path / "w.db").lock.release()
    key_file.key_file(tmp_path / "w.db").unlink()
    with pytest.raises(ConfigInvalid, match=r"secret key of this database .* is missing"):
        prepared(tmp_path / "w.db")
    assert not key_file.key_file(tmp_path / "w.db").exists()


def test_a_configured_key_needs_no_file(tmp_path: Path) -> None:
    prepared(tmp_path / "w.db", bytes(range(32))).lock.release()
    assert not key_file.key_file(tmp_path / "w.db").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.db").write_text("a shopping list, which is not a database" * 10)
    with pytest.raises(ConfigInvalid, match="can't be opened"):
        prepared(tmp_path / "w.db")


def test_a_log_left_behind_tells_of_an_unclean_stop(tmp_path: Path) -> None:
    prepared(tmp_path / "w.db").lock.release()
    connection = sqlite3.connect(tmp_path / "w.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO facts VALUES ('a', 'b')")
    connection.commit()
    log = (tmp_path / "w.db-wal").read_bytes()
    connection.close()
    (tmp_path / "w.db-wal").write_bytes(log)
    again = prepared(tmp_path / "w.db")
    assert again.unclean
    again.lock.release()
