"""What forbids a start on PostgreSQL is one line that says what to do."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy import text

from tests.support import postgres
from waypost.clock import AlignedClock, SystemClock
from waypost.model.errors import ConfigInvalid, StorageFull, Unavailable
from waypost.storage import facts, key_file, location, migrations
from waypost.storage.location import PostgresUrl
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.postgres import connection, preparation
from waypost.storage.postgres.connection import PostgresOptions, connect
from waypost.storage.postgres.preparation import explain, explained, open_apart, prepare

KEY = bytes(range(32))
OPTIONS = PostgresOptions()


def at(url: str) -> PostgresUrl:
    place = location.read(url)
    assert isinstance(place, PostgresUrl)
    return place


@pytest.fixture
def url() -> Iterator[PostgresUrl]:
    def migrate(url: str) -> None:
        upgrade_shared(lambda: connect(url), SystemClock().now_us())

    with postgres.fresh(migrate, "migrated_by_days_of_tests") as made:
        yield at(made)


@pytest.fixture
def empty() -> Iterator[PostgresUrl]:
    with postgres.fresh(lambda _: None, "empty_of_tests") as made:
        yield at(made)


def prepared(url: PostgresUrl, key: bytes | None = KEY, clock: AlignedClock | None = None) -> bytes:
    return prepare(url, key, clock or AlignedClock(SystemClock()), OPTIONS)


def refusal(url: PostgresUrl, key: bytes | None = KEY) -> str:
    with pytest.raises(ConfigInvalid) as refused:
        prepared(url, key)
    line = refused.value.message
    assert "\n" not in line
    return line


def execute(url: PostgresUrl, *statements: str) -> None:
    with psycopg.connect(url.conninfo, autocommit=True) as plain:
        for statement in statements:
            plain.execute(sql.SQL(statement))


def test_a_sound_database_is_bound_to_its_key_and_its_clock_is_taken(url: PostgresUrl) -> None:
    clock = AlignedClock(SystemClock())
    assert prepared(url, KEY, clock) == KEY
    assert abs(clock.offset_us()) < 5_000_000
    assert prepared(url, KEY) == KEY
    other = key_file.fingerprint(b"x" * 31 + b"y")
    line = refusal(url, b"x" * 31 + b"y")
    assert other in line
    assert key_file.fingerprint(KEY) in line
    assert "set WAYPOST_SECRET_KEY" in line


def test_without_a_key_nothing_is_asked() -> None:
    line = refusal(at("postgresql://nowhere.invalid/d"), None)
    assert "WAYPOST_SECRET_KEY is not set" in line
    assert "openssl rand -base64 32" in line


def test_an_empty_database_is_to_be_migrated(empty: PostgresUrl) -> None:
    assert "run `waypost migrate`" in refusal(empty)


def test_an_older_schema_is_to_be_migrated_and_a_newer_one_left_alone(url: PostgresUrl) -> None:
    execute(url, "UPDATE alembic_version SET version_num = '0001_first_tables'")
    assert "run `waypost migrate`" in refusal(url)
    execute(url, "UPDATE alembic_version SET version_num = '9999_later'")
    assert "was written by a newer one" in refusal(url)


def test_somebody_else_s_database_is_left_alone(empty: PostgresUrl) -> None:
    execute(empty, "CREATE TABLE theirs (x int)")
    assert "not Waypost's" in refusal(empty)


def test_rights_that_are_missing_are_named(url: PostgresUrl) -> None:
    execute(
        url,
        "DROP ROLE IF EXISTS guest_of_tests",
        "CREATE ROLE guest_of_tests LOGIN",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest_of_tests",
    )
    guest = at(url.conninfo.replace("//postgres@", "//guest_of_tests@"))
    try:
        line = refusal(guest)
        assert "lacks DELETE on answers and" in line
        assert "GRANT them" in line
        with open_apart(guest) as reader:
            assert preparation.describe(reader).may_partition is False
        execute(url, "REVOKE ALL ON SCHEMA public FROM PUBLIC")
        assert "GRANT USAGE" in refusal(guest)
    finally:
        execute(url, "DROP OWNED BY guest_of_tests", "DROP ROLE guest_of_tests")


def test_a_user_that_may_change_nothing_is_told_so(url: PostgresUrl) -> None:
    readonly = at(url.conninfo + "?options=-c%20default_transaction_read_only%3Don")
    assert "default_transaction_read_only is on" in refusal(readonly)


def test_another_encoding_is_refused() -> None:
    with postgres.fresh(lambda _: None, "empty_of_tests") as made:
        execute(
            at(made),
            "DROP DATABASE IF EXISTS latin_of_tests",
            "CREATE DATABASE latin_of_tests ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        )
        try:
            latin = at(made.rpartition("/")[0] + "/latin_of_tests")
            assert "has the encoding LATIN1" in refusal(latin)
        finally:
            execute(at(made), "DROP DATABASE latin_of_tests")


def test_a_copy_that_is_not_finished_is_no_database_yet(url: PostgresUrl) -> None:
    with open_apart(url) as writer:
        facts.record(writer, preparation.COPY_FACT, "{}")
    assert "run the same `waypost copy` again" in refusal(url)


def test_a_server_that_is_too_old_is_refused(
    url: PostgresUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "OLDEST", 99)
    assert "99 or newer" in refusal(url)


class Off:
    """A machine whose clock is off."""

    def __init__(self, by_s: float) -> None:
        self._own = SystemClock()
        self._by_us = int(by_s * 1_000_000)

    def now_us(self) -> int:
        return self._own.now_us() + self._by_us

    def monotonic(self) -> float:
        return self._own.monotonic()


@pytest.mark.parametrize("by_s,words", [(-90, "90 seconds behind"), (90, "90 seconds ahead of")])
def test_a_clock_that_is_off_is_refused(url: PostgresUrl, by_s: float, words: str) -> None:
    with pytest.raises(ConfigInvalid, match=words):
        prepared(url, KEY, AlignedClock(Off(by_s)))
    prepared(url, KEY, AlignedClock(Off(by_s / 2)))


def test_a_standby_is_refused() -> None:
    with postgres.running() as server:
        (folder,) = (Path(server._data),)
        server.stop()
        (folder / "standby.signal").touch()
        server.start()
        assert "read-only standby: name the primary" in refusal(at(server.url()))


UNREACHABLE = [
    ("postgresql://u:hidden@127.0.0.1:1/d", "start it, or name its host and port"),
    ("postgresql://u:hidden@nowhere.invalid/d", "start it, or name its host and port"),
    ("postgresql://u:hidden@127.0.0.1:1/d?no_such=1", "no_such"),
    ("postgresql://u:hidden@[::1/d", "in URI"),
]


@pytest.mark.parametrize("url,words", UNREACHABLE)
def test_what_can_not_be_reached_is_told_without_the_password(url: str, words: str) -> None:
    line = refusal(at(url))
    assert words in line
    assert "hidden" not in line


def test_a_database_or_user_that_does_not_exist_is_told(empty: PostgresUrl) -> None:
    base = empty.conninfo.rpartition("/")[0]
    assert "make it with CREATE DATABASE" in refusal(at(f"{base}/none_of_that_name"))
    nobody = empty.conninfo.replace("//postgres@", "//nobody_of_that_name@")
    assert "CREATE ROLE" in refusal(at(nobody))


SAID = [
    ('FATAL:  password authentication failed for user "u"', "give the right password"),
    ("fe_sendauth: no password supplied", "give the right password"),
    ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', "pg_hba.conf"),
    ("FATAL:  sorry, too many clients already", "raise max_connections"),
    ("server does not support SSL, but SSL was required", "set sslmode"),
    ("FATAL:  unsupported startup parameter: options", "WAYPOST_PREPARED_STATEMENTS=off"),
    ("FATAL:  the database system is starting up", "wait until it is up"),
    ("connection timeout expired", "start it, or name"),
]


@pytest.mark.parametrize("said,advice", SAID)
def test_what_libpq_says_has_an_advice(said: str, advice: str) -> None:
    url = at("postgresql://u@h/d")
    assert advice in explain(psycopg.OperationalError(f"connection failed: {said}"), url)


def test_what_the_server_says_by_a_code_has_an_advice() -> None:
    url = at("postgresql://u@h/d")
    assert "make room" in explain(errors.DiskFull("could not extend file"), url)
    assert "primary" in explain(errors.ReadOnlySqlTransaction("cannot execute INSERT"), url)
    assert "WAYPOST_STATEMENT_TIMEOUT" in explain(errors.QueryCanceled("canceling"), url)
    assert explain(errors.InternalError_("strange"), url).endswith("can't be used: strange")


@pytest.mark.parametrize("words", [StorageFull, Unavailable])
def test_what_the_store_says_is_told_by_what_is_behind_it(words: type[Exception]) -> None:
    url = at("postgresql://u@h/d")
    with pytest.raises(ConfigInvalid, match="make room"), explained(url):
        raise words from errors.DiskFull("could not extend file")
    with pytest.raises(words), explained(url):
        raise words


def test_a_pooler_is_told_by_the_process_that_it_makes_up(url: PostgresUrl) -> None:
    with open_apart(url) as reader:
        limits = preparation.limits(reader)
        assert limits.is_pooled is False
        assert limits.max_connections > 0
        assert preparation.missing_rights(reader) == []
        assert migrations.current_revision(reader) == migrations.HEAD
        assert preparation.describe(reader).may_partition is True
        assert reader.execute(text("SELECT 1")).scalar_one() == 1
