"""The gate of a lane: from when on something may start, whatever stands in the way.

It combines what a receiver asked for (`Retry-After`), what its failures ask for (the breaker), and
what was set: sending hours and a rate limit. What it holds up is not an attempt: the work stays
where it is, and the lane needs one timer, not one for each delivery.

A gate is `clear` as long as nothing in it can hold anything up. Then nobody needs to ask it.
"""

from typing import Final

from waypost.model.flow import (
    STANDARD_BREAKER,
    Breaker,
    BreakerState,
    RateLimit,
    SendingHours,
    Wait,
    Waits,
)
from waypost.policy import hours
from waypost.policy.breaker import Circuit
from waypost.policy.bucket import Bucket
from waypost.policy.hours import Hours

MAX_HOLD_US: Final = 300_000_000
"""A receiver's `Retry-After` holds its whole lane for at most five minutes."""

NEVER_US: Final = 366 * 24 * 3600 * 1_000_000
"""So far ahead it is looked again where hours never open."""


class Gate:
    """What may hold up a lane.

    Attributes:
        clear: nothing holds it up now, nor can by time alone.
        circuit: the breaker.
    """

    __slots__ = (
        "_bucket",
        "_from_us",
        "_held_until_us",
        "_hours",
        "_is_open",
        "_until_us",
        "circuit",
        "clear",
    )

    def __init__(self, breaker: Breaker = STANDARD_BREAKER) -> None:
        """Make one that lets everything pass."""
        self.circuit = Circuit(breaker)
        self.clear = True
        self._held_until_us = 0
        self._bucket: Bucket | None = None
        self._hours: Hours | None = None
        # What was found last of the hours: open, or not, from a moment until another.
        self._is_open = False
        self._from_us = self._until_us = 0

    def set(
        self,
        rate_limit: RateLimit | None,
        breaker: Breaker,
        sending_hours: SendingHours | None,
    ) -> None:
        """Take settings; what they leave as it was stays so. A new bucket is empty at first."""
        if rate_limit is None:
            self._bucket = None
        elif self._bucket is None or self._bucket.limit != rate_limit:
            self._bucket = Bucket(rate_limit)
        self._hours = None if sending_hours is None else hours.compiled(sending_hours)
        self._from_us = self._until_us = 0
        self.circuit.settings = breaker
        if not breaker.enabled:
            self.circuit.close()
        self._judge()

    def resume(self, opened_until_us: int, openings: int) -> None:
        """Have the breaker go on where it was known to be."""
        self.circuit.resume(opened_until_us, openings)
        self._judge()

    def hold(self, until_us: int) -> None:
        """Let nothing pass before a moment for which the receiver has asked, UTC microseconds."""
        self._held_until_us = max(self._held_until_us, until_us)
        self._judge()

    def _judge(self) -> None:
        self.clear = self.is_healthy() and self._bucket is None and self._hours is None

    def is_healthy(self) -> bool:
        """Tell whether the receiver has given no cause to hold anything up."""
        return not self._held_until_us and self.circuit.state is BreakerState.CLOSED

    # What starts.

    def free_at(self, now_us: int) -> int:
        """Return from when on something may start, UTC microseconds; what is past is free now."""
        free_us = max(self._held_until_us, self.circuit.until_us)
        if self._held_until_us and self._held_until_us <= now_us:
            self._held_until_us = 0
            self._judge()
        if self._bucket is not None:
            free_us = max(free_us, self._bucket.free_at(now_us))
        return free_us if self._hours is None else self._opening(max(free_us, now_us))

    def _opening(self, at_us: int) -> int:
        """Return the first moment from `at_us` on that is within the sending hours."""
        if self._hours is None:
            return at_us
        if not self._from_us <= at_us < self._until_us:
            opening = self._hours.open_from(at_us)
            self._is_open = opening == at_us
            if self._is_open:
                opening = self._hours.open_until(at_us)
            self._from_us = at_us
            self._until_us = at_us + NEVER_US if opening is None else opening
        return at_us if self._is_open else self._until_us

    def started(self, now_us: int) -> None:
        """Something starts, which `free_at` has allowed."""
        self.circuit.started()
        if self._bucket is not None:
            self._bucket.take(now_us)

    def unstarted(self) -> None:
        """What has started was not sent after all."""
        if self._bucket is not None:
            self._bucket.give_back()

    # What becomes of it.

    def succeeded(self) -> None:
        """The receiver took one. As long as the gate is clear, counting it is enough."""
        if self.circuit.succeeded():
            self._judge()

    def failed(self, now_us: int, started_us: int, retry_after_s: float | None) -> bool:
        """The receiver failed one; tell whether the breaker has opened.

        Args:
            now_us: the present, UTC microseconds.
            started_us: when that try had started.
            retry_after_s: seconds for which the receiver asked to be left alone.
        """
        if retry_after_s:
            hold_us = min(int(retry_after_s * 1_000_000), MAX_HOLD_US)
            self.hold(now_us + hold_us)
        opened = self.circuit.failed(now_us, started_us)
        self._judge()
        return opened

    def waits(self, now_us: int) -> Waits | None:
        """Return what holds something up that could start now, and until when; None: nothing."""
        if self.circuit.until_us > now_us:
            return Waits(Wait.BREAKER_OPEN, self.circuit.until_us)
        if self._held_until_us > now_us:
            return Waits(Wait.RETRY_AFTER, self._held_until_us)
        opening = self._opening(now_us)
        if opening > now_us:
            return Waits(Wait.OUTSIDE_HOURS, opening)
        if self._bucket is not None:
            free_us = self._bucket.free_at(now_us)
            if free_us > now_us:
                return Waits(Wait.RATE_LIMIT, free_us)
        return None
