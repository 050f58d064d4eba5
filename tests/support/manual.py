"""Time and chance that do only what a test says."""

import random


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_us: int = 1_800_000_000_000_000) -> None:
        """Start at `now_us`, UTC microseconds."""
        self.at_us = now_us

    def now_us(self) -> int:
        """Return the wall clock, UTC microseconds since 1970."""
        return self.at_us

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return self.at_us / 1_000_000

    def forward(self, seconds: float) -> None:
        """Let time pass."""
        self.at_us += round(seconds * 1_000_000)


class SeededEntropy:
    """Chance that is the same in every run."""

    def __init__(self, seed: int = 1) -> None:
        """Begin the series of `seed`."""
        self._random = random.Random(seed)

    def bits(self, count: int) -> int:
        """Return `count` bits as a number."""
        return self._random.getrandbits(count)

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()
