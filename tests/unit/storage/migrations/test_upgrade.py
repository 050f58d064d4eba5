"""Migrations make exactly the tables that the code expects."""

import io
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from tests.support import database
from waypost.model.errors import ConfigInvalid
from waypost.storage import migrations, subscriptions
from waypost.storage.migrations.upgrade import _config, statements, upgrade
from waypost.storage.schema import metadata


@pytest.fixture
def empty(tmp_path: Path) -> Connection:
    # A percent sign means something in the files that Alembic usually reads.
    return database.connect(tmp_path / "100%.db")


def shape(connection: Connection) -> dict[str, Any]:
    """Return everything that SQLite knows of the tables, but for the order they were made in."""

    def rows(pragma: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in connection.exec_driver_sql(pragma)]

    found: dict[str, Any] = {}
    for _schema, table, kind, columns, without_rowid, strict in sorted(rows("PRAGMA table_list")):
        if table.startswith(("sqlite_", "alembic_")):
            continue
        indexes = {
            name if origin == "c" else origin + str(unique): (
                unique,
                partial,
                rows(f"PRAGMA index_xinfo('{name}')"),
            )
            for _, name, unique, origin, partial in rows(f"PRAGMA index_list('{table}')")
        }
        columns_of = sorted(rows(f"PRAGMA table_xinfo('{table}')"))
        found[table] = (kind, columns, without_rowid, strict, columns_of, indexes)
    return found


def test_migrations_make_the_tables_of_the_schema(empty: Connection, tmp_path: Path) -> None:
    upgrade(empty)
    other = database.connect(tmp_path / "metadata.db")
    metadata.create_all(other)
    assert shape(empty) == shape(other)
    assert shape(empty), "something was compared"


def test_what_a_database_of_the_first_revision_holds_stays(empty: Connection) -> None:
    config = _config(io.StringIO(), "sqlite")
    config.attributes["connection"] = empty
    command.upgrade(config, migrations.KNOWN[0])
    empty.execute(
        text(
            "INSERT INTO subscriptions (project_id, id, url, description, paused, headers,"
            " timeout_ms, concurrency, format, signing)"
            " VALUES (x'01', x'02', 'https://a.example/', '', 0, '{}', 1000, 1, 'payload', 'v1')"
        )
    )
    upgrade(empty)
    [kept] = subscriptions.load_all(empty)
    assert (kept.url, kept.timeout_s, kept.filter) == ("https://a.example/", 1.0, None)


def test_a_database_that_is_up_to_date_is_left_alone(empty: Connection) -> None:
    assert migrations.current_revision(empty) is None
    upgrade(empty)
    assert migrations.current_revision(empty) == migrations.HEAD
    before = shape(empty)
    upgrade(empty)
    assert shape(empty) == before
    assert statements(empty).strip() == ""


def test_the_known_revisions_are_those_of_the_folder() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    assert [script.revision for script in reversed(scripts)] == list(migrations.KNOWN)


def test_the_statements_of_a_dry_run_make_the_same_tables(
    empty: Connection, tmp_path: Path
) -> None:
    script = statements(empty)
    assert migrations.current_revision(empty) is None, "a dry run changes nothing"
    raw: Any = empty.connection.driver_connection
    raw.executescript(script)
    other = database.connect(tmp_path / "metadata.db")
    metadata.create_all(other)
    assert shape(empty) == shape(other)
    assert migrations.current_revision(empty) == migrations.HEAD


def test_a_migration_that_breaks_off_leaves_nothing(
    empty: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("power is out")

    monkeypatch.setattr("alembic.operations.Operations.create_index", fail)
    with pytest.raises(RuntimeError, match="power is out"):
        upgrade(empty)
    assert migrations.current_revision(empty) is None
    assert shape(empty) == {}


def test_a_newer_database_is_refused(empty: Connection) -> None:
    upgrade(empty)
    empty.execute(text("UPDATE alembic_version SET version_num = '0099_from_the_future'"))
    with pytest.raises(ConfigInvalid, match=r"'0099_from_the_future'.*written by a newer one"):
        migrations.current_revision(empty)


def test_somebody_else_s_database_is_refused(empty: Connection) -> None:
    empty.execute(text("CREATE TABLE recipes (name TEXT)"))
    with pytest.raises(ConfigInvalid, match="not Waypost's"):
        migrations.current_revision(empty)
