"""The circuit breaker: a receiver that does little but fail is left alone for a while.

::

    closed ── too many failures in a window ──▶ open
    open ── open_s have passed, one starts ───▶ half open
    half open ── enough successes in a row ───▶ closed
    half open ── a failure ───────────────────▶ open

A window begins with the first failure behind the last one's end. So successes cost one addition
and no look at the time, and what was long before counts for nothing.

What started before the breaker opened says nothing of how the receiver is since: its failure is not
counted, else the tries that hung when it opened would open it again.
"""

from typing import Final

from waypost.model.flow import Breaker, BreakerState

_SECOND_US: Final = 1_000_000


class Circuit:
    """A breaker's present state.

    Attributes:
        settings: when it opens and closes.
        state: closed, open or half open.
        until_us: until when it is open, or was last, UTC microseconds; 0 where it is closed.
        openings: how often in a row it has opened.
        successes: those since it was closed, or half opened, or since the window began; whoever
            has one counts it here.
    """

    __slots__ = ("_failures", "_since_us", "openings", "settings", "state", "successes", "until_us")

    def __init__(self, settings: Breaker) -> None:
        """Begin closed."""
        self.settings = settings
        self.successes = 0
        self.close()

    def close(self) -> None:
        """Let everything pass, and forget what has failed."""
        self.state = BreakerState.CLOSED
        self.until_us = 0
        self.openings = 0
        self._failures = 0
        self._since_us = 0
        self.successes = 0

    def resume(self, until_us: int, openings: int) -> None:
        """Be open until a moment, as it was known to be; one that is past lets the probes begin."""
        if self.settings.enabled:
            self.state = BreakerState.OPEN
            self.until_us = until_us
            self.openings = openings

    def started(self) -> None:
        """Something starts: where it is open, as the first probe."""
        if self.state is BreakerState.OPEN:
            self.state = BreakerState.HALF_OPEN
            self.successes = 0

    def succeeded(self) -> bool:
        """Count a success; tell whether it has closed."""
        self.successes += 1
        if self.state is BreakerState.HALF_OPEN and self.successes >= self.settings.probes:
            self.close()
            return True
        return False

    def failed(self, now_us: int, started_us: int) -> bool:
        """Count the failure of a try that started at `started_us`; tell whether it has opened."""
        settings = self.settings
        if not settings.enabled or self.state is BreakerState.OPEN or started_us < self.until_us:
            return False
        if self.state is BreakerState.CLOSED:
            if not 0 <= now_us - self._since_us < settings.window_s * _SECOND_US:
                self._since_us = now_us
                self._failures = self.successes = 0
            self._failures += 1
            tries = self._failures + self.successes
            if tries < settings.min_requests or self._failures < settings.failure_ratio * tries:
                return False
        self.state = BreakerState.OPEN
        self.until_us = now_us + settings.open_s * _SECOND_US
        self.openings += 1
        self._since_us = 0
        return True

    def is_spent(self) -> bool:
        """Tell whether it has opened so often in a row that the receiver is given up."""
        limit = self.settings.disable_after
        return limit is not None and self.openings >= limit
