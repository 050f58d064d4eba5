"""What the next step of a job owes to whom: each route, each condition, each way through."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support import database
from tests.support.database import Place, Records
from waypost.engine.planner import PAIRS_MAX, Planner, Step
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.replay import Order, PastState, Plan, Replay, ReplayKind, Route
from waypost.model.subscription import DisabledBy, Subscription
from waypost.storage import diverted, schema, selecting
from waypost.storage.store import Store

Pair = tuple[Id, Id]


class Bench:
    """A planner over rows, and the jobs that it plans."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.router = Router()
        self.router.load({records.project: 1, records.other: 1}, ())
        self.store: Store | None = None

    def subscription(self, **settings: Any) -> Subscription:
        made = self.records.subscription(**settings)
        self.router.apply(1, made)
        return made

    def job(
        self,
        kind: ReplayKind = ReplayKind.SELECTED,
        to: Subscription | None = None,
        begin_us: int = 0,
        end_us: int | None = None,
        **plan: Any,
    ) -> Replay:
        newest_first = plan.get("order") is Order.NEWEST_FIRST
        self.records.clock.forward(1)
        replay_id, now_us = self.records.ids.next_at()
        return Replay(
            *(self.records.project, replay_id, kind, None if to is None else to.id),
            begin_us=begin_us,
            end_us=now_us if end_us is None else end_us,
            position=ids.LAST if newest_first else ids.FIRST,
            plan=Plan(**plan),
        )

    async def steps(self, replay: Replay, most: int = PAIRS_MAX) -> list[Step]:
        """Plan a whole job."""
        assert self.store is not None
        made: list[Step] = []
        plans = Planner(self.store, self.router)
        while True:
            step = await plans.plan(replay, most)
            made.append(step)
            if step.ended:
                return made
            replay = msgspec.structs.replace(replay, position=step.position, within=step.within)

    async def pairs(self, replay: Replay, most: int = PAIRS_MAX) -> list[Pair]:
        return [pair for step in await self.steps(replay, most) for pair in step.pairs]


@pytest.fixture
def bench(place: Place) -> Iterator[Bench]:
    """Return a bench on a database of each kind."""
    made = Bench(database.make(place))
    yield made
    made.records.connection.close()
    made.records.connection.engine.dispose()


async def plan(bench: Bench, place: Place, replay: Replay, most: int = PAIRS_MAX) -> list[Pair]:
    async with database.opened(place) as store:
        bench.store = store
        return await bench.pairs(replay, most)


FAILED, DELIVERED, CANCELLED = (
    DeliveryState.FAILED,
    DeliveryState.DELIVERED,
    DeliveryState.CANCELLED,
)


async def test_as_before_is_to_whom_it_was_owed(bench: Bench, place: Place) -> None:
    one, two, three = (bench.subscription() for _ in range(3))
    off = bench.subscription(disabled_by=DisabledBy.PERSON)
    records = bench.records
    first, second, third = (records.event() for _ in range(3))
    records.ended(first, one, DELIVERED)
    records.ended(first, two, FAILED)
    records.ended(first, off, FAILED)
    records.ended(second, two, DELIVERED)
    records.ended(second, two, FAILED)
    records.ended(third, three, DELIVERED)
    # It is owed already.
    records.pending(third, three)
    job = bench.job()
    assert await plan(bench, place, job) == [(first, one.id), (first, two.id), (second, two.id)]


@pytest.mark.parametrize(
    "state, expected",
    [
        (PastState.DELIVERED, ["a", "d"]),
        (PastState.DIVERTED, ["b"]),
        (PastState.CANCELLED, ["c"]),
        (PastState.FAILED, []),
    ],
)
async def test_the_last_delivery_decides_about_the_state(
    bench: Bench, place: Place, state: PastState, expected: list[str]
) -> None:
    one = bench.subscription()
    records = bench.records
    events = {name: records.event() for name in "abcde"}
    for name, states in (
        ("a", (DELIVERED,)),
        ("b", (DELIVERED, FAILED)),
        ("c", (CANCELLED,)),
        ("d", (FAILED, DELIVERED)),
        ("e", (DELIVERED,)),
    ):
        for one_state in states:
            records.ended(events[name], one, one_state)
    records.pending(events["e"], one)
    found = await plan(bench, place, bench.job(state=state))
    assert found == [(events[name], one.id) for name in expected]


async def test_a_subscription_narrows_to_what_it_was_owed(bench: Bench, place: Place) -> None:
    one, two = bench.subscription(), bench.subscription()
    records = bench.records
    both, other, none = (records.event() for _ in range(3))
    for event_id, of in ((both, one), (both, two), (other, two)):
        records.ended(event_id, of, DELIVERED)
    assert none
    job = bench.job(of=one.id)
    afresh = bench.job(of=one.id, route=Route.AFRESH)
    missed = bench.job(of=one.id, state=PastState.FAILED, route=Route.AFRESH)
    async with database.opened(place) as store:
        bench.store = store
        assert await bench.pairs(job) == [(both, one.id)]
        assert await bench.pairs(afresh) == [(both, one.id), (both, two.id)]
        assert await bench.pairs(missed) == []


async def test_afresh_is_to_those_that_would_be_owed_it_now(bench: Bench, place: Place) -> None:
    cards = bench.subscription(event_types=("card.*",))
    large = bench.subscription(filter='{"body":{"n":{"$gte":5}}}', owner="o")
    bench.subscription(disabled_by=DisabledBy.GONE)
    records = bench.records
    card = records.event("card.created", payload=b'{"n":1}')
    book = records.event("book.created", Attributes(owner="o"), payload=b'{"n":9}')
    records.event("book.created", Attributes(owner="p"), payload=b'{"n":9}')
    aimed = records.event("book.created", Attributes(targets=(cards.id,)))
    job = bench.job(route=Route.AFRESH)
    async with database.opened(place) as store:
        bench.store = store
        [step] = await bench.steps(job)
    assert step.pairs == [(card, cards.id), (book, large.id), (aimed, cards.id)]
    assert (step.version, step.looked) == (1, 4)


async def test_to_one_is_whatever_it_asks_for(bench: Bench, place: Place) -> None:
    one = bench.subscription(event_types=("never",))
    records = bench.records
    first, second = records.event(), records.event()
    records.pending(second, one)
    job = bench.job(to=one, route=Route.TO)
    assert await plan(bench, place, job) == [(first, one.id)]


async def test_events_are_narrowed_by_type_owner_content_and_time(
    bench: Bench, place: Place
) -> None:
    one = bench.subscription()
    records = bench.records
    mine = Attributes(owner="o")
    records.event("card.created", mine, payload=b'{"n":1}')
    records.clock.forward(10)
    begin_us = records.clock.now_us()
    wanted = records.event("card.created", mine, payload=b'{"n":1}')
    records.event("cardigan.created", mine, payload=b'{"n":1}')
    records.event("card.created", Attributes(metadata={"owner": "o"}), payload=b'{"n":1}')
    records.event("card.created", mine, payload=b'{"n":2}')
    records.event("card.created", mine, records.other, payload=b'{"n":1}')
    records.clock.forward(10)
    end_us = records.clock.now_us()
    records.event("card.created", mine, payload=b'{"n":1}')
    job = bench.job(
        *(ReplayKind.SELECTED, one, begin_us, end_us),
        event_types=("card.*",),
        owner="o",
        content='{"body":{"n":1}}',
        route=Route.TO,
    )
    assert await plan(bench, place, job) == [(wanted, one.id)]


@pytest.mark.parametrize("most", [1, 2, 3, 100])
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("order", list(Order))
async def test_every_way_through_finds_each_pair_once_and_in_order(
    bench: Bench,
    place: Place,
    most: int,
    size: int,
    order: Order,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selecting, "SLICE", size)
    monkeypatch.setattr(selecting, "_LOADED", 2)
    subscriptions = sorted(bench.subscription().id for _ in range(3))
    events = [bench.records.event() for _ in range(7)]
    job = bench.job(route=Route.AFRESH, order=order)
    async with database.opened(place) as store:
        bench.store = store
        steps = await bench.steps(job, most)
    found = [pair for step in steps for pair in step.pairs]
    in_order = events if order is Order.OLDEST_FIRST else events[::-1]
    assert found == [(event_id, to) for event_id in in_order for to in subscriptions]
    assert max(len(step.pairs) for step in steps) <= most


async def test_what_a_fan_out_will_bring_is_not_owed_twice(bench: Bench, place: Place) -> None:
    one, two = bench.subscription(), bench.subscription()
    event_id = bench.records.event()
    bench.records.connection.execute(
        schema.fan_outs.insert().values(
            project_id=bench.records.project, event_id=event_id, subscriptions=one.id, position=0
        )
    )
    job = bench.job(route=Route.AFRESH)
    assert await plan(bench, place, job) == [(event_id, two.id)]


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("most", [1, 2, 100])
async def test_the_box_is_gone_through_by_what_is_asked_for(
    bench: Bench, place: Place, order: Order, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diverted, "CHUNK", 3)
    one, two = bench.subscription(), bench.subscription()
    records = bench.records
    mine = Attributes(owner="o")
    wanted = [records.event("card.created", mine) for _ in range(4)]
    for event_id in wanted:
        records.ended(event_id, one, FAILED)
        records.ended(event_id, two, FAILED)
        records.ended(records.event("card.created"), one, FAILED)
        records.ended(records.event("book.created", mine), one, FAILED)
    job = bench.job(
        ReplayKind.DIVERTED,
        order=order,
        of=one.id,
        owner="o",
        event_types=("card.created",),
        reason=Reason.EXHAUSTED,
    )
    other = bench.job(ReplayKind.DIVERTED, reason=Reason.GONE)
    async with database.opened(place) as store:
        bench.store = store
        steps = await bench.steps(job, most)
        assert await bench.pairs(other) == []
    found = [pair for step in steps for pair in step.pairs]
    in_order = wanted if order is Order.OLDEST_FIRST else wanted[::-1]
    assert found == [(event_id, one.id) for event_id in in_order]
    assert sum(step.looked for step in steps) == 12
    assert all(len(step.box) == len(step.pairs) <= most for step in steps)


async def test_the_box_is_gone_through_within_a_range(bench: Bench, place: Place) -> None:
    one = bench.subscription()
    records = bench.records
    events = []
    for _ in range(4):
        records.clock.forward(10)
        events.append(records.event())
        records.ended(events[-1], one, FAILED)
    now_us = records.clock.now_us()
    middle = [now_us - 25_000_000, now_us - 5_000_000]
    for order in Order:
        job = bench.job(ReplayKind.DIVERTED, None, *middle, order=order)
        found = await plan(bench, place, job)
        assert sorted(event_id for event_id, _ in found) == events[1:3]


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_every_event_is_counted_once(bench: Bench, place: Place, most: int) -> None:
    for _ in range(2):
        bench.subscription()
    for _ in range(5):
        bench.records.event()
    job = bench.job(route=Route.AFRESH)
    async with database.opened(place) as store:
        bench.store = store
        steps = await bench.steps(job, most)
    assert sum(step.looked for step in steps) == 5
