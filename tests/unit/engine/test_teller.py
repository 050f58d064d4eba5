"""The teller: two of them tell once, and a pass is bounded."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.support import database
from tests.support.database import Place, Records
from tests.support.manual import ManualClock, SeededEntropy
from waypost.clock import IdSource
from waypost.engine.announcer import Announcer
from waypost.engine.teller import AT_ONCE, Teller
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Owed
from waypost.model.flow import BreakerState, LaneState
from waypost.storage import lane_states, schema, told
from waypost.storage.store import Store

HOUR_US = 3_600_000_000


@pytest.fixture
def records(place: Place) -> Iterator[Records]:
    made = database.make(place)
    yield made
    made.connection.close()
    made.connection.engine.dispose()


class Desk:
    """A teller on a store, with ids of its own as another process has them."""

    def __init__(self, records: Records, store: Store, seed: int = 0) -> None:
        self.clock: ManualClock = records.clock
        source = IdSource(records.clock, SeededEntropy(seed))
        self.store = store
        self.owed: list[Owed] = []
        self.follows = 0
        announcer = Announcer(source)
        announcer.follow = self.follow
        self.teller = Teller(store, announcer, self.take, self.clock, source, HOUR_US)

    def follow(self) -> None:
        self.follows += 1

    def take(self, owed: Sequence[Owed]) -> None:
        self.owed += owed

    async def types(self) -> list[str]:
        chosen = select(schema.events.c.type)
        found = await self.store.read(lambda c: list(c.execute(chosen).scalars()))
        return sorted(one for one in found if one.startswith("waypost."))


def everything(records: Records) -> None:
    """Keep one thing of each kind that there is to tell."""
    since_us = records.clock.now_us() - 3 * HOUR_US
    one = records.subscription(failing_since_us=since_us)
    records.ended(records.event(), one, DeliveryState.FAILED)
    opened = LaneState(BreakerState.OPEN, opened_until_us=5, openings=1)
    lane_states.save(records.connection, one.project_id, one.id, opened)
    records.pending(records.event(), one)
    records.clock.forward(2 * 3600)


TOLD = [
    "waypost.backlog.high",
    "waypost.breaker.opened",
    "waypost.delivery.diverted",
    "waypost.subscription.failing",
]


async def test_two_processes_tell_once(records: Records, place: Place) -> None:
    everything(records)
    async with database.opened(place) as store:
        desks = [Desk(records, store, seed) for seed in (1, 2)]
        await asyncio.gather(*(desk.teller.run_once() for desk in desks))
        assert await desks[0].types() == TOLD
        for desk in desks:
            desk.clock.forward(120)
            await desk.teller.run_once()
        assert await desks[0].types() == TOLD
        assert sum(desk.follows for desk in desks) >= len(TOLD)


async def test_hidden_projects_are_told_of_to_nobody(records: Records, place: Place) -> None:
    hidden = ids.alerts_of(records.project)
    records.project, project = hidden, records.project
    everything(records)
    records.project = project
    async with database.opened(place) as store:
        desk = Desk(records, store)
        await desk.teller.run_once()
        assert await desk.types() == []


async def test_one_pass_tells_a_bounded_number(tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    since_us = records.clock.now_us() - 3 * HOUR_US
    for _ in range(AT_ONCE + 5):
        one = records.subscription(failing_since_us=since_us)
        records.ended(records.event(), one, DeliveryState.FAILED)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store)
        for passes, expected in ((1, AT_ONCE), (2, AT_ONCE + 5), (3, AT_ONCE + 5)):
            await desk.teller.run_once()
            types = await desk.types()
            assert types.count("waypost.subscription.failing") == expected, passes
            assert types.count("waypost.delivery.diverted") == expected, passes


async def test_what_breaks_off_in_the_middle_of_a_box_is_told_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = database.make(tmp_path / "w.db")
    one = records.subscription()
    for _ in range(5):
        records.ended(records.event(), one, DeliveryState.FAILED)
    monkeypatch.setattr(told, "CHUNK", 2)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store)
        whole, calls = store.write, 0

        async def breaks(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise ZeroDivisionError
            return await whole(*arguments)

        with monkeypatch.context() as broken:
            broken.setattr(store, "write", breaks)
            with pytest.raises(ZeroDivisionError):
                await desk.teller.run_once()
        assert await desk.types() == []
        await desk.teller.run_once()
        chosen = select(schema.events.c.payload).where(schema.events.c.type.startswith("waypost"))
        [payload] = await store.read(lambda c: list(c.execute(chosen).scalars()))
        assert b'"diverted":5' in payload
