import time
from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from waypost.clock import IdSource, SystemClock, SystemEntropy
from waypost.model import ids

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


def test_the_machine_s_clock_shows_the_present() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1000
    assert before <= clock.now_us() <= time.time_ns() // 1000
    start = clock.monotonic()
    assert clock.monotonic() >= start


def test_the_machine_s_chance_keeps_its_bounds() -> None:
    entropy = SystemEntropy()
    drawn = [entropy.bits(64) for _ in range(64)]
    assert len(set(drawn)) == 64
    assert max(drawn) < 1 << 64
    assert max(drawn) >= 1 << 56
    fractions = [entropy.fraction() for _ in range(256)]
    assert all(0 <= each < 1 for each in fractions)
    assert max(fractions) - min(fractions) > 0.5
