"""Failure handling, rule by rule, under a clock that the test moves."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from tests.support.database import Records
from tests.support.engine import Works, works
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.exchange import FailureKind
from waypost.model.failure import (
    AlertEndpoint,
    FailureHandling,
    Incoming,
    OnGivingUp,
    Otherwise,
    Pending,
    Retry,
    Strategy,
    Suspension,
    WhileSuspended,
)
from waypost.model.subscription import DisabledBy, Subscription
from waypost.storage import alerts as alert_storage
from waypost.storage import schema, subscriptions

DELIVERED = (DeliveryState.DELIVERED, None)
EXHAUSTED = (DeliveryState.FAILED, Reason.EXHAUSTED)
UNTRIGGERED = (DeliveryState.FAILED, Reason.NOT_A_TRIGGER)
DIVERTED = (DeliveryState.FAILED, Reason.SUBSCRIPTION_SUSPENDED)
CANCELLED = (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_SUSPENDED)
DISABLED = (DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING)
KEEP, DIVERT = Pending.KEEP, Pending.DIVERT


def suspending(
    pending: Pending = KEEP, incoming: Incoming = Incoming.KEEP, **more: Any
) -> FailureHandling:
    done = (OnGivingUp.DIVERT, OnGivingUp.SUSPEND)
    return FailureHandling(on_giving_up=done, suspended=WhileSuspended(pending, incoming), **more)


async def present(engine: Works, one: Subscription) -> Subscription:
    return await engine.store.read(lambda c: subscriptions.get(c, one.project_id, one.id))


async def unsuspend(engine: Works, one: Subscription) -> None:
    await engine.change(one, suspension=None, failing_since_us=None)


def spelled(accepted: list[Any]) -> list[str]:
    return [ids.spell(ids.EVENT, one.id) for one in accepted]


@pytest.mark.parametrize(
    "retry, gaps_s",
    [
        (Retry(Strategy.CONSTANT, interval_s=10, retries=3, jitter=0), (10, 10, 10)),
        (Retry(Strategy.LINEAR, interval_s=10, retries=3, jitter=0), (10, 20, 30)),
        (Retry(Strategy.EXPONENTIAL, interval_s=10, retries=3, jitter=0), (10, 20, 40)),
        (Retry(Strategy.SCHEDULE, schedule_s=(7.0, 3.0), jitter=0), (7, 3)),
        (Retry(Strategy.CONSTANT, interval_s=10, retries=0), ()),
    ],
)
async def test_a_strategy_is_kept_to_the_second(
    records: Records, path: Path, retry: Retry, gaps_s: tuple[float, ...]
) -> None:
    records.subscription(failure_handling=FailureHandling(retry=retry))
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept()
        await engine.quiet()
        for tries, gap_s in enumerate(gaps_s, start=1):
            await engine.forward(gap_s - 0.1)
            assert len(engine.sent) == tries
            await engine.forward(0.1)
            assert len(engine.sent) == tries + 1
        assert await engine.ends() == {EXHAUSTED: 1}
        assert await engine.count("diverted_events") == 1


async def test_jitter_spreads_the_retries(records: Records, path: Path) -> None:
    retry = Retry(Strategy.CONSTANT, interval_s=100, retries=1, jitter=1.0)
    records.subscription(failure_handling=FailureHandling(retry=retry))
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept(40)
        await engine.quiet()
        gaps_s = [(row.due_us - engine.clock.now_us()) / 1e6 for row in await engine.rows("queue")]
        assert min(gaps_s) < 30
        assert max(gaps_s) > 170


async def test_a_retry_window_ends_the_retries(records: Records, path: Path) -> None:
    retry = Retry(Strategy.CONSTANT, interval_s=10, retries=100, jitter=0)
    records.subscription(failure_handling=FailureHandling(retry=retry, retry_window_s=35))
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept()
        await engine.quiet()
        for _ in range(9):
            await engine.forward(10)
        assert len(engine.sent) == 4
        assert await engine.ends() == {EXHAUSTED: 1}


@pytest.mark.parametrize(
    "otherwise, end, boxed",
    [
        (Otherwise.DIVERT, UNTRIGGERED, 1),
        (Otherwise.IGNORE, UNTRIGGERED, 0),
        (Otherwise.TRIGGER, None, 0),
    ],
)
async def test_what_no_trigger_names_is_not_tried_again_unless_it_counts_all_the_same(
    records: Records, path: Path, otherwise: Otherwise, end: Any, boxed: int
) -> None:
    handling = FailureHandling(triggers=("5xx", "timeout"), otherwise=otherwise)
    records.subscription(failure_handling=handling)
    async with works(records, path) as engine:
        await engine.accept(3)
        five, late, missing = engine.receivers.open
        five.answer(500)
        late.fail(FailureKind.TIMEOUT)
        missing.answer(404)
        await engine.quiet()
        assert await engine.ends() == ({} if end is None else {end: 1})
        assert await engine.count("diverted_events") == boxed
        assert await engine.count("queue") == (3 if end is None else 2)


async def test_giving_up_may_do_nothing(records: Records, path: Path) -> None:
    handling = FailureHandling(on_giving_up=())
    one = records.subscription(failure_handling=handling, retry_schedule_s=())
    async with works(records, path) as engine:
        engine.receivers.script = lambda post: post.answer(500)
        await engine.accept(2)
        await engine.quiet()
        assert await engine.ends() == {EXHAUSTED: 2}
        assert await engine.count("diverted_events") == 0
        kept = await present(engine, one)
        assert (kept.disabled_by, kept.suspension) == (None, None)


async def test_giving_up_may_disable(records: Records, path: Path) -> None:
    handling = FailureHandling(on_giving_up=(OnGivingUp.DISABLE,))
    one = records.subscription(failure_handling=handling, retry_schedule_s=(), concurrency=1)
    async with works(records, path) as engine:
        await engine.accept(5)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert (await present(engine, one)).disabled_by is DisabledBy.FAILING
        assert await engine.ends() == {EXHAUSTED: 1, DISABLED: 4}
        assert await engine.count("diverted_events") == 4, "giving up does not divert here"
        assert len(engine.sent) == 1


async def test_a_projects_failure_handling_holds_where_there_is_none(
    records: Records, path: Path
) -> None:
    one = records.subscription(concurrency=1)
    async with works(records, path) as engine:
        handling = suspending(DIVERT)
        await engine.set_defaults(records.project, failure_handling=handling, retry_schedule_s=())
        await engine.accept(3)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert (await present(engine, one)).suspension is not None
        assert await engine.ends() == {EXHAUSTED: 1, DIVERTED: 2}


# Suspension.


async def test_a_suspension_says_why_and_since_when(records: Records, path: Path) -> None:
    one = records.subscription(
        failure_handling=suspending(triggers=("5xx",)), retry_schedule_s=(), concurrency=1
    )
    async with works(records, path) as engine:
        accepted = await engine.accept(2)
        engine.receivers.open[0].answer(503, body=b"busy")
        await engine.quiet()
        suspension = (await present(engine, one)).suspension
        assert suspension is not None
        assert suspension.since_us == engine.clock.now_us()
        assert suspension.event_id == accepted[0].id
        assert (suspension.trigger, suspension.message) == ("5xx", "status 503: busy")


async def test_what_was_kept_goes_on_in_order_and_ramped(records: Records, path: Path) -> None:
    one = records.subscription(failure_handling=suspending(), retry_schedule_s=(), concurrency=8)
    async with works(records, path, window=10) as engine:
        first = await engine.accept(1)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        later = await engine.accept(30)
        await engine.forward(3600)
        assert engine.sent == spelled(first)
        assert await engine.count("queue") == 30
        await unsuspend(engine, one)
        await engine.quiet()
        opened = []
        while engine.receivers.open:
            opened.append(len(engine.receivers.open))
            for post in engine.receivers.open:
                post.answer()
            await engine.quiet()
        assert (opened[:2], max(opened)) == ([1, 2], 8)
        assert engine.sent == spelled(first + later)
        assert await engine.ends() == {EXHAUSTED: 1, DELIVERED: 30}
        engine.nothing_leaks()


ENDS = {
    (KEEP, Incoming.KEEP): {},
    (KEEP, Incoming.DIVERT): {DIVERTED: 700},
    (KEEP, Incoming.CANCEL): {CANCELLED: 700},
    (DIVERT, Incoming.KEEP): {DIVERTED: 1_200},
    (DIVERT, Incoming.DIVERT): {DIVERTED: 1_900},
    (DIVERT, Incoming.CANCEL): {DIVERTED: 1_200, CANCELLED: 700},
}


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize("pending, incoming", ENDS)
async def test_what_is_pending_and_what_comes_are_kept_diverted_or_cancelled(
    records: Records, path: Path, pending: Pending, incoming: Incoming, restarted: bool
) -> None:
    handling = suspending(pending, incoming)
    one = records.subscription(
        failure_handling=handling, retry_schedule_s=(), concurrency=1, paused=True
    )
    expected = {EXHAUSTED: 1, **ENDS[pending, incoming]}
    kept = 1_901 - sum(expected.values())
    async with works(records, path, window=10) as engine:
        await engine.accept(1_201)
        await engine.change(one, paused=False)
        await engine.receivers.reach(1)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.accept(700)
        await engine.quiet()
        if not restarted:
            await _goes_on(engine, one, expected, kept)
    if restarted:
        async with works(records, path, window=10) as engine:
            await engine.quiet()
            await _goes_on(engine, one, expected, kept)


async def _goes_on(engine: Works, one: Subscription, expected: dict[Any, int], kept: int) -> None:
    assert await engine.ends() == expected
    assert await engine.count("queue") == kept
    assert await engine.count("diverted_events") == 1 + expected.get(DIVERTED, 0)
    sent = len(engine.sent)
    await unsuspend(engine, one)
    engine.receivers.script = lambda post: post.answer()
    for post in engine.receivers.open:
        post.answer()
    await engine.quiet()
    assert len(engine.sent) == sent + kept
    await engine.accept()
    await engine.quiet()
    assert await engine.ends() == {**expected, DELIVERED: kept + 1}
    engine.nothing_leaks()


async def test_what_a_crash_has_left_of_a_diversion_is_diverted_at_the_next_start(
    records: Records, path: Path
) -> None:
    event_id = records.event()
    since_us = records.clock.now_us() + 5_000_000
    one = records.subscription(
        failure_handling=suspending(DIVERT, Incoming.KEEP),
        suspension=Suspension(since_us, event_id, "500", "status 500"),
    )
    for _ in range(600):
        records.pending(event_id, one)
    records.clock.forward(10)
    for _ in range(3):
        records.pending(event_id, one)
    records.clock.forward(1)
    async with works(records, path) as engine:
        await engine.quiet()
        assert await engine.ends() == {DIVERTED: 600}
        assert await engine.count("queue") == 3
        engine.receivers.script = lambda post: post.answer()
        await unsuspend(engine, one)
        await engine.quiet()
        assert await engine.ends() == {DIVERTED: 600, DELIVERED: 3}
        engine.nothing_leaks()


@pytest.mark.parametrize("pending, end", [(KEEP, None), (DIVERT, DIVERTED)])
async def test_what_is_in_flight_ends_as_what_is_pending_unless_it_is_delivered(
    records: Records, path: Path, pending: Pending, end: Any
) -> None:
    one = records.subscription(
        failure_handling=suspending(pending, Incoming.DIVERT),
        retry_schedule_s=(5.0,),
        concurrency=3,
    )
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.accept(2)
        await engine.forward(7)
        first, second, last = engine.receivers.open
        last.answer(500)
        await engine.quiet()
        assert (await present(engine, one)).suspension is not None
        first.answer(200)
        second.answer(500)
        await engine.quiet()
        expected = {EXHAUSTED: 1, DELIVERED: 1}
        assert await engine.ends() == ({**expected, end: 1} if end else expected)
        await engine.forward(60)
        assert len(engine.sent) == 4
        if end is None:
            engine.receivers.script = lambda post: post.answer()
            await unsuspend(engine, one)
            await engine.quiet()
            assert await engine.ends() == {EXHAUSTED: 1, DELIVERED: 2}
        engine.nothing_leaks()


async def test_a_suspended_subscription_can_be_disabled_and_deleted(
    records: Records, path: Path
) -> None:
    many = [
        records.subscription(failure_handling=suspending(), retry_schedule_s=(), concurrency=1)
        for _ in range(2)
    ]
    async with works(records, path) as engine:
        await engine.accept(3)
        for post in engine.receivers.open:
            post.answer(500)
        await engine.quiet()
        await engine.disable(many[0])
        await engine.delete(many[1])
        await engine.quiet()
        assert await engine.ends() == {
            EXHAUSTED: 2,
            (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DISABLED): 2,
            (DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DELETED): 2,
        }
        assert engine.dispatcher.lane_count == 0
        engine.nothing_leaks()


# Alerts.


def alerting(records: Records, **more: Any) -> tuple[Subscription, Subscription]:
    """Keep a subscription with an alert endpoint; return it and the hidden one."""
    hidden_id = ids.alerts_of(records.project)
    alert_storage.make_project(records.connection, hidden_id)
    hidden = records.subscription(
        project_id=hidden_id,
        url="https://alerts.example/",
        failure_handling=FailureHandling(on_giving_up=()),
        retry_schedule_s=(5.0, 60.0),
    )
    handling = FailureHandling(
        on_giving_up=(OnGivingUp.DIVERT, OnGivingUp.ALERT),
        alert_endpoints=(AlertEndpoint(hidden.id, hidden.url),),
    )
    settings = {"failure_handling": handling, "retry_schedule_s": ()} | more
    return records.subscription(**settings), hidden


async def test_an_alert_tells_of_what_was_given_up(records: Records, path: Path) -> None:
    one, _ = alerting(records)
    async with works(records, path) as engine:
        (accepted,) = await engine.accept()
        engine.receivers.open[0].answer(500, body=b"no")
        await engine.quiet()
        await engine.forward(0.01)
        (alert,) = engine.receivers.open
        assert alert.host == "alerts.example"
        notice = msgspec.json.decode(alert.body)
        assert notice["event"] == ids.spell(ids.EVENT, accepted.id)
        assert notice["subscription"] == ids.spell(ids.SUBSCRIPTION, one.id)
        told = {name: notice[name] for name in ("failure_trigger", "failure_message", "attempts")}
        assert told == {
            "failure_trigger": "500",
            "failure_message": "status 500: no",
            "attempts": 1,
        }
        assert b"webhook-signature: v1," in alert.head
        alert.answer()
        await engine.quiet()
        assert (engine.dispatcher.delivered, engine.dispatcher.given_up) == (0, 1)
        assert await engine.ends() == {EXHAUSTED: 1, DELIVERED: 1}
        engine.nothing_leaks()


async def test_an_alert_is_tried_again_and_never_alerts(records: Records, path: Path) -> None:
    _, hidden = alerting(records)
    async with works(records, path, disable_after_us=1) as engine:
        engine.receivers.script = lambda post: post.answer(410)
        await engine.store.write(lambda _: None)
        await engine.change(hidden, failing_since_us=1)
        engine.receivers.script = lambda post: post.answer(
            410 if post.host == "alerts.example" else 500
        )
        await engine.accept()
        await engine.quiet()
        for _ in range(5):
            await engine.forward(100)
        hosts = [post.host for post in engine.receivers.posts]
        assert hosts == ["receiver.example", *["alerts.example"] * 3]
        assert await engine.count("diverted_events") == 1
        assert (await present(engine, hidden)).disabled_by is None
        assert await engine.count("queue") == 0
        engine.nothing_leaks()


async def test_an_alert_outlives_a_crash(records: Records, path: Path) -> None:
    alerting(records)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
    records.clock.forward(1)
    async with works(records, path) as engine:
        await engine.receivers.reach(1)
        assert [post.host for post in engine.receivers.open] == ["alerts.example"]


async def test_what_only_fails_once_or_is_ignored_alerts_nobody(
    records: Records, path: Path
) -> None:
    one, _ = alerting(records, retry_schedule_s=(5.0,))
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        handling = one.failure_handling
        assert handling is not None
        ignoring = msgspec.structs.replace(handling, triggers=("404",), otherwise=Otherwise.IGNORE)
        await engine.change(one, failure_handling=ignoring)
        await engine.forward(10)
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        assert engine.receivers.open == []
        assert await engine.ends() == {UNTRIGGERED: 1}


async def test_what_is_hidden_is_in_no_list_of_the_project(records: Records, path: Path) -> None:
    alerting(records)
    async with works(records, path) as engine:
        await engine.accept()
        engine.receivers.open[0].answer(500)
        await engine.quiet()
        await engine.forward(0.01)
        engine.receivers.open[0].answer()
        await engine.quiet()
        for name in ("events", "deliveries", "subscriptions"):
            table = schema.metadata.tables[name]
            rows = await engine.store.read(lambda c, t=table: c.execute(select(t)).all())  # type: ignore[misc] # a lambda with a default
            assert sorted(row.project_id for row in rows) == sorted(
                [records.project, ids.alerts_of(records.project)]
            )
