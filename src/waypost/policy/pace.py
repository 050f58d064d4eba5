"""Pace: how fast a lane may start tries, by what its receiver has answered and what was set.

Pure, as the lane: the moment is always an argument, in UTC microseconds.
"""

from typing import Final

from waypost.policy.gate import Gate

FAILURES_TO_THROTTLE: Final = 5
"""So many failures in a row bring a lane down to one try at a time."""


class Pace:
    """How many tries of a lane may be in flight, and whether any may start now.

    Attributes:
        concurrency: how many tries may be in flight when all is well.
        limit: how many may be now: fewer while the receiver fails.
        in_flight: how many are.
        paused: nothing starts; what comes is kept in the database.
        gate: what may hold it up: a rate limit, an open breaker, sending hours, `Retry-After`.
    """

    __slots__ = ("_failures", "concurrency", "gate", "in_flight", "limit", "paused")

    def __init__(self, concurrency: int) -> None:
        """Begin with a receiver that is well, and nothing in flight."""
        self.concurrency = concurrency
        self.limit = concurrency
        self.in_flight = 0
        self.paused = False
        self.gate = Gate()
        self._failures = 0

    def landed(self) -> None:
        """A try has ended; it is being settled. Its place may be taken."""
        self.in_flight -= 1

    def unsent(self) -> None:
        """A try has ended before anything was sent: it counts for no limit."""
        self.landed()
        self.gate.unstarted()

    def succeeded(self) -> None:
        """The receiver took one: a throttled lane ramps up, 1, 2, 4, and so on."""
        self._failures = 0
        if self.gate.clear:
            self.gate.circuit.successes += 1
        else:
            self.gate.succeeded()
        if self.limit < self.concurrency:
            self.limit = min(self.limit * 2, self.concurrency)

    def failed(
        self, now_us: int, *, started_us: int, slow_down: bool, retry_after_s: float | None
    ) -> None:
        """The receiver failed one; many in a row, or its own request, bring it to one at a time."""
        self._failures += 1
        opened = self.gate.failed(now_us, started_us, retry_after_s if slow_down else None)
        if opened or slow_down or self._failures >= FAILURES_TO_THROTTLE:
            self.limit = 1

    def resize(self, concurrency: int) -> None:
        """Change how many tries may be in flight; a lane that is throttled stays so."""
        throttled = self.limit < self.concurrency
        self.concurrency = concurrency
        self.limit = min(self.limit, concurrency) if throttled else concurrency

    def ramp(self) -> None:
        """Begin anew with one try at a time; each success doubles what may be in flight."""
        self.limit = 1

    def is_well(self) -> bool:
        """Tell whether nothing would be lost by forgetting how the receiver fares."""
        return self.limit == self.concurrency and not self._failures and self.gate.is_healthy()
