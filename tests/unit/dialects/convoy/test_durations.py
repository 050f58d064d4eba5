"""Durations, as Convoy's clients spell them."""

import pytest

from waypost.dialects.convoy.durations import seconds
from waypost.model.errors import InvalidInput


@pytest.mark.parametrize(
    "given, expected", [("10s", 10), ("1h30m", 5_400), ("2m5s", 125), ("7", 7), (9, 9), ("0s", 0)]
)
def test_a_duration_is_read(given: str | int, expected: int) -> None:
    assert seconds(given, "d") == expected


@pytest.mark.parametrize("given", ["", "x", "1d", "-1s", "10 s", "25h", 90_000, -1, "\uff11s"])
def test_what_is_none_is_refused(given: str | int) -> None:
    with pytest.raises(InvalidInput, match="d: must be a duration"):
        seconds(given, "d")
