"""The pipeline of acceptances, where others are in its way."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import errors
from psycopg.pq.abc import PGresult

from tests.support.database import Records
from tests.support.hot import AtOnce
from waypost.model.errors import Unavailable
from waypost.storage.changes import Acceptance, Entry, Outcome
from waypost.storage.postgres import hot
from waypost.storage.postgres.accepting import Acceptor
from waypost.storage.postgres.connection import DEFAULTS
from waypost.storage.postgres.pipeline import Batch
from waypost.storage.postgres.session import Session, Statement
from waypost.storage.store import Counters


class Meddler(Session):
    """A session in which something happens before some statements."""

    def __init__(self, url: str) -> None:
        super().__init__(url, DEFAULTS, "test")
        self.before: dict[Statement, list[Callable[[], None]]] = {}

    def run(self, statement: Statement, values: Any) -> PGresult:
        if self.before.get(statement):
            self.before[statement].pop()()
        return super().run(statement, values)


@pytest.fixture
def session(url: str) -> Iterator[Meddler]:
    session = Meddler(url)
    yield session
    session.close()


@pytest.fixture
def acceptor(session: Meddler) -> Acceptor:
    made = Acceptor(lambda _: session, Counters(), 60.0)
    made._loop = AtOnce()  # type: ignore[assignment] # a stand-in
    return made


def request(records: Records, *keys: str | None, kind: Any = "a") -> Acceptance:
    entries = []
    for key in keys:
        event_id = records.ids.next()
        row = (records.project, event_id, kind, b"{}", None, 1)
        entries.append(Entry(event_id, row, [], key, bytes(16)))
    answered: list[Acceptance] = []
    made = Acceptance(
        *(records.project, bytes(16), 1, entries, 10, 99, answered.append), keyed=any(keys)
    )
    made.context = answered
    return made


def fail(error: type[errors.Error]) -> Callable[[], None]:
    def raising() -> None:
        raise error("made to fail")

    return raising


@pytest.mark.parametrize("keys", [(None,), ("k",), ("k", "l")])
def test_after_a_deadlock_it_is_written_again(
    acceptor: Acceptor, session: Meddler, records: Records, keys: tuple[str | None, ...]
) -> None:
    statement = hot.ACCEPT_KEYED if keys[0] else hot.ACCEPT
    one = request(records, *keys)
    session.before[statement] = [fail(errors.DeadlockDetected)] * 4
    acceptor.write(session, Batch([one], 0.0))
    assert one.outcome is Outcome.COMMITTED
    two = request(records, *keys)
    session.before[statement] = [fail(errors.DeadlockDetected)] * 5
    acceptor.write(session, Batch([two], 0.0))
    assert isinstance(two.error, Unavailable)
    assert [one.context, two.context] == [[one], [two]]


def test_a_key_that_was_freed_meanwhile_is_asked_for_again(
    acceptor: Acceptor, session: Meddler, records: Records
) -> None:
    acceptor.write(session, Batch([request(records, "k"), request(records, "l")], 0.0))

    def free() -> None:
        records.connection.exec_driver_sql("DELETE FROM idempotency_keys")

    alone, several = request(records, "k"), request(records, "l", "m")
    session.before[hot.REPEATED] = [free, free]
    acceptor.write(session, Batch([alone, several], 0.0))
    assert (alone.outcome, several.outcome) == (None, Outcome.COMMITTED)
    assert acceptor.has_work()
    acceptor.write(session, Batch(acceptor.take(acceptor._inbox), 0.0))
    assert alone.outcome is Outcome.COMMITTED
    assert alone.entries[0].duplicate_of is None
    assert not acceptor.has_work()


def test_of_a_request_that_fails_nothing_holds(
    acceptor: Acceptor, session: Meddler, records: Records
) -> None:
    bad, good = request(records, "k", "l", kind="\ud800"), request(records, "k", "l")
    acceptor.write(session, Batch([bad, good], 0.0))
    assert (bad.outcome, good.outcome) == (Outcome.FAILED, Outcome.COMMITTED)
    held = records.connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
    assert held == 2


def test_what_was_answered_before_the_connection_was_lost_stays_answered(
    acceptor: Acceptor, session: Meddler, records: Records
) -> None:
    good, lost, waiting = request(records, None), request(records, "k", "l"), request(records, None)
    session.before[hot.ACCEPT_KEYED] = [fail(errors.AdminShutdown)]
    batch = Batch([good, lost, waiting], 0.0)
    with pytest.raises(errors.AdminShutdown) as raised:
        acceptor.write(session, batch)
    acceptor.failed(batch, raised.value)
    outcomes = [one.outcome for one in (good, lost, waiting)]
    assert outcomes == [Outcome.COMMITTED, Outcome.FAILED, Outcome.FAILED]
    assert [len(one.context) for one in (good, lost, waiting)] == [1, 1, 1]


@pytest.mark.parametrize("error", [errors.OperationalError, errors.DeadlockDetected])
def test_what_was_written_is_answered_whatever_becomes_of_the_others(
    acceptor: Acceptor, session: Meddler, records: Records, error: type[errors.Error]
) -> None:
    acceptor.write(session, Batch([request(records, "k")], 0.0))
    good, repeated = request(records, None), request(records, "k")
    batch = Batch([good, repeated], 0.0)
    session.before[hot.REPEATED] = [fail(error)]
    try:
        acceptor.write(session, batch)
    except errors.OperationalError as lost:
        acceptor.failed(batch, lost)
    assert good.outcome is Outcome.COMMITTED
    assert repeated.outcome in {Outcome.COMMITTED, Outcome.FAILED}
    assert [good.context, repeated.context] == [[good], [repeated]]


def test_a_commit_that_may_hold_is_answered_as_unknown(
    acceptor: Acceptor, session: Meddler, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = request(records, "k", "l")
    batch = Batch([several], 0.0)
    commit = session.commit

    def lost() -> None:
        commit()
        raise errors.OperationalError("lost")

    monkeypatch.setattr(session, "commit", lost)
    with pytest.raises(errors.OperationalError) as raised:
        acceptor.write(session, batch)
    acceptor.failed(batch, raised.value)
    assert isinstance(several.error, Unavailable)
    assert several.context == [several]
