"""`waypost prune`."""

from pathlib import Path

import pytest

from tests.support.database import Records
from tests.unit.cli.conftest import Run
from waypost.clock import SystemClock
from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.storage.sqlite.connection import connect

DATABASE = Path(".waypost/waypost.db")
DAY_S = 86_400


@pytest.fixture
def old(waypost: Run) -> Path:
    """Return a database with an event of 100 days ago and one of 50 days ago."""
    assert waypost("projects", "list")[0] == 0
    connection = connect(DATABASE)
    records = Records(connection)
    subscription = records.subscription()
    for days in (100, 50):
        records.clock.at_us = SystemClock().now_us() - days * DAY_S * 1_000_000
        records.ids._last_us = 0
        records.ended(records.event(), subscription, DeliveryState.DELIVERED)
    connection.close()
    connection.engine.dispose()
    return DATABASE


def rows(out: str) -> dict[str, int]:
    pairs = (line.split("\t") for line in out.splitlines())
    return {table: int(count) for table, count in pairs}


def left(path: Path) -> list[int]:
    """Return the age of each event, days."""
    connection = connect(path)
    found = [row[0] for row in connection.exec_driver_sql("SELECT id FROM events")]
    connection.close()
    connection.engine.dispose()
    now_us = SystemClock().now_us()
    return sorted((now_us - ids.moment(one)) // (DAY_S * 1_000_000) for one in found)


def test_it_counts_and_then_deletes_what_the_settings_say(waypost: Run, old: Path) -> None:
    status, out, err = waypost("prune", "--dry-run")
    assert (status, rows(out)) == (0, {"events": 1, "deliveries": 1})
    assert "Nothing was deleted." in err
    assert left(old) == [50, 100]
    status, out, _ = waypost("prune")
    assert (status, rows(out)) == (0, {"events": 1, "deliveries": 1})
    assert left(old) == [50]
    status, out, err = waypost("prune")
    assert (status, out, err) == (0, "", "Nothing has had its time.\n")


@pytest.mark.parametrize("before", ["30d", "2100-01-01T00:00:00Z"])
def test_an_age_or_a_time_may_be_named(waypost: Run, old: Path, before: str) -> None:
    status, out, _ = waypost("prune", "--before", before)
    assert (status, rows(out)) == (0, {"events": 2, "deliveries": 2})
    assert left(old) == []


def test_a_setting_may_be_given_along(waypost: Run, old: Path) -> None:
    assert rows(waypost("prune", "--dry-run", "--retention", "forever")[1]) == {}
    assert rows(waypost("prune", "--dry-run", "--retention", "40d")[1])["events"] == 2


@pytest.mark.parametrize("option", ["--before", "--diverted-before"])
def test_what_is_no_time_is_refused(waypost: Run, option: str) -> None:
    status, _, err = waypost("prune", option, "yesterday")
    assert status == 2
    assert "such as 30d" in err
