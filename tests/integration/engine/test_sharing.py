"""How receivers share what the process has: slots, memory, and the patience of others."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.database import Records
from tests.support.engine import works
from waypost.engine import preparer
from waypost.model.delivery import DeliveryState
from waypost.model.errors import Unavailable
from waypost.model.event import Event
from waypost.model.exchange import FailureKind
from waypost.model.ids import Id
from waypost.model.subscription import Subscription

DELIVERED = (DeliveryState.DELIVERED, None)


async def test_a_receiver_that_hangs_gives_its_fast_slots_to_the_others(
    records: Records, path: Path
) -> None:
    records.subscription(url="https://hangs.example/", concurrency=4)
    records.subscription(project_id=records.other, url="https://works.example/")
    async with works(records, path, max_in_flight=4) as engine:
        await engine.accept(10)
        await engine.accept(5, project_id=records.other)
        await engine.quiet()
        assert [post.host for post in engine.receivers.posts] == ["hangs.example"] * 4
        engine.receivers.script = lambda post: post.answer() if "works" in post.host else None
        await engine.forward(0.9)
        assert len(engine.sent) == 4
        await engine.forward(0.2)
        assert [post.host for post in engine.receivers.posts[4:]] == ["works.example"] * 5
        assert await engine.ends() == {DELIVERED: 5}
        engine.receivers.script = lambda post: post.answer()
        for post in engine.receivers.open:
            post.answer()
        await engine.quiet()
        assert await engine.ends() == {DELIVERED: 15}
        engine.nothing_leaks()


async def test_slow_slots_have_an_end_too(records: Records, path: Path) -> None:
    records.subscription(concurrency=10)
    async with works(records, path, max_in_flight=4, max_slow=3) as engine:
        await engine.accept(10)
        await engine.forward(2)
        assert len(engine.receivers.open) == 7
        await engine.forward(2)
        assert len(engine.receivers.open) == 7
        engine.receivers.script = lambda post: post.answer()
        for post in engine.receivers.open:
            post.answer()
        await engine.quiet()
        assert await engine.ends() == {DELIVERED: 10}
        engine.nothing_leaks()


async def test_one_that_ran_into_its_deadline_is_probed_in_slow_slots(
    records: Records, path: Path
) -> None:
    records.subscription(retry_schedule_s=(1.0,) * 9)
    async with works(records, path, max_in_flight=1) as engine:
        await engine.accept(5)
        engine.receivers.open[0].fail(FailureKind.TIMEOUT)
        await engine.quiet()
        # One at a time, and not in a fast slot.
        assert len(engine.receivers.open) == 1
        assert engine.dispatcher._fast.free == 1
        engine.receivers.open[0].answer()
        await engine.quiet()
        assert engine.dispatcher._fast.free == 0
        engine.receivers.script = lambda post: post.answer()
        engine.receivers.open[0].answer()
        await engine.forward(2)
        assert await engine.ends() == {DELIVERED: 5}
        engine.nothing_leaks()


async def test_a_recovering_receiver_ramps_up(records: Records, path: Path) -> None:
    records.subscription(concurrency=8, retry_schedule_s=(1.0,) * 9)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(503)
        await engine.quiet()
        await engine.accept(30)
        widths = []
        for _ in range(4):
            await engine.quiet()
            widths.append(len(engine.receivers.open))
            engine.receivers.open[0].answer()
        assert widths == [1, 2, 4, 8]


async def test_retry_after_holds_all_of_a_receiver(records: Records, path: Path) -> None:
    records.subscription(retry_schedule_s=(1.0,) * 9)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(429, retry_after="30")
        await engine.quiet()
        await engine.accept(3)
        await engine.forward(29)
        assert len(engine.sent) == 1
        engine.receivers.script = lambda post: post.answer()
        await engine.forward(1.1)
        assert len(engine.sent) == 5
        assert await engine.ends() == {DELIVERED: 4}


def fill(records: Records, project_id: bytes, hosts: str) -> list[Subscription]:
    event_id = records.event(project_id=project_id)
    made = [
        records.subscription(project_id=project_id, url=f"https://{host}.example/")
        for host in hosts
    ]
    for _ in range(30):
        for subscription in made:
            records.pending(event_id, subscription)
    return made


async def test_scarce_slots_go_round_projects_first_then_lanes(
    records: Records, path: Path
) -> None:
    # Three lanes of one project, one of another: the other has half of the slots.
    fill(records, records.project, "abc")
    fill(records, records.other, "x")
    records.clock.forward(1)
    async with works(records, path, max_in_flight=1) as engine:
        await engine.quiet()
        for _ in range(24):
            engine.receivers.open[0].answer()
            await engine.quiet()
        hosts = "".join(post.host[0] for post in engine.receivers.posts[:25])
        shares = {host: hosts[1:].count(host) for host in "abcx"}
        assert shares == {"a": 4, "b": 4, "c": 4, "x": 12}


async def test_slots_that_come_free_together_are_shared_too(records: Records, path: Path) -> None:
    fill(records, records.project, "a")
    fill(records, records.other, "x")
    records.clock.forward(1)
    async with works(records, path, max_in_flight=8) as engine:
        await engine.quiet()
        first = len(engine.receivers.posts)
        assert first == 8
        await engine.forward(2)  # all are slow now: eight slots come free at once
        hosts = [post.host[0] for post in engine.receivers.posts[8:16]]
        assert (hosts.count("a"), hosts.count("x")) == (4, 4)


async def test_one_that_waits_and_can_use_no_slot_does_not_keep_the_others_from_it(
    records: Records, path: Path
) -> None:
    (busy,) = fill(records, records.other, "b")
    first, second = fill(records, records.project, "cd")
    records.clock.forward(1)
    async with works(records, path, max_in_flight=1) as engine:
        await engine.quiet()
        waits = [s for s in (busy, first, second) if s.url[8] != engine.receivers.posts[0].host[0]]
        await engine.change(waits[0], paused=True)
        running = ({busy.id, first.id, second.id} - {s.id for s in waits}).pop()
        (stopped,) = [s for s in (busy, first, second) if s.id == running]
        await engine.change(stopped, paused=True)
        engine.receivers.open[0].answer()
        await engine.quiet()
        assert engine.receivers.posts[1].host[0] == waits[1].url[8]


async def test_lanes_that_are_idle_are_forgotten_and_made_again(
    records: Records, path: Path
) -> None:
    for host in "abcdefgh":
        records.subscription(url=f"https://{host}.example/")
    failing = records.subscription(url="https://z.example/", retry_schedule_s=(60.0,))
    async with works(records, path, lanes=4) as engine:
        engine.receivers.script = lambda post: post.answer(500 if "z" in post.host[:1] else 200)
        await engine.accept()
        await engine.quiet()
        assert engine.dispatcher.lane_count == 9
        engine.sweep()
        await engine.quiet()
        assert engine.dispatcher.lane_count == 1
        assert engine.dispatcher._receivers.get(failing.id) is not None
        await engine.accept()
        await engine.quiet()
        assert len(engine.sent) == 18
        engine.receivers.script = lambda post: post.answer()
        await engine.forward(80)
        assert await engine.ends() == {DELIVERED: 18}
        await engine.forward(2)
        engine.sweep()
        await engine.quiet()
        assert engine.dispatcher.lane_count <= 9


async def test_a_lane_is_not_forgotten_before_how_it_fares_is_saved(
    records: Records, path: Path
) -> None:
    one = records.subscription(retry_schedule_s=())
    async with works(records, path, lanes=0) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.accept()
        engine.receivers.open[0].answer()
        engine.dispatcher._upkeep._saved_us = engine.clock.now_us()
        await engine.quiet()
        receiver = engine.dispatcher._receivers.get(one.id)
        assert receiver is not None
        assert receiver.is_idle()
        engine.router.refresh(replace(one, failing_since_us=1))
        engine.sweep()
        assert engine.dispatcher.lane_count == 1
        await engine.forward(2)
        engine.sweep()
        assert engine.dispatcher.lane_count == 0


async def test_a_reader_that_is_overrun_diverts_nothing(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparer, "_AGAIN_S", 0.0)
    records.subscription()
    async with works(records, path, payload_bytes=0) as engine:
        load, refusals = engine.dispatcher._refiller.load, [20]

        async def overrun(project_id: Id, event_id: Id) -> Event | None:
            if refusals[0]:
                refusals[0] -= 1
                raise Unavailable
            return await load(project_id, event_id)

        monkeypatch.setattr(engine.dispatcher._refiller, "load", overrun)
        engine.receivers.script = lambda post: post.answer()
        await engine.accept(3)
        await engine.receivers.reach(3)
        await engine.quiet()
        assert refusals == [0]
        assert await engine.ends() == {DELIVERED: 3}
        assert {row.attempts for row in await engine.rows("deliveries")} == {1}
        engine.nothing_leaks()
