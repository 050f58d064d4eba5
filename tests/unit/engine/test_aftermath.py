"""The aftermath: notices before settlements, and nothing that keeps a delivery from ending."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import Records
from waypost.engine import aftermath, recorder
from waypost.engine.aftermath import Aftermath, Hands
from waypost.engine.receiver import Receiver
from waypost.engine.recorder import Try
from waypost.engine.sender import Address
from waypost.engine.upkeep import Upkeep
from waypost.model import ids
from waypost.model.delivery import Owed, Reason, Timings
from waypost.model.errors import StorageFull, Unavailable
from waypost.model.failure import AlertEndpoint, FailureHandling, OnGivingUp, Suspension
from waypost.model.subscription import (
    DisabledBy,
    End,
    Notices,
    OnOrderFailure,
    Ordering,
    Subscription,
)
from waypost.policy.lane import Lane
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import DELIVERED, GaveUp, RetryAt, Transition
from waypost.policy.work import Work
from waypost.storage import events
from waypost.storage.changes import Settlement
from waypost.storage.connection import Connection
from waypost.storage.store import Store

HIDDEN = b"h" * 16
ALERTING = FailureHandling(
    on_giving_up=(OnGivingUp.ALERT,),
    alert_endpoints=(AlertEndpoint(HIDDEN, "https://a.example/"),),
)
BLOCKING = {"ordering": Ordering.KEY, "on_order_failure": OnOrderFailure.BLOCK}
BAD = Outcome(OutcomeKind.FAILED, 500, b"no")
GOOD = Outcome(OutcomeKind.DELIVERED, 204, b"")
REPORTED = Notices(reporter=HIDDEN, reports={End.DELIVERED: "told.good", End.FAILED: "told.bad"})


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(aftermath, "_RETRY_S", 0.0)
    with capture_logs():
        yield


class Fake(Upkeep):
    """Notes what it is asked for, and answers as it is told."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.succeeds = True

    async def disable(self, subscription: Subscription, by: DisabledBy) -> bool:
        self.asked += [by]
        return self.succeeds

    async def block(self, tried: Try) -> bool:
        self.asked += [tried.work.key]
        return self.succeeds or len(self.asked) > 2

    async def suspend(self, subscription: Subscription, why: Suspension) -> bool:
        self.asked += [why]
        return self.succeeds


class Shelf:
    """A store that notes the order of what is written, and may refuse."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.refusals: list[Exception] = []
        self.written: list[str] = []

    async def write(self, change: Callable[[Connection], Any], done: Callable[[Any], None]) -> Any:
        if self.refusals:
            raise self.refusals.pop()
        self.written.append("notice")
        return await self._store.write(change, done)

    def settle(self, _settlement: Settlement) -> None:
        self.written.append("settlement")


class Scene:
    """An aftermath with everything around it noted."""

    def __init__(self, records: Records, store: Store, **settings: Any) -> None:
        self.shelf, self.upkeep = Shelf(store), Fake()
        self.owed: list[Owed] = []
        self.pumped: list[Receiver] = []
        self.unloaded: list[Work] = []
        self.stopping = False
        self.tasks: list[asyncio.Task[None]] = []
        hands = Hands(
            self.take, self.pumped.append, self.spawn, self.unloaded.append, lambda: self.stopping
        )
        self.aftermath = Aftermath(hands, cast(Store, self.shelf), self.upkeep, records.ids)
        self.one = Subscription(records.project, records.ids.next(), database.URL, **settings)
        self.receiver = Receiver(self.one, Address(self.one, (), None), Lane(1, 1))
        self.now_us = records.clock.now_us()
        self.work = Work(records.ids.next(), records.ids.next(), 0, 1, 2)

    def chain(self) -> Work:
        """Have the delivery followed by another one of its key; return that."""
        lane = self.receiver.lane
        follower = Work(b"f" * 16, b"e" * 16, 0, 1, 0, key="a", sequence=2)
        self.work.key, self.work.sequence = "a", 1
        assert lane.order is not None
        lane.order.enter(self.work, [follower])
        lane.known.update({one.id: one for one in (self.work, follower)})
        return follower

    def take(self, owed: Sequence[Owed]) -> None:
        self.owed += owed

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))

    async def give_up(self, transition: GaveUp, *, ended: bool = False) -> None:
        project_id, subscription_id = self.one.project_id, self.one.id
        tried = Try(project_id, subscription_id, self.work, BAD, Timings(), False, self.now_us)
        settlement = cast(Settlement, None)
        self.aftermath.give_up(self.receiver, tried, transition, settlement, ended=ended)
        for task in self.tasks:  # and those that they spawn
            await task


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


async def test_what_asks_for_nothing_is_settled_at_once(records: Records, tmp_path: Path) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store)
        await scene.give_up(GaveUp(Reason.EXHAUSTED))
        assert (scene.shelf.written, scene.tasks, scene.upkeep.asked) == (["settlement"], [], [])
        assert not scene.receiver.lane.paused


@pytest.mark.parametrize("refusals", [[], [Unavailable(), Unavailable()]])
async def test_a_notice_is_written_before_the_settlement(
    records: Records, tmp_path: Path, refusals: list[Exception]
) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store, failure_handling=ALERTING)
        scene.shelf.refusals = refusals
        await scene.give_up(GaveUp(Reason.EXHAUSTED, alert=True))
        assert scene.shelf.written == ["notice", "settlement"]
        (owed,) = scene.owed
        assert owed.project_id == ids.alerts_of(records.project)
        assert owed.subscription_id == HIDDEN
        assert owed.due_us == ids.moment(owed.id)


@pytest.mark.parametrize("refusal", [StorageFull(), ZeroDivisionError()])
async def test_where_no_notice_can_be_written_the_delivery_ends_all_the_same(
    records: Records, tmp_path: Path, refusal: Exception
) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store, failure_handling=ALERTING)
        scene.shelf.refusals = [refusal]
        await scene.give_up(GaveUp(Reason.EXHAUSTED, alert=True))
        assert (scene.shelf.written, scene.owed) == (["settlement"], [])


async def test_what_a_stop_has_ended_alerts_nobody(records: Records, tmp_path: Path) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store, failure_handling=ALERTING)
        await scene.give_up(GaveUp(Reason.EXHAUSTED, alert=True), ended=True)
        assert scene.shelf.written == ["settlement"]


async def test_what_is_behind_it_is_blocked_before_anybody_hears_of_it(
    records: Records, tmp_path: Path
) -> None:
    """Written or not at the first time; its followers leave the lane at once."""
    async with database.opened(tmp_path / "w.db") as store:
        for succeeds, asked in ((True, ["a"]), (False, ["a", "a", "a"])):
            scene = Scene(records, store, failure_handling=ALERTING, **BLOCKING)
            scene.upkeep.succeeds = succeeds
            follower = scene.chain()
            await scene.give_up(GaveUp(Reason.EXHAUSTED, alert=True))
            assert scene.shelf.written == ["notice", "settlement"]
            assert (scene.upkeep.asked, scene.unloaded) == (asked, [follower])


async def test_where_a_block_cannot_be_written_the_delivery_stays_owed(
    records: Records, tmp_path: Path
) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store, **BLOCKING)
        scene.chain()
        scene.upkeep.succeeds, scene.stopping = False, True
        await scene.give_up(GaveUp(Reason.EXHAUSTED))
        assert (scene.upkeep.asked, scene.shelf.written) == (["a"], [])


async def test_it_disables_or_suspends_once(records: Records, tmp_path: Path) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store)
        await scene.give_up(GaveUp(Reason.GONE, disable=DisabledBy.GONE))
        await scene.give_up(GaveUp(Reason.GONE, disable=DisabledBy.GONE))
        assert scene.upkeep.asked == [DisabledBy.GONE]
        assert (scene.receiver.lane.paused, scene.pumped) == (True, [])
        scene = Scene(records, store)
        await scene.give_up(GaveUp(Reason.EXHAUSTED, suspend=True))
        why = Suspension(scene.now_us, scene.work.event_id, "500", "status 500: no")
        assert scene.upkeep.asked == [why]
        scene.receiver.take(replace(scene.one, suspension=why), scene.receiver.address)
        await scene.give_up(GaveUp(Reason.EXHAUSTED, suspend=True))
        assert scene.upkeep.asked == [why]
        await scene.give_up(GaveUp(Reason.GONE, disable=DisabledBy.GONE))
        assert scene.upkeep.asked == [why, DisabledBy.GONE]


async def test_where_that_fails_it_goes_on(records: Records, tmp_path: Path) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store)
        scene.upkeep.succeeds = False
        await scene.give_up(GaveUp(Reason.EXHAUSTED, suspend=True))
        assert (scene.receiver.lane.paused, scene.pumped) == (False, [scene.receiver])


async def test_who_is_told_of_each_end_is_told_before_the_settlement(
    records: Records, tmp_path: Path
) -> None:
    async with database.opened(tmp_path / "w.db") as store:
        scene = Scene(records, store, notices=REPORTED)
        scene.work.event_id = records.event()
        tried = Try(scene.one.project_id, scene.one.id, scene.work, GOOD, Timings(), False, 9)

        def end(transition: Transition) -> None:
            settlement = recorder.settlement(tried, transition, None, lambda _: None)
            scene.aftermath.end(scene.receiver, tried, transition, settlement)

        end(DELIVERED)
        end(RetryAt(7))  # of which nobody asked to be told
        await asyncio.gather(*scene.tasks)
        assert scene.shelf.written == ["settlement", "notice", "settlement"]
        (owed,) = scene.owed
        assert (owed.project_id, owed.subscription_id) == (ids.alerts_of(records.project), HIDDEN)
        told = await store.read(lambda c: events.get(c, owed.project_id, owed.event_id))
        assert told.type == "told.good"
        assert msgspec.json.decode(told.payload)["delivery"] == ids.spell_uuid(scene.work.id)
