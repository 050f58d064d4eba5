"""A standby is refused at the start, and is the primary server as soon as it is promoted."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.test_database_failures import Found, goes_on, rig, warnings
from tests.acceptance.test_postgres import migrate, refused
from tests.support import postgres
from tests.support.postgres import CRASH, Server


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """A primary server that waits for its standby at each commit, and the standby."""
    options = {"synchronous_commit": "remote_apply"}
    with postgres.running(durable=True, options=options) as primary:
        migrate(primary.url())
        with postgres.running(durable=True, primary=primary) as standby:
            primary.execute(
                "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
            )
            yield primary, standby


def test_a_standby_is_refused_at_the_start(tmp_path: Path, pair: tuple[Server, Server]) -> None:
    _, standby = pair
    line = refused(tmp_path, WAYPOST_DATABASE_URL=standby.url())
    assert "is a read-only standby: name the primary server" in line


def test_a_failover(tmp_path: Path, pair: tuple[Server, Server], record_property: Found) -> None:
    primary, standby = pair
    hosts = ",".join(f"127.0.0.1:{one.port}" for one in pair)
    url = f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"
    with rig(tmp_path, standby, url) as it:
        primary.stop(CRASH)
        it.producer.is_refused(20)
        standby.execute("SELECT pg_promote()")
        record_property("goes on after a failover, s", f"{goes_on(it):.2f}")
    it.producer.assert_refused_well()
    told = warnings(it.program)
    assert told.pop("database_away") == told.pop("database_back") == 1
