"""A copy is everything, goes on where it stopped, and is compared at the end."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, select, text

from tests.support import database, postgres
from tests.support.database import Records
from waypost.clock import SystemClock
from waypost.model.delivery import DeliveryState
from waypost.model.errors import ConfigInvalid, Conflict
from waypost.model.event import Attributes
from waypost.storage import copying, facts, location, schema, subscriptions
from waypost.storage.copying import COPIED, Copied, Unlike
from waypost.storage.location import PostgresUrl
from waypost.storage.migrations.upgrade import upgrade, upgrade_shared
from waypost.storage.partitions import Width
from waypost.storage.postgres.connection import PostgresOptions, connect
from waypost.storage.sqlite.instance import DatabaseInUse, InstanceLock
from waypost.storage.sqlite.preparation import open_apart

EVENTS = 25
FILTER = '{"headers": {"x-ä": "\\u0000"}, "body": {"n": 1.10}}'
ATTRIBUTES = Attributes(headers={"x-ä": "é"}, query={"q": ["a", "b"]}, path="/p")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with something in it."""
    file = tmp_path / "w.db"
    with open_apart(file) as connection:
        upgrade(connection)
        records = Records(connection)
        facts.record(connection, facts.DEFAULT_PROJECT, records.project.hex())
        subscription = records.subscription(description="Überall ☃", filter=FILTER)
        for number in range(EVENTS):
            event_id = records.event(f"card.{number}", ATTRIBUTES)
            if number % 3:
                records.pending(event_id, subscription)
            else:
                records.ended(event_id, subscription, DeliveryState.FAILED)
        records.event(project_id=records.other)
    return file


@pytest.fixture
def target() -> Iterator[PostgresUrl]:
    """A database with the tables and nothing in them."""

    def migrate(url: str) -> None:
        upgrade_shared(lambda: connect(url), SystemClock().now_us(), Width.WEEK)

    with postgres.fresh(migrate, "migrated_template_of_tests") as url:
        place = location.read(url)
        assert isinstance(place, PostgresUrl)
        yield place


class Told:
    """Hears how far a copy is, and may break it off."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.heard: list[tuple[str, str, int, int]] = []
        self._breaks_at = breaks_at

    def __call__(self, what: str, table: str, done: int, total: int) -> None:
        self.heard.append((what, table, done, total))
        if len(self.heard) == self._breaks_at:
            raise KeyboardInterrupt


def copy(source: Path, target: PostgresUrl, told: Told | None = None) -> dict[str, Copied]:
    copied = copying.copy(source, target, PostgresOptions(), Width.WEEK, told or Told())
    return {one.table: one for one in copied}


@pytest.fixture
def reader(target: PostgresUrl) -> Iterator[Connection]:
    connection = database.connect(target.conninfo)
    yield connection
    connection.close()
    connection.engine.dispose()


def count(connection: Connection, table: str) -> int:
    query = select(func.count()).select_from(schema.metadata.tables[table])
    return int(connection.execute(query).scalar_one())


def test_everything_is_copied_as_it_is(
    source: Path, target: PostgresUrl, reader: Connection
) -> None:
    copied = copy(source, target)
    assert set(copied) == {table.name for table in COPIED}
    assert copied["events"].rows == EVENTS + 1
    assert copied["queue"].rows + copied["deliveries"].rows == EVENTS
    with open_apart(source) as old:
        for table in COPIED:
            rows = {tuple(row) for row in old.execute(select(table))}
            assert {tuple(row) for row in reader.execute(select(table))} == rows, table.name
    assert facts.find(reader, "copy") is None
    [kept] = subscriptions.load_all(reader)
    assert kept.filter == FILTER


def test_what_processes_know_of_each_other_is_not_copied() -> None:
    left = set(schema.metadata.tables) - {table.name for table in COPIED}
    assert left == {"config_changes", "config_version", "shards", "workers"}


def test_it_tells_how_far_it_is(source: Path, target: PostgresUrl) -> None:
    told = Told()
    copy(source, target, told)
    assert ("copying", "events", 0, EVENTS + 1) in told.heard
    assert ("copying", "events", EVENTS + 1, EVENTS + 1) in told.heard
    assert told.heard[-1][0] == "comparing"
    assert told.heard[-1][2] == told.heard[-1][3]


@pytest.mark.parametrize("after", range(1, 60, 7))
def test_a_copy_that_breaks_off_goes_on_where_it_stopped(
    source: Path,
    target: PostgresUrl,
    reader: Connection,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    monkeypatch.setattr(copying, "_CHUNK_ROWS", 2)
    monkeypatch.setattr(copying, "_FETCH", 3)
    with pytest.raises(KeyboardInterrupt):
        copy(source, target, Told(after))
    assert facts.find(reader, "copy") is not None
    told = Told()
    copied = copy(source, target, told)
    assert copied["events"].rows == EVENTS + 1
    assert count(reader, "events") == EVENTS + 1
    assert facts.find(reader, "copy") is None


def test_a_database_with_something_in_it_is_left_alone(
    source: Path, target: PostgresUrl, reader: Connection
) -> None:
    Records(reader)
    with pytest.raises(Conflict, match="is not empty, there are projects"):
        copy(source, target)


def test_a_copy_that_is_done_is_not_done_again(source: Path, target: PostgresUrl) -> None:
    copy(source, target)
    with pytest.raises(Conflict, match="is not empty"):
        copy(source, target)


def test_a_copy_of_another_file_is_not_mixed_with_it(source: Path, target: PostgresUrl) -> None:
    with pytest.raises(KeyboardInterrupt):
        copy(source, target, Told(5))
    with open_apart(source) as connection:
        facts.record(connection, facts.DEFAULT_PROJECT, "00" * 16)
    with pytest.raises(Conflict, match="a copy of another database"):
        copy(source, target)


def test_what_something_else_has_written_meanwhile_is_found(
    source: Path, target: PostgresUrl, reader: Connection
) -> None:
    class Meddler(Told):
        def __call__(self, what: str, table: str, done: int, total: int) -> None:
            if (what, table, done) == ("comparing", "events", 0):
                reader.execute(text("UPDATE events SET type = 'other' WHERE type = 'card.7'"))

    with pytest.raises(Unlike, match="events differs"):
        copy(source, target, Meddler())
    assert facts.find(reader, "copy") is not None, "no server starts on it"


def test_a_file_that_a_server_has_is_refused(source: Path, target: PostgresUrl) -> None:
    lock = InstanceLock.acquire(source, Path("socket"))
    with pytest.raises(DatabaseInUse):
        copy(source, target)
    lock.release()


def test_two_copies_at_once_are_one_too_many(
    source: Path, target: PostgresUrl, reader: Connection
) -> None:
    reader.execute(text(f"SELECT pg_advisory_lock({copying._LOCK})"))
    with pytest.raises(Conflict, match="another copy"):
        copy(source, target)


def test_a_file_that_is_none_or_older_is_refused(tmp_path: Path, target: PostgresUrl) -> None:
    file = tmp_path / "new.db"
    with pytest.raises(ConfigInvalid, match="there is no database at"):
        copy(file, target)
    with open_apart(file) as connection:
        pass
    with pytest.raises(ConfigInvalid, match="is empty"):
        copy(file, target)
    with open_apart(file) as connection:
        upgrade(connection)
        connection.execute(text("UPDATE alembic_version SET version_num = '0001_first_tables'"))
    with pytest.raises(ConfigInvalid, match="run `waypost migrate --database-url"):
        copy(file, target)


def test_a_text_that_postgresql_can_not_hold_is_named(source: Path, target: PostgresUrl) -> None:
    with open_apart(source) as connection:
        connection.execute(text("UPDATE subscriptions SET description = 'a' || char(0) || 'b'"))
    with pytest.raises(ConfigInvalid, match="description of a row of subscriptions can't be kept"):
        copy(source, target)
