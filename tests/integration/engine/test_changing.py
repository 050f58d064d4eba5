"""What becomes of deliveries when their subscription changes, at any moment."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import Records
from tests.support.engine import PATIENCE_S, Works, works
from waypost.engine.receiver import Receiver
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed, Reason
from waypost.model.exchange import FailureKind
from waypost.model.subscription import DisabledBy, Subscription
from waypost.storage import queue
from waypost.storage.queue import LaneHead

DELIVERED = (DeliveryState.DELIVERED, None)
DELETED = (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DELETED)
DISABLED = (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DISABLED)
GONE = (DeliveryState.FAILED, Reason.GONE)
FAILING = (DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING)

ENDINGS = [(DisabledBy.PERSON, DISABLED), (DisabledBy.GONE, GONE), (DisabledBy.FAILING, FAILING)]


def receiver_of(engine: Works, subscription: Subscription) -> Receiver:
    receiver = engine.dispatcher._receivers.get(subscription.id)
    assert receiver is not None
    return receiver


async def owe(engine: Works, records: Records, subscription: Subscription, event_id: bytes) -> None:
    """Owe an event again, as a replay does."""
    owed = Owed(
        subscription.project_id,
        records.ids.next(),
        event_id,
        subscription.id,
        DeliveryClass.REPLAY,
        engine.clock.now_us(),
    )
    await engine.store.write(
        lambda c: queue.insert(c, [owed]), lambda _: engine.dispatcher.owed([owed])
    )


async def test_pausing_keeps_what_is_owed_and_resuming_goes_on_in_order(
    records: Records, path: Path
) -> None:
    one = records.subscription(concurrency=1)
    async with works(records, path, window=4) as engine:
        accepted = await engine.accept(3)
        await engine.change(one, paused=True)
        accepted += await engine.accept(9)
        engine.receivers.script = lambda post: post.answer()
        engine.receivers.open[0].answer()
        await engine.quiet()
        assert len(engine.sent) == 1
        assert await engine.count("queue") == 11
        await engine.change(one, paused=False)
        await engine.receivers.reach(12)
        await engine.quiet()
        assert engine.sent == [ids.spell(ids.EVENT, one.id) for one in accepted]
        engine.nothing_leaks()


async def test_a_pause_holds_for_what_is_being_loaded(records: Records, path: Path) -> None:
    one = records.subscription()
    async with works(records, path, payload_bytes=0) as engine:
        await engine.accept(3)
        await asyncio.gather(engine.change(one, paused=True))
        await engine.quiet()
        sent = len(engine.sent)
        assert engine.dispatcher.in_flight_count == sent
        engine.receivers.script = lambda post: post.answer()
        for post in engine.receivers.open:
            post.answer()
        await engine.change(one, paused=False)
        await engine.receivers.reach(3)
        await engine.quiet()
        assert await engine.ends() == {DELIVERED: 3}
        engine.nothing_leaks()


@pytest.mark.parametrize("by, end", ENDINGS)
async def test_disabling_ends_what_waits_and_lets_finish_what_is_in_flight(
    records: Records, path: Path, by: DisabledBy, end: tuple[DeliveryState, Reason]
) -> None:
    one = records.subscription(concurrency=3)
    async with works(records, path, window=10) as engine:
        await engine.accept(600)
        await engine.disable(one, by)
        await engine.quiet()
        assert await engine.ends() == {end: 597}
        first, second, third = engine.receivers.open
        first.answer()
        second.answer(500)
        await engine.quiet()
        assert await engine.ends() == {DELIVERED: 1, end: 598}
        third.fail()
        await engine.quiet()
        assert await engine.ends() == {DELIVERED: 1, end: 599}
        diverted = 0 if by is DisabledBy.PERSON else 599
        assert await engine.count("diverted_events") == diverted
        assert await engine.count("queue") == 0
        assert engine.dispatcher.lane_count == 0
        engine.nothing_leaks()


async def test_deleting_cancels_what_waits_and_lets_finish_what_is_in_flight(
    records: Records, path: Path
) -> None:
    one = records.subscription(concurrency=2)
    async with works(records, path) as engine:
        await engine.accept(5)
        await engine.delete(one)
        await engine.accept()
        await engine.quiet()
        assert await engine.ends() == {DELETED: 3}
        first, second = engine.receivers.open
        first.answer(503, retry_after="30")
        second.answer()
        await engine.quiet()
        assert await engine.ends() == {DELETED: 4, DELIVERED: 1}
        await engine.forward(3600)
        assert len(engine.sent) == 2
        assert engine.dispatcher.lane_count == 0
        engine.nothing_leaks()


async def test_an_alarm_of_a_deleted_receiver_rings_in_vain(records: Records, path: Path) -> None:
    one = records.subscription(retry_schedule_s=(5.0,))
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert len(engine.dispatcher._alarms._heap) == 1
        await engine.delete(one)
        await engine.quiet()
        await engine.forward(10)
        assert engine.dispatcher._alarms._heap == []
        assert len(engine.sent) == 1
        assert await engine.ends() == {DELETED: 1}


async def test_a_retry_that_is_committed_beside_the_deletion_is_cancelled(
    records: Records, path: Path
) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)  # being settled as the deletion is handed in
        await engine.delete(one)
        await engine.quiet()
        assert await engine.ends() == {DELETED: 1}
        assert await engine.count("queue") == 0
        engine.nothing_leaks()


@pytest.mark.parametrize("by, end", ENDINGS)
async def test_what_is_accepted_beside_the_disabling_is_not_owed_for_ever(
    records: Records, path: Path, by: DisabledBy, end: tuple[DeliveryState, Reason]
) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        changing = asyncio.create_task(engine.disable(one, by))
        await asyncio.gather(changing, engine.accept(2))
        await engine.quiet()
        assert await engine.count("queue") == 0
        assert engine.sent == []
        await engine.enable(one)
        await engine.quiet()
        assert engine.sent == []
        ends = await engine.ends()
        assert set(ends) <= {end}
        engine.nothing_leaks()


@pytest.mark.parametrize("by, expected", [*((by, end) for by, end in ENDINGS[1:])])
async def test_what_comes_while_disabled_by_itself_is_diverted(
    records: Records, path: Path, by: DisabledBy, expected: tuple[DeliveryState, Reason]
) -> None:
    one = records.subscription(disabled_by=by)
    async with works(records, path) as engine:
        await engine.accept(3)
        await engine.quiet()
        assert await engine.ends() == {expected: 3}
        assert await engine.count("diverted_events") == 3
        await engine.enable(one)
        await engine.accept()
        await engine.receivers.reach(1)


async def test_what_comes_while_disabled_by_a_person_is_not_owed(
    records: Records, path: Path
) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        await engine.disable(one)
        await engine.accept()
        await engine.quiet()
        assert await engine.count("queue") == 0
        assert await engine.ends() == {}
        await engine.enable(one)
        await engine.accept()
        await engine.receivers.reach(1)


@pytest.mark.parametrize("in_flight", [False, True])
async def test_what_a_job_owes_to_a_disabled_subscription_is_ended(
    records: Records, path: Path, in_flight: bool
) -> None:
    event_id = records.event()
    one = records.subscription()
    async with works(records, path) as engine:
        if in_flight:
            await engine.accept()
        await engine.disable(one)
        await engine.quiet()
        await owe(engine, records, one, event_id)
        await engine.quiet()
        assert await engine.ends() == {DISABLED: 1}
        assert await engine.count("queue") == int(in_flight)
        if in_flight:
            engine.receivers.open[0].answer()
            await engine.quiet()
            assert await engine.ends() == {DISABLED: 1, DELIVERED: 1}
        engine.nothing_leaks()


async def test_what_is_in_flight_is_spared_by_every_later_ending(
    records: Records, path: Path
) -> None:
    event_id = records.event()
    one = records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        await engine.delete(one)
        await engine.quiet()
        await owe(engine, records, one, event_id)
        await engine.quiet()
        engine.receivers.open[0].answer()
        await engine.quiet()
        assert await engine.ends() == {DELETED: 1, DELIVERED: 1}


async def test_what_is_left_when_it_is_enabled_again_is_delivered(
    records: Records, path: Path
) -> None:
    one = records.subscription(paused=True)
    async with works(records, path) as engine:
        await engine.accept(1_000)
    async with works(records, path) as engine:
        await engine.disable(one)  # the first part of the clearing is handed in
        await engine.change(one, disabled_by=None, paused=False)
        engine.receivers.script = lambda post: post.answer()
        await engine.quiet()
        ends = await engine.ends()
        assert await engine.count("queue") == 0
        assert sum(ends.values()) == 1_000
        assert ends.get(DELIVERED, 0) == len(engine.sent) == len(set(engine.sent))
        assert ends[DELIVERED] >= 500
        engine.nothing_leaks()


async def test_what_a_stopped_subscription_without_a_lane_is_still_owed_is_delivered_when_enabled(
    records: Records, path: Path
) -> None:
    one = records.subscription()
    event_id = records.event()
    for _ in range(700):
        records.pending(event_id, one)
    async with works(records, path) as engine:
        engine.clock.forward(1)
        await engine.store.write(lambda _: None)
    off = records.subscription(disabled_by=DisabledBy.PERSON)
    event_id = records.event()
    for _ in range(1_200):
        records.pending(event_id, off)
    records.clock.forward(1)
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer()
        await engine.enable(off)  # while it is being cleared, without a lane
        await engine.quiet()
        assert await engine.count("queue") == 0
        ends = await engine.ends()
        assert sum(ends.values()) == 1_900
        assert ends[DELIVERED] == len(engine.sent) > 700
        engine.nothing_leaks()


@pytest.mark.parametrize("in_flight", [False, True])
async def test_a_refill_that_was_reading_meanwhile_brings_back_nothing_that_was_cancelled(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch, in_flight: bool
) -> None:
    one = records.subscription(paused=True)
    async with works(records, path, window=10) as engine:
        await engine.accept(10)
    async with works(records, path, window=10) as engine:
        started, release = asyncio.Event(), asyncio.Event()
        read = engine.dispatcher._refiller._read

        async def held(*lanes: Any) -> tuple[list[LaneHead], int]:
            found = await read(*lanes)
            started.set()
            await release.wait()
            return found

        monkeypatch.setattr(engine.dispatcher._refiller, "_read", held)
        receiver = receiver_of(engine, one)
        await engine.change(one, paused=False)
        await asyncio.wait_for(started.wait(), PATIENCE_S)
        await engine.disable(one)
        while engine.dispatcher._upkeep._tasks:
            await asyncio.wait(engine.dispatcher._upkeep._tasks)
        assert await engine.ends() == {DISABLED: 10}
        if in_flight:  # it keeps its receiver
            engine.dispatcher._receivers._by_id[one.id] = receiver
        await engine.enable(one)
        release.set()
        await engine.quiet()
        assert engine.sent == []
        await engine.accept()
        await engine.receivers.reach(1)


async def test_days_of_nothing_but_failures_disable(records: Records, path: Path) -> None:
    records.subscription(retry_schedule_s=(50.0,) * 3)
    async with works(records, path, disable_after_us=100_000_000) as engine:
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept()
        await engine.quiet()
        await engine.forward(61)
        await engine.forward(61)
        assert await engine.ends() == {FAILING: 1}
        (row,) = await engine.rows("subscriptions")
        assert row.disabled_by == DisabledBy.FAILING.value


async def test_a_success_ends_the_series_even_where_settings_change_beside_it(
    records: Records, path: Path
) -> None:
    one = records.subscription(retry_schedule_s=(50.0,) * 9)
    async with works(records, path, disable_after_us=100_000_000) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.forward(2)  # saved
        await engine.accept()
        engine.receivers.open[0].answer(200)
        await engine.change(one, description="new")  # what is saved is older than what is known
        await engine.quiet()
        assert receiver_of(engine, one).failing_since_us is None
        await engine.forward(2)
        (row,) = await engine.rows("subscriptions")
        assert row.failing_since_us is None
        engine.receivers.script = lambda post: post.answer(500)
        await engine.forward(120)
        assert receiver_of(engine, one).ending is None


async def test_how_it_fares_survives_a_restart(records: Records, path: Path) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].fail(FailureKind.CONNECTION)
        since_us = engine.clock.now_us()
        await engine.quiet()
        await engine.forward(1.5)
    async with works(records, path) as engine:
        found = engine.router.find(one.project_id, one.id)
        assert found is not None
        assert found.failing_since_us == since_us


async def test_new_settings_hold_for_every_try_that_starts_from_now_on(
    records: Records, path: Path
) -> None:
    one = records.subscription(concurrency=1, url="https://old.example/")
    async with works(records, path) as engine:
        await engine.accept(3)
        await engine.change(one, url="https://new.example/", concurrency=2)
        await engine.receivers.reach(2)
        assert [post.host for post in engine.receivers.posts] == ["old.example", "new.example"]


async def test_a_receiver_that_is_gone_from_its_old_address_is_tried_at_the_new_one(
    records: Records, path: Path
) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        await engine.receivers.reach(1)
        await engine.change(one, url="https://example.net/new")
        engine.receivers.posts[0].answer(410)
        await engine.quiet()
        assert engine.router.find(one.project_id, one.id).disabled_by is None  # type: ignore[union-attr] # it is there
        await engine.forward(60)
        await engine.receivers.reach(2)
        assert engine.receivers.posts[1].host == "example.net"
