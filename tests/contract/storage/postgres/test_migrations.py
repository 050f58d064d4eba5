"""Migrations of a database that is in use by many."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text

from tests.support import postgres
from waypost.model import ids
from waypost.model.errors import ConfigInvalid, Conflict
from waypost.storage import migrations, partitions, schema, subscriptions
from waypost.storage.migrations.upgrade import statements, upgrade_shared
from waypost.storage.postgres.connection import connect, raw

NOW_US = 1_800_000_000_000_000

_COLUMNS = (
    "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, co.collname,"
    " pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
    " LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    " LEFT JOIN pg_collation co ON co.oid = a.attcollation"
    " WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped"
    " AND c.relkind IN ('r', 'p') AND NOT c.relispartition"
)
_TABLES = (
    "SELECT c.relname, c.relkind, c.reloptions, pg_get_partkeydef(c.oid) FROM pg_class c"
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')"
    " AND NOT c.relispartition"
)
_INDEXES = (
    "SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
    " WHERE c.relnamespace = 'public'::regnamespace AND NOT c.relispartition"
)
_CONSTRAINTS = (
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(k.oid) FROM pg_constraint k"
    " JOIN pg_class c ON c.oid = k.conrelid WHERE c.relnamespace = 'public'::regnamespace"
    " AND NOT c.relispartition AND contype <> 'n'"
)


def shape(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return everything that makes up the tables, but for the partitions."""
    found = {}
    for query in (_COLUMNS, _TABLES, _INDEXES, _CONSTRAINTS):
        rows = [tuple(map(str, row)) for row in connection.exec_driver_sql(query)]
        found[query] = sorted(row for row in rows if "alembic" not in row[0])
    return found


@pytest.fixture
def empty() -> Iterator[str]:
    with postgres.fresh(lambda _: None, "empty") as url:
        yield url


@pytest.fixture
def connection(empty: str) -> Iterator[Connection]:
    opened = connect(empty)
    yield opened
    opened.close()
    opened.engine.dispose()


@pytest.fixture
def other() -> Iterator[Connection]:
    with postgres.fresh(lambda _: None, "empty") as url:
        opened = connect(url)
        schema.metadata.create_all(opened)
        yield opened
        opened.close()
        opened.engine.dispose()


def upgrade(url: str) -> None:
    upgrade_shared(lambda: connect(url), NOW_US, patience_s=0.2)


def test_migrations_make_the_tables_of_the_schema(
    empty: str, connection: Connection, other: Connection
) -> None:
    with pytest.raises(ConfigInvalid, match="is empty: run `waypost migrate`"):
        migrations.demand_head(connection)
    upgrade(empty)
    assert shape(connection) == shape(other)
    migrations.demand_head(connection)
    assert connection.execute(text("SELECT count(*) FROM shards")).scalar_one() == 256
    assert connection.execute(text("SELECT * FROM config_version")).all() == [(1, 0)]


def test_the_partitions_that_are_needed_next_are_made(empty: str, connection: Connection) -> None:
    upgrade(empty)
    present = partitions.list_all(connection)
    assert present[0].begin_us < NOW_US < present[-1].end_us
    connection.execute(
        insert(schema.events).values(
            project_id=bytes(16),
            id=ids.make(NOW_US + 6 * 86_400_000_000, 1),
            type="a",
            payload=b"",
            routing_version=1,
        )
    )


def test_the_statements_of_a_dry_run_make_the_same_tables(
    connection: Connection, other: Connection
) -> None:
    script = statements(connection)
    assert migrations.current_revision(connection) is None, "a dry run changes nothing"
    # As psql would: many statements in one message.
    raw(connection).pgconn.exec_(script.encode())
    assert shape(connection) == shape(other)
    migrations.demand_head(connection)
    assert statements(connection).strip() == ""


def test_what_breaks_off_goes_on_where_it_stopped(
    empty: str, connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("power is out")

    with monkeypatch.context() as broken:
        broken.setattr("alembic.operations.Operations.execute", fail)
        with pytest.raises(RuntimeError, match="power is out"):
            upgrade(empty)
    assert migrations.current_revision(connection) == migrations.KNOWN[0]
    with pytest.raises(ConfigInvalid, match="run `waypost migrate`"):
        migrations.demand_head(connection)
    upgrade(empty)
    assert shape(connection) == shape(other)


def test_what_a_database_of_an_older_revision_holds_stays(
    empty: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("power is out")

    with monkeypatch.context() as broken:
        broken.setattr("alembic.operations.Operations.add_column", fail)
        with pytest.raises(RuntimeError, match="power is out"):
            upgrade(empty)
    assert migrations.current_revision(connection) == "0002_several_processes"
    connection.execute(
        text(
            "INSERT INTO subscriptions (project_id, id, url, description, paused, headers,"
            " timeout_ms, concurrency, format, signing)"
            " VALUES (gen_random_uuid(), gen_random_uuid(), 'https://a.example/', '', 0, '{}',"
            " 1000, 1, 'payload', 'v1')"
        )
    )
    upgrade(empty)
    [kept] = subscriptions.load_all(connection)
    assert (kept.url, kept.timeout_s, kept.filter) == ("https://a.example/", 1.0, None)


def test_two_at_once_do_it_once(empty: str, connection: Connection) -> None:
    threads = [
        threading.Thread(target=upgrade_shared, args=(lambda: connect(empty), NOW_US))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    migrations.demand_head(connection)
    assert connection.execute(text("SELECT count(*) FROM shards")).scalar_one() == 256


def test_whoever_waits_too_long_is_told_so(empty: str, connection: Connection) -> None:
    upgrade(empty)
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql("LOCK TABLE alembic_version")
    with pytest.raises(Conflict, match="holds a table of it locked"):
        upgrade(empty)
    connection.exec_driver_sql("ROLLBACK")
    upgrade(empty)


def test_a_newer_database_is_refused(empty: str, connection: Connection) -> None:
    upgrade(empty)
    connection.execute(text("UPDATE alembic_version SET version_num = '0099_from_the_future'"))
    with pytest.raises(ConfigInvalid, match=r"'0099_from_the_future'.*written by a newer one"):
        upgrade(empty)


def test_somebody_else_s_database_is_refused(empty: str, connection: Connection) -> None:
    connection.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(ConfigInvalid, match="not Waypost's"):
        upgrade(empty)
