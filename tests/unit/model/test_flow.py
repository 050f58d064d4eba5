"""What is said of flow control."""

import msgspec
import pytest

from waypost.model.flow import STANDARD_BREAKER, Breaker, RateLimit


@pytest.mark.parametrize(
    "limit, size",
    [
        (RateLimit(1), 1),
        (RateLimit(10), 1),
        (RateLimit(11), 2),
        (RateLimit(1000), 100),
        (RateLimit(100, 60), 1),
        (RateLimit(5, 1, burst=40), 40),
    ],
)
def test_a_burst_that_is_not_given_is_a_tenth_of_a_second(limit: RateLimit, size: int) -> None:
    assert limit.size == size


@pytest.mark.parametrize(
    "text",
    [
        '{"count":0}',
        '{"count":1.5}',
        '{"count":1,"per_s":0}',
        '{"count":1,"burst":0}',
        '{"count":1,"per_s":86401}',
        '{"per_s":1}',
        '{"count":1,"period":3}',
    ],
)
def test_a_limit_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=RateLimit)


def test_the_breaker_is_on_unless_it_is_switched_off() -> None:
    assert STANDARD_BREAKER.enabled
    assert msgspec.json.decode(b"{}", type=Breaker) == STANDARD_BREAKER
    assert STANDARD_BREAKER.disable_after is None
