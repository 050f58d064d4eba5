"""The refiller: heads of lanes, a few at a time, again until they could be read."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import Records
from waypost.engine import refiller
from waypost.engine.receiver import Receiver
from waypost.engine.refiller import Refiller
from waypost.engine.sender import Address
from waypost.model.errors import Unavailable
from waypost.model.subscription import Subscription
from waypost.policy.lane import Lane
from waypost.policy.work import Work
from waypost.storage.store import Store

WINDOW = 10


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(refiller, "_RETRY_S", 0.0)
    with capture_logs():
        yield


class Desk:
    """A refiller, and what it has told of."""

    def __init__(self, store: Store, records: Records) -> None:
        self.told: list[tuple[Receiver, list[Work]]] = []
        self.more = asyncio.Event()
        self.refiller = Refiller(
            asyncio.get_running_loop(), store, records.clock, WINDOW, self.refilled
        )

    def refilled(self, receiver: Receiver, entered: Sequence[Work]) -> None:
        self.told.append((receiver, list(entered)))
        self.more.set()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.told) < count:
                self.more.clear()
                await self.more.wait()


def receiver(subscription: Subscription) -> Receiver:
    return Receiver(subscription, Address(subscription, (), None), Lane(4, WINDOW))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


async def test_a_lane_gets_the_head_of_its_queue(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    event_id = records.event("a.b")
    owed = [records.pending(event_id, one) for _ in range(25)]
    records.clock.forward(1)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(store, records)
        lane = receiver(one)
        desk.refiller.refill(lane)
        assert lane.lane.refilling
        await desk.reach(1)
        ((told, works),) = desk.told
        assert told is lane
        assert [work.id for work in works] == owed[:WINDOW]
        assert {work.event.type for work in works} == {"a.b"}
        assert (lane.lane.complete, lane.lane.refilling) == (False, False)


async def test_the_end_of_a_queue_is_known(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    records.pending(records.event(), one)
    records.clock.forward(1)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(store, records)
        lane = receiver(one)
        desk.refiller.refill(lane)
        await desk.reach(1)
        assert lane.lane.complete


async def test_a_read_that_fails_is_made_again(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(store, records)
        lane = receiver(one)
        read = store.read_owed

        async def broken(fn: Any) -> Any:
            raise Unavailable

        store.read_owed = broken  # type: ignore[method-assign] # a stand-in
        desk.refiller.refill(lane)
        await desk.reach(1)
        assert desk.told == [(lane, [])]
        assert lane.lane.needs_refill()
        store.read_owed = read  # type: ignore[method-assign] # a stand-in
        desk.refiller.refill(lane)
        await desk.reach(2)
        assert lane.lane.complete


async def test_only_a_few_read_at_once(records: Records, tmp_path: Path) -> None:
    many = [records.subscription() for _ in range(12)]
    async with database.opened(tmp_path / "w.db") as store:
        read, at_once, most = store.read_owed, 0, 0

        async def counted(fn: Any) -> Any:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            try:
                return await read(fn)
            finally:
                at_once -= 1

        store.read_owed = counted  # type: ignore[method-assign] # a stand-in
        desk = Desk(store, records)
        for one in many:
            desk.refiller.refill(receiver(one))
        await desk.reach(12)
        assert most == 3


async def test_a_stop_leaves_lanes_that_know_that_there_is_more(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(store, records)
        lane = receiver(one)
        desk.refiller.refill(lane)
        await asyncio.wait(desk.refiller._tasks, timeout=0)
        await desk.refiller.stop()
        assert (lane.lane.refilling, lane.lane.complete) == (False, False)
        assert desk.told == []


async def test_one_event_is_loaded(records: Records, tmp_path: Path) -> None:
    event_id = records.event("a.b")
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(store, records)
        found = await desk.refiller.load(records.project, event_id)
        assert found is not None
        assert found.type == "a.b"
        assert await desk.refiller.load(records.other, event_id) is None
