"""The PostgreSQL that the benchmark starts, and how it is filled, on tables like the product's."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from bench import plans
from bench.filling import Sample, fill
from bench.postgres import (
    EXPLAINING,
    WHEEL,
    Postgres,
    PostgresDatabase,
    best_version,
    has_contrib,
    running,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the bench reads /proc")

TABLES = """
    CREATE TABLE events (id uuid PRIMARY KEY, payload bytea) PARTITION BY RANGE (id);
    CREATE TABLE deliveries (event_id uuid, id uuid, state int2, finished_us int8,
        PRIMARY KEY (event_id, id)) PARTITION BY RANGE (event_id);
    CREATE TABLE attempts (event_id uuid, id uuid,
        PRIMARY KEY (event_id, id)) PARTITION BY RANGE (event_id);
    CREATE TABLE diverted_events (id uuid PRIMARY KEY, event_id uuid, diverted_us int8);
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running(None, None, {"fsync": "off"}) as started:
        yield started


@pytest.fixture
def database(postgres: Postgres, tmp_path: Path) -> Iterator[PostgresDatabase]:
    made = postgres.create(tmp_path)
    yield made
    made.drop()


def bound(days: int) -> str:
    """The lower bound of the partition that begins so many days from today."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    millis = int((day + timedelta(days)).timestamp()) * 1000
    return f"{millis >> 16:08x}-{millis & 0xFFFF:04x}-7000-8000-000000000000"


def make_tables(connection: psycopg.Connection) -> None:
    """The tables, with a partition that began two days ago, and one event that was delivered."""
    for statement in TABLES.split(";"):
        connection.execute(statement.encode())
    for table in ("events", "deliveries", "attempts"):
        connection.execute(
            f"CREATE TABLE {table}_p1 PARTITION OF {table} "
            f"FOR VALUES FROM ('{bound(-2)}') TO ('{bound(9)}')".encode()
        )
    event = bound(0).replace("8000", "8abc")
    connection.execute("INSERT INTO events VALUES (%s, '{}')", (event,))
    delivery = bound(0).replace("8000", "8def")
    connection.execute("INSERT INTO deliveries VALUES (%s, %s, 1, 1234567)", (event, delivery))


def test_a_database_is_measured_from_when_it_was_empty(database: PostgresDatabase) -> None:
    with database.connect() as connection:
        database.migrated()
        assert database.bytes_kept() == 0
        before = database.log_position(), database.syncs()
        connection.execute("CREATE TABLE t AS SELECT generate_series(1, 100000) AS n")

    assert 3_000_000 < database.bytes_kept() < 5_000_000
    assert database.log_position() > before[0] + 3_000_000
    assert database.syncs() >= before[1]


def test_waypost_owns_its_database_and_is_no_superuser(database: PostgresDatabase) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("CREATE TABLE mine ()")
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        assert row.fetchone() == (False,)


def test_statements_are_counted_with_begin_and_commit(database: PostgresDatabase) -> None:
    with psycopg.connect(database.url) as connection:
        connection.execute("SELECT 'before'")
        connection.commit()
        database.count_statements()
        connection.execute("SELECT 1")
        connection.commit()
    found = database.statements()

    if not database.server.contrib:
        assert found is None
        return
    assert found is not None
    assert {one.text.upper(): one.calls for one in found} == {
        "BEGIN": 1,
        "SELECT $1": 1,
        "COMMIT": 1,
    }


def test_the_wheels_programs_come_without_contrib() -> None:
    assert not has_contrib(WHEEL)


def test_it_is_filled_with_copies_of_the_first_event(database: PostgresDatabase) -> None:
    said: list[str] = []
    with database.connect() as connection:
        make_tables(connection)

        row = connection.execute("SELECT id FROM events").fetchone()
        assert row is not None

        fill(database, 5_000, said.append, [Sample(row[0].bytes)])

        found = connection.execute(
            "SELECT e.tableoid::regclass::text, count(*), min(e.payload::text), min(d.state)"
            " FROM events e JOIN deliveries d ON d.event_id = e.id GROUP BY 1"
        ).fetchall()
    assert sum(count for _, count, _, _ in found) == 5_001
    assert {(payload, state) for _, _, payload, state in found} == {("\\x7b7d", 1)}
    # The days before the first partition have partitions of their own.
    assert len(found) >= 6
    assert said == ["filled 5,000 of 5,000 events (100%)", "vacuum, analyze, checkpoint"]


def test_plans_are_found_in_the_servers_log(database: PostgresDatabase) -> None:
    if not database.server.contrib:
        assert best_version() == WHEEL
        return
    with database.connect() as connection:
        make_tables(connection)
    database.set(EXPLAINING)
    before = len(database.server.log())
    with psycopg.connect(database.url.replace("waypost@", "postgres@")) as connection:
        connection.execute("SELECT count(*) FROM events")

    found = plans.explained(database.server.log()[before:])

    assert [(text, one.calls, one.scans) for text, one in found.items()] == [
        ("SELECT count(*) FROM events", 1, 1)
    ]
