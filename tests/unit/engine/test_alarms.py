"""Alarms: each receiver is rung for at its moment, once."""

import asyncio
from typing import Any

from tests.support.manual import ManualClock
from waypost.engine.alarms import Alarms


class Bell:
    """Stands for a receiver."""

    def __init__(self) -> None:
        self.armed_us: int | None = None


class Timers:
    """Stands for the loop: timers go off when the test says."""

    def __init__(self) -> None:
        self.set: list[Any] = []

    def call_later(self, delay_s: float, callback: Any) -> Any:
        timer = type("Timer", (), {"delay_s": delay_s, "callback": callback})()
        timer.cancel = lambda: self.set.remove(timer)
        self.set.append(timer)
        return timer

    def fire(self) -> None:
        (timer,) = self.set
        self.set.clear()
        timer.callback()


class Tower:
    def __init__(self) -> None:
        self.clock = ManualClock(0)
        self.timers = Timers()
        self.rung: list[Bell] = []
        self.alarms: Any = Alarms(self.timers, self.clock, self.ring)  # type: ignore[arg-type] # a stand-in

    def ring(self, bell: Any) -> None:
        self.rung.append(bell)


def test_the_earliest_rings_first_and_one_timer_serves_all() -> None:
    tower = Tower()
    early, late = Bell(), Bell()
    tower.alarms.set(late, 5_000_000)
    tower.alarms.set(early, 2_000_000)
    (timer,) = tower.timers.set
    assert timer.delay_s == 2.0
    tower.clock.forward(2)
    tower.timers.fire()
    assert tower.rung == [early]
    (timer,) = tower.timers.set
    assert timer.delay_s == 3.0
    tower.clock.forward(3)
    tower.timers.fire()
    assert tower.rung == [early, late]
    assert tower.timers.set == []


def test_an_earlier_alarm_takes_the_place_of_a_later_one() -> None:
    tower = Tower()
    bell = Bell()
    tower.alarms.set(bell, 9_000_000)
    tower.alarms.set(bell, 1_000_000)
    tower.alarms.set(bell, 5_000_000)
    tower.clock.forward(1)
    tower.timers.fire()
    tower.clock.forward(20)
    tower.timers.fire()
    assert tower.rung == [bell]


def test_a_timer_that_comes_early_waits_for_the_rest() -> None:
    tower = Tower()
    bell = Bell()
    tower.alarms.set(bell, 10_000_000)
    tower.clock.forward(9)
    tower.timers.fire()
    assert tower.rung == []
    (timer,) = tower.timers.set
    assert timer.delay_s == 1.0


def test_a_moment_far_away_is_looked_at_anew_each_hour() -> None:
    tower = Tower()
    tower.alarms.set(Bell(), 86_400_000_000)
    (timer,) = tower.timers.set
    assert timer.delay_s == 3600.0


def test_a_bell_may_be_set_again_as_it_rings() -> None:
    tower = Tower()
    bell = Bell()

    def ring_again(again: Bell) -> None:
        tower.rung.append(again)
        if len(tower.rung) < 3:
            tower.alarms.set(again, tower.clock.now_us() + 1)

    tower.alarms._ring = ring_again
    tower.alarms.set(bell, 0)
    for _ in range(3):
        tower.timers.fire()
        tower.clock.forward(1)
    assert tower.rung == [bell] * 3
    assert tower.timers.set == []


def test_one_that_fails_as_it_is_rung_for_does_not_stop_the_clock() -> None:
    tower = Tower()

    def broken(_: Bell) -> None:
        raise ZeroDivisionError

    tower.alarms._ring = broken
    tower.alarms.set(Bell(), 0)
    tower.alarms.set(Bell(), 1_000_000)
    try:
        tower.timers.fire()
    except ZeroDivisionError:
        assert len(tower.timers.set) == 1
    else:
        raise AssertionError


def test_alarms_that_were_replaced_do_not_pile_up() -> None:
    tower = Tower()
    others, often = [Bell() for _ in range(3)], Bell()
    for other in others:
        tower.alarms.set(other, 86_000_000_000)
    for _ in range(5_000):
        tower.alarms.set(often, 86_400_000_000)
        tower.alarms.set(often, tower.clock.now_us() + 1_000_000)
        tower.clock.forward(1)
        tower.timers.fire()
    assert len(tower.rung) == 5_000
    assert len(tower.alarms._heap) < 1_100
    tower.alarms.set(often, 85_000_000_000)
    tower.clock.forward(86_400)
    tower.timers.fire()
    assert tower.rung[5_000:] == [often, *others]
    assert tower.alarms._heap == []


def test_after_a_stop_nothing_rings() -> None:
    tower = Tower()
    tower.alarms.set(Bell(), 0)
    tower.alarms.stop()
    assert tower.timers.set == []


async def test_it_works_with_a_real_loop() -> None:
    rung = asyncio.Event()
    clock = ManualClock(0)
    alarms: Any = Alarms(asyncio.get_running_loop(), clock, lambda _: rung.set())
    alarms.set(Bell(), 0)
    await asyncio.wait_for(rung.wait(), 10)
