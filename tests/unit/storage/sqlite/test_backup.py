"""Backups: whole or not there, while the database is in use."""

import sqlite3
from pathlib import Path

import pytest

from waypost.model.errors import ConfigInvalid, Conflict
from waypost.storage import key_file
from waypost.storage.sqlite import backup
from waypost.storage.sqlite.inspection import check, read_only

KEY = bytes(range(32))


def quiet(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def database(tmp_path: Path) -> Path:
    file = tmp_path / "w.db"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a INTEGER, b BLOB)")
        connection.executemany(
            "INSERT INTO t VALUES (?, randomblob(3000))", [(i,) for i in range(2000)]
        )
    connection.close()
    key_file.write(key_file.key_file(file), KEY)
    return file


def count(file: Path) -> int:
    connection = sqlite3.connect(file)
    try:
        return int(connection.execute("SELECT count(*) FROM t").fetchone()[0])
    finally:
        connection.close()


def test_a_backup_is_one_moment_of_a_database_that_is_written_to(
    database: Path, tmp_path: Path
) -> None:
    writer = sqlite3.connect(database, isolation_level=None)
    seen: list[tuple[int, int]] = []

    def write_meanwhile(done: int, total: int) -> None:
        seen.append((done, total))
        # Without a snapshot each of these would start the copy over, and it would never end.
        assert len(seen) < 100
        writer.execute("INSERT INTO t VALUES (-1, NULL)")

    target = tmp_path / "copy.db"
    assert backup.back_up(database, target, write_meanwhile, with_key=True)
    writer.close()
    assert len(seen) > 1
    assert seen[-1][0] == seen[-1][1]
    assert count(target) == 2000
    assert count(database) > 2000


def test_a_backup_is_for_its_owner_alone_and_one_file(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    backup.back_up(database, folder / "c.db", quiet, with_key=True)
    assert sorted(one.name for one in folder.iterdir()) == ["c.db", "c.db.key"]
    assert {one.stat().st_mode & 0o777 for one in folder.iterdir()} == {0o600}
    with read_only(folder / "c.db") as connection:
        assert check(connection) is None
    assert sorted(one.name for one in folder.iterdir()) == ["c.db", "c.db.key"]


def test_the_key_may_be_left_out(database: Path, tmp_path: Path) -> None:
    assert not backup.back_up(database, tmp_path / "c.db", quiet, with_key=False)
    assert not (tmp_path / "c.db.key").exists()


@pytest.mark.parametrize("taken", ["c.db", "c.db.key"])
def test_nothing_is_written_over(database: Path, tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine")
    with pytest.raises(Conflict, match=f"{taken} exists"):
        backup.back_up(database, tmp_path / "c.db", quiet, with_key=True)
    assert (tmp_path / taken).read_text() == "mine"


def test_a_copy_that_breaks_off_leaves_nothing(database: Path, tmp_path: Path) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.back_up(database, tmp_path / "c.db", stop, with_key=True)
    assert not [one for one in tmp_path.iterdir() if one.name.startswith("c.db")]


def test_there_must_be_a_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="can't be opened"):
        backup.back_up(tmp_path / "none.db", tmp_path / "c.db", quiet, with_key=False)


def test_a_restored_database_is_the_backup_s(database: Path, tmp_path: Path) -> None:
    backup.back_up(database, tmp_path / "c.db", quiet, with_key=True)
    target = tmp_path / "there" / "w.db"
    target.parent.mkdir()
    assert backup.restore(tmp_path / "c.db", target, quiet, force=False)
    assert count(target) == 2000
    assert key_file.read(target) == KEY


def test_a_database_that_is_there_is_replaced_only_by_force(database: Path, tmp_path: Path) -> None:
    backup.back_up(database, tmp_path / "c.db", quiet, with_key=True)
    writer = sqlite3.connect(database)
    writer.execute("DELETE FROM t")
    writer.commit()
    with pytest.raises(Conflict, match="exists"):
        backup.restore(tmp_path / "c.db", database, quiet, force=False)
    # The log of the old database is still there: it must not be played into the new one.
    backup.restore(tmp_path / "c.db", database, quiet, force=True)
    assert count(database) == 2000
    writer.close()


def test_another_key_is_replaced_only_by_force(database: Path, tmp_path: Path) -> None:
    backup.back_up(database, tmp_path / "c.db", quiet, with_key=True)
    target = tmp_path / "new.db"
    key_file.write(key_file.key_file(target), KEY[::-1])
    with pytest.raises(Conflict, match="another key"):
        backup.restore(tmp_path / "c.db", target, quiet, force=False)
    backup.restore(tmp_path / "c.db", target, quiet, force=True)
    assert key_file.read(target) == KEY


def test_a_damaged_backup_replaces_nothing(database: Path, tmp_path: Path) -> None:
    copy = tmp_path / "c.db"
    backup.back_up(database, copy, quiet, with_key=False)
    content = bytearray(copy.read_bytes())
    content[4096 * 3 : 4096 * 9] = b"\xff" * (4096 * 6)
    copy.write_bytes(content)
    with pytest.raises(ConfigInvalid, match="damaged"):
        backup.restore(copy, database, quiet, force=True)
    assert count(database) == 2000
