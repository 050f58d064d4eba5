"""Slots: the places of this process for tries in flight, and who waits for one."""

import asyncio
from collections import OrderedDict, deque
from typing import Final

import msgspec
import structlog

from waypost.engine.lull import Lull
from waypost.engine.receiver import Receiver
from waypost.model.delivery import DeliveryClass
from waypost.model.flow import Priority
from waypost.model.ids import Id
from waypost.policy.work import Work

_log = structlog.get_logger(__name__)

_SETTLE_S: Final = 5.0
"""How long a drain waits for the settling of what was broken off or could not be written."""


class DispatcherConfig(msgspec.Struct, frozen=True):
    """Limits of the dispatcher.

    Attributes:
        max_in_flight: tries in flight or being settled, slow ones aside.
        max_slow: tries in flight that have taken more than a second.
        window: deliveries that one lane holds at most.
        lanes: lanes in memory above which those that are idle are forgotten.
        payload_bytes: memory for the payloads of waiting work, bytes; about.
        disable_after_us: nothing but failures for so long disables a subscription.
    """

    max_in_flight: int = 1_000
    max_slow: int = 2_000
    window: int = 1_000
    lanes: int = 10_000
    payload_bytes: int = 32 * 1024 * 1024
    disable_after_us: int = 5 * 24 * 3600 * 1_000_000


_REPLAY: Final = int(DeliveryClass.REPLAY)
_HIGH, _NORMAL, _LOW = 0, 1, 2
_PLACES: Final = {Priority.HIGH: _HIGH, Priority.NORMAL: _NORMAL, Priority.LOW: _LOW}
_TURNS: Final = (
    *((_HIGH, _NORMAL, _LOW), (_NORMAL, _HIGH, _LOW), (_HIGH, _NORMAL, _LOW)),
    *((_HIGH, _NORMAL, _LOW), (_NORMAL, _HIGH, _LOW), (_HIGH, _NORMAL, _LOW)),
    (_LOW, _HIGH, _NORMAL),
)
"""Who goes first, turn by turn: of seven slots that a project gets, four are for those of high
priority, two for normal and one for low; where nobody of one waits, it goes to the next."""


class _Line:
    """Receivers of one project that wait: by priority, in turn among equals."""

    __slots__ = ("_lines", "_turn")

    def __init__(self) -> None:
        self._lines: tuple[deque[Receiver], ...] = (deque(), deque(), deque())
        self._turn = 0

    def __bool__(self) -> bool:
        return any(self._lines)

    def append(self, receiver: Receiver) -> None:
        self._lines[_PLACES[receiver.address.terms.priority]].append(receiver)

    def popleft(self) -> Receiver:
        self._turn = (self._turn + 1) % len(_TURNS)
        first = next(place for place in _TURNS[self._turn] if self._lines[place])
        return self._lines[first].popleft()


class Waiting:
    """Receivers that wait for a free slot: served in turn, projects first, then by priority."""

    def __init__(self) -> None:
        """Start empty."""
        self._projects: OrderedDict[Id, _Line] = OrderedDict()

    def __bool__(self) -> bool:
        """Tell whether anybody waits."""
        return bool(self._projects)

    def add(self, receiver: Receiver) -> None:
        """Put a receiver at the end of its project's line; it may wait already."""
        if not receiver.queued:
            receiver.queued = True
            self._projects.setdefault(receiver.subscription.project_id, _Line()).append(receiver)

    def next(self) -> Receiver:
        """Take the receiver whose turn it is."""
        project_id, line = self._projects.popitem(last=False)
        receiver = line.popleft()
        receiver.queued = False
        if line:
            self._projects[project_id] = line
        return receiver


class Slots:
    """A number of slots of one kind. Somebody waits only while none is free.

    Attributes:
        limit: how many there are.
        held: the work in each slot that is taken, by delivery, in the order of the start.
        waiting: who waits for one.
    """

    __slots__ = ("held", "limit", "waiting")

    def __init__(self, limit: int) -> None:
        """Make them, all free."""
        self.limit = limit
        self.held: dict[Id, Work] = {}
        self.waiting = Waiting()

    @property
    def free(self) -> int:
        """How many are free."""
        return self.limit - len(self.held)


class Flight:
    """Every try that is in flight or being settled: in fast slots, or in slow ones.

    Attributes:
        fast: the slots in which every try starts, but those to receivers that are suspect.
        slow: the slots of tries that take long.
        lull: begins when a live one has been settled.
    """

    def __init__(self, fast: int, slow: int) -> None:
        """Make so many slots of each kind, all free."""
        self.fast: Final = Slots(fast)
        self.slow: Final = Slots(slow)
        self.lull: Final = Lull()
        self._landed: asyncio.Event | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.fast.held) + len(self.slow.held)

    def ids(self) -> frozenset[Id]:
        """Return the deliveries that are tried."""
        return frozenset([*self.fast.held, *self.slow.held])

    def start(self, work: Work, now_us: int, *, slow: bool) -> None:
        """Take a slot for a try that starts now."""
        work.started_us = now_us
        work.slow = slow
        (self.slow if slow else self.fast).held[work.id] = work

    def end(self, work: Work) -> Slots:
        """Give the slot of a try back; return of which kind it was."""
        kind = self.slow if work.slow else self.fast
        del kind.held[work.id]
        if self.lull.came is not None and work.kind != _REPLAY:
            self.lull.begin()
        if self._landed is not None and not len(self):
            self._landed.set()
        return kind

    def move_long(self, before_us: int) -> None:
        """Move tries that started before a moment, UTC microseconds, to slow slots."""
        moved: list[Work] = []
        for work in self.fast.held.values():  # by the time of their start
            if work.started_us > before_us or len(moved) >= self.slow.free:
                break
            if work.call is not None:  # else it is loaded or settled: not the receiver's time
                moved.append(work)
        for work in moved:
            del self.fast.held[work.id]
            work.slow = True
            self.slow.held[work.id] = work

    def abort(self) -> int:
        """Break off every try that is on its way; return how many are in flight or being settled.

        What becomes of each is told to whoever sent it, later.
        """
        works = [*self.fast.held.values(), *self.slow.held.values()]
        for work in works:
            if work.call is not None:
                work.call.abort()
        return len(works)

    async def land(self, timeout_s: float) -> bool:
        """Wait until none is left; False where that takes longer than `timeout_s`."""
        self._landed = asyncio.Event()
        if not len(self):
            return True
        try:
            await asyncio.wait_for(self._landed.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def drain(self, timeout_s: float) -> None:
        """Wait until none is left, and break off what takes longer than `timeout_s`."""
        if await self.land(timeout_s):
            return
        _log.warning("drain_timed_out", broken_off=self.abort())
        if not await self.land(_SETTLE_S):
            # The disk is full, say. They stay owed, and are tried again after the next start.
            _log.error("drain_unsettled", deliveries=len(self))
