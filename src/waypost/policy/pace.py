"""Pace: how fast a lane may start tries, by what its receiver has answered.

Pure, as the lane: the moment is always an argument, in UTC microseconds.
"""

from typing import Final

FAILURES_TO_THROTTLE: Final = 5
"""So many failures in a row bring a lane down to one try at a time."""

MAX_HOLD_US: Final = 300_000_000
"""A receiver's `Retry-After` holds its whole lane for at most five minutes."""


class Pace:
    """How many tries of a lane may be in flight, and whether any may start now.

    Attributes:
        concurrency: how many tries may be in flight when all is well.
        limit: how many may be now: fewer while the receiver fails.
        in_flight: how many are.
    """

    __slots__ = ("_failures", "_held_until_us", "concurrency", "in_flight", "limit")

    def __init__(self, concurrency: int) -> None:
        """Begin with a receiver that is well, and nothing in flight."""
        self.concurrency = concurrency
        self.limit = concurrency
        self.in_flight = 0
        self._failures = 0
        self._held_until_us = 0

    def landed(self) -> None:
        """A try has ended; it is being settled. Its place may be taken."""
        self.in_flight -= 1

    def succeeded(self) -> None:
        """The receiver took one: a throttled lane ramps up, 1, 2, 4, and so on."""
        self._failures = 0
        if self.limit < self.concurrency:
            self.limit = min(self.limit * 2, self.concurrency)

    def failed(self, now_us: int, *, slow_down: bool, retry_after_s: float | None) -> None:
        """The receiver failed one; many in a row, or its own request, bring it to one at a time."""
        self._failures += 1
        if slow_down or self._failures >= FAILURES_TO_THROTTLE:
            self.limit = 1
        if slow_down and retry_after_s:
            hold_us = min(int(retry_after_s * 1_000_000), MAX_HOLD_US)
            self._held_until_us = max(self._held_until_us, now_us + hold_us)

    def resize(self, concurrency: int) -> None:
        """Change how many tries may be in flight; a lane that is throttled stays so."""
        throttled = self.limit < self.concurrency
        self.concurrency = concurrency
        self.limit = min(self.limit, concurrency) if throttled else concurrency

    def is_held(self, now_us: int) -> bool:
        """Tell whether the receiver asked to be left alone until later than `now_us`."""
        if now_us < self._held_until_us:
            return True
        self._held_until_us = 0
        return False

    def is_well(self) -> bool:
        """Tell whether nothing would be lost by forgetting how the receiver fares."""
        return self.limit == self.concurrency and not self._failures and not self._held_until_us
