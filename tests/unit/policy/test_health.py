"""What attempts come to: a ratio and ranks."""

import pytest

from waypost.policy.health import Figures, Sampled, figures


def test_without_attempts_nothing_is_said() -> None:
    assert figures([]) == Figures(0)


@pytest.mark.parametrize(
    "count, ranks", [(1, (1, 1, 1)), (2, (1, 2, 2)), (100, (50, 95, 99)), (1000, (500, 950, 990))]
)
def test_ranks_are_those_of_the_nearest_attempt(count: int, ranks: tuple[int, int, int]) -> None:
    found = figures([Sampled(number % 4 != 0, number) for number in range(count, 0, -1)])
    assert (found.attempts, found.p50_us, found.p95_us, found.p99_us) == (count, *ranks)
    assert found.success_ratio == 1 - (count // 4) / count
