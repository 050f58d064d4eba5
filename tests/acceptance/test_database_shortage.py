"""A PostgreSQL that is there, and lacks something: connections, time, room, or the right to write.

As in the tests of its failures, the ledgers of a producer and a receiver must agree at the end.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.test_database_failures import (
    GROWTH,
    LARGE,
    OURS,
    Found,
    Rig,
    goes_on,
    resident,
    rig,
    warnings,
)
from tests.acceptance.test_postgres import migrate, refused
from tests.support import postgres
from tests.support.postgres import Server
from tests.support.producer import producer
from tests.support.site import eventually

LOCKED_S = 10.0


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """A server with a database whose owner is no superuser."""
    with postgres.running(durable=True) as running:
        running.execute("CREATE ROLE app LOGIN", "CREATE DATABASE app OWNER app")
        migrate(running.url("app", user="app"))
        yield running


def is_refused_until(it: Rig, mend: Callable[[], None], found: Found, what: str) -> None:
    """Wait for refusals, mend what is wrong, and wait until everything goes on."""
    it.producer.is_refused(20)
    mend()
    found(f"goes on after {what}, s", f"{goes_on(it):.2f}")


@pytest.mark.long
def test_no_connection_is_left(tmp_path: Path, database: Server, record_property: Found) -> None:
    limit = "ALTER DATABASE app CONNECTION LIMIT {}"
    with rig(tmp_path, database, database.url("app", user="app")) as it:
        database.execute(limit.format(0), f"SELECT pg_terminate_backend(pid) FROM ({OURS}) AS ours")
        is_refused_until(
            it,
            lambda: database.execute(limit.format(-1)),
            record_property,
            "a lack of connections",
        )
    it.producer.assert_refused_well()
    told = warnings(it.program)
    assert told["database_away"] == told["database_back"] == 1


def test_a_server_without_a_free_connection_is_one_line_at_the_start(tmp_path: Path) -> None:
    few = {"max_connections": "6", "superuser_reserved_connections": "3"}
    with postgres.running(options=few | {"max_wal_senders": "0"}) as server, ExitStack() as stack:
        server.execute("CREATE ROLE app LOGIN")
        for _ in range(3):
            stack.enter_context(psycopg.connect(server.url(user="app")))
        line = refused(tmp_path, WAYPOST_DATABASE_URL=server.url(user="app"))
    assert "raise max_connections" in line


@pytest.mark.long
def test_a_server_that_takes_no_changes_for_a_while(
    tmp_path: Path, database: Server, record_property: Found
) -> None:
    turn = "ALTER SYSTEM SET default_transaction_read_only = {}"
    reload = "SELECT pg_reload_conf()"
    with rig(tmp_path, database, database.url("app", user="app")) as it:
        database.execute(turn.format("on"), reload)

        def writable() -> None:
            with psycopg.connect(database.url(), autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                connection.execute("ALTER SYSTEM RESET default_transaction_read_only")
                connection.execute(reload)

        is_refused_until(it, writable, record_property, "being read-only")
    it.producer.assert_refused_well()
    told = warnings(it.program)
    assert told.pop("database_away") == told.pop("database_back") == 1
    assert set(told) <= {"lease_lost", "shards_lost"}


def test_a_table_is_locked(tmp_path: Path, database: Server, record_property: Found) -> None:
    """No statement gets through: who waits is told in time, and nothing piles up in memory."""
    with rig(tmp_path, database, database.url("app", user="app")) as it:
        before = resident(it.program)
        with producer(it.url, size=LARGE), psycopg.connect(database.url("app")) as locking:
            locking.execute("LOCK TABLE events, queue IN ACCESS EXCLUSIVE MODE")
            began = time.monotonic()
            eventually(lambda: time.monotonic() - began > LOCKED_S)
            after = resident(it.program)
        record_property("goes on after a lock, s", f"{goes_on(it):.2f}")
    it.producer.assert_refused_well()
    assert after - before < GROWTH


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A folder on a small file system of its own, in which PostgreSQL may keep tables."""
    as_root = [] if os.getuid() == 0 else ["sudo"]
    place = Path(tempfile.mkdtemp(prefix="waypost-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m,mode=0777", "tmpfs", str(place)]
    subprocess.run([*as_root, *mount], check=True)
    try:
        tables = place / "tables"
        tables.mkdir(mode=0o700)
        if os.getuid() == 0:
            shutil.chown(tables, "nobody")
        yield tables
    finally:
        subprocess.run([*as_root, "umount", "-l", str(place)], check=True)
        place.rmdir()


@pytest.mark.long
def test_a_disk_is_full(tmp_path: Path, small_disk: Path, record_property: Found) -> None:
    filler = small_disk.with_name("filler")
    with postgres.running(durable=True) as server:
        server.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        server.execute("CREATE DATABASE app TABLESPACE small")
        migrate(server.url("app"))
        with rig(tmp_path, server, server.url("app")) as it:
            with filler.open("wb") as file:
                room = os.statvfs(small_disk)
                os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize)
            is_refused_until(it, filler.unlink, record_property, "a full disk")
        it.producer.assert_refused_well()
        assert 507 in {answer.status for answer in it.producer.refusals}
        assert warnings(it.program)["batch_refused"] <= 2
