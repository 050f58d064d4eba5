"""Connections as they are set up, and ids as they go through them."""

import subprocess
import sys

import psycopg
import pytest
from psycopg import OperationalError
from sqlalchemy import insert, select, text
from sqlalchemy.exc import DBAPIError

from tests.support.database import Records
from waypost.model.errors import ConfigInvalid
from waypost.storage import schema
from waypost.storage.postgres import connection as subject
from waypost.storage.postgres.connection import DEFAULTS, PostgresOptions, connect, open_raw, raw


def test_nothing_takes_for_ever(url: str) -> None:
    connection = connect(url, PostgresOptions(statement_timeout_s=3, lock_timeout_s=2, idle_s=1))
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    found = [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert found == ["3s", "2s", "1s"]
    connection.close()
    connection.engine.dispose()


def test_statements_see_what_others_have_committed_whatever_the_role_is_set_to(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("ALTER ROLE CURRENT_USER SET default_transaction_isolation = serializable")
        try:
            connection = connect(url, PostgresOptions())
        finally:
            admin.execute("ALTER ROLE CURRENT_USER RESET default_transaction_isolation")
    found = connection.execute(text("SHOW transaction_isolation")).scalar_one()
    assert found == "read committed"
    connection.close()
    connection.engine.dispose()


def test_behind_a_pooler_nothing_is_set_up_or_prepared(url: str) -> None:
    connection = connect(url, PostgresOptions(prepare=False))
    assert connection.execute(text("SHOW statement_timeout")).scalar_one() == "0"
    assert raw(connection).prepare_threshold is None
    connection.close()
    connection.engine.dispose()


def test_ids_and_bytes_are_bytes(records: Records) -> None:
    row = (records.project, "name", "", b"\x00\xffabc")
    table = schema.event_types
    records.connection.execute(insert(table).values(row))
    found = records.connection.execute(
        select(table).where(table.c.project_id.in_([records.project, bytes(16)]))
    ).one()
    assert tuple(found) == row
    as_text = raw(records.connection).cursor(binary=False)
    as_text.format = 0  # type: ignore[assignment] # what a server's cursor answers in
    assert as_text.execute("SELECT id FROM projects ORDER BY id").fetchall() == [
        (project,) for project in sorted([records.project, records.other])
    ]


def test_an_error_does_not_tell_what_was_to_be_written(records: Records) -> None:
    with pytest.raises(DBAPIError) as caught:
        records.connection.execute(text("SELECT CAST(:hidden AS int)"), {"hidden": "a secret"})
    assert "a secret" not in str(caught.value).split("[SQL")[1]


def test_what_can_not_be_connected_to_is_told_by_the_driver_s_error() -> None:
    nowhere = "postgresql://postgres@127.0.0.1:1/none"
    with pytest.raises(DBAPIError, match="refused"):
        connect(nowhere)
    with pytest.raises(OperationalError, match="refused"):
        open_raw(nowhere, DEFAULTS, name="test")


def test_a_server_that_is_too_old_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "OLDEST", 99)
    with pytest.raises(ConfigInvalid, match=r"is PostgreSQL 1\d: Waypost needs 99 or newer"):
        open_raw(url, DEFAULTS, name="test")


def test_the_driver_is_imported_only_where_it_is_used() -> None:
    look = "import waypost.server.program, sys; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False).returncode == 0
