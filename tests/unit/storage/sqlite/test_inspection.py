"""Looking through a database, and breaking off."""

import queue
import sqlite3
from pathlib import Path

import pytest

from waypost.model.errors import ConfigInvalid
from waypost.storage.sqlite import inspection
from waypost.storage.sqlite.inspection import Inspection, check, read_only

PATIENCE_S = 30


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "w.db"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE t (a INTEGER, b BLOB)")
    connection.executemany("INSERT INTO t VALUES (?, randomblob(3000))", [(i,) for i in range(50)])
    connection.commit()
    connection.close()
    return file


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096 * 2 : 4096 * 6] = b"\xff" * 4096 * 4
    file.write_bytes(content)


def test_a_sound_database_has_nothing_wrong(database: Path) -> None:
    with read_only(database) as connection:
        assert check(connection) is None


def test_a_damaged_one_has(database: Path) -> None:
    damage(database)
    with read_only(database) as connection:
        assert check(connection)


def test_it_reads_only(database: Path) -> None:
    with read_only(database) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM t")


def test_there_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="can't be opened"), read_only(tmp_path / "none"):
        pass


@pytest.mark.parametrize("sound", [True, False])
def test_an_inspection_tells_what_it_found(database: Path, sound: bool) -> None:
    if not sound:
        damage(database)
    told: queue.Queue[str | None] = queue.Queue()
    looking = Inspection(database, told.put)
    looking.start()
    assert (told.get(timeout=PATIENCE_S) is None) is sound
    looking.stop()


def test_an_inspection_that_is_broken_off_tells_nothing(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: queue.Queue[None] = queue.Queue()

    def endless(connection: sqlite3.Connection) -> str | None:
        begun.put(None)
        try:
            connection.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                " SELECT count(*) FROM n"
            )
        except sqlite3.OperationalError as error:
            return str(error)
        raise AssertionError("it has an end")

    monkeypatch.setattr(inspection, "check", endless)
    told: list[str | None] = []
    looking = Inspection(database, told.append)
    looking.start()
    begun.get(timeout=PATIENCE_S)
    looking.stop()
    assert told == []


def test_one_that_was_not_begun_can_be_stopped(database: Path) -> None:
    Inspection(database, print).stop()
