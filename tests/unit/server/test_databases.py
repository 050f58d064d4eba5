"""The two kinds of database, as a server holds them."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import database, postgres
from waypost import config
from waypost.clock import AlignedClock, SystemClock
from waypost.config import Config
from waypost.model.errors import ConfigInvalid
from waypost.server.databases import DatabaseDamaged, hold, place_socket, postgres_options
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.postgres.connection import connect
from waypost.storage.postgres.store import PostgresStore
from waypost.storage.sqlite.instance import DatabaseInUse
from waypost.storage.sqlite.store import SqliteStore

KEY = base64.b64encode(bytes(range(32))).decode()


def load(url: str, **more: str) -> Config:
    return config.load({"database_url": url, **more}, environment={}).config


@pytest.fixture
def server() -> Iterator[str]:
    def migrate(url: str) -> None:
        upgrade_shared(lambda: connect(url), SystemClock().now_us())

    with postgres.fresh(migrate, "migrated_by_days_of_tests") as url:
        yield url


def test_a_file_is_held_by_one_alone(tmp_path: Path) -> None:
    settings = load(f"sqlite:///{tmp_path / 'w.db'}")
    held = hold(settings)
    assert isinstance(held.store(print), SqliteStore)
    assert held.disk == tmp_path / "w.db"
    assert held.socket_path == tmp_path / "w.db.sock"
    assert held.links() is None
    with pytest.raises(DatabaseInUse):
        hold(settings)
    held.release()
    hold(settings).release()


def test_a_file_that_was_not_closed_is_looked_through(tmp_path: Path) -> None:
    file = tmp_path / "w.db"
    hold(load(f"sqlite:///{file}")).release()
    connection = database.connect(file)
    connection.exec_driver_sql("CREATE TABLE x (y)")
    file.with_name("copy.db").write_bytes(file.read_bytes()[:8192] + bytes(4096) * 8)
    connection.close()
    connection.engine.dispose()
    log = file.with_name("w.db-wal")
    log.write_bytes(b"x")
    found: list[Exception] = []
    held = hold(load(f"sqlite:///{file}"))
    held.look_through(found.append)
    held.break_off()
    held.release()
    assert all(isinstance(error, DatabaseDamaged) for error in found)


def test_a_server_s_database_is_held_by_many(server: str) -> None:
    settings = load(server, secret_key=KEY)
    first, second = hold(settings), hold(settings)
    assert isinstance(first.store(print), PostgresStore)
    assert isinstance(second.clock, AlignedClock)
    assert first.disk is None
    assert first.socket_path is None
    assert first.links() is not None
    first.look_through(print)
    for held in (first, second):
        held.break_off()
        held.release()


def test_what_the_driver_says_becomes_one_line(server: str) -> None:
    held = hold(load(server, secret_key=KEY))
    connection = connect(server)
    with pytest.raises(ConfigInvalid, match="run `waypost migrate`"), held.explained():
        connection.exec_driver_sql("SELECT 1 FROM no_such_table")
    connection.close()
    connection.engine.dispose()


def test_settings_reach_the_connections() -> None:
    options = postgres_options(
        load("postgresql://h/d", prepared_statements="off", statement_timeout="7s")
    )
    assert options.prepare is False
    assert options.statement_timeout_s == 7


def test_a_socket_stands_beside_the_database_where_its_path_fits() -> None:
    assert place_socket(Path("/a/w.db")) == Path("/a/w.db.sock")
    far = place_socket(Path("/" + "x" * 200) / "w.db")
    assert len(str(far)) < 100
    assert far.parent.stat().st_mode & 0o777 == 0o700
    far.parent.rmdir()
