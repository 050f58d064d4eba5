"""The token bucket, against one that is kept in fractions."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.flow import RateLimit
from waypost.policy.bucket import Bucket

SECOND = 1_000_000
START = 1_700_000_000 * SECOND

limits = st.builds(
    RateLimit,
    count=st.integers(1, 100_000),
    per_s=st.integers(1, 86_400),
    burst=st.none() | st.integers(1, 1000),
)


class Exact:
    """The same in fractions of a token."""

    def __init__(self, limit: RateLimit, now_us: int) -> None:
        self.rate = Fraction(limit.count, limit.per_s * SECOND)
        self.size = limit.size
        self.tokens = Fraction(0)
        self.at_us = now_us

    def pass_time(self, now_us: int) -> None:
        self.tokens = min(self.tokens + (now_us - self.at_us) * self.rate, Fraction(self.size))
        self.at_us = now_us


@given(limits, st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 5)), max_size=60))
def test_a_token_is_there_exactly_when_it_has_come_together(
    limit: RateLimit, steps: list[tuple[int, int]]
) -> None:
    now_us = START
    bucket, exact = Bucket(limit), Exact(limit, now_us)
    assert bucket.free_at(now_us) > now_us
    for wait_us, wanted in steps:
        now_us += wait_us
        exact.pass_time(now_us)
        for _ in range(wanted):
            free_us = bucket.free_at(now_us)
            assert (free_us <= now_us) is (exact.tokens >= 1)
            if free_us > now_us:
                missing = (1 - exact.tokens) / exact.rate
                assert free_us == now_us + -(-missing.numerator // missing.denominator)
                break
            bucket.take(now_us)
            exact.tokens -= 1


@given(limits)
def test_whoever_takes_all_he_gets_gets_the_rate_and_never_more(limit: RateLimit) -> None:
    bucket, now_us = Bucket(limit), START
    bucket.free_at(START)
    taken = []
    for _ in range(50):
        now_us = max(bucket.free_at(now_us), now_us)
        bucket.take(now_us)
        taken.append(now_us - START)
    for count, at_us in enumerate(taken, 1):
        due_us = -(-count * limit.per_s * SECOND // limit.count)
        assert due_us <= at_us <= due_us + count  # a full bucket loses parts of a microsecond


@given(limits, st.lists(st.integers(0, 2 * SECOND), min_size=2, max_size=80))
def test_no_stretch_of_time_holds_more_than_burst_and_rate(
    limit: RateLimit, waits: list[int]
) -> None:
    bucket, now_us = Bucket(limit), START
    bucket.free_at(START)
    taken: list[int] = []
    for wait_us in waits:
        now_us += wait_us
        for _ in range(10):
            if bucket.free_at(now_us) > now_us:
                break
            bucket.take(now_us)
            taken.append(now_us)
    for first, begin_us in enumerate(taken):
        for last in range(first, len(taken)):
            stretch_us = taken[last] - begin_us
            gained = Fraction(stretch_us * limit.count, limit.per_s * SECOND)
            assert last - first + 1 <= limit.size + gained


def test_it_is_empty_at_first_and_full_after_a_while() -> None:
    bucket = Bucket(RateLimit(2, 1, burst=3))
    assert bucket.free_at(START) == START + SECOND // 2
    now_us = START + 3600 * SECOND
    for _ in range(3):
        assert bucket.free_at(now_us) <= now_us
        bucket.take(now_us)
    assert bucket.free_at(now_us) == now_us + SECOND // 2


def test_what_was_not_sent_costs_nothing() -> None:
    bucket = Bucket(RateLimit(1, 10))
    now_us = bucket.free_at(START)
    assert now_us == START + 10 * SECOND
    bucket.take(now_us)
    bucket.give_back()
    assert bucket.free_at(now_us) <= now_us
    bucket.take(now_us)
    assert bucket.free_at(now_us) == now_us + 10 * SECOND


@pytest.mark.parametrize("back_s", [1, 3600, 10**7])
def test_a_clock_that_is_set_back_does_not_stop_it(back_s: int) -> None:
    bucket = Bucket(RateLimit(1, 10, burst=2))
    bucket.free_at(START)
    now_us = START - back_s * SECOND
    assert bucket.free_at(now_us) <= now_us + 10 * SECOND
