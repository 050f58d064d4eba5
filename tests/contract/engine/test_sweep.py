"""A sweep takes what has had its time and nothing else, whatever happens between its steps."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import delete, insert, select
from structlog.testing import capture_logs

from tests.support.database import MICROS, Records
from tests.support.direct import DirectStore
from waypost.engine.sweep import COUNTERS, PARTS, Order, Position, Step, Sweep
from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.storage import counters, schema
from waypost.storage.retention import Cuts
from waypost.storage.schema import (
    attempts,
    deliveries,
    diverted_events,
    events,
    fan_outs,
    idempotency_keys,
    ordering_counters,
    queue,
    receipts,
)

RETENTION_US = 1_000 * MICROS
DIVERTED_US = 2_000 * MICROS
OLD, OLDER, OLDEST, YOUNG = 1_500, 2_500, 3_500, 500


@dataclass(frozen=True)
class Spec:
    """An event to make: how old it is, seconds, what hangs on it and what refers to it."""

    age_s: int
    ended: int
    tries: int
    owed: bool
    fans_out: bool
    boxed_s: int | None
    other: bool


@dataclass
class World:
    """The database, and what must be in it."""

    records: Records
    sweep: Sweep
    order: Order
    subscriptions: dict[Id, Subscription] = field(default_factory=dict)
    made: list[tuple[Spec, Id, Id]] = field(default_factory=list)


specs = st.builds(
    Spec,
    age_s=st.sampled_from([OLD, OLDER, OLDEST, YOUNG]),
    ended=st.integers(0, 3),
    tries=st.integers(0, 3),
    owed=st.booleans(),
    fans_out=st.sampled_from([False, False, True]),
    boxed_s=st.sampled_from([None, None, YOUNG, OLD, OLDER]),
    other=st.booleans(),
)
happenings = st.lists(
    st.tuples(
        st.sampled_from(["nothing", "nothing", "crash", "owe", "land", "resend"]),
        st.integers(0, 9),
        st.integers(1, 4),
    ),
    max_size=40,
)


def fill(records: Records, world: World, spec: Spec) -> None:
    """Make an event as it is specified."""
    project_id = records.other if spec.other else records.project
    subscription = world.subscriptions[project_id]
    at_us = world.order.now_us - spec.age_s * MICROS
    event_id = ids.make(at_us, len(world.made))
    world.made.append((spec, project_id, event_id))
    execute = records.connection.execute
    place = {"project_id": project_id, "event_id": event_id}
    event = {"project_id": project_id, "id": event_id, "type": "a", "payload": b"{}"}
    execute(insert(events).values(**event, routing_version=1))
    delivery = {**place, "subscription_id": subscription.id, "attempts": 1}
    for _ in range(spec.ended):
        final = {"id": records.ids.next(), "state": 1, "finished_us": at_us}
        execute(insert(deliveries).values(**delivery, **final))
    for n in range(spec.tries):
        row = {"id": records.ids.next(), "delivery_id": bytes(16), "number": n, "state": 2}
        how = {"status_code": 500, "response": b"", "timings": b"", "resent": 0}
        execute(insert(attempts).values(**place, subscription_id=subscription.id, **row, **how))
        receipt = {"id": records.ids.next(), "key_id": bytes(16), "same_body": 1}
        execute(insert(receipts).values(**place, **receipt))
    if spec.owed:
        owe(records, subscription, event_id)
    if spec.fans_out:
        execute(insert(fan_outs).values(**place, subscriptions=bytes(16), position=0))
    if spec.boxed_s is not None:
        boxed_us = max(world.order.now_us - spec.boxed_s * MICROS, at_us)
        box = {"id": ids.make(at_us, len(world.made)), "reason": "retries_exhausted"}
        execute(insert(diverted_events).values(**delivery, **box, diverted_us=boxed_us))


def owe(records: Records, subscription: Subscription, event_id: Id) -> None:
    """Owe an event."""
    records.pending(event_id, subscription)


def rows_of(records: Records, *columns: Any) -> list[Any]:
    """Return rows of a table."""
    return [tuple(row) for row in records.connection.execute(select(*columns))]


def hanging(records: Records) -> Counter[Id]:
    """Count what hangs on each event, but for deliveries that a test has made since."""
    found: Counter[Id] = Counter()
    for table in (deliveries, attempts, receipts):
        found.update(event_id for (event_id,) in rows_of(records, table.c.event_id))
    return found


def check(records: Records, world: World) -> None:
    """Make sure that whatever is referred to, or is young, is there with all that hangs on it."""
    present = {event_id for (event_id,) in rows_of(records, events.c.id)}
    for table in (queue, fan_outs, diverted_events):
        assert {event_id for (event_id,) in rows_of(records, table.c.event_id)} <= present
    hangs = hanging(records)
    for spec, _, event_id in world.made:
        if spec.age_s == YOUNG:
            assert event_id in present
        if event_id in present:
            assert hangs[event_id] >= spec.ended + 2 * spec.tries


def happen(records: Records, world: World, what: str, which: int) -> None:
    """Let something happen beside the sweep, as the engine would do it."""
    connection = records.connection
    _, project_id, event_id = world.made[which % len(world.made)]
    subscription = world.subscriptions[project_id]
    mine = (queue.c.project_id == project_id, queue.c.event_id == event_id)
    if what == "owe" and (event_id,) in rows_of(records, events.c.id):
        owe(records, subscription, event_id)
    elif what == "land":
        landed = connection.execute(delete(queue).where(*mine).returning(queue.c.id)).all()
        for row in landed:
            final = {"id": row.id, "state": 1, "finished_us": world.order.now_us, "attempts": 1}
            place = {"project_id": project_id, "event_id": event_id}
            connection.execute(
                insert(deliveries).values(**place, **final, subscription_id=subscription.id)
            )
    elif what == "resend":
        boxed = delete(diverted_events).where(diverted_events.c.event_id == event_id)
        if connection.execute(boxed).rowcount:
            owe(records, subscription, event_id)


async def run(
    world: World, records: Records, beside: list[tuple[str, int, int]], *, patient: bool
) -> Counter[str]:
    """Sweep to the end; return what went. `patient`: check after each step."""
    position: Position | None = Position()
    counts: Counter[str] = Counter()
    pending = list(beside)
    while position is not None:
        what, which, limit = pending.pop(0) if pending else ("nothing", 0, 2)
        world.sweep._limit = limit
        step = await world.sweep.step(world.order, position)
        counts.update(step.rows)
        position = step.position
        if what == "crash":
            position = Position()
        elif what != "nothing":
            happen(records, world, what, which)
        if patient:
            check(records, world)
    return counts


def clear(records: Records) -> None:
    """Empty the tables."""
    for table in (events, deliveries, attempts, receipts, queue, fan_outs, diverted_events):
        records.connection.execute(delete(table))


def world_of(records: Records, made: list[Spec], *, give_up: bool = False) -> World:
    """Make a world with these events."""
    clear(records)
    now_us = records.clock.now_us()
    cuts = Cuts(events_us=now_us - RETENTION_US, diverted_us=now_us - DIVERTED_US)
    order = Order(cuts, now_us, give_up=give_up)
    sweep = Sweep(DirectStore(records.connection), records.clock)
    world = World(records, sweep, order)
    for project_id in (records.project, records.other):
        world.subscriptions[project_id] = records.subscription(project_id=project_id)
    for spec in made:
        fill(records, world, spec)
    return world


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(made=st.lists(specs, min_size=1, max_size=8), beside=happenings)
def test_nothing_that_is_owed_is_deleted_and_what_has_had_its_time_goes(
    records: Records, made: list[Spec], beside: list[tuple[str, int, int]]
) -> None:
    world = world_of(records, made)
    asyncio.run(run(world, records, beside, patient=True))
    # A second sweep finds what was in the way of the first.
    asyncio.run(run(world, records, [], patient=True))
    held = {
        event_id
        for table in (queue, fan_outs, diverted_events)
        for (event_id,) in rows_of(records, table.c.event_id)
    }
    young = {event_id for spec, _, event_id in world.made if spec.age_s == YOUNG}
    assert {event_id for (event_id,) in rows_of(records, events.c.id)} == held | young
    assert set(hanging(records)) <= held | young
    oldest_us = world.order.cuts.diverted_us
    assert all(us >= oldest_us for (us,) in rows_of(records, diverted_events.c.diverted_us))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(made=st.lists(specs, min_size=1, max_size=8))
def test_what_is_counted_is_what_goes(records: Records, made: list[Spec]) -> None:
    world = world_of(records, made)
    order = world.order
    world.order = replace(order, cuts=replace(order.cuts, ahead=True))
    before = (rows_of(records, events.c.id), hanging(records))
    counted = asyncio.run(run(world, records, [], patient=False))
    assert (rows_of(records, events.c.id), hanging(records)) == before
    world.order = order
    assert asyncio.run(run(world, records, [], patient=True)) == counted


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12)
@given(made=st.lists(specs, min_size=1, max_size=8), beside=happenings)
def test_what_is_given_up_goes_to_the_box(
    records: Records, made: list[Spec], beside: list[tuple[str, int, int]]
) -> None:
    world = world_of(records, made, give_up=True)
    owed = {event_id for spec, _, event_id in world.made if spec.owed and spec.age_s != YOUNG}
    # Here nothing lands or is sent again: whatever leaves the queue has been given up.
    calm = [("crash" if what == "crash" else "nothing", 0, limit) for what, _, limit in beside]
    with capture_logs() as logs:
        counts = asyncio.run(run(world, records, calm, patient=True))
    expired = select(diverted_events.c.event_id).where(diverted_events.c.reason == "expired")
    assert set(records.connection.execute(expired).scalars()) == owed
    assert {event_id for (event_id,) in rows_of(records, queue.c.event_id)} == {
        event_id for spec, _, event_id in world.made if spec.owed and spec.age_s == YOUNG
    }
    told = [entry for entry in logs if entry["event"] == "owed_given_up"]
    assert sum(entry["deliveries"] for entry in told) == counts["queue"] == len(owed)


async def step_of(records: Records, part: str, cuts: Cuts) -> Step:
    sweep = Sweep(DirectStore(records.connection), records.clock)
    return await sweep.step(Order(cuts, records.clock.now_us()), Position(part))


@pytest.mark.parametrize("part", PARTS)
async def test_a_part_without_work_leads_to_the_next(records: Records, part: str) -> None:
    step = await step_of(records, part, Cuts(events_us=records.clock.now_us()))
    following = [*PARTS[1:], None][PARTS.index(part)]
    assert (None if step.position is None else step.position.part) == following
    assert not any(step.rows.values())


async def test_what_has_an_expiry_of_its_own_goes_by_it(records: Records) -> None:
    now_us = records.clock.now_us()
    for table, values in (
        (idempotency_keys, {"event_id": bytes(16)}),
        (schema.answers, {"ciphertext": b""}),
    ):
        for n in range(3):
            key = {"key": str(n), "fingerprint": bytes(16), **values}
            row = {**key, "project_id": records.project, "expires_at_us": now_us + n - 1}
            records.connection.execute(insert(table).values(**row))
        assert table.name in PARTS
        assert (await step_of(records, table.name, Cuts(ahead=True))).rows == {table.name: 2}
        assert (await step_of(records, table.name, Cuts())).rows == {table.name: 2}
        assert rows_of(records, table.c.key) == [("2",)]


async def test_a_step_holds_as_much_as_takes_a_few_milliseconds(records: Records) -> None:
    shared = records.connection.dialect.name == "postgresql"
    took_s = [0.01, 0.01, 0.2, 0.03] if shared else [0.0005, 0.0005, 0.1, 0.0015]
    sweep = Sweep(DirectStore(records.connection), records.clock)
    limits = []
    for one in took_s:
        sweep._learn(one)
        limits.append(sweep._limit)
    assert limits == [400, 800, 400, 400]
    for _ in range(20):
        sweep._learn(1.0)
    assert sweep._limit == 100
    for _ in range(20):
        sweep._learn(0.0)
    assert sweep._limit == 2_000


async def test_a_delivered_event_of_a_deleted_project_goes_too(records: Records) -> None:
    records.ended(records.event(), records.subscription(), DeliveryState.DELIVERED)
    gone = schema.projects.update().values(deleted_at_us=1)
    records.connection.execute(gone)
    records.clock.forward(1)
    step = await step_of(records, "events", Cuts(events_us=records.clock.now_us()))
    assert step.rows == {"events": 1}


async def test_counters_go_when_nobody_has_used_them_for_a_day(records: Records) -> None:
    now_us = records.clock.now_us()
    for name, last in (("old", now_us - counters.IDLE_US - 1), ("fresh", now_us - 1)):
        row = {"project_id": records.project, "name": name, "last": last}
        records.connection.execute(insert(ordering_counters).values(**row))
    dry = await step_of(records, COUNTERS, Cuts(ahead=True))
    assert dry.rows == {COUNTERS: 1}
    assert sorted(rows_of(records, ordering_counters.c.name)) == [("fresh",), ("old",)]
    step = await step_of(records, COUNTERS, Cuts())
    assert (step.rows, step.position and step.position.part) == ({COUNTERS: 1}, COUNTERS)
    assert rows_of(records, ordering_counters.c.name) == [("fresh",)]
