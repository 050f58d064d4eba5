import sys
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import AlignedClock, IdSource, SystemClock, SystemEntropy
from waypost.model import ids
from waypost.model.shards import SHARDS, shard_of

NOW_US = 1_700_000_000_000_000


class Scripted:
    """A clock that shows what it is told to, and a chance that can be told apart."""

    def __init__(self, times_us: Iterator[int]) -> None:
        self._times_us = times_us
        self.asked: list[int] = []

    def now_us(self) -> int:
        return next(self._times_us)

    def monotonic(self) -> float:
        raise AssertionError("no id is made of it")

    def bits(self, count: int) -> int:
        self.asked.append(count)
        return (len(self.asked) * 0x9E3779B97F4A7C15) & ((1 << count) - 1)

    def fraction(self) -> float:
        raise AssertionError("no id is made of it")


def source(times_us: list[int]) -> IdSource:
    scripted = Scripted(iter(times_us))
    return IdSource(scripted, scripted)


@given(st.lists(st.integers(0, 10**16), min_size=1))
def test_ids_grow_strictly_whatever_the_clock_does(times_us: list[int]) -> None:
    makes = source(times_us)
    made = [makes.next() for _ in times_us]
    assert all(a < b for a, b in pairwise(made))
    assert all(a < b for a, b in pairwise(map(ids.moment, made)))
    assert all(ids.moment(each) >= now for each, now in zip(made, times_us, strict=True))


@given(st.lists(st.integers(0, 10**16), min_size=1))
def test_an_id_comes_with_the_moment_that_it_carries(times_us: list[int]) -> None:
    makes, twin = source(times_us), source(times_us)
    for _ in times_us:
        made, at_us = makes.next_at()
        assert ids.moment(made) == at_us
        assert made == twin.next()


def test_an_id_carries_the_time_while_the_clock_goes_forward() -> None:
    makes = source([NOW_US, NOW_US + 7])
    assert [ids.moment(makes.next()) for _ in range(2)] == [NOW_US, NOW_US + 7]


def test_the_chance_of_ids_differs_and_is_drawn_anew_in_blocks() -> None:
    scripted = Scripted(iter(range(NOW_US, NOW_US + 3000)))
    makes = IdSource(scripted, scripted)
    made = [makes.next() for _ in range(2049)]
    low = [int.from_bytes(each, "big") & ids.MAX_CHANCE for each in made]
    assert len(set(low)) == len(low)
    assert len(scripted.asked) == 2 * 3


@pytest.mark.parametrize("count, parts", [(4, 2), (9, 4), (16, 8)])
def test_a_few_ids_in_a_row_are_spread_over_the_shards(count: int, parts: int) -> None:
    makes = source(list(range(NOW_US, NOW_US + 2048)))
    shards = [shard_of(makes.next()) for _ in range(2048)]
    # A row that goes over from one block to the next begins anew in it.
    for start in (*range(1024 - count + 1), *range(1024, 2048 - count + 1)):
        row = shards[start : start + count]
        assert len(set(row)) == count
        assert {shard * parts // SHARDS for shard in row} == set(range(parts))


def test_the_machine_s_clock_shows_the_present() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1000
    assert before <= clock.now_us() <= time.time_ns() // 1000
    start = clock.monotonic()
    assert clock.monotonic() >= start


@pytest.mark.skipif(sys.platform != "linux", reason="macOS calls it by another name")
def test_the_machine_s_sleep_counts() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_the_machine_s_chance_keeps_its_bounds() -> None:
    entropy = SystemEntropy()
    drawn = [entropy.bits(64) for _ in range(64)]
    assert len(set(drawn)) == 64
    assert max(drawn) < 1 << 64
    assert max(drawn) >= 1 << 56
    fractions = [entropy.fraction() for _ in range(256)]
    assert all(0 <= each < 1 for each in fractions)
    assert max(fractions) - min(fractions) > 0.5


class Machine:
    """A machine's clocks, set by hand."""

    def __init__(self) -> None:
        self.wall_us = NOW_US
        self.since_start = 100.0

    def now_us(self) -> int:
        return self.wall_us

    def monotonic(self) -> float:
        return self.since_start


def test_before_the_first_reading_it_is_the_machine_s_own() -> None:
    clock = AlignedClock(Machine())
    assert clock.now_us() == NOW_US
    assert clock.offset_us() == 0


def test_the_first_reading_is_taken_for_the_middle_of_question_and_answer() -> None:
    machine = Machine()
    clock = AlignedClock(machine)
    clock.align(NOW_US + 5_000_000, 99.0, 101.0)
    assert clock.now_us() == NOW_US + 5_000_000
    assert clock.offset_us() == 5_000_000
    machine.since_start += 2.5
    assert clock.now_us() == NOW_US + 7_500_000


def test_whoever_sets_the_wall_clock_does_not_move_it() -> None:
    machine = Machine()
    clock = AlignedClock(machine)
    clock.align(NOW_US, 100.0, 100.0)
    machine.wall_us += 3_600_000_000
    assert clock.now_us() == NOW_US
    assert clock.offset_us() == -3_600_000_000


@pytest.mark.parametrize(
    "theirs_s,asked,answered,moved_s",
    [
        (0.0, 99.9, 100.0, 0.0),  # as was thought
        (0.4, 99.5, 100.5, 0.0),  # says nothing against it
        (2.0, 99.5, 100.0, 2.0),  # at least two seconds further on
        (0.3, 99.9, 100.0, 0.3),
    ],
)
def test_a_later_reading_corrects_only_what_can_not_be_so(
    theirs_s: float, asked: float, answered: float, moved_s: float
) -> None:
    clock = AlignedClock(Machine())
    clock.align(NOW_US, 100.0, 100.0)
    clock.align(NOW_US + int(theirs_s * 1_000_000), asked, answered)
    assert clock.now_us() == NOW_US + int(moved_s * 1_000_000)


@given(st.lists(st.tuples(st.integers(-(10**8), 10**8), st.floats(0, 10), st.floats(0, 10))))
def test_it_never_goes_back(readings: list[tuple[int, float, float]]) -> None:
    machine = Machine()
    clock = AlignedClock(machine)
    shown = [clock.now_us()]
    for theirs_us, wait, took in readings:
        machine.since_start += wait
        asked = machine.since_start
        machine.since_start += took
        clock.align(NOW_US + theirs_us, asked, machine.since_start)
        shown.append(clock.now_us())
        least = NOW_US + theirs_us
        assert shown[-1] >= least - 1, "what the database has shown is past"
    assert shown == sorted(shown)
