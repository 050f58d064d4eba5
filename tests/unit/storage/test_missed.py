"""What a job finds: everything that it has to owe, nothing else, and each event once."""

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import insert, select, text

from tests.support.database import MICROS, Records
from tests.support.plans import plans_of, walks
from waypost.model.delivery import DeliveryState
from waypost.model.event import Attributes
from waypost.model.ids import FIRST, Id
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.model.subscription import Subscription
from waypost.storage import diverted, missed, replays
from waypost.storage.replays import Move
from waypost.storage.schema import diverted_events, fan_outs

FAILED, CANCELLED, DELIVERED = (
    DeliveryState.FAILED,
    DeliveryState.CANCELLED,
    DeliveryState.DELIVERED,
)


def job(
    records: Records,
    kind: ReplayKind,
    subscription: Subscription,
    begin_us: int = 0,
    end_us: int | None = None,
) -> Replay:
    """Keep a job whose range ends now, unless told."""
    records.clock.forward(1)
    replay_id, now_us = records.ids.next_at()
    replay = Replay(
        subscription.project_id,
        replay_id,
        kind,
        subscription.id,
        begin_us,
        now_us if end_us is None else end_us,
    )
    replays.insert(records.connection, replay)
    return replay


def found(records: Records, replay: Replay) -> list[Id]:
    """Return what a whole job comes upon, slice by slice."""
    events = []
    while True:
        part = missed.read_slice(records.connection, replay)
        events += [one.event_id for one in part.candidates]
        if part.ended:
            return events
        assert replays.advance(
            records.connection, replay, Move(part.position, ReplayState.RUNNING, 0), 0
        )
        replay = replays.get(records.connection, replay.project_id, replay.id)


def test_what_events_hold_is_read_a_few_at_a_time(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(missed, "_PAYLOADS", 2)
    attributes = Attributes(metadata={"a": "b"})
    events = [records.event(payload=b"%d" % n, attributes=attributes) for n in range(5)]
    foreign = records.event(project_id=records.other)
    made = job(records, ReplayKind.MISSING, records.subscription())
    statements: list[str] = []
    with_statements = records.connection.engine
    hooks.listen(with_statements, "before_cursor_execute", lambda *a: statements.append(a[2]))
    found = list(missed.read_holdings(records.connection, made, [*events, foreign]))
    assert sorted(found, key=lambda one: one.event_id) == [
        missed.Holding(event_id, b"%d" % n, attributes) for n, event_id in enumerate(events)
    ]
    assert len(statements) == 3


def test_missing_are_events_that_were_never_owed(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    never, pending, delivered, failed, cancelled, others = (records.event() for _ in range(6))
    foreign = records.event(project_id=records.other)
    records.pending(pending, one)
    for event_id, state in (
        (delivered, DELIVERED),
        (failed, FAILED),
        (cancelled, CANCELLED),
    ):
        records.ended(event_id, one, state)
    records.pending(others, other)
    assert foreign not in (events := found(records, job(records, ReplayKind.MISSING, one)))
    assert events == [never, others]


def test_what_a_fan_out_will_bring_is_not_missing(records: Records) -> None:
    one, other, third = (records.subscription() for _ in range(3))
    event_id = records.event()
    records.connection.execute(
        insert(fan_outs).values(
            project_id=records.project,
            event_id=event_id,
            subscriptions=other.id + one.id,
            position=0,
        )
    )
    assert found(records, job(records, ReplayKind.MISSING, one)) == []
    assert found(records, job(records, ReplayKind.MISSING, third)) == [event_id]


def test_missing_are_events_of_the_range_its_end_left_out(records: Records) -> None:
    one = records.subscription()
    moments, events = [], []
    for _ in range(4):
        records.clock.forward(1)
        moments.append(records.clock.now_us())
        events.append(records.event())
    replay = job(records, ReplayKind.MISSING, one, moments[1], moments[3])
    assert found(records, replay) == events[1:3]
    same = job(records, ReplayKind.MISSING, one, moments[1], moments[1])
    assert found(records, same) == []


def test_a_candidate_tells_what_filters_ask_for(records: Records) -> None:
    one = records.subscription()
    records.event("a.b", Attributes(owner="o", targets=(one.id,)))
    records.event("c")
    part = missed.read_slice(records.connection, job(records, ReplayKind.MISSING, one))
    assert [(c.type, c.owner, c.targets) for c in part.candidates] == [
        ("a.b", "o", (one.id,)),
        ("c", None, ()),
    ]


def test_recovered_is_what_was_given_up_and_not_delivered_since(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    failed, cancelled, again, pending, delivered, others = (records.event() for _ in range(6))
    records.ended(failed, one, FAILED)
    records.ended(cancelled, one, CANCELLED)
    for state in (FAILED, DELIVERED):
        records.ended(again, one, state)
    records.ended(pending, one, FAILED)
    records.pending(pending, one)
    records.ended(delivered, one, DELIVERED)
    records.ended(others, other, FAILED)
    records.ended(others, one, DELIVERED)
    assert found(records, job(records, ReplayKind.RECOVER, one)) == [failed, cancelled]


def test_recovered_is_what_was_given_up_within_the_range(records: Records) -> None:
    one = records.subscription()
    start_us = records.clock.now_us()
    events = [records.event() for _ in range(4)]
    for second, event_id in enumerate(events):
        records.ended(event_id, one, FAILED, start_us + second * MICROS)
    records.clock.forward(10)
    begin_us, end_us = start_us + MICROS, start_us + 3 * MICROS
    assert found(records, job(records, ReplayKind.RECOVER, one, begin_us, end_us)) == events[1:3]


def test_what_was_delivered_before_the_range_and_failed_in_it_is_recovered(
    records: Records,
) -> None:
    one = records.subscription()
    event_id = records.event()
    records.ended(event_id, one, DELIVERED)
    records.clock.forward(5)
    begin_us = records.clock.now_us()
    records.ended(event_id, one, FAILED)
    assert found(records, job(records, ReplayKind.RECOVER, one, begin_us)) == [event_id]


def test_what_was_recovered_after_the_range_is_not_recovered_again(records: Records) -> None:
    one = records.subscription()
    event_id = records.event()
    records.ended(event_id, one, FAILED)
    records.clock.forward(5)
    end_us = records.clock.now_us()
    records.ended(event_id, one, DELIVERED)
    assert found(records, job(records, ReplayKind.RECOVER, one, 0, end_us)) == []


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_an_event_that_failed_often_is_recovered_once(
    records: Records, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(missed, "SLICE", size)
    one = records.subscription()
    events = [records.event() for _ in range(3)]
    for _ in range(3):
        for event_id in events:
            records.ended(event_id, one, FAILED)
    assert found(records, job(records, ReplayKind.RECOVER, one)) == events


@pytest.mark.parametrize("size", [1, 3, 7])
def test_slices_neither_leave_out_nor_repeat(
    records: Records, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(missed, "SLICE", size)
    one = records.subscription()
    events = [records.event() for _ in range(10)]
    for event_id in events[::3]:
        records.ended(event_id, one, FAILED)
    missing = [event_id for event_id in events if event_id not in events[::3]]
    assert found(records, job(records, ReplayKind.MISSING, one)) == missing
    assert found(records, job(records, ReplayKind.RECOVER, one)) == events[::3]


def test_an_event_that_retention_took_is_not_recovered(records: Records) -> None:
    one = records.subscription()
    kept, taken = records.event(), records.event()
    for event_id in (kept, taken):
        records.ended(event_id, one, FAILED)
    records.connection.execute(text("DELETE FROM events WHERE id = :id"), {"id": taken})
    assert found(records, job(records, ReplayKind.RECOVER, one)) == [kept]


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.MISSING])
def test_what_was_served_after_it_was_read_is_not_owed(records: Records, kind: ReplayKind) -> None:
    one = records.subscription()
    events = [records.event() for _ in range(3)]
    if kind is ReplayKind.RECOVER:
        for event_id in events:
            records.ended(event_id, one, FAILED)
    replay = job(records, kind, one)
    read = [c.event_id for c in missed.read_slice(records.connection, replay).candidates]
    assert read == events
    records.pending(events[0], one)
    records.ended(events[1], one, DELIVERED)
    assert missed.unserved(records.connection, replay, read) == [events[2]]


def test_what_is_owed_again_leaves_the_dead_letter_box(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    events = [records.event() for _ in range(2)]
    for event_id in events:
        for subscription in (one, other):
            records.ended(event_id, subscription, FAILED)
    diverted.take_back(records.connection, records.project, [(events[0], one.id)])
    left = records.connection.execute(
        select(diverted_events.c.event_id, diverted_events.c.subscription_id)
    )
    assert {tuple(row) for row in left} == {
        (events[0], other.id),
        (events[1], one.id),
        (events[1], other.id),
    }


@pytest.mark.parametrize("kind", [ReplayKind.RECOVER, ReplayKind.MISSING])
def test_each_look_goes_by_keys(records: Records, kind: ReplayKind) -> None:
    one = records.subscription()
    for _ in range(2):
        event_id = records.event()
        if kind is ReplayKind.RECOVER:
            records.ended(event_id, one, FAILED)
    replay = job(records, kind, one)

    def act() -> None:
        part = missed.read_slice(records.connection, replay)
        assert len(part.candidates) == 2
        events = [candidate.event_id for candidate in part.candidates]
        diverted.take_back(records.connection, records.project, [(e, one.id) for e in events])
        replays.find_running(records.connection, (FIRST, FIRST), 0)

    plans = plans_of(records.connection, act)
    assert walks(plans) == []
    if records.connection.dialect.name == "postgresql":
        return
    poor = ("(project_id=?)", "SCAN", "TEMP B-TREE")
    assert [plan for plan in plans if any(word in plan for word in poor)] == []
    # By the subscription, whatever its number of rows, only the walk of recover itself goes.
    by_subscription = [plan for plan in plans if "ix_queue_lane" in plan or "_subscription" in plan]
    walk = "SEARCH deliveries USING INDEX ix_deliveries_subscription"
    assert all(plan.startswith(walk) and "id>?" in plan for plan in by_subscription)
    assert len(by_subscription) == (kind is ReplayKind.RECOVER)
