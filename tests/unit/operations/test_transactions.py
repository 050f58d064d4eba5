"""Transactions as consumers ask for them: found, waited for, claimed once, ended by holders."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import database
from tests.support.database import Records
from tests.support.waiting import until
from waypost.engine.arrivals import Arrivals
from waypost.model.errors import AlreadyClaimed, LimitReached, NotFound, NotHeld
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.transaction import CLAIMABLE, Standing, TransactionState
from waypost.operations import transactions as subject
from waypost.operations.audience import Audience
from waypost.operations.transactions import Transactions, Wanted, Which
from waypost.storage import transactions as stored
from waypost.storage.transactions import Span

DAY_US = 86_400_000_000
FINISHED, FAILED = TransactionState.FINISHED, TransactionState.FAILED


class FakeIngest:
    """What arrivals know of ingest."""

    arrived: Any = None


class World:
    """A project with events, and its consumers."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.clock = records.clock
        self.caller = records.principal()
        self.stranger = records.principal(project_id=records.other)
        self.ingest: Any = FakeIngest()
        self.first = records.event("a")
        self.second = records.event("a")
        self.other = records.event("b")

    def open(self, store: Any) -> None:
        self.arrivals = Arrivals(self.ingest, None)
        self.transactions = Transactions(
            store, self.arrivals, Audience(self.clock), self.clock, self.records.ids, DAY_US
        )

    def which(self, event_id: Id | None = None, tx_key: str = "k") -> Which:
        return Which(event_id or self.first, tx_key=tx_key)

    async def found(self, wait_s: float = 0, **more: Any) -> list[Id]:
        wanted = Wanted("k", CLAIMABLE, **more)
        events, _ = await self.transactions.wait(self.caller, wanted, 10, wait_s)
        return [event.id for event in events]

    def unlearnt(self, types: tuple[str, ...]) -> list[Id]:
        """Return what is to be had, looked for from the beginning."""
        wanted = Wanted("k", CLAIMABLE, types)
        connection, now_us = self.records.connection, self.clock.now_us()
        found = stored.find_events(connection, self.caller.project_id, wanted, now_us, Span(0, 10))
        return found.page


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(database.make(tmp_path / "w.db"))
    async with database.opened(tmp_path / "w.db") as store:
        made.open(store)
        yield made


async def test_what_is_claimed_is_found_no_more(world: World) -> None:
    assert await world.found() == [world.first, world.second, world.other]
    held = await world.transactions.claim(world.caller, world.which())
    assert held.event.id == world.first
    assert held.transaction.claim == 1
    assert await world.found() == [world.second, world.other]
    assert await world.found(types=("b",)) == [world.other]
    with pytest.raises(AlreadyClaimed):
        await world.transactions.claim(world.caller, world.which())
    await world.transactions.claim(world.caller, world.which(tx_key="another"))


async def test_a_lease_brings_it_back(world: World) -> None:
    first = await world.transactions.claim(world.caller, world.which(), 5_000_000)
    which = Which(world.first, id=first.transaction.id)
    world.clock.forward(4)
    await world.transactions.heartbeat(world.caller, which, 1, 5_000_000)
    world.clock.forward(4)
    assert world.first not in await world.found()
    world.clock.forward(2)
    assert world.first in await world.found()
    second = await world.transactions.claim(world.caller, world.which(), 5_000_000)
    assert (second.transaction.id, second.transaction.claim) == (first.transaction.id, 2)
    with pytest.raises(NotHeld):
        await world.transactions.end(world.caller, which, FINISHED, number=1)
    ended = await world.transactions.end(world.caller, which, FINISHED, "done", number=2)
    assert (ended.transaction.state, ended.transaction.output) == (FINISHED, "done")
    assert await world.transactions.get(world.caller, which) == ended


async def test_registered_ahead_it_is_found_until_it_is_claimed(world: World) -> None:
    await world.transactions.register(world.caller, world.which())
    assert world.first in await world.found()
    with pytest.raises(NotHeld):
        await world.transactions.end(world.caller, world.which(), FINISHED)
    await world.transactions.claim(world.caller, world.which())
    assert world.first not in await world.found()


async def test_what_has_ended_so_already_is_left_as_it_is(world: World) -> None:
    await world.transactions.claim(world.caller, world.which())
    first = await world.transactions.settle(world.caller, world.which(), FINISHED)
    world.clock.forward(1)
    assert await world.transactions.settle(world.caller, world.which(), FINISHED) == first
    with pytest.raises(NotHeld):
        await world.transactions.settle(world.caller, world.which(), FAILED)


async def test_strangers_find_nothing(world: World) -> None:
    held = await world.transactions.claim(world.caller, world.which())
    made = Which(world.first, id=held.transaction.id)
    ask, who = world.transactions, world.stranger
    for asked in (
        ask.claim(who, world.which()),
        ask.register(who, world.which(tx_key="x")),
        ask.end(who, made, FINISHED),
        ask.heartbeat(who, made, 1, 1),
        ask.get(who, made),
        ask.event(who, world.first),
        ask.list_page(who, world.first, PageRequest()),
    ):
        with pytest.raises(NotFound):
            await asked
    assert await world.transactions.wait(who, Wanted("k", CLAIMABLE), 10, 0) == ([], False)


async def test_an_event_of_another_type_is_another_one(world: World) -> None:
    with pytest.raises(NotFound):
        await world.transactions.claim(world.caller, Which(world.first, tx_key="k", type="b"))
    await world.transactions.claim(world.caller, Which(world.first, tx_key="k", type="a"))


async def test_what_has_had_its_time_is_there_no_more(world: World) -> None:
    await world.transactions.claim(world.caller, world.which())
    world.clock.forward(86_401)
    assert await world.found() == []
    for asked in (
        world.transactions.claim(world.caller, world.which(tx_key="x")),
        world.transactions.end(world.caller, world.which(), FINISHED),
        world.transactions.event(world.caller, world.first),
    ):
        with pytest.raises(NotFound):
            await asked


async def test_an_event_has_so_many_consumers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "KEYS_MAX", 2)
    for tx_key in ("a", "b"):
        await world.transactions.claim(world.caller, world.which(tx_key=tx_key), 0)
    with pytest.raises(LimitReached):
        await world.transactions.claim(world.caller, world.which(tx_key="c"))
    await world.transactions.claim(world.caller, world.which(tx_key="a"))


async def test_a_query_counts_and_knows_who_else_is_expected(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted("k", frozenset({Standing.ABSENT}), ("a",))
    found = await world.transactions.query(world.caller, wanted, 1, 1)
    assert ([one.event.id for one in found.found], found.total) == ([world.second], 2)
    assert found.found[0].expects_more
    await world.transactions.claim(world.caller, world.which())
    assert not (await world.transactions.event(world.caller, world.first)).expects_more
    other = Wanted("else", frozenset({Standing.ABSENT}), ("a",))
    await world.transactions.query(world.caller, other, 0, 1)
    shown = await world.transactions.event(world.caller, world.first)
    assert shown.expects_more
    assert [one.tx_key for one in shown.transactions] == ["k"]
    monkeypatch.setattr(subject, "COUNTED_MAX", 0)
    assert (await world.transactions.query(world.caller, other, 0, 1)).total == 1


async def test_a_page_tells_whether_there_is_more(world: World) -> None:
    wanted = Wanted("k", CLAIMABLE)
    for size, more in ((2, True), (3, False)):
        events, has_more = await world.transactions.wait(world.caller, wanted, size, 0)
        assert (len(events), has_more) == (size, more)


async def test_who_waits_is_woken_and_looks_again(world: World) -> None:
    for event_id in (world.first, world.second):
        await world.transactions.claim(world.caller, world.which(event_id))
    waiting = asyncio.create_task(world.found(wait_s=60, types=("a",)))
    async with asyncio.timeout(10):
        await until(lambda: world.ingest.arrived)
        assert not waiting.done()
        # As though it had been accepted: the lease of one is over.
        held = await world.transactions.claim(
            world.caller, world.which(world.other, "k"), 1_000_000
        )
        assert held.transaction.claim == 1
        world.ingest.arrived(world.caller.project_id, ["a"])
        world.arrivals.close()
        assert await waiting == []


async def test_nobody_waits_longer_than_was_asked(world: World) -> None:
    @contextmanager
    def waiting(*_: Any) -> Any:
        yield Passing(world)

    world.arrivals.waiting = waiting  # type: ignore[method-assign,assignment] # time passes by itself
    assert await world.found(wait_s=3, types=("c",)) == []
    assert world.clock.monotonic() == pytest.approx(1_800_000_003)


class Passing:
    """One that waits while the clock goes on."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def wait(self, seconds: float) -> None:
        self._world.clock.forward(seconds)


async def test_a_page_full_of_leases_that_ran_out_hides_nothing(world: World) -> None:
    world.clock.forward(5)
    fresh = world.records.event("a")
    for event_id in (world.first, world.second):
        await world.transactions.claim(world.caller, world.which(event_id), 1_000_000)
    await world.transactions.claim(world.caller, world.which(world.other))
    # Learns that before `fresh` there is nothing; then both leases run out.
    assert await world.found() == [fresh]
    world.clock.forward(5)
    world.records.event("a")
    wanted = Wanted("k", CLAIMABLE)
    events, has_more = await world.transactions.wait(world.caller, wanted, 1, 0)
    assert ([event.id for event in events], has_more) == ([world.first], True)
    assert await world.found() == world.unlearnt(())
    assert fresh in await world.found()


@pytest.mark.parametrize("seed", range(4))
async def test_what_was_learnt_of_earlier_looks_hides_nothing(world: World, seed: int) -> None:
    dice = random.Random(seed)
    known = [world.first, world.second, world.other]
    for _ in range(60):
        match dice.randrange(4):
            case 0:
                known.append(world.records.event(dice.choice("ab")))
            case 1:
                world.clock.forward(dice.choice([0.1, 3.0]))
            case 2:
                lease_us = dice.choice([None, 2_000_000])
                with suppress(AlreadyClaimed):
                    which = world.which(dice.choice(known))
                    await world.transactions.claim(world.caller, which, lease_us)
            case _:
                types = dice.choice([(), ("a",)])
                assert await world.found(types=types) == world.unlearnt(types)
    assert world.transactions._frontiers._known, "nothing was learnt"
