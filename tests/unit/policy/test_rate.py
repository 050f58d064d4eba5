"""A bucket holds its burst, fills at its speed, and is never overdrawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.policy.rate import FULL, Allowance, spend

TEN = Allowance(per_s=2.0, burst=10)


def drain(allowance: Allowance, now: float, full_at: float = FULL) -> tuple[int, float]:
    """Spend until it is refused; return how many were taken, and the bucket."""
    taken = 0
    while not (spent := spend(allowance, full_at, now)).wait_s:
        taken, full_at = taken + 1, spent.full_at
    return taken, full_at


def test_a_full_bucket_gives_its_burst_at_once() -> None:
    assert drain(TEN, now=100.0)[0] == 10


def test_it_tells_how_many_are_left() -> None:
    first = spend(TEN, FULL, 100.0)
    assert first.remaining == 9
    assert spend(TEN, first.full_at, 100.0).remaining == 8


def test_a_refusal_takes_nothing_and_tells_when_to_come_again() -> None:
    _, empty = drain(TEN, now=100.0)
    refused = spend(TEN, empty, 100.0)
    assert refused.full_at == empty
    assert refused.remaining == 0
    assert refused.wait_s == pytest.approx(0.5)
    assert spend(TEN, empty, 100.0 + refused.wait_s).wait_s == 0


def test_it_fills_at_its_speed_and_no_further_than_its_burst() -> None:
    _, empty = drain(TEN, now=100.0)
    assert drain(TEN, 102.0, empty)[0] == 4
    assert drain(TEN, 10_000.0, empty)[0] == 10


@given(
    st.lists(st.floats(0, 5), max_size=60),
    st.floats(0.1, 1000),
    st.integers(1, 50),
)
def test_never_more_than_the_burst_and_what_has_come_back(
    steps: list[float], per_s: float, burst: int
) -> None:
    allowance = Allowance(per_s, burst)
    now, full_at, taken = 50.0, FULL, 0
    for step in steps:
        now += step
        spent = spend(allowance, full_at, now)
        full_at = spent.full_at
        taken += not spent.wait_s
        assert 0 <= spent.remaining < burst
        assert taken <= burst + (now - 50.0) * per_s + 1e-3
