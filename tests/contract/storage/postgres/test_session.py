"""Sessions of the hot path."""

from collections.abc import Iterator

import pytest
from psycopg import errors
from psycopg.pq.abc import PGresult

from tests.support.database import Records
from waypost.storage.postgres.arrays import INT8
from waypost.storage.postgres.connection import DEFAULTS, PostgresOptions
from waypost.storage.postgres.session import Session, Statement

ADD = Statement("add", "SELECT $1 + 1", [INT8])
WRONG = Statement("wrong", "SELECT 1 / $1", [INT8])


@pytest.fixture(params=[True, False], ids=["prepared", "plain"])
def session(url: str, request: pytest.FixtureRequest) -> Iterator[Session]:
    options = DEFAULTS if request.param else PostgresOptions(prepare=False)
    session = Session(url, options, "test")
    yield session
    session.close()


def number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def first(result: PGresult) -> int:
    return int.from_bytes(result.get_value(0, 0) or b"", "big")


def test_statements_are_run_again_and_again(session: Session) -> None:
    for value in range(10):
        assert first(session.run(ADD, [number(value)])) == value + 1
    assert session.statements == 10


def test_an_error_is_raised_and_the_session_goes_on(session: Session) -> None:
    with pytest.raises(errors.DivisionByZero):
        session.run(WRONG, [number(0)])
    assert first(session.run(ADD, [number(1)])) == 2


def test_a_transaction_is_all_or_nothing(session: Session, records: Records) -> None:
    insert = Statement("insert", "INSERT INTO facts VALUES ('a', $1::text)", [INT8])
    session.begin()
    session.run(insert, [number(1)])
    session.roll_back()
    count = "SELECT count(*) FROM facts"
    assert records.connection.exec_driver_sql(count).scalar_one() == 0
    session.begin()
    session.run(insert, [number(1)])
    session.commit()
    assert records.connection.exec_driver_sql(count).scalar_one() == 1
    assert session.statements == 6


def test_a_session_knows_that_its_end_has_come(session: Session, records: Records) -> None:
    assert session.is_alive()
    pid = session._connection.info.backend_pid
    records.connection.exec_driver_sql(f"SELECT pg_terminate_backend({pid}, 5000)")
    # The server's last word may come before the end of the connection does.
    if session.is_alive():
        with pytest.raises(errors.OperationalError):
            session.run(ADD, [number(1)])
    assert not session.is_alive()
