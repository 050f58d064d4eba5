"""One process for one database."""

import os
from pathlib import Path

import pytest

from waypost.storage.sqlite.instance import DatabaseInUse, InstanceLock, lock_file


def test_the_second_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    database = tmp_path / "w.db"
    lock = InstanceLock.acquire(database, tmp_path / "w.sock")
    with pytest.raises(DatabaseInUse, match=f"in use by process {os.getpid()}") as refused:
        InstanceLock.acquire(database, tmp_path / "other.sock")
    assert refused.value.holder is not None
    assert refused.value.holder.socket == str(tmp_path / "w.sock")
    lock.release()


def test_what_is_released_can_be_had_again(tmp_path: Path) -> None:
    InstanceLock.acquire(tmp_path / "w.db", tmp_path / "s").release()
    InstanceLock.acquire(tmp_path / "w.db", tmp_path / "s").release()


def test_a_link_to_the_database_leads_to_the_same_lock(tmp_path: Path) -> None:
    database, link = tmp_path / "w.db", tmp_path / "link.db"
    database.touch()
    link.symlink_to(database)
    lock = InstanceLock.acquire(database, tmp_path / "s")
    with pytest.raises(DatabaseInUse):
        InstanceLock.acquire(link, tmp_path / "s")
    lock.release()


def test_a_holder_that_has_not_said_who_it_is_still_keeps_others_out(tmp_path: Path) -> None:
    database = tmp_path / "w.db"
    lock = InstanceLock.acquire(database, tmp_path / "s")
    lock_file(database).write_bytes(b"")
    with pytest.raises(DatabaseInUse, match="in use by another process") as refused:
        InstanceLock.acquire(database, tmp_path / "s")
    assert refused.value.holder is None
    lock.release()


def test_only_the_owner_can_open_the_lock(tmp_path: Path) -> None:
    InstanceLock.acquire(tmp_path / "w.db", tmp_path / "s").release()
    assert lock_file(tmp_path / "w.db").stat().st_mode & 0o777 == 0o600
