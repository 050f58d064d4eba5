"""A subscription's program stands between the queue and the receiver, and harms no other."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.database import Records
from tests.support.engine import KEY, Post, works
from tests.support.sandbox import Run
from tests.support.waiting import until
from waypost.engine import preparer
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.event import Attributes
from waypost.model.transform import (
    Deferred,
    Fault,
    FaultKind,
    Language,
    Made,
    Result,
    Skipped,
    Transform,
)
from waypost.policy.signing import sign
from waypost.sandbox.pool import Pool, PoolConfig

PROGRAM = Transform(Language.JAVASCRIPT, "function transform(payload) { return payload }")
BAD = Fault(FaultKind.EXCEPTION, "TypeError: x", line=3)


def signed(post: Post) -> bytes:
    """Return the signature that a request should have."""
    head = post.head.decode()
    timestamp = int(head.split("webhook-timestamp: ")[1].split("\r\n")[0])
    return sign((KEY,), post.webhook_id.encode(), timestamp, post.body)


async def test_what_a_program_makes_is_what_is_signed_and_sent(
    records: Records, path: Path
) -> None:
    records.subscription(transform=PROGRAM, headers={"x-own": "1", "x-other": "2"})
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Made(b'{"b":2}', headers={"X-Own": "3"})
        engine.receivers.script = lambda post: post.answer()
        await engine.accept(payload=b'{"a": 1.10}')
        await engine.quiet()
        (post,) = engine.receivers.posts
        assert post.body == b'{"b":2}'
        assert b"\r\nX-Own: 3\r\n" in post.head
        assert b"x-own" not in post.head
        assert b"\r\nx-other: 2\r\n" in post.head
        assert b"webhook-signature: %b\r\n" % signed(post) in post.head
        assert b"content-length: 7\r\n" in post.head
        assert await engine.ends() == {(DeliveryState.DELIVERED, None): 1}
        engine.nothing_leaks()


async def test_what_it_does_not_touch_stays_the_very_bytes(records: Records, path: Path) -> None:
    records.subscription(transform=PROGRAM, format="envelope")
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Made()
        await engine.accept(payload=b'{"a": 1.10, "n": 1e2}')
        await engine.quiet()
        assert engine.receivers.posts[0].body.endswith(b'"data":{"a": 1.10, "n": 1e2}}')


async def test_text_that_becomes_json_is_sent_as_json(records: Records, path: Path) -> None:
    records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Made(b"[1]")
        await engine.accept(payload=b"<a/>", attributes=Attributes(content_type="text/xml"))
        await engine.quiet()
        assert b"content-type: application/json\r\n" in engine.receivers.posts[0].head


async def test_others_have_no_part_in_it(records: Records, path: Path) -> None:
    records.subscription(url="https://plain.example/")
    records.subscription(transform=PROGRAM, url="https://program.example/")
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer()
        await engine.accept()
        await engine.receivers.reach(1)
        assert [post.host for post in engine.receivers.posts] == ["plain.example"]
        (await running(engine)).end(Made())
        await engine.quiet()
        assert [post.host for post in engine.receivers.posts] == [
            "plain.example",
            "program.example",
        ]


async def test_a_retry_runs_it_again_under_the_same_id(records: Records, path: Path) -> None:
    records.subscription(transform=PROGRAM, retry_schedule_s=(10.0,))
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Made(b"[%d]" % len(engine.runs.all))
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept()
        await engine.quiet()
        await engine.forward(13)
        assert [post.body for post in engine.receivers.posts] == [b"[1]", b"[2]"]
        assert len(set(engine.sent)) == 1
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.EXHAUSTED): 1}


async def test_what_it_skips_is_cancelled_without_a_try(records: Records, path: Path) -> None:
    records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Skipped()
        await engine.accept(3)
        await engine.quiet()
        assert engine.sent == []
        assert await engine.ends() == {(DeliveryState.CANCELLED, Reason.SKIPPED): 3}
        for table in ("queue", "attempts", "diverted_events"):
            assert await engine.count(table) == 0
        assert (await engine.rows("deliveries"))[0].attempts == 0
        assert (engine.dispatcher.delivered, engine.dispatcher.given_up) == (0, 0)
        engine.nothing_leaks()


async def test_it_fails_three_times_and_is_diverted_with_its_error(
    records: Records, path: Path
) -> None:
    one = records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        engine.runs.script = lambda _: BAD
        await engine.accept()
        await engine.quiet()
        assert len(engine.runs.all) == 1
        await engine.forward(7)
        await engine.forward(73)
        assert len(engine.runs.all) == 3
        assert engine.sent == []
        assert await engine.ends() == {(DeliveryState.FAILED, Reason.INTERNAL): 1}
        attempts = await engine.rows("attempts")
        assert {row.response for row in attempts} == {b"the transform failed: line 3: TypeError: x"}
        assert len(attempts) == 3
        assert await engine.count("diverted_events") == 1
        # It is not the receiver that fails.
        receiver = engine.dispatcher._receivers.get(one.id)
        assert receiver is not None
        assert receiver.failing_since_us is None
        engine.nothing_leaks()


async def test_it_may_work_the_next_time(records: Records, path: Path) -> None:
    records.subscription(transform=PROGRAM)
    results: list[Result] = [BAD, Made(b"[]")]
    async with works(records, path) as engine:
        engine.runs.script = lambda _: results.pop(0)
        engine.receivers.script = lambda post: post.answer()
        await engine.accept()
        await engine.quiet()
        await engine.forward(7)
        assert await engine.ends() == {(DeliveryState.DELIVERED, None): 1}


async def test_one_that_takes_too_long_uses_slow_slots(records: Records, path: Path) -> None:
    one = records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Fault(FaultKind.TIMEOUT, "long")
        await engine.accept()
        await engine.quiet()
        receiver = engine.dispatcher._receivers.get(one.id)
        assert receiver is not None
        assert receiver.suspect


async def test_what_can_not_be_run_now_is_no_failure(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparer, "_AGAIN_S", 0)
    records.subscription(transform=PROGRAM)
    results: list[Result] = [Deferred("busy"), Deferred("busy"), Deferred("busy"), Made()]
    async with works(records, path) as engine:
        engine.runs.script = lambda _: results.pop(0)
        engine.receivers.script = lambda post: post.answer()
        await engine.accept()
        await engine.receivers.reach(1)
        await engine.quiet()
        assert await engine.count("attempts") == 0
        assert await engine.ends() == {(DeliveryState.DELIVERED, None): 1}


async def running(engine: Any, count: int = 1) -> Run:
    """Wait until so many programs were started; return the last."""
    await until(lambda: len(engine.runs.all) >= count)
    last: Run = engine.runs.all[-1]
    return last


async def test_a_pause_meanwhile_keeps_it(records: Records, path: Path) -> None:
    one = records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        await engine.accept()
        run = await running(engine)
        await engine.change(one, paused=True)
        run.end(Made(b"[]"))
        await engine.quiet()
        assert engine.sent == []
        assert await engine.count("queue") == 1
        await engine.change(one, paused=False)
        (await running(engine, 2)).end(Made(b"[2]"))
        await engine.receivers.reach(1)
        assert engine.receivers.posts[0].body == b"[2]"


async def test_another_program_meanwhile_is_run_instead(records: Records, path: Path) -> None:
    one = records.subscription(transform=PROGRAM)
    other = Transform(Language.TEMPLATE, "[1]")
    async with works(records, path) as engine:
        await engine.accept()
        run = await running(engine)
        await engine.change(one, transform=other)
        run.end(Made(b"[old]"))
        again = await running(engine, 2)
        assert again.request().source == b"[1]"
        again.end(Made(b"[new]"))
        await engine.receivers.reach(1)
        assert engine.receivers.posts[0].body == b"[new]"


async def test_none_any_more_sends_the_event_itself(records: Records, path: Path) -> None:
    one = records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        await engine.accept(payload=b'{"a":1}')
        run = await running(engine)
        await engine.change(one, transform=None)
        run.end(BAD)
        await engine.quiet()
        await engine.forward(7)
        assert engine.receivers.posts[0].body == b'{"a":1}'


async def test_a_deletion_meanwhile_cancels_it(records: Records, path: Path) -> None:
    one = records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        await engine.accept()
        run = await running(engine)
        await engine.delete(one)
        run.end(Made(b"[]"))
        await engine.quiet()
        assert engine.sent == []
        assert await engine.ends() == {(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DELETED): 1}
        engine.nothing_leaks()


async def test_a_stop_breaks_off_what_waits(records: Records, path: Path) -> None:
    records.subscription(transform=PROGRAM)
    async with works(records, path) as engine:
        await engine.accept(3)
        await running(engine, 3)
        await engine.dispatcher.drain(0)
        assert engine.dispatcher.in_flight_count == 0
        assert not any(run.open for run in engine.runs.all)
    async with works(records, path) as engine:
        engine.runs.script = lambda _: Made()
        engine.receivers.script = lambda post: post.answer()
        await engine.quiet()
        assert await engine.ends() == {(DeliveryState.DELIVERED, None): 3}


async def test_a_flood_that_never_ends_leaves_its_neighbours_alone(
    records: Records, path: Path
) -> None:
    hog = Transform(Language.JAVASCRIPT, "function transform() { while (true) {} }")
    native = Transform(Language.JAVASCRIPT, "const transform = () => new Array(2 ** 29).join('')")
    good = Transform(Language.JAVASCRIPT, "const transform = p => ({n: p.n + 1})")
    records.subscription(transform=hog, url="https://hog.example/", concurrency=50)
    records.subscription(transform=native, url="https://native.example/", concurrency=50)
    records.subscription(transform=good, url="https://good.example/")
    records.subscription(url="https://plain.example/")
    pool = Pool(asyncio.get_running_loop(), PoolConfig())
    try:
        async with works(records, path, runner=pool) as engine:
            engine.receivers.script = lambda post: post.answer()
            await engine.accept(30, payload=b'{"n": 1}')
            await engine.receivers.reach(60, patience_s=60)
            bodies = [(post.host, post.body) for post in engine.receivers.posts]
            assert bodies.count(("plain.example", b'{"n": 1}')) == 30
            assert bodies.count(("good.example", b'{"n":2}')) == 30
            await engine.dispatcher.drain(0)
    finally:
        await pool.close()
