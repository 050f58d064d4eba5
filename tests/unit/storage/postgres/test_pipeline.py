"""Pipelines: nothing that was handed over is forgotten, whatever becomes of the connection."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from tests.support.waiting import turned
from waypost.storage.postgres import pipeline as subject
from waypost.storage.postgres.pipeline import Batch, Pipeline
from waypost.storage.postgres.session import Session


class Wire:
    """Stands in for a session."""

    def __init__(self) -> None:
        self.alive = True
        self.closed = False

    def is_alive(self) -> bool:
        return self.alive

    def close(self) -> None:
        self.closed = True


class Plain(Pipeline[int]):
    """Writes numbers into a list, unless it is told to fail."""

    def __init__(self, apart_s: float = 0.0) -> None:
        super().__init__("test", self._make, apart_s=apart_s)
        self.wires: list[Wire] = []
        self.unreachable = 0
        self.losing = 0
        self.written: list[int] = []
        self.batches: list[int] = []
        self.downs = 0
        self.kept: list[int] = []
        self.reached = asyncio.Event()

    def _make(self, _: str) -> Session:
        if self.unreachable:
            self.unreachable -= 1
            raise psycopg.OperationalError("refused")
        self.wires.append(Wire())
        return self.wires[-1]  # type: ignore[return-value] # as far as pipelines know it

    def has_work(self) -> bool:
        return bool(self.kept) or super().has_work()

    def take(self, inbox: deque[int]) -> list[int]:
        found, self.kept = self.kept, []
        while inbox:
            found.append(inbox.popleft())
        return found

    def write(self, session: Session, batch: Batch[int]) -> None:
        if self.losing:
            self.losing -= 1
            raise psycopg.OperationalError("lost")
        self.written += batch.changes
        self.batches.append(len(batch.changes))
        self.post(self.reached.set)

    def failed(self, batch: Batch[int], error: Exception) -> None:
        self.kept = batch.changes

    def went_down(self) -> None:
        self.downs += 1

    async def has_written(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.written) < count:
                self.reached.clear()
                await self.reached.wait()


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_BACKOFF_S", (0.0,))


@pytest.fixture
async def plain() -> AsyncIterator[Plain]:
    made = Plain()
    made.connect()
    made.start(asyncio.get_running_loop())
    yield made
    await made.stop()
    assert all(wire.closed for wire in made.wires)


async def test_what_one_turn_of_the_loop_brings_is_one_batch(plain: Plain) -> None:
    for number in range(50):
        plain.submit(number)
    await plain.has_written(50)
    assert plain.batches == [50]
    assert plain.written == list(range(50))


@asynccontextmanager
async def slow() -> AsyncIterator[Plain]:
    """Have a pipeline whose batches begin an hour apart."""
    made = Plain(apart_s=3600)
    made.connect()
    made.start(asyncio.get_running_loop())
    made.submit(0)
    await made.has_written(1)
    yield made
    await made.stop()


async def test_a_batch_that_is_large_enough_does_not_wait() -> None:
    async with slow() as plain:
        for number in range(subject.ENOUGH):
            assert plain.batches == [1]
            plain.submit(number)
            await turned()
        await plain.has_written(1 + subject.ENOUGH)
        assert plain.batches == [1, subject.ENOUGH]


async def test_what_gathers_is_written_before_the_end() -> None:
    async with slow() as plain:
        plain.submit(1)
        plain.submit(2)
        await turned()
        assert plain.batches == [1]
    assert plain.batches == [1, 2]


async def test_no_wake_up_is_lost(plain: Plain) -> None:
    for number in range(2_000):
        plain.submit(number)
        if number % 3 == 0:
            await plain.has_written(number + 1)
    await plain.has_written(2_000)


@pytest.mark.parametrize("again", [1, 4])
async def test_a_lost_connection_is_made_anew_and_what_is_kept_is_written(
    plain: Plain, again: int
) -> None:
    plain.losing, plain.unreachable = again, 3
    plain.submit(1)
    await plain.has_written(1)
    assert plain.downs >= 3
    assert not plain.is_down
    assert not plain.is_away
    assert len(plain.wires) == 1 + again


async def test_a_connection_that_was_closed_is_made_anew_before_it_is_used(plain: Plain) -> None:
    plain.wires[0].alive = False
    plain.submit(1)
    await plain.has_written(1)
    assert plain.downs == 0
    assert len(plain.wires) == 2


async def test_an_error_that_nobody_knows_does_not_end_the_thread(plain: Plain) -> None:
    write = plain.write
    errors = [ZeroDivisionError()]

    def once(session: Session, batch: Batch[int]) -> None:
        if errors:
            raise errors.pop()
        write(session, batch)

    plain.write = once  # type: ignore[method-assign] # a stand-in
    plain.submit(1)
    await plain.has_written(1)


@pytest.mark.parametrize("away", ["unreachable", "losing"])
async def test_stopping_ends_although_the_database_is_away(plain: Plain, away: str) -> None:
    setattr(plain, away, 1_000_000_000)
    plain.wires[0].alive = False
    plain.submit(1)
    async with asyncio.timeout(10):
        await plain.stop()
    assert plain.written == []


async def test_answers_for_a_loop_that_is_closed_are_dropped(plain: Plain) -> None:
    done = threading.Event()

    class Closed:
        """A loop that is over."""

        def call_soon_threadsafe(self, _: Callable[..., Any]) -> None:
            done.set()
            raise RuntimeError

        def time(self) -> float:
            return 0.0

    plain._loop, loop = Closed(), plain._loop  # type: ignore[assignment] # a stand-in
    plain.post(lambda: None)
    assert done.is_set()
    plain._loop = loop
