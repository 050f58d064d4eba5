"""The follower: what is in memory is what the database holds, or nothing is done by it."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete
from structlog.testing import capture_logs

from tests.support import database
from tests.support.apart import DirectApart
from tests.support.database import Records
from tests.support.waiting import until
from waypost.engine import follower as subject
from waypost.engine.follower import PATIENCE_S, Follower, Place
from waypost.model.errors import Unavailable
from waypost.storage import cluster, configuration
from waypost.storage.configuration import Kind

PROJECT, ONE = b"p" * 16, b"1" * 16


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with capture_logs():
        yield


class Memory:
    """What is kept of one kind, and what was asked for."""

    def __init__(self) -> None:
        self.asked: list[list[Place] | None] = []
        self.applied: list[Any] = []

    def read(self, _: Connection, places: Sequence[Place] | None) -> Any:
        self.asked.append(None if places is None else list(places))
        return len(self.asked)

    def apply(self, found: Any) -> None:
        self.applied.append(found)


class Desk:
    """A follower, and what it has said."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.apart = DirectApart(records.connection)
        apart: Any = self.apart
        self.follower = Follower(apart, records.clock)
        self.memory = Memory()
        self.follower.follow(Kind.API_KEY, self.memory)
        self.confirmed: list[float] = []
        self.lapses = 0
        self.follower.confirmed = self.confirmed.append
        self.follower.lapsed = self._lapsed

    def _lapsed(self) -> None:
        self.lapses += 1

    def record(self, kind: Kind = Kind.API_KEY) -> None:
        configuration.record(self.records.connection, kind, PROJECT, ONE)

    def current(self) -> int:
        return configuration.current(self.records.connection)


async def test_what_has_changed_since_it_began_is_read_and_applied(records: Records) -> None:
    desk = Desk(records)
    desk.record()
    await desk.follower.begin()
    desk.record()
    await desk.follower.start()
    assert desk.memory.asked == [[(PROJECT, ONE)]]
    assert desk.memory.applied == [1]
    assert desk.follower.version == desk.current()
    desk.record(Kind.PROJECT)
    await desk.follower.catch_up()
    assert desk.follower.version == desk.current()
    assert len(desk.memory.asked) == 1
    await desk.follower.stop()
    assert desk.apart.is_closed


async def test_an_answer_confirms_the_moment_of_the_question(records: Records) -> None:
    desk = Desk(records)
    await desk.follower.begin()
    asked = records.clock.monotonic()
    desk.apart.before = lambda: records.clock.forward(0.3)
    await desk.follower._poll()
    assert desk.confirmed == [asked + PATIENCE_S]
    assert desk.lapses == 1
    await desk.follower._poll()
    assert desk.lapses == 1
    records.clock.forward(PATIENCE_S)
    await desk.follower._poll()
    assert desk.lapses == 2


async def test_who_is_too_far_behind_reads_everything(records: Records) -> None:
    desk = Desk(records)
    await desk.follower.begin()
    desk.record()
    records.connection.execute(delete(cluster.config_changes))
    await desk.follower._poll()
    assert desk.memory.asked == [None]
    assert desk.follower.version == desk.current()


async def test_catching_up_is_a_question_asked_after_the_call(records: Records) -> None:
    desk = Desk(records)
    await desk.follower.begin()
    await desk.follower.start()
    polls: list[int] = []

    def change_during_the_first() -> None:
        polls.append(1)
        if len(polls) == 1:
            desk.record()

    desk.apart.before = change_during_the_first
    await asyncio.gather(*(desk.follower.catch_up() for _ in range(5)))
    assert len(polls) <= 3
    assert desk.follower.version == desk.current()
    await desk.follower.stop()


async def test_while_the_database_is_away_nobody_is_told_that_all_is_well(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_RETRY_S", 0.0)
    desk = Desk(records)
    await desk.follower.begin()
    await desk.follower.start()
    desk.apart.is_away = True
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await desk.follower.catch_up()
    assert [entry["event"] for entry in logs] == ["configuration_unconfirmed"]
    assert len(desk.confirmed) == 1
    desk.apart.is_away = False
    desk.record()
    await until(lambda: desk.follower.version == desk.current())
    await desk.follower.stop()
    # Nobody follows any more, so nobody is kept waiting.
    await desk.follower.catch_up()


async def test_what_cannot_be_read_is_not_taken_for_read(records: Records) -> None:
    desk = Desk(records)
    await desk.follower.begin()
    read, desk.memory.read = desk.memory.read, None  # type: ignore[assignment, method-assign] # a stand-in
    desk.record()
    with pytest.raises(TypeError):
        await desk.follower._poll()
    assert (desk.follower.version, desk.confirmed) == (0, [])
    desk.memory.read = read  # type: ignore[method-assign] # a stand-in
    await desk.follower._poll()
    assert desk.memory.applied == [1]
