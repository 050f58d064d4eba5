"""What else forbids a start on PostgreSQL: exit code 2, and one line that says what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_postgres import migrate, refused
from tests.support import postgres
from tests.support.postgres import Server
from tests.support.wire import wire


@pytest.fixture
def server() -> Iterator[Server]:
    with postgres.running() as running:
        migrate(running.url())
        yield running


def test_a_user_without_rights(tmp_path: Path, server: Server) -> None:
    server.execute("CREATE ROLE app LOGIN")
    line = refused(tmp_path, WAYPOST_DATABASE_URL=server.url(user="app"))
    assert "GRANT the missing right, or connect as the owner of the tables" in line
    server.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO app")
    line = refused(tmp_path, WAYPOST_DATABASE_URL=server.url(user="app"))
    assert "GRANT them, or connect as the owner of the tables" in line


def test_a_schema_of_a_later_version(tmp_path: Path, server: Server) -> None:
    server.execute("UPDATE alembic_version SET version_num = '9999'")
    line = refused(tmp_path, WAYPOST_DATABASE_URL=server.url())
    assert "9999" in line
    assert "newer" in line


def test_a_server_that_is_too_old(tmp_path: Path, server: Server) -> None:
    """It is the same server, but on the way to us it says that it is version 14."""
    with wire(server.port) as between:
        between.exchange(b"server_version\x0016.", b"server_version\x0014.")
        line = refused(tmp_path, WAYPOST_DATABASE_URL=between.through(server.url()))
    assert "the server is PostgreSQL 14: Waypost needs 15 or newer" in line


def test_a_disk_that_is_full(tmp_path: Path, server: Server) -> None:
    server.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON projects EXECUTE FUNCTION no_room()",
    )
    line = refused(tmp_path, WAYPOST_DATABASE_URL=server.url())
    assert "the disk of the PostgreSQL server is full: make room there" in line
