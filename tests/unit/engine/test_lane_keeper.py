"""The lane keeper: writes what has changed, together, and again where that has failed."""

from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records
from tests.support.engine import Works, works
from waypost.engine.receiver import Receiver
from waypost.model.errors import Unavailable
from waypost.model.flow import RateLimit, Wait, Waits


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.db"


@pytest.fixture
def records(path: Path) -> Records:
    return database.make(path)


def receiver(engine: Works) -> Receiver:
    [found] = engine.dispatcher._receivers
    return found


async def test_a_moment_is_not_told_and_a_while_is(records: Records, path: Path) -> None:
    one = records.subscription(rate_limit=RateLimit(10))
    async with works(records, path) as engine:
        await engine.accept(3)
        assert receiver(engine).waits == Waits(Wait.RATE_LIMIT)
        await engine.change(one, rate_limit=RateLimit(1, 60))
        await engine.accept()
        waits = receiver(engine).waits
        assert waits is not None
        assert waits.until_us is not None
        assert waits.until_us > records.clock.now_us() + 50_000_000


async def test_what_could_not_be_written_is_written_later(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records.subscription(paused=True)
    async with works(records, path) as engine:
        await engine.accept()
        keeper = engine.dispatcher._upkeep.lanes
        assert keeper

        async def refuse(*_: object) -> None:
            raise Unavailable

        with monkeypatch.context() as broken:
            broken.setattr(engine.store, "write", refuse)
            await keeper.save()
        assert keeper
        await keeper.save()
        assert not keeper
        assert await engine.count("lane_state") == 1


async def test_what_others_know_better_is_forgotten(records: Records, path: Path) -> None:
    records.subscription(paused=True)
    async with works(records, path) as engine:
        await engine.accept()
        keeper = engine.dispatcher._upkeep.lanes
        keeper.forget()
        await keeper.save()
        assert await engine.count("lane_state") == 0


async def test_a_shard_that_goes_does_not_look_paused(records: Records, path: Path) -> None:
    records.subscription(rate_limit=RateLimit(1, 60))
    async with works(records, path) as engine:
        await engine.accept()
        one = receiver(engine)
        engine.dispatcher.give_up([one.shard])
        engine.dispatcher._pump(one)
        assert one.waits is not None
        assert one.waits.what is Wait.RATE_LIMIT
