"""`waypost migrate`; `waypost serve` is tried as a process, in the acceptance tests."""

from pathlib import Path

from tests.unit.cli.conftest import Run
from waypost.storage import migrations
from waypost.storage.sqlite.instance import InstanceLock

DATABASE = Path(".waypost/waypost.db")


def test_a_dry_run_prints_sql_and_changes_nothing(waypost: Run) -> None:
    status, out, _ = waypost("migrate", "--dry-run")
    assert status == 0
    assert "CREATE TABLE events" in out
    status, out, _ = waypost("migrate")
    assert out == f"{DATABASE}: empty -> {migrations.HEAD}\n"


def test_a_second_time_there_is_nothing_to_do(waypost: Run) -> None:
    waypost("migrate")
    assert waypost("migrate") == (0, f"{DATABASE} is up to date: {migrations.HEAD}\n", "")
    assert "up to date" in waypost("migrate", "--dry-run")[1]


def test_a_database_in_use_is_left_alone(waypost: Run) -> None:
    DATABASE.parent.mkdir()
    lock = InstanceLock.acquire(DATABASE, Path("socket"))
    status, _, err = waypost("migrate")
    lock.release()
    assert status == 1
    assert "in use by process" in err
