"""`waypost doctor` on PostgreSQL: each thing it looks at, sound and unsound."""

import base64
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.support import postgres
from waypost import config
from waypost.cli import doctor, doctor_server
from waypost.cli.findings import Finding
from waypost.clock import SystemClock
from waypost.storage import facts, key_file, migrations
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.postgres.connection import connect
from waypost.storage.postgres.preparation import Limits

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def url() -> Iterator[str]:
    def migrate(url: str) -> None:
        upgrade_shared(lambda: connect(url), SystemClock().now_us())

    with postgres.fresh(migrate, "migrated_by_days_of_tests") as made:
        yield made


def findings(url: str, **environment: str) -> dict[str, Finding]:
    given = {"WAYPOST_DATABASE_URL": url, "WAYPOST_SECRET_KEY": KEY} | environment
    settings = config.load(environment=given)
    return {one.subject: one for one in doctor.examine(settings)}


def test_a_sound_server_has_nothing_bad_but_what_tests_switch_off(url: str) -> None:
    found = findings(url)
    bad = {subject for subject, one in found.items() if one.good is False}
    assert bad == {"durability"}
    assert "fsync is off" in found["durability"].text
    assert found["schema"].text == migrations.HEAD
    for subject in ("postgresql", "rights", "secret key", "partitions", "database clock"):
        assert found[subject].good is True, subject


def test_one_that_can_not_be_reached_is_bad() -> None:
    found = findings("postgresql://u:hidden@127.0.0.1:1/d")
    assert found["database"].good is False
    assert "hidden" not in str(found)


def test_without_tables_it_says_what_makes_them() -> None:
    with postgres.fresh(lambda _: None, "empty_of_tests") as empty:
        assert findings(empty)["schema"] == Finding(
            False, "schema", "there is none: run `waypost migrate`"
        )


def test_an_older_schema_is_bad(url: str) -> None:
    connection = connect(url)
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0001_first_tables'")
    connection.close()
    connection.engine.dispose()
    assert "run `waypost migrate`" in findings(url)["schema"].text


def test_no_key_or_another_one_is_bad(url: str) -> None:
    connection = connect(url)
    facts.record(connection, "secret_key_fingerprint", key_file.fingerprint(b"other"))
    connection.close()
    connection.engine.dispose()
    settings = config.load(environment={"WAYPOST_DATABASE_URL": url})
    without = {one.subject: one for one in doctor.examine(settings)}
    assert "is not set" in without["secret key"].text
    found = findings(url)["secret key"]
    assert found.good is False
    assert "was written under" in found.text


def test_partitions_that_run_out_are_bad(url: str) -> None:
    connection = connect(url)
    for table in ("events", "deliveries", "attempts"):
        names = connection.exec_driver_sql(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            f" WHERE inhparent = '{table}'::regclass"
        ).scalars()
        for name in list(names):
            connection.exec_driver_sql(f"DROP TABLE {name}")
    connection.close()
    connection.engine.dispose()
    assert findings(url)["partitions"].good is False


SOUND = Limits(
    max_connections=100,
    reserved=3,
    others=5,
    fsync=True,
    synchronous_commit="on",
    synchronous_standbys="",
    wal_level="replica",
    is_pooled=False,
)


def settings(**flags: str) -> config.Config:
    return config.load({"database_url": "postgresql://h/d", **flags}, environment={}).config


def test_connections_are_counted_for_all_processes() -> None:
    assert doctor_server._connections(settings(processes="7"), SOUND).good is True
    found = doctor_server._connections(settings(processes="8"), SOUND)
    assert found.good is False
    assert "raise max_connections" in found.text


@pytest.mark.parametrize(
    "limits,good,words",
    [
        (SOUND, None, "no synchronous standby"),
        (replace(SOUND, synchronous_standbys="s1"), True, "standbys s1"),
        (replace(SOUND, synchronous_commit="off"), False, "loses accepted events"),
        (replace(SOUND, fsync=False), False, "fsync is off"),
    ],
)
def test_what_a_commit_waits_for_is_told(limits: Limits, good: bool | None, words: str) -> None:
    found = doctor_server._durability(limits)
    assert found.good is good
    assert words in found.text


def test_a_log_that_holds_little_is_told() -> None:
    assert doctor_server._wal_level(SOUND).good is True
    assert doctor_server._wal_level(replace(SOUND, wal_level="minimal")).good is None


def test_a_pooler_wants_its_settings() -> None:
    pooled = replace(SOUND, is_pooled=True)
    assert doctor_server._pooler(settings(), SOUND).good is True
    assert "WAYPOST_NOTIFY=off" in doctor_server._pooler(settings(), pooled).text
    right = settings(notify="off", prepared_statements="off")
    assert doctor_server._pooler(right, pooled).good is True
