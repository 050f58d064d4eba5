"""`waypost backup` and `waypost restore`, where no server runs."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from waypost.storage.sqlite.instance import InstanceLock

DATABASE = Path(".waypost/waypost.db")


def test_what_was_backed_up_is_there_after_a_restore(waypost: Run, folder: Path) -> None:
    waypost("keys", "create", "--name", "before")
    status, out, _ = waypost("backup", "copy.db")
    assert status == 0
    assert "copy.db.key: the secret key" in out
    waypost("keys", "create", "--name", "after")
    status, _, err = waypost("restore", "copy.db")
    assert status == 1
    assert "exists" in err
    assert waypost("restore", "copy.db", "--force")[0] == 0
    _, out, _ = waypost("keys", "list")
    assert "before" in out
    assert "after" not in out


def test_a_backup_without_its_key_says_so(waypost: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    waypost("migrate")
    status, out, _ = waypost("backup", "copy.db", "--without-key")
    assert status == 0
    assert "not in the backup" in out
    monkeypatch.setenv("WAYPOST_DATABASE_URL", "sqlite:///other/new.db")
    status, out, _ = waypost("restore", "copy.db")
    assert status == 0
    assert "set WAYPOST_SECRET_KEY" in out


def test_nothing_is_restored_under_a_running_server(waypost: Run) -> None:
    waypost("migrate")
    waypost("backup", "copy.db")
    lock = InstanceLock.acquire(DATABASE, Path("socket"))
    status, _, err = waypost("restore", "copy.db", "--force")
    lock.release()
    assert status == 1
    assert "in use by process" in err


def test_there_must_be_something_to_back_up(waypost: Run) -> None:
    status, _, err = waypost("backup", "copy.db")
    assert status == 2
    assert "can't be opened" in err
