"""The pace of a lane."""

import pytest

from waypost.model.flow import STANDARD_BREAKER, RateLimit
from waypost.policy.gate import MAX_HOLD_US
from waypost.policy.pace import FAILURES_TO_THROTTLE, Pace

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


@pytest.mark.parametrize("asked", [True, False])
def test_a_failing_receiver_is_throttled_and_a_recovering_one_ramps_up(asked: bool) -> None:
    one = Pace(8)
    for n in range(1 if asked else FAILURES_TO_THROTTLE):
        assert one.limit == 8, n
        one.failed(START, started_us=START, slow_down=asked, retry_after_s=None)
    limits = [one.limit]
    for _ in range(4):
        one.succeeded()
        limits.append(one.limit)
    assert limits == [1, 2, 4, 8, 8]


def test_a_new_concurrency_holds_at_once_unless_the_lane_is_throttled() -> None:
    one = Pace(4)
    one.resize(8)
    assert one.limit == 8
    one.failed(START, started_us=START, slow_down=True, retry_after_s=None)
    one.resize(16)
    assert (one.limit, one.concurrency) == (1, 16)


def test_a_receiver_that_asks_for_it_is_left_alone_for_a_while() -> None:
    one = Pace(4)
    assert one.is_well()
    one.failed(START, started_us=START, slow_down=True, retry_after_s=1e9)
    one.succeeded()
    assert one.gate.free_at(START) == START + MAX_HOLD_US
    assert not one.is_well()
    one.succeeded()
    one.succeeded()
    assert one.gate.free_at(START + MAX_HOLD_US) <= START + MAX_HOLD_US
    assert one.is_well()


def test_what_was_never_sent_counts_for_no_limit() -> None:
    one = Pace(4)
    one.gate.set(RateLimit(count=1, per_s=10, burst=1), STANDARD_BREAKER, None)
    now_us = START
    while one.gate.free_at(now_us) > now_us:  # the bucket is empty at first
        now_us = one.gate.free_at(now_us)
    one.in_flight = 1
    one.gate.started(now_us)
    assert one.gate.free_at(now_us) > now_us
    one.unsent()
    assert (one.in_flight, one.gate.free_at(now_us) <= now_us) == (0, True)
