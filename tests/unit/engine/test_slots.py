"""Slots: a number of them, and a line in which projects take turns, then their lanes."""

from hypothesis import given
from hypothesis import strategies as st

from waypost.engine.receiver import Receiver
from waypost.engine.sender import Address
from waypost.engine.slots import Slots, Waiting, move_long
from waypost.model.subscription import Subscription
from waypost.policy.lane import Lane, Work


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
    fast, slow = Slots(10), Slots(2)
    works = [
        work(1, 10),
        work(2, 11, call=None),  # it is settled: the receiver has answered
        work(3, 12),
        work(4, 13),
        work(5, 21),
    ]
    for one in works:
        fast.held[one.id] = one
    move_long(fast, slow, 20)
    assert list(slow.held.values()) == [works[0], works[2]]
    assert list(fast.held.values()) == [works[1], works[3], works[4]]
    assert [one.slow for one in works] == [True, False, True, False, False]
    slow.limit = 10
    move_long(fast, slow, 20)
    assert list(fast.held.values()) == [works[1], works[4]]
