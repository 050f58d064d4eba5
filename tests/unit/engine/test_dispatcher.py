"""The dispatcher without a database: the test is the committer and the receivers."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from tests.support.engine import KEY, Broken, Post, Receivers
from tests.support.manual import ManualClock, SeededEntropy
from tests.support.sandbox import Runs
from waypost.clock import IdSource
from waypost.engine.configuration import Configuration
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.router import Router
from waypost.engine.sender import Sender
from waypost.engine.shards import Shards
from waypost.engine.slots import DispatcherConfig
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.model.verification import Verification, VerificationMode, VerificationState
from waypost.policy.format import NATIVE_FORMATS
from waypost.storage.changes import Settlement

PROJECT = b"p" * 16


class Depot:
    """A dispatcher, and everything that it talks to.

    Attributes:
        settlements: what was handed to the committer and is not committed.
    """

    shared = False

    def __init__(
        self, *subscriptions: Subscription, shards: Shards | None = None, **config: Any
    ) -> None:
        loop = asyncio.get_running_loop()
        self.clock = ManualClock()
        self.ids = IdSource(self.clock, SeededEntropy())
        self.router = Router()
        self.router.load({PROJECT: 1}, subscriptions)
        self.network = Receivers()
        self.runs = Runs()
        self.settlements: list[Settlement] = []
        self.events: dict[Id, Event] = {}
        formats = {**NATIVE_FORMATS, "broken": Broken()}
        store: Any = self
        self.dispatcher = Dispatcher(
            Configuration(store),
            self.router,
            Sender(loop, self.network, formats),
            self.clock,
            SeededEntropy(),
            DispatcherConfig(**config),
            self.runs,
            shards,
        )
        self.dispatcher._receivers.load({one.id: (KEY,) for one in subscriptions})

    def settle(self, settlement: Settlement) -> None:
        self.settlements.append(settlement)

    def commit(self, *, late: bool = False) -> list[Settlement]:
        committed, self.settlements = self.settlements, []
        for settlement in committed:
            settlement.late = late
            settlement.done(settlement)
        return committed

    def owe(self, subscription: Subscription, payload: bytes = b"{}") -> Id:
        event = Event(PROJECT, self.ids.next(), "a", payload)
        delivery_id, due_us = self.ids.next_at()
        self.clock.forward(0.001)
        self.dispatcher.committed(subscription.id, delivery_id, due_us, event)
        return delivery_id

    @property
    def open(self) -> Sequence[Post]:
        return self.network.open


def subscription(number: int = 1, **settings: Any) -> Subscription:
    return Subscription(PROJECT, number.to_bytes(16), f"https://h{number}.example/", **settings)


async def test_a_slot_is_held_until_the_settling_is_committed() -> None:
    one = subscription()
    depot = Depot(one, max_in_flight=1)
    first, second = depot.owe(one), depot.owe(one)
    assert depot.dispatcher.sending() == {first}
    depot.open[0].answer()
    assert len(depot.network.posts) == 1
    assert depot.dispatcher.in_flight_count == 1
    depot.commit()
    assert depot.dispatcher.sending() == {second}
    assert depot.dispatcher.delivered == 1


async def test_a_place_in_the_lane_is_free_when_it_is_answered() -> None:
    one = subscription(concurrency=1)
    depot = Depot(one)
    depot.owe(one)
    depot.owe(one)
    depot.open[0].answer()
    assert len(depot.network.posts) == 2
    assert depot.dispatcher.in_flight_count == 2


async def test_news_of_a_delivery_that_is_known_counts_its_payload_once() -> None:
    one = subscription(concurrency=1)
    depot = Depot(one)
    depot.owe(one, b"x" * 100)
    event = Event(PROJECT, depot.ids.next(), "a", b"y" * 50)
    delivery_id, due_us = depot.ids.next_at()
    for _ in range(2):
        depot.dispatcher.committed(one.id, delivery_id, due_us, event)
    assert depot.dispatcher.held_bytes == 150
    for _ in range(2):
        depot.open[0].answer()
        depot.commit()
    assert depot.dispatcher.held_bytes == 0


async def test_payloads_of_what_waits_long_are_not_kept() -> None:
    one = subscription(retry_schedule_s=(5.0, 60.0))
    depot = Depot(one)
    depot.owe(one, b"x" * 100)
    depot.open[0].answer(500)
    depot.commit()
    assert depot.dispatcher.held_bytes == 100
    depot.clock.forward(10)
    depot.dispatcher._alarms._fire()
    depot.open[0].answer(500)
    (settlement,) = depot.commit()
    assert settlement.retry_at_us is not None
    assert depot.dispatcher.held_bytes == 0
    depot.dispatcher._alarms.stop()


async def test_what_was_settled_otherwise_leaves_and_counts_for_nothing() -> None:
    one = subscription()
    depot = Depot(one)
    depot.owe(one)
    depot.owe(one)
    refilled: list[Any] = []
    refiller: Any = depot.dispatcher._refiller
    refiller.refill = refilled.append
    depot.open[0].answer(500)
    depot.open[0].answer()
    depot.commit(late=True)
    dispatcher = depot.dispatcher
    assert (dispatcher.delivered, dispatcher.given_up, dispatcher.held_bytes) == (0, 0, 0)
    assert dispatcher.in_flight_count == 0
    receiver = dispatcher._receivers.get(one.id)
    assert receiver is not None
    assert receiver.lane.known == {}
    # Whoever has settled it may have put it off: that is looked at.
    assert refilled[0] is receiver


@pytest.mark.parametrize("meanwhile", ["paused", "deleted"])
async def test_disabling_that_fails_brings_nothing_back_that_was_changed_meanwhile(
    meanwhile: str,
) -> None:
    one = subscription()
    depot = Depot(one)
    may_fail = asyncio.Event()

    async def disable(*_: object) -> bool:
        await may_fail.wait()
        return False

    upkeep: Any = depot.dispatcher._upkeep
    upkeep.disable = disable
    upkeep.clear = lambda *_: None
    depot.owe(one)
    receiver = depot.dispatcher._receivers.get(one.id)
    assert receiver is not None
    depot.open[0].answer(410)
    if meanwhile == "deleted":
        depot.dispatcher.roster.deleted(PROJECT, one.id)
    else:
        depot.dispatcher.subscription_changed(replace(one, paused=True))
    may_fail.set()
    await asyncio.gather(*depot.dispatcher._tasks)
    assert receiver.lane.paused
    assert receiver.over == (meanwhile == "deleted")


async def test_disabling_that_fails_lets_it_go_on() -> None:
    one = subscription()
    depot = Depot(one)

    async def disable(*_: object) -> bool:
        return False

    upkeep: Any = depot.dispatcher._upkeep
    upkeep.disable = disable
    depot.owe(one)
    depot.open[0].answer(410)
    depot.owe(one)
    assert depot.open == []
    await asyncio.gather(*depot.dispatcher._tasks)
    assert len(depot.open) == 1


async def test_a_thousand_failures_of_a_format_are_concluded_one_by_one() -> None:
    one = subscription(format="broken", concurrency=1_000)
    depot = Depot(one, max_in_flight=1)
    with capture_logs():
        for _ in range(1_000):
            depot.owe(one)
        depot.dispatcher._fast.limit = 1_000
        receiver = depot.dispatcher._receivers.get(one.id)
        assert receiver is not None
        depot.dispatcher._pump(receiver)
        concluded = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(concluded.set_result, None)
        await concluded
    assert len(depot.settlements) == 1_000
    assert {settlement.attempts for settlement in depot.settlements} == {0}
    depot.commit()
    assert depot.dispatcher.retried == 1_000
    depot.dispatcher._alarms.stop()


async def test_a_deleted_subscription_is_not_heard_of_again() -> None:
    one = subscription()
    depot = Depot(one)
    depot.owe(one)
    depot.open[0].answer(500)
    receiver = depot.dispatcher._receivers.get(one.id)
    assert receiver is not None
    receiver.delete()
    cleared: list[Id] = []

    def clear(project_id: Id, subscription_id: Id, sparing: object) -> None:
        cleared.append(subscription_id)

    depot.dispatcher._upkeep.clear = clear  # type: ignore[method-assign] # a stand-in
    (settlement,) = depot.commit()
    assert settlement.retry_at_us is not None
    assert cleared == [one.id]
    assert depot.dispatcher.lane_count == 0
    assert depot.dispatcher.held_bytes == 0


async def test_when_nothing_is_in_flight_a_drain_ends_at_once() -> None:
    one = subscription()
    depot = Depot(one)
    await depot.dispatcher.drain(0.0)
    depot.owe(one)
    assert depot.network.posts == []


@pytest.mark.parametrize("status, reason", [(410, Reason.GONE), (500, Reason.EXHAUSTED)])
async def test_why_it_was_given_up_is_recorded(status: int, reason: Reason) -> None:
    one = subscription(retry_schedule_s=())
    depot = Depot(one)
    disabled: list[object] = []

    async def disable(*args: object) -> None:
        disabled.append(args)

    depot.dispatcher._upkeep.disable = disable  # type: ignore[method-assign, assignment] # a stand-in
    depot.owe(one)
    depot.open[0].answer(status)
    (settlement,) = depot.commit()
    assert settlement.delivery is not None
    assert settlement.delivery[4] == DeliveryState.FAILED
    assert settlement.delivery[7] == reason
    await asyncio.gather(*depot.dispatcher._tasks)
    assert len(disabled) == (status == 410)
    assert depot.dispatcher.given_up == 1


async def test_no_more_is_sent_than_a_receiver_allows() -> None:
    allowed = Verification(
        VerificationMode.CLOUDEVENTS, state=VerificationState.VERIFIED, per_minute=60
    )
    one = subscription(verification=allowed)
    depot = Depot(one)
    sent = []
    for _ in range(3):
        depot.owe(one)
    for _ in range(3):
        sent.append(len(depot.network.posts))
        for post in depot.open:
            post.answer()
        depot.commit()
        depot.clock.forward(0.9)
        depot.dispatcher.go_on()
        sent.append(len(depot.network.posts))
        depot.clock.forward(0.1)
        depot.dispatcher.go_on()
    assert sent == [0, 0, 1, 1, 2, 2]
