"""Jobs of a selection and of the dead-letter box: their steps, their pace."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, select

from tests.support import database
from tests.support.database import Place, Records
from tests.support.replaying import MOMENT, Desk
from tests.support.waiting import PATIENCE_S, until
from waypost.engine import replayer
from waypost.engine.lull import Lull
from waypost.engine.replayer import Replayer, Speed, _owe
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed
from waypost.model.replay import Plan, Replay, ReplayKind, ReplayState, Route
from waypost.model.subscription import DisabledBy
from waypost.policy.background import GAP_US, Background
from waypost.storage import diverted, projects, queue, replays, schema, subscriptions


@pytest.fixture
def records_at(place: Place) -> Iterator[Records]:
    """Return what makes rows in a database of each kind."""
    made = database.make(place)
    yield made
    made.connection.close()
    made.connection.engine.dispose()


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


def at(tmp_path: Path) -> Path:
    return tmp_path / "w.db"


async def ask(desk: Desk, kind: ReplayKind = ReplayKind.SELECTED, **plan: Any) -> Replay:
    """Start a job of a selection, which goes to those of the router that want it."""
    desk.records.clock.forward(1)
    replay_id, now_us = desk.records.ids.next_at()
    place = (desk.records.project, replay_id)
    plan = {"route": Route.AFRESH, **plan}
    replay = Replay(*place, kind, None, 0, now_us, plan=Plan(**plan), stepped_us=now_us)
    await desk.store.write(lambda c: replays.insert(c, replay))
    return replay


async def test_a_selection_is_owed_with_the_replay_named(records_at: Records, place: Place) -> None:
    one, two = records_at.subscription(), records_at.subscription()
    events = [records_at.event() for _ in range(3)]
    records_at.ended(events[1], one, DeliveryState.FAILED)
    async with database.opened(place) as store:
        desk = Desk(records_at, store)
        for subscription in (one, two):
            desk.router.apply(1, subscription)
        replay = await ask(desk)
        await desk.finish()
        pairs = [(event_id, to) for event_id in events for to in sorted((one.id, two.id))]
        assert [(owed.event_id, owed.subscription_id) for owed in desk.told] == pairs
        lanes = [queue.LaneWanted(one.project_id, to.id, 9) for to in (one, two)]
        heads = await store.read(lambda c: queue.read_heads(c, lanes, payload_max=9))
        kept = [row.owed for head in heads for row in head.rows]
        assert sorted(kept, key=lambda x: x.id) == desk.told
        assert {owed.replay_id for owed in desk.told} == {replay.id}
        # Their tries need not read them.
        assert {key: one.payload for key, one in desk.events.items()} == dict.fromkeys(
            events, b"{}"
        )
        after = await desk.look(replay)
        assert (after.state, after.owed, after.looked) == (ReplayState.DONE, 6, 3)
        assert await store.read(lambda c: c.execute(select(schema.diverted_events)).all()) == []


async def test_routes_that_change_during_a_step_are_obeyed(
    records_at: Records, place: Place
) -> None:
    one = records_at.subscription()
    events = [records_at.event("a"), records_at.event("b")]
    async with database.opened(place) as store:
        desk = Desk(records_at, store)
        desk.router.apply(1, one)
        replay = await ask(desk)
        step = await desk.replayer._planner.plan(replay)
        assert len(step.pairs) == 2
        version = await store.write(lambda c: projects.bump_routing(c, records_at.project))
        made = [records_at.ids.next_at() for _ in step.pairs]
        assert await store.write(partial(_owe, step=step, held={}, made=made, now_us=MOMENT)) == []
        desk.router.apply(version, msgspec.structs.replace(one, event_types=("b",)))
        await desk.finish()
        assert [owed.event_id for owed in desk.told] == [events[1]]


async def test_what_is_disabled_or_owed_during_a_step_is_left_out(
    records_at: Records, place: Place
) -> None:
    one, two = records_at.subscription(), records_at.subscription()
    events = [records_at.event(), records_at.event()]
    for subscription in (one, two):
        for event_id in events:
            records_at.ended(event_id, subscription, DeliveryState.DELIVERED)
    async with database.opened(place) as store:
        desk = Desk(records_at, store)
        for subscription in (one, two):
            desk.router.apply(1, subscription)
        step = await desk.replayer._planner.plan(await ask(desk, route=Route.AS_BEFORE))
        assert len(step.pairs) == 4
        delivery_id, due_us = records_at.ids.next_at()
        other = Owed(
            *(one.project_id, delivery_id, events[0], one.id, DeliveryClass.REPLAY, due_us)
        )

        def change(connection: Connection) -> None:
            queue.insert(connection, [other])
            by = DisabledBy.PERSON
            subscriptions.set_disabled(connection, two.project_id, two.id, by)

        await store.write(change)
        made = [records_at.ids.next_at() for _ in step.pairs]
        owed = await store.write(partial(_owe, step=step, held={}, made=made, now_us=MOMENT))
        assert [(x.event_id, x.subscription_id) for x in owed] == [(events[1], one.id)]


async def test_the_box_is_emptied_of_what_is_owed_again(records_at: Records, place: Place) -> None:
    one, off = records_at.subscription(), records_at.subscription(disabled_by=DisabledBy.GONE)
    first, second = records_at.event(), records_at.event()
    for event_id, of in ((first, one), (first, one), (second, one), (second, off)):
        records_at.ended(event_id, of, DeliveryState.FAILED)
    async with database.opened(place) as store:
        desk = Desk(records_at, store)
        replay = await ask(desk, ReplayKind.DIVERTED)
        step = await desk.replayer._planner.plan(replay)
        # Somebody takes one of them out in between.
        [gone] = [one_.id for one_ in step.box if one_.event_id == second][:1]
        await store.write(lambda c: diverted.delete(c, one.project_id, gone))
        made = [records_at.ids.next_at() for _ in step.pairs]
        owed = await store.write(partial(_owe, step=step, held={}, made=made, now_us=MOMENT))
        assert [(x.event_id, x.subscription_id) for x in owed] == [(first, one.id)]
        left = await store.read(lambda c: c.execute(select(schema.diverted_events)).all())
        assert [(row.event_id, row.subscription_id) for row in left] == [(second, off.id)]


async def test_a_paused_job_makes_no_step(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    records.event()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        desk.router.apply(1, one)
        replay = await ask(desk)
        place = (replay.project_id, replay.id)
        await store.write(lambda c: replays.enter(c, *place, ReplayState.PAUSED, 1))
        assert await desk.finish() == 0
        await store.write(lambda c: replays.enter(c, *place, ReplayState.RUNNING, 2))
        assert await desk.finish() == 1
        assert len(desk.told) == 1


async def test_a_job_that_is_for_one_ends_with_it(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    for _ in range(3):
        records.event()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        desk.router.apply(1, one)
        replay_id, now_us = records.ids.next_at()
        replay = Replay(
            *(one.project_id, replay_id, ReplayKind.SELECTED, one.id, 0, now_us),
            plan=Plan(route=Route.TO, rate=10.0),
        )
        await store.write(lambda c: replays.insert(c, replay))
        await desk.replayer.run_once()
        by = DisabledBy.PERSON
        await store.write(lambda c: subscriptions.set_disabled(c, one.project_id, one.id, by))
        records.clock.forward(1)
        assert await desk.replayer.run_once()
        assert (await desk.look(replay)).state is ReplayState.CANCELLED
        assert len(desk.told) == 1


@pytest.mark.parametrize("rate", [0.5, 4.0, 10.0, 50.0, 2_000.0])
async def test_a_rate_is_kept(
    records: Records, tmp_path: Path, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription()
    count = int(min(rate, 100) * 6)
    for _ in range(count):
        records.event()
    waits: list[float] = []
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        desk.router.apply(1, one)
        monkeypatch.setattr(desk.replayer.job, "wake_in", waits.append)
        replay = await ask(desk, rate=rate)
        began_us = records.clock.now_us()
        while (await desk.look(replay)).state is ReplayState.RUNNING:
            if not await desk.replayer.run_once():
                # It wakes when its next step is due, and not before.
                assert 0 < waits[-1] <= 2.0
                records.clock.forward(waits[-1] + 0.000_001)
            elapsed_s = (records.clock.now_us() - began_us) / 1_000_000
            assert len(desk.told) <= rate * (elapsed_s + 0.2) + 1
        took_s = (records.clock.now_us() - began_us) / 1_000_000
        assert len(desk.told) == count
        assert took_s == pytest.approx(count / rate, abs=0.3 + 1 / rate)


async def test_a_job_does_not_make_up_for_the_time_it_was_kept_waiting(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    for _ in range(100):
        records.event()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        desk.router.apply(1, one)
        await ask(desk, rate=10.0)
        await desk.finish()
        owed = len(desk.told)
        records.clock.forward(3600)
        await desk.finish()
        assert len(desk.told) - owed <= 3


async def test_beside_what_is_live_there_are_few_steps_and_gaps_between_tries(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription()
    for _ in range(150):
        records.ended(records.event(), one, DeliveryState.DELIVERED)
    waits: list[float] = []
    background = Background()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        desk.router.apply(1, one)
        desk.replayer = Replayer(store, desk.take, records.ids, desk.router, background)
        monkeypatch.setattr(desk.replayer.job, "wake_in", waits.append)
        await ask(desk, route=Route.AS_BEFORE)
        background.live_us = records.clock.now_us()
        assert await desk.finish() == 1
        await desk.replayer.run_once()
        assert len(desk.told) == 100
        assert waits[-1] == pytest.approx(0.5, abs=0.001)
        assert background.gap_us == GAP_US
        # When nothing is live any more, the rest comes at once.
        records.clock.forward(5)
        await desk.finish()
        assert len(desk.told) == 150


async def test_beside_what_is_live_a_step_is_made_in_lulls(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription()
    records.ended(records.event(), one, DeliveryState.DELIVERED)
    monkeypatch.setattr(replayer, "_LULL_S", 10 * PATIENCE_S)
    background, lull = Background(), Lull()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        desk.router.apply(1, one)
        desk.replayer = Replayer(store, desk.take, records.ids, desk.router, background, lull)
        await ask(desk, route=Route.AS_BEFORE)
        background.live_us = records.clock.now_us()
        step = asyncio.create_task(desk.replayer.run_once())
        # One before it reads, and one before it writes.
        for _ in range(2):
            await until(lambda: lull.came)
            assert not desk.told
            lull.begin()
        async with asyncio.timeout(PATIENCE_S):
            await step
        assert len(desk.told) == 1


def test_a_rate_has_its_tries_so_close_that_it_can_be_kept() -> None:
    assert [Speed(rate).gap_us for rate in (1, 100, 200, 1_000)] == [GAP_US, GAP_US, 2_500, 500]
    assert Speed(100_000).gap_us == 500
