"""The gate: what holds up a lane, and until when."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waypost.model.flow import (
    STANDARD_BREAKER,
    Breaker,
    RateLimit,
    SendingHours,
    Wait,
    Waits,
)
from waypost.policy.gate import MAX_HOLD_US, Gate

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
START = 1_699_920_000 * SECOND  # midnight, UTC
NOON = START + 12 * HOUR
TOUCHY = Breaker(min_requests=2, failure_ratio=1, open_s=5, probes=2)
MORNINGS = SendingHours(("* 6-11 * * *",))


def gate(
    *,
    rate_limit: RateLimit | None = None,
    breaker: Breaker = STANDARD_BREAKER,
    sending_hours: SendingHours | None = None,
) -> Gate:
    one = Gate()
    one.set(rate_limit, breaker, sending_hours)
    return one


def test_a_gate_without_limits_is_clear() -> None:
    assert gate().clear
    assert gate().free_at(START) <= START
    assert gate().waits(START) is None


def test_settings_that_may_hold_something_up_are_asked() -> None:
    assert not gate(rate_limit=RateLimit(1)).clear
    assert not gate(sending_hours=MORNINGS).clear
    one = gate(rate_limit=RateLimit(1))
    one.set(None, STANDARD_BREAKER, None)
    assert one.clear


def is_clear(one: Gate) -> bool:
    """Ask anew: what is known of it by now may have changed."""
    return one.clear


def test_the_breaker_holds_until_its_time_is_over_and_lets_probes_pass() -> None:
    one = gate(breaker=TOUCHY)
    assert one.failed(START, START, None) is False
    assert is_clear(one)
    assert one.failed(START, START, None) is True
    assert not is_clear(one)
    assert one.waits(START) == Waits(Wait.BREAKER_OPEN, START + 5 * SECOND)
    opens_us = one.free_at(START)
    assert opens_us == START + 5 * SECOND
    assert one.free_at(opens_us) == opens_us
    one.started(opens_us)
    one.succeeded()
    assert not is_clear(one)
    one.succeeded()
    assert is_clear(one)


def test_a_breaker_that_is_switched_off_lets_everything_pass_at_once() -> None:
    one = gate(breaker=TOUCHY)
    one.failed(START, START, None)
    one.failed(START, START, None)
    one.set(None, Breaker(enabled=False), None)
    assert is_clear(one)
    assert one.free_at(START) <= START


def test_a_breaker_goes_on_after_a_restart() -> None:
    one = gate(breaker=TOUCHY)
    one.resume(NOON, 4)
    assert one.free_at(START) == NOON
    one.started(NOON)
    one.failed(NOON, NOON, None)
    assert one.circuit.openings == 5


def test_retry_after_holds_for_at_most_five_minutes() -> None:
    one = gate()
    one.failed(START, START, 30.0)
    assert one.waits(START) == Waits(Wait.RETRY_AFTER, START + 30 * SECOND)
    assert not one.is_healthy()
    assert one.free_at(START) == START + 30 * SECOND
    one.failed(START, START, 1e9)
    assert one.free_at(START) == START + MAX_HOLD_US
    one.free_at(START + MAX_HOLD_US)
    assert one.clear


def test_the_hours_hold_until_they_open() -> None:
    one = gate(sending_hours=MORNINGS)
    assert one.waits(START) == Waits(Wait.OUTSIDE_HOURS, START + 6 * HOUR)
    assert one.free_at(START + 6 * HOUR) == START + 6 * HOUR
    assert one.free_at(NOON - 1) <= NOON - 1
    assert one.waits(NOON) == Waits(Wait.OUTSIDE_HOURS, START + 30 * HOUR)


def test_a_limited_start_waits_for_its_token() -> None:
    one = gate(rate_limit=RateLimit(1, 10))
    assert one.waits(START) == Waits(Wait.RATE_LIMIT, START + 10 * SECOND)
    one.started(START + 10 * SECOND)
    assert one.free_at(START + 10 * SECOND) == START + 20 * SECOND
    one.unstarted()
    assert one.free_at(START + 10 * SECOND) <= START + 10 * SECOND


def test_what_is_set_again_as_it_was_keeps_its_tokens() -> None:
    one = gate(rate_limit=RateLimit(1, 10, burst=5))
    one.free_at(START)
    one.set(RateLimit(1, 10, burst=5), TOUCHY, None)
    assert one.free_at(NOON) <= NOON
    one.set(RateLimit(1, 10, burst=4), TOUCHY, None)
    assert one.free_at(NOON) == NOON + 10 * SECOND


def test_a_token_that_comes_when_the_hours_have_ended_waits_for_the_next() -> None:
    one = gate(rate_limit=RateLimit(1, 60), sending_hours=MORNINGS)
    late = NOON - 30 * SECOND
    assert one.free_at(late) == START + 30 * HOUR
    assert one.waits(late) == Waits(Wait.RATE_LIMIT, late + 60 * SECOND)


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_who_asks_again_when_told_may_start_then_and_not_before(
    chance: random.Random, which: int
) -> None:
    one = gate(
        rate_limit=RateLimit(3, 1) if which & 1 else None,
        breaker=TOUCHY,
        sending_hours=SendingHours(("*/2 * * * *",)) if which & 2 else None,
    )
    now_us, started = START, []
    for _ in range(200):
        free_us = one.free_at(now_us)
        if free_us > now_us:
            assert one.waits(now_us) is not None
            early_us = free_us - 1
            assert one.free_at(early_us) > early_us
            now_us = free_us
            assert one.free_at(now_us) <= now_us
        one.started(now_us)
        started.append(now_us)
        if chance.choice([True, False, False]):
            one.succeeded()
        else:
            one.failed(now_us, now_us, chance.choice([None, None, 1.0]))
    if which & 1:
        assert all(b - a >= SECOND // 3 for a, b in pairwise(started))
    if which & 2:
        assert all(at_us % (120 * SECOND) < 60 * SECOND for at_us in started)


@pytest.mark.parametrize("cause", ["rate", "hours", "breaker", "hold"])
def test_each_cause_alone_holds_everything_up(cause: str) -> None:
    one = gate(
        rate_limit=RateLimit(1, 60) if cause == "rate" else None,
        breaker=TOUCHY,
        sending_hours=MORNINGS if cause == "hours" else None,
    )
    if cause == "breaker":
        one.failed(START, START, None)
        one.failed(START, START, None)
    if cause == "hold":
        one.failed(START, START, 3.0)
    assert one.free_at(START) > START
