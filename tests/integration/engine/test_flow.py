"""Flow control, by the whole engine under a simulated clock: what is limited is no attempt."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.database import Records
from tests.support.engine import Works, works
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.event import Attributes
from waypost.model.exchange import FailureKind
from waypost.model.flow import Breaker, BreakerState, Priority, RateLimit, SendingHours, Wait
from waypost.model.subscription import DisabledBy

DELIVERED = (DeliveryState.DELIVERED, None)
EXPIRED = (DeliveryState.FAILED, Reason.EXPIRED)
TOUCHY = Breaker(min_requests=3, failure_ratio=1, open_s=60, probes=2)
OFTEN = (0.001,) * 40


def answers(engine: Works, status: int = 200) -> None:
    engine.receivers.script = lambda post: post.answer(status)


async def test_no_more_start_than_the_rate_allows(records: Records, path: Path) -> None:
    records.subscription(rate_limit=RateLimit(1, 10))
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept(5)
        await engine.quiet()
        assert engine.sent == []  # an empty bucket: nobody knows what was sent before
        for sent in range(1, 6):
            await engine.forward(9)
            assert len(engine.sent) == sent - 1
            await engine.forward(1)
            assert len(engine.sent) == sent
        assert await engine.ends() == {DELIVERED: 5}
        assert await engine.count("attempts") == 0  # each was delivered by its first
        engine.nothing_leaks()


async def test_a_rate_that_is_set_and_taken_away_holds_at_once(
    records: Records, path: Path
) -> None:
    one = records.subscription()
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept()
        await engine.quiet()
        assert len(engine.sent) == 1
        await engine.change(one, rate_limit=RateLimit(1, 3600))
        await engine.accept(3)
        await engine.forward(60)
        assert len(engine.sent) == 1
        await engine.change(one, rate_limit=None)
        await engine.quiet()
        assert len(engine.sent) == 4


async def test_the_breaker_opens_and_the_receiver_is_left_alone_until_it_probes(
    records: Records, path: Path
) -> None:
    records.subscription(breaker=TOUCHY, retry_schedule_s=OFTEN, concurrency=8)
    async with works(records, path) as engine:
        await engine.accept(3)
        for post in engine.receivers.open:
            post.answer(500)
        await engine.forward(1)
        await engine.accept(20)
        await engine.forward(57)
        assert len(engine.sent) == 3
        await engine.forward(5)
        assert len(engine.receivers.open) == 1  # a probe goes alone
        engine.receivers.open[0].answer()
        await engine.quiet()
        assert len(engine.receivers.open) == 2
        answers(engine)
        for post in engine.receivers.open:
            post.answer()
        await engine.forward(2)
        assert await engine.ends() == {DELIVERED: 23}
        assert await engine.rows("lane_state") == []
        engine.nothing_leaks()


async def test_what_hung_when_it_opened_does_not_count_against_the_probes(
    records: Records, path: Path
) -> None:
    records.subscription(breaker=TOUCHY, retry_schedule_s=OFTEN)
    async with works(records, path) as engine:
        await engine.accept(5)
        hung, failing = engine.receivers.open[:2], engine.receivers.open[2:]
        for post in failing:
            post.answer(500)
        await engine.forward(61)
        for post in hung:
            post.fail(FailureKind.TIMEOUT)
        await engine.quiet()
        [probe] = engine.receivers.open
        probe.answer()
        await engine.forward(1)
        answers(engine)
        for post in engine.receivers.open:
            post.answer()
        await engine.forward(1)
        assert await engine.ends() == {DELIVERED: 5}


async def test_openings_in_a_row_disable_it(records: Records, path: Path) -> None:
    breaker = Breaker(min_requests=3, failure_ratio=1, open_s=60, disable_after=3)
    one = records.subscription(breaker=breaker, retry_schedule_s=OFTEN)
    async with works(records, path) as engine:
        answers(engine, 500)
        await engine.accept(4)
        await engine.quiet()
        for _ in range(2):
            found = engine.router.find(one.project_id, one.id)
            assert found is not None
            assert found.disabled_by is None
            await engine.forward(61)
        await engine.quiet()
        found = engine.router.find(one.project_id, one.id)
        assert found is not None
        assert found.disabled_by is DisabledBy.FAILING
        assert await engine.count("queue") == 0
        assert await engine.count("diverted_events") == 4


async def test_a_breaker_that_is_off_stays_shut(records: Records, path: Path) -> None:
    records.subscription(breaker=Breaker(enabled=False), retry_schedule_s=(5.0,))
    async with works(records, path) as engine:
        answers(engine, 500)
        await engine.accept(100)
        await engine.quiet()
        await engine.forward(10)
        assert len(engine.sent) == 200


async def test_the_breaker_is_on_where_nothing_is_set(records: Records, path: Path) -> None:
    records.subscription(retry_schedule_s=(1.0,) * 9)
    async with works(records, path) as engine:
        answers(engine, 500)
        await engine.accept(100)
        await engine.quiet()
        assert len(engine.sent) < 100
        [row] = await saved(engine)
        assert row.waits_for == Wait.BREAKER_OPEN


async def saved(engine: Works) -> list[Any]:
    """Return the states of the lanes, once what has changed is written."""
    await engine.dispatcher.save()
    return await engine.rows("lane_state")


async def test_an_open_breaker_outlives_its_process(records: Records, path: Path) -> None:
    one = records.subscription(breaker=TOUCHY, retry_schedule_s=OFTEN, concurrency=8)
    async with works(records, path) as engine:
        answers(engine, 500)
        await engine.accept(20)
        await engine.quiet()
        [row] = await saved(engine)
        assert row.subscription_id == one.id
        assert (row.breaker, row.openings, row.in_flight_max) == (BreakerState.OPEN, 1, 1)
        assert (row.waits_for, row.waits_until_us) == (Wait.BREAKER_OPEN, row.opened_until_us)
    async with works(records, path) as engine:
        await engine.forward(50)
        assert engine.sent == []
        await engine.forward(15)
        assert len(engine.receivers.open) == 1
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        [row] = await saved(engine)
        assert row.openings == 2


async def test_states_are_written_at_most_once_a_second_and_together(
    records: Records, path: Path
) -> None:
    records.subscription(breaker=TOUCHY, retry_schedule_s=OFTEN)
    async with works(records, path) as engine:
        await engine.forward(2)
        engine.dispatcher._upkeep._saved_us = records.clock.now_us()
        answers(engine, 500)
        await engine.accept(3)
        await engine.forward(0.5)
        assert await engine.rows("lane_state") == []
        await engine.forward(0.6)
        assert len(await engine.rows("lane_state")) == 1


@pytest.mark.parametrize(
    "settings, waits",
    [
        ({"rate_limit": RateLimit(1, 3600)}, Wait.RATE_LIMIT),
        ({"paused": True}, Wait.PAUSED),
        ({"sending_hours": SendingHours(("0 0 29 2 *",))}, Wait.OUTSIDE_HOURS),
        ({}, None),
    ],
)
async def test_a_lane_says_what_it_waits_for(
    records: Records, path: Path, settings: dict[str, Any], waits: Wait | None
) -> None:
    records.subscription(**settings)
    async with works(records, path) as engine:
        await engine.accept()
        await engine.quiet()
        rows = await saved(engine)
        assert [row.waits_for for row in rows] == ([waits] if waits else [])
        for row in rows:
            until_us = row.waits_until_us
            assert (until_us is None) is (waits is Wait.PAUSED)
            assert until_us is None or until_us > records.clock.now_us()


async def test_retry_after_is_what_a_lane_waits_for(records: Records, path: Path) -> None:
    records.subscription(retry_schedule_s=OFTEN, concurrency=2)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(429, retry_after="30")
        await engine.accept()
        await engine.quiet()
        [row] = await saved(engine)
        assert row.waits_for == Wait.RETRY_AFTER
        answers(engine)
        await engine.forward(31)
        assert await engine.ends() == {DELIVERED: 2}
        assert await saved(engine) == []


async def test_a_receiver_that_asked_to_be_left_alone_is_so_by_the_next_process(
    records: Records, path: Path
) -> None:
    records.subscription(retry_schedule_s=OFTEN)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(503, retry_after="60")
        await engine.quiet()
        await saved(engine)
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept()
        await engine.forward(50)
        assert engine.sent == []
        await engine.forward(11)
        await engine.quiet()
        assert len(engine.sent) == 2


async def test_what_is_due_later_keeps_no_payload_in_memory(records: Records, path: Path) -> None:
    records.subscription()
    async with works(records, path) as engine:
        await engine.accept(5, payload=b'"x"', attributes=Attributes(deliver_in_s=60.0))
        await engine.quiet()
    async with works(records, path) as engine:
        await engine.quiet()
        assert engine.dispatcher.held_bytes == 0
        answers(engine)
        await engine.forward(61)
        await engine.quiet()
        assert await engine.ends() == {DELIVERED: 5}
        engine.nothing_leaks()


async def test_outside_the_sending_hours_nothing_is_sent(records: Records, path: Path) -> None:
    minute = int(records.clock.now_us() // 60_000_000 % 60)
    window = f"{(minute + 2) % 60} * * * *"
    records.subscription(sending_hours=SendingHours((window,)))
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept(3)
        await engine.forward(59)
        assert engine.sent == []
        await engine.forward(62)
        assert len(engine.sent) == 3
        await engine.forward(60)
        await engine.accept()
        await engine.forward(60)
        assert len(engine.sent) == 3


async def test_where_slots_are_short_a_high_priority_gets_more_and_a_low_one_some(
    records: Records, path: Path
) -> None:
    for priority in Priority:
        records.subscription(url=f"https://{priority.value}.example/", priority=priority)
    async with works(records, path, max_in_flight=1) as engine:
        await engine.accept(30)
        await engine.quiet()
        for _ in range(28):
            engine.receivers.open[0].answer()
            await engine.quiet()
        hosts = [post.host for post in engine.receivers.posts[1:]]
        counts = [hosts.count(f"{priority.value}.example") for priority in Priority]
        assert counts == [16, 8, 4]


# Expiry and delay.


async def test_what_is_too_old_is_not_tried(records: Records, path: Path) -> None:
    one = records.subscription(deliver_before_s=60, paused=True)
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept(5)
        await engine.forward(59)
        await engine.accept(2)
        await engine.forward(2)
        await engine.change(one, paused=False)
        await engine.quiet()
        assert len(engine.sent) == 2
        assert await engine.ends() == {DELIVERED: 2, EXPIRED: 5}
        assert await engine.count("diverted_events") == 0
        assert await engine.count("attempts") == 0
        engine.nothing_leaks()


async def test_what_would_be_tried_again_too_late_is_given_up_at_once(
    records: Records, path: Path
) -> None:
    records.subscription(deliver_before_s=60, retry_schedule_s=(30.0, 300.0))
    async with works(records, path) as engine:
        answers(engine, 500)
        await engine.accept()
        await engine.quiet()
        await engine.forward(40)
        assert len(engine.sent) == 2
        assert await engine.ends() == {EXPIRED: 1}


async def test_an_event_may_say_until_when_it_is_worth_anything(
    records: Records, path: Path
) -> None:
    records.subscription(rate_limit=RateLimit(1, 10))
    until_us = records.clock.now_us() + 15_000_000
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept(3, attributes=Attributes(deliver_before_us=until_us))
        await engine.forward(10)
        await engine.forward(10)
        # The two others went without a token.
        assert await engine.ends() == {DELIVERED: 1, EXPIRED: 2}
        await engine.accept()
        await engine.quiet()
        assert len(engine.sent) == 2


@pytest.mark.parametrize("restart", [False, True])
async def test_a_delayed_event_is_delivered_when_it_is_due(
    records: Records, path: Path, restart: bool
) -> None:
    records.subscription()
    due_us = records.clock.now_us() + 3600_000_000
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept(2, attributes=Attributes(deliver_at_us=due_us))
        await engine.accept(attributes=Attributes(deliver_in_s=7200.0))
        await engine.accept()
        await engine.quiet()
        assert len(engine.sent) == 1
        assert engine.dispatcher.held_bytes == 0
        if not restart:
            await later(engine, sent=1)
    if restart:
        async with works(records, path) as engine:
            answers(engine)
            await engine.quiet()
            await later(engine, sent=0)


async def later(engine: Works, *, sent: int) -> None:
    await engine.forward(3590)
    assert len(engine.sent) == sent
    await engine.forward(11)
    await engine.quiet()
    assert len(engine.sent) == sent + 2
    await engine.forward(3600)
    await engine.quiet()
    assert len(engine.sent) == sent + 3
    assert (await engine.ends())[DELIVERED] == 4
    engine.nothing_leaks()


async def test_a_great_fan_out_of_a_delayed_event_waits_too(records: Records, path: Path) -> None:
    for _ in range(501):
        records.subscription()
    async with works(records, path) as engine:
        answers(engine)
        await engine.accept(attributes=Attributes(deliver_in_s=3600.0))
        while await engine.expander.run_once():
            pass
        await engine.quiet()
        assert engine.sent == []
        await engine.forward(3601)
        await engine.quiet()
        assert len(engine.sent) == 501
