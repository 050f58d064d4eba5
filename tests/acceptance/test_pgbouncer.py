"""Behind PgBouncer in transaction mode: two workers accept and deliver, and nothing is lost."""

from pathlib import Path

import pytest

from tests.acceptance.test_postgres import migrate, refused, serving, subscribe
from tests.support import postgres
from tests.support.pgbouncer import pgbouncer
from tests.support.producer import producer
from tests.support.receiver import receiver

SESSIONS = 6
SETTINGS = {"WAYPOST_NOTIFY": "off", "WAYPOST_PREPARED_STATEMENTS": "off"}


@pytest.mark.long
def test_two_workers_behind_a_pooler_lose_nothing(tmp_path: Path) -> None:
    with (
        postgres.running(durable=True) as database,
        pgbouncer(database, sessions=SESSIONS) as url,
        receiver() as received,
    ):
        migrate(database.url())
        with (
            serving(tmp_path, url, **SETTINGS) as (first, one),
            serving(tmp_path, url, **SETTINGS) as (second, two),
        ):
            for _ in range(4):
                subscribe(one, received.url)
            with producer(one, two) as posting:
                posting.accepts(100)
                database.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name LIKE 'waypost %'"
                )
                posting.accepts(100)
            posting.assert_kept(received, subscriptions=4, doubled=4 * 32)
            for program in (first, second):
                assert program.stop() == 0
                assert "Traceback" not in "\n".join(program.lines)


def test_what_a_pooler_does_not_take_is_said_at_the_start(tmp_path: Path) -> None:
    with postgres.running() as database, pgbouncer(database, sessions=SESSIONS) as url:
        migrate(database.url())
        line = refused(tmp_path, WAYPOST_DATABASE_URL=url)
    assert "behind PgBouncer set WAYPOST_PREPARED_STATEMENTS=off and WAYPOST_NOTIFY=off" in line
