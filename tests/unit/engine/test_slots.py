"""Slots: a number of them, and a line in which projects take turns, then their lanes."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tests.support.waiting import PATIENCE_S, turned
from waypost.engine.receiver import Receiver
from waypost.engine.sender import Address
from waypost.engine.slots import Flight, Slots, Waiting
from waypost.model.delivery import DeliveryClass
from waypost.model.subscription import Subscription
from waypost.policy.lane import Lane
from waypost.policy.work import Work


def receiver(project: int, number: int) -> Receiver:
    made = Subscription(project.to_bytes(16), number.to_bytes(16), "https://x.example/")
    return Receiver(made, Address(made, (), None), Lane(1, 1))


def work(number: int, started_us: int, *, call: object = "a call") -> Work:
    made = Work(number.to_bytes(16), bytes(16), 0, 0, 0)
    made.started_us = started_us
    made.call = call
    return made


def take_all(waiting: Waiting) -> list[Receiver]:
    taken = []
    while waiting:
        taken.append(waiting.next())
    return taken


def test_projects_take_turns_then_lanes() -> None:
    waiting = Waiting()
    a, b, c, x = receiver(1, 1), receiver(1, 2), receiver(1, 3), receiver(2, 1)
    for one in (a, b, c, x):
        waiting.add(one)
    assert take_all(waiting) == [a, x, b, c]


def test_nobody_stands_in_line_twice() -> None:
    waiting = Waiting()
    one = receiver(1, 1)
    waiting.add(one)
    waiting.add(one)
    assert one.queued
    assert take_all(waiting) == [one]
    assert not one.queued


@given(lanes=st.dictionaries(st.integers(0, 3), st.integers(1, 4), min_size=1))
def test_nobody_waits_longer_than_everybody_else_once(lanes: dict[int, int]) -> None:
    """Whoever comes again goes behind: each project has its share, each lane that of its own."""
    waiting = Waiting()
    everybody = [receiver(p, n) for p, count in lanes.items() for n in range(count)]
    for one in everybody:
        waiting.add(one)
    turns: list[Receiver] = []
    for _ in range(len(lanes) * 24):
        one = waiting.next()
        turns.append(one)
        waiting.add(one)
    for one in everybody:
        share = lanes[int.from_bytes(one.subscription.project_id)]
        assert turns.count(one) == 24 // share


def test_how_many_are_free() -> None:
    slots = Slots(2)
    assert slots.free == 2
    slots.held[b"a"] = work(1, 0)
    assert slots.free == 1


def test_what_takes_long_moves_on() -> None:
    flight = Flight(10, 2)
    fast, slow = flight.fast, flight.slow
    works = [
        work(1, 10),
        work(2, 11, call=None),  # it is settled: the receiver has answered
        work(3, 12),
        work(4, 13),
        work(5, 21),
    ]
    for one in works:
        fast.held[one.id] = one
    flight.move_long(20)
    assert list(slow.held.values()) == [works[0], works[2]]
    assert list(fast.held.values()) == [works[1], works[3], works[4]]
    assert [one.slow for one in works] == [True, False, True, False, False]
    slow.limit = 10
    flight.move_long(20)
    assert list(fast.held.values()) == [works[1], works[4]]


async def test_a_flight_lands_when_the_last_try_has_ended() -> None:
    flight = Flight(10, 2)
    assert await flight.land(0.0)
    fast, slow = work(1, 0), work(2, 0)
    flight.start(fast, 5, slow=False)
    flight.start(slow, 6, slow=True)
    assert len(flight) == 2
    assert flight.ids() == {fast.id, slow.id}
    assert (fast.started_us, slow.slow) == (5, True)
    landing = asyncio.create_task(flight.land(5.0))
    assert flight.end(fast) is flight.fast
    await turned()
    assert not landing.done()
    assert flight.end(slow) is flight.slow
    assert await landing


async def test_what_does_not_land_is_not_waited_for_longer_than_was_said() -> None:
    flight = Flight(10, 2)
    flight.start(work(1, 0), 5, slow=False)
    assert not await flight.land(0.0)


async def test_a_lull_begins_when_a_live_one_has_ended_and_no_replay() -> None:
    flight = Flight(10, 2)
    live, replay = work(1, 0), work(2, 0)
    replay.kind = int(DeliveryClass.REPLAY)
    for one in (live, replay):
        flight.start(one, 5, slow=False)
    waiting = asyncio.create_task(flight.lull.wait(10 * PATIENCE_S))
    await turned()
    awaited = []
    for one in (replay, live):
        flight.end(one)
        awaited.append(flight.lull.came is not None)
    assert awaited == [True, False]
    async with asyncio.timeout(PATIENCE_S):
        await waiting


def test_what_is_on_its_way_is_broken_off() -> None:
    flight, aborted = Flight(10, 2), []

    class Call:
        def abort(self) -> None:
            aborted.append(self)

    flight.start(work(1, 0, call=Call()), 5, slow=False)
    flight.start(work(2, 0, call=None), 5, slow=True)
    assert flight.abort() == 2
    assert len(aborted) == 1
