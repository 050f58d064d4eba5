"""The pipeline of settlements, where one of them can't be written."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import errors

from tests.support.changes import settlement
from tests.support.database import Records
from tests.support.hot import AtOnce
from waypost.storage.changes import Settlement
from waypost.storage.postgres.connection import DEFAULTS
from waypost.storage.postgres.pipeline import Batch
from waypost.storage.postgres.session import Session
from waypost.storage.postgres.settling import Settler
from waypost.storage.store import Counters


class Later(AtOnce):
    """Keeps what is to be done later."""

    def __init__(self) -> None:
        self.later: list[Settlement] = []

    def call_later(self, _: float, call: Any, *args: Any) -> None:
        self.later += args


@pytest.fixture
def session(url: str) -> Iterator[Session]:
    session = Session(url, DEFAULTS, "test")
    yield session
    session.close()


@pytest.fixture
def settler(session: Session) -> Settler:
    made = Settler(lambda _: session, Counters())
    made._loop = Later()  # type: ignore[assignment] # a stand-in
    return made


def owed(records: Records, done: list[Settlement], count: int) -> list[Settlement]:
    """Return settlements of tries that failed for good."""
    subscription, event_id = records.subscription(), records.event()
    return [
        settlement(records, done.append, records.pending(event_id, subscription), event_id)  # type: ignore[arg-type] # is called
        for _ in range(count)
    ]


def test_one_that_can_not_be_written_comes_again_and_the_others_are_done(
    settler: Settler, session: Session, records: Records
) -> None:
    done: list[Settlement] = []
    batch = owed(records, done, 7)
    bad = batch[3]
    good_row, bad.attempt = bad.attempt, (*bad.attempt[:7], 1 << 40, *bad.attempt[8:])
    settler.write(session, Batch(list(batch), 0.0))
    loop: Any = settler._loop
    assert loop.later == [bad]
    assert len(done) == 6
    bad.attempt = good_row
    settler.write(session, Batch(loop.later, 0.0))
    assert len(done) == 7
    assert not any(one.late for one in done)


def test_what_was_not_answered_when_the_connection_was_lost_is_kept(
    settler: Settler, records: Records, session: Session
) -> None:
    done: list[Settlement] = []
    batch = Batch(owed(records, done, 2), 0.0)
    session.close()
    with pytest.raises(errors.OperationalError) as raised:
        settler.write(session, batch)
    settler.failed(batch, raised.value)
    assert done == []
    assert settler.has_work()
    assert settler.take(settler._inbox) == batch.changes
    assert not settler.has_work()
