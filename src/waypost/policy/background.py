"""The background: how a process keeps replays from slowing down what is live.

A replay that goes as fast as it can takes all of a process: each live event would wait behind
dozens of its tries. So while anything live comes in, replays start one by one, with a gap, over all
lanes of the process; when nothing has come for a while, they go as fast as their receivers do.

Pure: the moment is always an argument, in UTC microseconds.
"""

from typing import Final

from waypost.model.delivery import DeliveryClass
from waypost.policy.work import Work

GAP_US: Final = 5_000
"""From one start to the next, beside what is live."""

QUIET_US: Final = 1_000_000
"""After so long with nothing live there is no gap."""


class Background:
    """What all lanes of a process share.

    Attributes:
        live_us: when something live came in last.
        gap_us: from one start to the next, beside what is live; less where a replay has a rate that
            could not be kept else.
    """

    __slots__ = ("_next_us", "gap_us", "live_us")

    def __init__(self) -> None:
        """Begin with nothing live."""
        self.live_us = -QUIET_US
        self.gap_us = GAP_US
        self._next_us = 0

    def free_at(self, now_us: int) -> int:
        """Return when the next replay may start; not later than now where one may."""
        return now_us if self.is_quiet(now_us) else self._next_us

    def last_at(self, now_us: int) -> int:
        """Return when the next replay starts though no live delivery has ended before.

        So it starts in the lull behind one, if there is one in time. One that is in a hurry does
        not wait for it.
        """
        free_us = self.free_at(now_us)
        if free_us <= now_us or self.gap_us < GAP_US:
            return free_us
        return free_us + self.gap_us

    def is_quiet(self, now_us: int) -> bool:
        """Tell whether nothing live has come in for a while."""
        return now_us - self.live_us >= QUIET_US

    def yields(self, work: Work, now_us: int) -> bool:
        """Tell whether what becomes of a try may wait a little for what is live."""
        return work.kind == DeliveryClass.REPLAY and not self.is_quiet(now_us)

    def started(self, now_us: int) -> None:
        """A replay starts, which `free_at` has allowed."""
        self._next_us = now_us + self.gap_us
