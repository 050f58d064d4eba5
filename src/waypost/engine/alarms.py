"""Alarms: one timer of the loop for any number of receivers that wait for a moment."""

import asyncio
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

from waypost.clock import Clock
from waypost.engine.receiver import Receiver

_LONGEST_S = 3600.0

_SLACK: Final = 1_000
"""So many alarms that were replaced by earlier ones may stay where they are."""


class Alarms:
    """Calls back for each receiver when its moment has come, by the wall clock."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, clock: Clock, ring: Callable[[Receiver], None]
    ) -> None:
        """Take the loop, the clock and what to call."""
        self._loop = loop
        self._clock = clock
        self._ring = ring
        self._heap: list[tuple[int, int, Receiver]] = []
        self._count = count()
        self._handle: asyncio.TimerHandle | None = None
        self._set_for_us = 0
        self._armed = 0

    def set(self, receiver: Receiver, at_us: int) -> None:
        """Ring for a receiver at a moment, unless an earlier alarm is set for it."""
        if receiver.armed_us is not None and receiver.armed_us <= at_us:
            return
        self._armed += receiver.armed_us is None
        receiver.armed_us = at_us
        heappush(self._heap, (at_us, next(self._count), receiver))
        if len(self._heap) > 2 * self._armed + _SLACK:
            self._tidy()
        if self._handle is None or at_us < self._set_for_us:
            self._schedule()

    def stop(self) -> None:
        """Ring no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self._heap.clear()

    def _tidy(self) -> None:
        """Forget what was replaced: it may lie far ahead, and be replaced again and again."""
        kept = {entry[2]: entry for entry in self._heap if entry[2].armed_us == entry[0]}
        self._heap = list(kept.values())
        heapify(self._heap)

    def _schedule(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._heap:
            self._set_for_us = self._heap[0][0]
            delay_s = (self._set_for_us - self._clock.now_us()) / 1_000_000
            delay_s = min(max(delay_s, 0.0), _LONGEST_S)
            self._handle = self._loop.call_later(delay_s, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now_us = self._clock.now_us()
        due: list[Receiver] = []
        while self._heap and self._heap[0][0] <= now_us:
            at_us, _, receiver = heappop(self._heap)
            if receiver.armed_us == at_us:
                receiver.armed_us = None
                self._armed -= 1
                due.append(receiver)
        self._schedule()
        for receiver in due:
            self._ring(receiver)
