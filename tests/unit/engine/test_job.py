"""A job works while there is something to do, sleeps till it is woken, and survives its steps."""

import asyncio
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.waiting import turned
from waypost.engine import job
from waypost.engine.job import Job, log_failed
from waypost.model.errors import StorageFull, Unavailable


class Steps:
    """A step that does what it is told: more to do, nothing left, or an error."""

    def __init__(self) -> None:
        self.left = 0
        self.count = 0
        self.error: Exception | None = None
        self.idle = asyncio.Event()

    async def __call__(self) -> bool:
        self.count += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        if self.left:
            self.left -= 1
            return True
        self.idle.set()
        return False

    async def rest(self) -> None:
        await asyncio.wait_for(self.idle.wait(), 10)
        self.idle.clear()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(job, "_RETRY_S", 0.0)
    with capture_logs():
        yield


async def test_it_starts_with_what_was_left_and_goes_on_until_nothing_is() -> None:
    steps = Steps()
    steps.left = 3
    one = Job("test", steps)
    one.start()
    await steps.rest()
    assert steps.count == 4
    steps.left = 1
    one.wake()
    await steps.rest()
    assert steps.count == 6
    await one.stop()


async def test_woken_as_it_works_it_looks_once_more() -> None:
    looked = 0
    twice = asyncio.Event()

    async def step() -> bool:
        nonlocal looked
        looked += 1
        if looked == 1:
            one.wake()
        else:
            twice.set()
        return False

    one = Job("test", step)
    one.start()
    await asyncio.wait_for(twice.wait(), 10)
    await one.stop()


async def test_an_error_ends_nothing() -> None:
    steps = Steps()
    steps.left = 2
    steps.error = ZeroDivisionError()
    one = Job("test", steps)
    one.start()
    await steps.rest()
    assert (steps.left, steps.count) == (0, 4)
    await one.stop()


async def test_it_may_look_by_itself_now_and_then() -> None:
    steps = Steps()
    one = Job("test", steps, every_s=0.001)
    one.start()
    for _ in range(3):
        await steps.rest()
    await one.stop()


async def test_a_stop_breaks_off_and_may_come_at_any_time() -> None:
    began = asyncio.Event()

    async def endless() -> bool:
        began.set()
        await asyncio.Event().wait()
        return True

    one = Job("test", endless)
    await one.stop()
    one.start()
    await began.wait()
    await one.stop()
    await one.stop()


async def test_it_works_only_where_it_may_and_looks_then() -> None:
    steps, mine = Steps(), [False]
    one = Job("test", steps)
    one.only(lambda: mine[0], every_s=0.001)
    steps.left = 3
    one.start()
    for _ in range(5):
        await turned()
    assert steps.count == 0
    mine[0] = True
    await steps.rest()
    assert steps.left == 0
    await one.stop()


@pytest.mark.parametrize("error", [Unavailable(), StorageFull()])
def test_that_the_database_is_away_or_full_is_no_error_of_ours(error: Exception) -> None:
    with capture_logs() as lines:
        log_failed("save_failed", error, of="x")
    expected = {"event": "save_failed", "error": str(error), "of": "x", "log_level": "info"}
    assert lines == [expected]


def test_an_error_of_ours_is_told_with_its_cause() -> None:
    error = ValueError("wrong")
    with capture_logs() as lines:
        log_failed("save_failed", error)
    assert lines == [{"event": "save_failed", "exc_info": error, "log_level": "error"}]
