"""Jobs are done step by step, and a step happens whole or not at all."""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Connection, select

from tests.support import database
from tests.support.database import Place, Records
from tests.support.replaying import MOMENT, Desk
from waypost.engine.replayer import _owe
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed
from waypost.model.event import Attributes
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.model.subscription import DisabledBy, Subscription
from waypost.storage import diverted, missed, queue, schema, subscriptions


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


def at(tmp_path: Path) -> Path:
    return tmp_path / "w.db"


async def test_without_a_job_there_is_nothing_to_do(records: Records, tmp_path: Path) -> None:
    async with database.opened(at(tmp_path)) as store:
        assert not await Desk(records, store).replayer.run_once()


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.MISSING])
async def test_a_job_owes_what_the_present_filter_takes(
    records: Records, tmp_path: Path, kind: ReplayKind
) -> None:
    one = records.subscription(event_types=("card.*",), owner="o")
    other = records.subscription()
    mine = Attributes(owner="o")
    wanted = records.event("card.created", mine)
    unwanted = [
        records.event("book.created", mine),
        records.event("card.created"),
        records.event("card.created", Attributes(owner="o", targets=(other.id,))),
    ]
    aimed = records.event("book.created", Attributes(targets=(one.id,)))
    if kind is ReplayKind.RECOVER:
        for event_id in (wanted, *unwanted, aimed):
            records.ended(event_id, one, DeliveryState.FAILED)
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        replay = await desk.start(kind, one)
        await desk.finish()
        expected = [(wanted, one.id), (aimed, one.id)]
        replayed = DeliveryClass.REPLAY.value
        assert await desk.queued() == [(*pair, replayed) for pair in expected]
        assert [(owed.event_id, owed.subscription_id) for owed in desk.told] == expected
        assert {owed.due_us for owed in desk.told} <= {records.clock.now_us() + n for n in range(9)}
        after = await desk.look(replay)
        assert (after.state, after.owed) == (ReplayState.DONE, 2)


@pytest.fixture
def records_at(place: Place) -> Iterator[Records]:
    """Return what makes rows in a database of each kind."""
    made = database.make(place)
    yield made
    made.connection.close()
    made.connection.engine.dispose()


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.MISSING])
async def test_a_job_owes_what_the_present_filter_matches(
    records_at: Records, place: Place, kind: ReplayKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "SLICE", 7)
    text = '{"body":{"n":{"$gte":5}},"headers":{"x-a":"b"}}'
    one = records_at.subscription(event_types=("card.*",), filter=text)
    mine = Attributes(headers={"x-a": "b"})
    events = [records_at.event(attributes=mine, payload=b'{"n":%d}' % n) for n in range(10)]
    others = [
        records_at.event(payload=b'{"n":9}'),
        records_at.event("book.created", mine, payload=b'{"n":9}'),
        records_at.event(attributes=mine, payload=b'{"n":"9"}'),
    ]
    aimed = records_at.event(attributes=Attributes(targets=(one.id,)))
    if kind is ReplayKind.RECOVER:
        for event_id in (*events, *others, aimed):
            records_at.ended(event_id, one, DeliveryState.FAILED)
    async with database.opened(place) as store:
        desk = Desk(records_at, store)
        await desk.start(kind, one)
        await desk.finish()
        assert [owed[0] for owed in await desk.queued()] == [*events[5:], aimed]


async def test_a_filter_that_changes_meanwhile_decides_anew(
    records_at: Records, place: Place
) -> None:
    one = records_at.subscription(filter='{"body":{"n":1}}')
    events = [records_at.event(payload=b'{"n":%d}' % n) for n in range(3)]
    async with database.opened(place) as store:
        desk = Desk(records_at, store)
        await desk.start(ReplayKind.MISSING, one)
        replay = (await store.read(lambda c: desk.replayer._look(c, MOMENT)))[0]
        assert replay is not None
        step = await desk.replayer._planner.plan(replay)
        changed = msgspec.structs.replace(one, filter='{"body":{"n":2}}')
        await store.write(lambda c: subscriptions.update(c, changed))
        made_ids = [records_at.ids.next_at() for _ in step.pairs]
        owe = partial(_owe, step=step, held={}, made=made_ids, now_us=MOMENT)
        assert await store.write(owe) == []
        await desk.finish()
        assert [owed[0] for owed in await desk.queued()] == [events[2]]


async def test_a_recovered_event_leaves_the_dead_letter_box(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    records.ended(records.event(), one, DeliveryState.FAILED)
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        await desk.start(ReplayKind.RECOVER, one)
        await desk.finish()
        box = await store.read(lambda c: c.execute(select(schema.diverted_events)).all())
        assert (len(desk.told), box) == (1, [])


async def test_a_job_goes_on_where_the_last_step_ended(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "SLICE", 3)
    one = records.subscription()
    events = [records.event() for _ in range(10)]
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        replay = await desk.start(ReplayKind.MISSING, one)
        while await desk.replayer.run_once():
            # As after a crash: nothing but the database knows what was done.
            desk.replayer = desk.another()
        assert [owed[0] for owed in await desk.queued()] == events
        after = await desk.look(replay)
        assert (after.state, after.owed, after.position) == (ReplayState.DONE, 10, events[-1])


async def test_a_step_that_is_broken_off_leaves_nothing(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription()
    events = [records.event() for _ in range(3)]
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        replay = await desk.start(ReplayKind.MISSING, one)
        with monkeypatch.context() as broken:

            def crash(*_args: object) -> None:
                raise RuntimeError("crash")

            broken.setattr(diverted, "take_back", crash)
            with pytest.raises(RuntimeError, match="crash"):
                await desk.replayer.run_once()
        assert (await desk.queued(), desk.told, await desk.look(replay)) == ([], [], replay)
        await desk.finish()
        assert [owed[0] for owed in await desk.queued()] == events


async def test_two_replayers_at_once_double_nothing(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    events = [records.event() for _ in range(20)]
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        await desk.start(ReplayKind.MISSING, one)
        await desk.start(ReplayKind.MISSING, one)
        rivals = [desk.another() for _ in range(4)]
        while any(await asyncio.gather(*(rival.run_once() for rival in rivals))):
            pass
        assert sorted(owed[0] for owed in await desk.queued()) == events


@pytest.mark.parametrize("gone", ["disabled", "deleted"])
async def test_a_job_of_a_subscription_that_is_no_more_is_cancelled(
    records: Records, tmp_path: Path, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "SLICE", 2)
    one = records.subscription()
    for _ in range(6):
        records.event()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        replay = await desk.start(ReplayKind.MISSING, one)
        assert await desk.replayer.run_once()

        def stop(connection: Connection) -> None:
            place = (one.project_id, one.id)
            if gone == "disabled":
                subscriptions.set_disabled(connection, *place, DisabledBy.GONE)
            else:
                subscriptions.delete(connection, *place, 1)

        await store.write(stop)
        await desk.finish()
        after = await desk.look(replay)
        assert (after.state, after.owed) == (ReplayState.CANCELLED, 2)
        assert len(await desk.queued()) == 2


async def between(
    desk: Desk, patch: pytest.MonkeyPatch, change: Callable[[Connection], object]
) -> None:
    """Do a step, and have a change committed between what it reads and what it writes."""
    read = missed.read_slice
    loop, looked = asyncio.get_running_loop(), asyncio.Event()

    def look(connection: Connection, replay: Replay) -> missed.Slice:
        part = read(connection, replay)
        loop.call_soon_threadsafe(looked.set)
        return part

    with patch.context() as patched:
        patched.setattr(missed, "read_slice", look)
        step = asyncio.create_task(desk.replayer.run_once())
        # Woken before the step is, so the change is handed over before the step's own write.
        await looked.wait()
        await desk.store.write(change)
        assert await step


async def test_a_filter_that_changes_during_a_step_is_obeyed(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription()
    records.event("a")
    kept = records.event("b")
    narrowed = Subscription(one.project_id, one.id, one.url, event_types=("b",))
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        await desk.start(ReplayKind.MISSING, one)
        await between(desk, monkeypatch, lambda c: subscriptions.update(c, narrowed))
        await desk.finish()
        assert [owed[0] for owed in await desk.queued()] == [kept]


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.MISSING])
async def test_what_is_owed_during_a_step_is_not_owed_twice(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: ReplayKind
) -> None:
    one = records.subscription()
    events = [records.event() for _ in range(2)]
    if kind is ReplayKind.RECOVER:
        for event_id in events:
            records.ended(event_id, one, DeliveryState.FAILED)
    delivery_id, now_us = records.ids.next_at()
    place = (one.project_id, delivery_id, events[0], one.id)
    resent = Owed(*place, DeliveryClass.REPLAY, now_us)
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        replay = await desk.start(kind, one)
        await between(desk, monkeypatch, lambda c: queue.insert(c, [resent]))
        await desk.finish()
        assert [owed[0] for owed in await desk.queued()] == events
        assert (await desk.look(replay)).owed == 1


async def test_jobs_take_turns(
    records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "SLICE", 1)
    one, other = records.subscription(), records.subscription()
    for _ in range(3):
        records.event()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        await desk.start(ReplayKind.MISSING, one)
        await desk.start(ReplayKind.MISSING, other)
        await desk.finish()
        assert [owed.subscription_id for owed in desk.told] == [one.id, other.id] * 3


async def test_started_it_does_what_was_left_and_what_comes(
    records: Records, tmp_path: Path
) -> None:
    one, other = records.subscription(), records.subscription()
    records.event()
    async with database.opened(at(tmp_path)) as store:
        desk = Desk(records, store)
        await desk.start(ReplayKind.MISSING, one)
        desk.replayer.job.start()
        async with asyncio.timeout(10):
            await desk.done.wait()
        desk.done.clear()
        await desk.start(ReplayKind.MISSING, other)
        desk.replayer.job.wake()
        async with asyncio.timeout(10):
            while len(desk.told) < 2:
                await desk.done.wait()
                desk.done.clear()
        await desk.replayer.job.stop()
        assert [owed.subscription_id for owed in desk.told] == [one.id, other.id]


async def test_jobs_of_others_are_left_to_them(records: Records, tmp_path: Path) -> None:
    subscriptions_ = [records.subscription() for _ in range(5)]
    event_id = records.event()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store)
        jobs = [await desk.start(ReplayKind.MISSING, one) for one in subscriptions_]
        mine = subscriptions_[2]
        desk.replayer.mine = lambda subscription_id: subscription_id == mine.id
        while await desk.replayer.run_once():
            pass
        states = [(await desk.look(job)).state for job in jobs]
        assert states == [
            ReplayState.DONE if one is mine else ReplayState.RUNNING for one in subscriptions_
        ]
        assert [(one.event_id, one.subscription_id) for one in desk.told] == [(event_id, mine.id)]
