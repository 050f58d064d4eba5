"""The roster: receivers of shards that go, and of subscriptions that are no more."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.support.waiting import turned, until
from tests.unit.engine.test_dispatcher import PROJECT, Depot, subscription
from waypost.engine import roster
from waypost.engine.roster import Mark
from waypost.engine.shards import FOR_EVER, Shards
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.event import Attributes, Event
from waypost.model.exchange import FailureKind
from waypost.model.ids import Id
from waypost.model.project import Environment, Project
from waypost.model.shards import SHARDS
from waypost.model.subscription import DisabledBy, Inheritable, Ordering, Subscription


class Shared(Depot):
    """A dispatcher that owns some shards only.

    Attributes:
        woken: the subscriptions of which others were told; and
        hurried: the deliveries that are to go first there.
        left: the shards that were left.
        cleared: the subscriptions whose deliveries are ended.
    """

    def __init__(self, *subscriptions: Subscription, owned: range = range(SHARDS)) -> None:
        self.woken: list[Id] = []
        self.hurried: list[Id] = []
        self.left: list[int] = []
        self.cleared: list[Id] = []
        self.shards = Shards(lambda _, subscription_id, first: self.wake(subscription_id, first))
        for shard in owned:
            self.shards.epochs[shard] = 7
        self.shards.lease(FOR_EVER)
        self.shards.confirm(FOR_EVER)
        super().__init__(*subscriptions, shards=self.shards)
        self.dispatcher.roster.left = self.left.append
        upkeep: Any = self.dispatcher._upkeep
        upkeep.clear = lambda _, subscription_id, __: self.cleared.append(subscription_id)

    def wake(self, subscription_id: Id, first: Id | None) -> None:
        self.woken.append(subscription_id)
        if first is not None:
            self.hurried.append(first)

    async def turn(self) -> None:
        for _ in range(3):
            await turned()


ONE, TWO = subscription(1), subscription(2)


async def test_what_is_owed_elsewhere_wakes_its_owner_and_takes_no_memory() -> None:
    depot = Shared(ONE, TWO, owned=range(1, 2))
    depot.owe(ONE)
    depot.owe(TWO)
    depot.dispatcher.owed([Owed(PROJECT, b"d" * 16, b"e" * 16, TWO.id, DeliveryClass.REPLAY, 0)])
    assert depot.woken == [TWO.id, TWO.id]
    assert (len(depot.open), depot.dispatcher.lane_count) == (1, 1)
    depot.dispatcher.roster.look([(PROJECT, TWO.id)])
    assert depot.dispatcher.lane_count == 1


async def test_an_example_that_is_owed_elsewhere_is_to_go_first_there() -> None:
    depot = Shared(ONE, owned=range(0))
    event = Event(PROJECT, b"e" * 16, "a", b"{}", Attributes(example=True))
    depot.dispatcher.committed(ONE.id, b"d" * 16, 1, event)
    depot.owe(ONE)
    assert (depot.woken, depot.hurried) == ([ONE.id] * 2, [b"d" * 16])


class Behind(Shared):
    """One that is owed three deliveries, of which one is being tried, and another by others."""

    def __init__(self, **settings: Any) -> None:
        one = subscription(1, concurrency=1, **settings)
        super().__init__(one)
        self.waiting = [self.owe(one) for _ in range(3)][1:]
        self.delivery, due_us = self.ids.next_at()
        place = (PROJECT, self.delivery, b"e" * 16, one.id)
        self.owed = Owed(*place, DeliveryClass.FRESH, due_us)
        receiver = self.dispatcher._receivers.get(one.id)
        assert receiver is not None
        self.receiver = receiver

    def mark(self) -> Mark | None:
        return self.dispatcher.roster.mark(self.owed.subscription_id, self.delivery)

    def hurry(self, mark: Mark | None) -> bool:
        assert mark is not None
        return self.dispatcher.roster.hurry(mark, self.owed)

    def waits(self) -> list[Id]:
        return [work.id for work in self.receiver.lane._ready[0]]


async def test_what_others_want_to_go_first_goes_first() -> None:
    depot = Behind()
    assert depot.hurry(depot.mark())
    assert depot.waits() == [depot.delivery, *depot.waiting]
    assert depot.mark() is None, "it is here"


async def test_what_came_here_before_it_was_heard_of_goes_first_and_is_not_read() -> None:
    depot = Behind()
    depot.dispatcher.owed([depot.owed])
    assert depot.waits()[-1] == depot.delivery
    assert depot.mark() is None
    assert depot.waits() == [depot.delivery, *depot.waiting]


async def test_what_may_have_been_sent_while_it_was_read_is_begun_anew() -> None:
    depot = Behind()
    mark, lane = depot.mark(), depot.receiver.lane
    lane.begin_refill()
    lane.end_refill([], 0, read_us=0, reached_end=True, next_due_us=None)
    assert not depot.hurry(mark)
    mark = depot.mark()
    depot.dispatcher._receivers.drop(depot.receiver.subscription.id)
    assert not depot.hurry(mark)
    assert depot.mark() is None
    assert depot.waits() == depot.waiting


async def test_of_a_strict_order_and_where_nothing_is_sent_it_takes_its_turn() -> None:
    depot = Behind()
    depot.receiver.over = True
    assert depot.mark() is None
    depot.receiver.over = False
    depot.receiver.lane.keep_order(Ordering.STRICT)
    assert depot.mark() is None
    depot.receiver.lane.keep_order(Ordering.KEY)
    assert depot.mark() is not None


async def test_a_settling_names_the_shard_and_the_epoch_of_its_start() -> None:
    depot = Shared(ONE)
    depot.owe(ONE)
    depot.shards.epochs[1] = 9
    depot.open[0].answer()
    (settlement,) = depot.commit()
    assert (settlement.shard, settlement.epoch) == (1, 7)


async def test_a_shard_that_is_given_up_is_left_when_nothing_of_it_is_in_flight() -> None:
    depot = Shared(ONE, TWO)
    depot.owe(ONE)
    depot.owe(TWO)
    depot.dispatcher.give_up({1, 3})
    assert depot.left == [3]
    leaving = [depot.dispatcher.is_leaving]
    depot.owe(ONE)
    assert depot.woken == [ONE.id]
    depot.open[0].answer(500)
    assert depot.left == [3]
    depot.commit()
    assert depot.left == [3, 1]
    leaving.append(depot.dispatcher.is_leaving)
    assert leaving == [True, False]
    assert (depot.dispatcher.lane_count, depot.dispatcher.held_bytes) == (1, 2)
    depot.dispatcher._alarms.stop()


async def test_what_is_lost_is_broken_off_and_stays_owed() -> None:
    depot = Shared(ONE)
    for _ in range(3):
        depot.owe(ONE)
    depot.open[0].answer()
    with capture_logs():
        depot.dispatcher.lose(range(SHARDS))
    await depot.turn()
    assert depot.open == []
    # One was answered before: that is settled, whoever owns it by then.
    (settlement,) = depot.commit(late=True)
    assert settlement.epoch == 7
    dispatcher = depot.dispatcher
    assert (dispatcher.in_flight_count, dispatcher.held_bytes, dispatcher.delivered) == (0, 0, 0)
    assert not dispatcher.is_leaving
    assert sorted(depot.left) == list(range(SHARDS))


async def test_what_is_broken_off_of_a_shard_that_is_kept_is_read_again() -> None:
    depot = Shared(ONE)
    depot.owe(ONE)
    refilled: list[Any] = []
    refiller: Any = depot.dispatcher._refiller
    refiller.refill = refilled.append
    with capture_logs():
        depot.dispatcher.lose({200})
    await depot.turn()
    assert [receiver.subscription.id for receiver in refilled] == [ONE.id]


async def test_settings_that_change_do_not_wake_what_is_going() -> None:
    depot = Shared(ONE)
    depot.owe(ONE)
    receiver = depot.dispatcher._receivers.get(ONE.id)
    assert receiver is not None
    depot.dispatcher.give_up({1})
    receiver.take(ONE, receiver.address)
    assert receiver.lane.paused
    depot.dispatcher._pump(receiver)
    assert len(depot.network.posts) == 1


async def test_the_end_of_a_subscription_elsewhere_is_its_owners_matter() -> None:
    disabled = subscription(1, disabled_by=DisabledBy.PERSON)
    depot = Shared(ONE, TWO, owned=range(2, 3))
    depot.dispatcher.subscription_changed(disabled, ())
    depot.dispatcher.roster.deleted(PROJECT, ONE.id)
    assert (depot.cleared, depot.woken) == ([], [])
    depot.dispatcher.roster.deleted(PROJECT, TWO.id)
    assert depot.cleared == [TWO.id]


@pytest.mark.parametrize("over", ["lease", "confirm"])
async def test_nothing_starts_behind_the_moment_until_when_it_may(over: str) -> None:
    depot = Shared(ONE)
    getattr(depot.shards, over)(depot.clock.monotonic() + 0.0015)
    depot.owe(ONE)
    assert len(depot.open) == 1
    depot.owe(ONE)
    depot.open[0].answer()
    depot.commit()
    assert depot.open == []
    getattr(depot.shards, over)(FOR_EVER)
    depot.dispatcher.go_on()
    assert len(depot.open) == 1


async def test_what_was_loaded_too_late_is_not_sent() -> None:
    depot = Shared(ONE)
    event = Event(PROJECT, depot.ids.next(), "a", b"{}")
    loaded: asyncio.Future[Event] = asyncio.get_running_loop().create_future()

    async def load(*_: Id) -> Event:
        return await loaded

    refiller: Any = depot.dispatcher._refiller
    refiller.load = load
    delivery_id, due_us = depot.ids.next_at()
    depot.clock.forward(0.001)
    depot.dispatcher.owed(
        [Owed(PROJECT, delivery_id, event.id, ONE.id, DeliveryClass.FRESH, due_us)]
    )
    assert depot.dispatcher.in_flight_count == 1
    depot.shards.lease(0)
    loaded.set_result(event)
    await depot.turn()
    assert (depot.dispatcher.in_flight_count, depot.network.posts) == (0, [])
    depot.shards.lease(FOR_EVER)
    depot.dispatcher.go_on()
    await depot.turn()
    assert len(depot.network.posts) == 1


async def test_how_long_work_has_waited_is_known() -> None:
    slow = subscription(1, concurrency=1)
    depot = Shared(slow)
    assert depot.dispatcher.lag_us(depot.clock.now_us()) == 0
    depot.owe(slow)
    depot.owe(slow)
    depot.clock.forward(2)
    assert 2_000_000 <= depot.dispatcher.lag_us(depot.clock.now_us()) < 2_100_000
    depot.open[0].fail(FailureKind.TIMEOUT)
    depot.commit()
    depot.dispatcher._alarms.stop()


async def test_whoever_sets_the_clock_neither_ends_nor_extends_what_may_be_sent() -> None:
    depot = Shared(ONE)
    clock: Any = depot.clock
    depot.shards.lease(clock.monotonic() + 5)
    now_us = clock.now_us()
    clock.now_us = lambda: now_us + 100_000_000
    depot.owe(ONE)
    assert len(depot.open) == 1
    clock.now_us = lambda: now_us
    clock.forward(6)
    depot.owe(ONE)
    assert len(depot.open) == 1


async def test_receivers_take_the_defaults_a_few_at_a_time_and_start_nothing_by_the_old(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(roster, "_RENEWED", 2)
    some = [subscription(number) for number in range(1, 7)]
    depot = Shared(*some)
    for one in some:
        depot.owe(one)
    receivers = [depot.dispatcher._receivers.get(one.id) for one in some]
    lanes = [receiver.lane for receiver in receivers if receiver is not None]
    project = Project(
        PROJECT, b"a" * 16, "p", Environment.TEST, defaults=Inheritable(concurrency=3)
    )
    depot.dispatcher.roster.defaults_changed(project)
    assert [lane.concurrency for lane in lanes[:2]] == [3, 3], "at once"
    assert [lane.paused for lane in lanes] == [False] * 2 + [True] * 4
    depot.owe(some[5])
    assert len(depot.network.posts) == 6
    # Another change meanwhile is as good as a second one.
    again = replace(project, defaults=Inheritable(concurrency=2))
    depot.dispatcher.roster.defaults_changed(again)
    await until(lambda: [(lane.concurrency, lane.paused) for lane in lanes] == [(2, False)] * 6)
    assert len(depot.network.posts) == 7


async def test_what_is_drained_takes_no_defaults_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roster, "_RENEWED", 1)
    depot = Shared(ONE, TWO)
    for one in (ONE, TWO):
        depot.owe(one)
    project = Project(
        PROJECT, b"a" * 16, "p", Environment.TEST, defaults=Inheritable(concurrency=3)
    )
    depot.dispatcher.roster.defaults_changed(project)
    depot.dispatcher.roster.stop()
    depot.dispatcher.roster._renew()
    second = depot.dispatcher._receivers.get(TWO.id)
    assert second is not None
    assert second.lane.paused
