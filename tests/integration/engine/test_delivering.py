"""What is accepted is sent, once, and settled; whatever happens in between."""

import asyncio
from pathlib import Path

from tests.support.database import Records
from tests.support.engine import Post, works
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.event import Attributes
from waypost.model.exchange import FailureKind
from waypost.model.subscription import DEFAULT_CONCURRENCY, DisabledBy

DELIVERED = (DeliveryState.DELIVERED, None)


async def test_an_event_goes_to_whoever_wants_it(records: Records, path: Path) -> None:
    wanting = records.subscription(event_types=("card.*",), url="https://one.example/")
    records.subscription(event_types=("book.*",), url="https://two.example/")
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer()
        (event,) = await engine.accept(payload=b'{"a": 1.10}')
        await engine.quiet()
        (post,) = engine.receivers.posts
        assert (post.host, post.body) == ("one.example", b'{"a": 1.10}')
        assert post.webhook_id == ids.spell(ids.EVENT, event.id)
        (row,) = await engine.rows("deliveries")
        assert (row.event_id, row.subscription_id) == (event.id, wanting.id)
        assert await engine.ends() == {DELIVERED: 1}
        assert await engine.count("queue") == 0
        assert await engine.count("attempts") == 0  # a part of the delivery
        assert engine.dispatcher.delivered == 1
        engine.nothing_leaks()


async def test_it_is_not_settled_before_it_is_answered(records: Records, path: Path) -> None:
    records.subscription()
    async with works(records, path) as engine:
        await engine.accept()
        await engine.quiet()
        assert await engine.count("queue") == 1
        assert len(engine.dispatcher.sending()) == 1
        engine.receivers.open[0].answer()
        await engine.quiet()
        assert await engine.count("queue") == 0
        assert engine.dispatcher.sending() == frozenset()


async def test_a_failure_is_tried_again_when_it_is_due(records: Records, path: Path) -> None:
    records.subscription(retry_schedule_s=(10.0,))
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer(500, body=b"x" * 100)
        await engine.accept()
        await engine.quiet()
        assert len(engine.sent) == 1
        await engine.forward(7.9)
        assert len(engine.sent) == 1
        await engine.forward(4.2)
        assert len(engine.sent) == 2
        assert len(set(engine.sent)) == 1
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.EXHAUSTED): 1}
        assert await engine.count("diverted_events") == 1
        first, second = sorted(await engine.rows("attempts"), key=lambda row: row.number)
        assert (first.response, first.same_as) == (b"x" * 100, None)
        assert (second.response, second.same_as) == (None, first.id)
        assert (engine.dispatcher.retried, engine.dispatcher.given_up) == (1, 1)
        engine.nothing_leaks()


async def test_two_kinds_of_failure_are_both_kept(records: Records, path: Path) -> None:
    records.subscription(retry_schedule_s=(1.0, 1.0))
    async with works(records, path) as engine:
        answers = iter([b"a" * 64, b"b" * 64, b"a" * 64])
        engine.receivers.script = lambda post: post.answer(500, body=next(answers))
        await engine.accept()
        await engine.quiet()
        await engine.forward(2)
        await engine.forward(2)
        rows = sorted(await engine.rows("attempts"), key=lambda row: row.number)
        assert [row.response for row in rows] == [b"a" * 64, b"b" * 64, None]
        assert rows[2].same_as == rows[0].id


async def test_a_lane_at_its_limit_with_retries_due_does_not_spin(
    records: Records, path: Path
) -> None:
    records.subscription(concurrency=1, retry_schedule_s=(1.0, 1.0))
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.accept()
        await engine.receivers.reach(2)
        await engine.forward(5)  # the retry is due, and the only place is taken
        assert len(engine.receivers.open) == 1
        assert engine.dispatcher._alarms._heap == []
        engine.receivers.open[0].answer()
        await engine.receivers.reach(3)


async def test_a_dispatcher_at_its_limit_with_retries_due_does_not_spin(
    records: Records, path: Path
) -> None:
    records.subscription(retry_schedule_s=(1.0, 1.0))
    records.subscription(project_id=records.other)
    async with works(records, path, max_in_flight=1) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.accept(project_id=records.other)
        await engine.quiet()
        engine.clock.forward(5)
        engine.dispatcher._alarms._fire()  # no sweep: the slot stays taken
        assert engine.dispatcher._alarms._heap == []
        engine.receivers.open[0].answer()
        await engine.receivers.reach(3)


async def test_more_than_a_window_is_delivered_once_each_in_order(
    records: Records, path: Path
) -> None:
    records.subscription(concurrency=1)
    async with works(records, path, window=10) as engine:
        accepted = [e.id for _ in range(4) for e in await engine.accept(25)]
        most = 0

        def look(post: Post) -> None:
            nonlocal most
            (receiver,) = engine.dispatcher._receivers._by_id.values()
            most = max(most, len(receiver.lane.known))
            post.answer()

        engine.receivers.script = look
        engine.receivers.open[0].answer()
        await engine.receivers.reach(100)
        await engine.quiet()
        assert engine.sent == [ids.spell(ids.EVENT, i) for i in accepted]
        assert most <= 11
        engine.nothing_leaks()


async def test_what_is_over_the_byte_budget_is_loaded_when_it_is_sent(
    records: Records, path: Path
) -> None:
    records.subscription(concurrency=1)
    async with works(records, path, payload_bytes=5_000) as engine:
        payloads = [b'"%04d%s"' % (n, b"x" * 994) for n in range(20)]
        for payload in payloads:
            await engine.accept(payload=payload)
            assert engine.dispatcher.held_bytes <= 5_000
        engine.receivers.script = lambda post: post.answer()
        engine.receivers.open[0].answer()
        await engine.receivers.reach(20)
        await engine.quiet()
        assert [post.body for post in engine.receivers.posts] == payloads
        assert engine.dispatcher.held_bytes == 0
        engine.nothing_leaks()


async def test_a_large_payload_is_read_when_it_is_sent(records: Records, path: Path) -> None:
    to = records.subscription()
    payload = b'"' + b"y" * 500_000 + b'"'
    async with works(records, path) as engine:
        await engine.change(to, paused=True)
        await engine.accept(payload=payload)
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer()
        await engine.change(to, paused=False)
        await engine.receivers.reach(1)
        await engine.quiet()
        assert engine.receivers.posts[0].body == payload
        engine.nothing_leaks()


async def test_ten_thousand_owed_are_delivered_from_a_window(records: Records, path: Path) -> None:
    to = records.subscription(paused=True)
    async with works(records, path, window=500) as engine:
        for _ in range(10):
            await engine.accept(1_000)
        (receiver,) = engine.dispatcher._receivers._by_id.values()
        assert len(receiver.lane.known) == 500
        most = 0

        def look(post: Post) -> None:
            nonlocal most
            most = max(most, len(receiver.lane.known))
            post.answer()

        engine.receivers.script = look
        await engine.change(to, paused=False)
        await engine.receivers.reach(10_000)
        await engine.quiet()
        assert len(set(engine.sent)) == len(engine.sent) == 10_000
        assert most <= 500 + DEFAULT_CONCURRENCY
        assert await engine.count("queue") == 0
        engine.nothing_leaks()


async def test_after_a_restart_everything_owed_goes_on_when_it_is_due(
    records: Records, path: Path
) -> None:
    records.subscription(retry_schedule_s=(100.0,))
    records.subscription(project_id=records.other)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.accept(3, project_id=records.other)
        await engine.quiet()  # in flight when the process dies
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer()
        await engine.receivers.reach(3)
        await engine.quiet()
        assert {post.project_id for post in engine.receivers.posts} == {records.other}
        await engine.forward(79)
        assert len(engine.sent) == 3
        await engine.forward(42)
        assert len(engine.sent) == 4
        assert await engine.ends() == {DELIVERED: 4}
        assert sorted(row.attempts for row in await engine.rows("deliveries")) == [1, 1, 1, 2]


async def test_a_format_that_fails_is_our_fault_three_times_then_diverted(
    records: Records, path: Path
) -> None:
    records.subscription(format="broken", concurrency=1_000, retry_schedule_s=())
    async with works(records, path) as engine:
        await engine.accept(1_000)
        await engine.quiet()
        await engine.forward(7)
        await engine.forward(80)
        assert engine.sent == []
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.INTERNAL): 1_000}
        assert await engine.count("diverted_events") == 1_000
        engine.nothing_leaks()


async def test_an_unknown_address_fails_as_a_receiver_would(records: Records, path: Path) -> None:
    records.subscription(url="nonsense", retry_schedule_s=())
    async with works(records, path) as engine:
        await engine.accept()
        await engine.quiet()
        assert engine.sent == []
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.EXHAUSTED): 1}


async def test_only_the_targets_of_an_event_are_owed_it(records: Records, path: Path) -> None:
    aimed = records.subscription(url="https://one.example/", event_types=("book.*",))
    records.subscription(url="https://two.example/")
    async with works(records, path) as engine:
        await engine.accept(attributes=Attributes(targets=(aimed.id, bytes(16), aimed.id)))
        await engine.quiet()
        assert [post.host for post in engine.receivers.posts] == ["one.example"]


async def test_a_drain_waits_for_what_is_in_flight_and_starts_nothing(
    records: Records, path: Path
) -> None:
    records.subscription(concurrency=1)
    async with works(records, path) as engine:
        await engine.accept(2)
        draining = engine.store.write(lambda _: None, lambda _: engine.receivers.open[0].answer())
        await asyncio.gather(engine.dispatcher.drain(60.0), draining)
        assert len(engine.sent) == 1
        assert await engine.ends() == {DELIVERED: 1}
        assert await engine.count("queue") == 1


async def test_a_drain_breaks_off_what_takes_too_long(records: Records, path: Path) -> None:
    records.subscription()
    async with works(records, path) as engine:
        await engine.accept(2)
        await engine.dispatcher.drain(0.0)
        assert engine.dispatcher.in_flight_count == 0
        assert await engine.count("queue") == 2
        assert await engine.count("attempts") == 0
    async with works(records, path) as engine:
        await engine.receivers.reach(2)


async def test_a_drain_while_payloads_are_loaded_sends_none_of_them(
    records: Records, path: Path
) -> None:
    records.subscription()
    async with works(records, path, payload_bytes=0) as engine:
        await engine.accept(5)
        assert engine.dispatcher.in_flight_count == 5
        await engine.dispatcher.drain(10.0)
        assert engine.sent == []
        assert await engine.count("queue") == 5


async def test_a_receiver_that_is_gone_is_disabled_and_all_of_it_is_diverted(
    records: Records, path: Path
) -> None:
    records.subscription(concurrency=1)
    async with works(records, path) as engine:
        await engine.accept(700)
        engine.receivers.open[0].answer(410)
        await engine.quiet()
        # One more may have been sent before the change was committed.
        for post in engine.receivers.open:
            post.fail(FailureKind.CONNECTION)
        await engine.quiet()
        assert await engine.count("queue") == 0
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.GONE): 700}
        assert await engine.count("diverted_events") == 700
        await engine.accept()
        await engine.quiet()
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.GONE): 701}
        (row,) = await engine.rows("subscriptions")
        assert row.disabled_by == DisabledBy.GONE.value
        engine.nothing_leaks()
