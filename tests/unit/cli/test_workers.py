"""`waypost workers`: a table, live or once, and JSON."""

import json
from collections.abc import Iterator

import pytest
from rich.console import Console

from tests.support import postgres
from tests.unit.cli.conftest import Run
from waypost.cli import workers as command
from waypost.clock import SystemClock
from waypost.model.shards import SHARDS
from waypost.storage import workers
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.postgres.connection import connect
from waypost.storage.workers import Card, Load, Worker

ME = bytes(15) + b"\x01"


@pytest.fixture
def url() -> Iterator[str]:
    """A database with one worker that owns everything."""

    def migrate(url: str) -> None:
        upgrade_shared(lambda: connect(url), SystemClock().now_us())

    with postgres.fresh(migrate, "migrated_by_days_of_tests") as made:
        connection = connect(made)
        workers.join(connection, Card(ME, "host:7", "all", "127.0.0.1:8080", "1.0"), 60_000_000)
        workers.claim(connection, ME, SHARDS)
        workers.renew(connection, ME, "all", Load(1_234, 5.25, 40, 3), 60_000_000)
        connection.close()
        connection.engine.dispose()
        yield made


def test_elsewhere_than_on_a_terminal_it_is_lines(waypost: Run, url: str) -> None:
    status, out, _ = waypost("workers", "--database-url", url)
    assert status == 0
    cells = out.rstrip("\n").split("\t")
    assert cells[:4] == ["host:7", "all", "127.0.0.1:8080", "1.0"]
    assert cells[6:] == ["256", "3", "0.0s", "5.2/s", "1,234"]


def test_as_json_it_is_everything(waypost: Run, url: str) -> None:
    status, out, _ = waypost("workers", "--json", "--database-url", url)
    assert status == 0
    (worker,) = map(json.loads, out.splitlines())
    assert worker["worker"] == "host:7"
    assert worker["shards"] == list(range(SHARDS))
    assert worker["lag_ms"] == 40
    assert 0 < worker["lease_left_s"] <= 60


def test_on_a_file_there_is_but_one(waypost: Run) -> None:
    status, _, err = waypost("workers")
    assert status == 2
    assert "workers are for PostgreSQL" in err


def shown(*found: Worker) -> str:
    console = Console(width=160)
    with console.capture() as text:
        console.print(command.screen(found))
    return text.get()


def worker(**more: object) -> Worker:
    card = Card(ME, "host:7", "all", "127.0.0.1:8080", "1.0")
    given = {"age_us": 3_600_000_000, "left_us": 9_000_000, "shards": (1, 2)} | more
    return Worker(card, Load(rate=2.0), **given)  # type: ignore[arg-type] # fields by name


def test_the_screen_sums_it_up() -> None:
    text = shown(worker(), worker(age_us=200_000_000_000, left_us=-1, shards=()))
    assert "60m" in text
    assert "56h" in text
    assert "dead" in text
    assert "2 workers, 2 of them deliver; 2 of 256 shards owned; 4.0 deliveries/s" in text


def test_the_live_table_ends_by_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("waypost.cli.workers.time.sleep", interrupt)
    connection = connect(url)
    command._watch(connection)
    connection.close()
    connection.engine.dispose()
