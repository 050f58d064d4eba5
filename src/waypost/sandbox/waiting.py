"""Who goes next: calls that wait for a worker, fair between those that they are made for.

Each line (a subscription, say) has taken so much of the workers' time, and the one that has taken
least goes first; of two, the one with fewer calls at work. So a line whose calls take a hundred
times as long as another's gets a hundredth as many of them. One that comes anew starts level with
those that are served now: nobody saves up.

Calls that take long hold their workers however fair the turns are. A line is therefore slow until
a call of it was quick, and again as soon as one is not; who asks says whether a slow one may go.
"""

from collections import deque
from heapq import heappop, heappush
from typing import Final, Generic, Protocol, TypeVar

QUICK_S: Final = 0.02
"""A call that takes no longer does not hold others up."""

LINES_KEPT: Final = 10_000


class Waiter(Protocol):
    """What waits."""

    @property
    def line(self) -> bytes:
        """For whom it waits."""
        ...

    @property
    def dropped(self) -> bool:
        """It does not wait any more."""
        ...


W = TypeVar("W", bound=Waiter)


class _Line(Generic[W]):
    """The calls of one.

    Attributes:
        spent_s: time of workers that it has taken, seconds, but for what it did not compete for.
        at_work: how many of its calls are at work.
        entry: the number of its entry in a heap that counts; 0 for none.
    """

    __slots__ = ("at_work", "entry", "slow", "spent_s", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[W] = deque()
        self.spent_s = 0.0
        self.at_work = 0
        self.slow = True
        self.entry = 0

    @property
    def rank(self) -> tuple[int, float]:
        return self.at_work, self.spent_s


class Waiting(Generic[W]):
    """The calls that wait, by line; no I/O, no clock."""

    def __init__(self, limit: int) -> None:
        """Take how many may wait in all."""
        self._limit = limit
        self._lines: dict[bytes, _Line[W]] = {}
        # Heaps of (rank, entry, line), by whether the line is slow.
        self._heaps: dict[bool, list[tuple[tuple[int, float], int, _Line[W]]]]
        self._heaps = {False: [], True: []}
        self._number = 0
        self._level_s = 0.0
        self._count = 0

    def __len__(self) -> int:
        """Return how many wait, those that were dropped among them."""
        return self._count

    def push(self, one: W) -> bool:
        """Let one wait; False where there are too many."""
        if self._count >= self._limit:
            return False
        line = self._lines.pop(one.line, None) or _Line()
        self._lines[one.line] = line  # the last to be forgotten
        if not line.waiting and not line.at_work:
            line.spent_s = max(line.spent_s, self._level_s)
        line.waiting.append(one)
        self._count += 1
        if not line.entry:
            self._queue(line)
        self._forget()
        return True

    def pop(self, *, slow: bool) -> W | None:
        """Return who goes next, or None: it is at work then, until `landed`.

        Args:
            slow: one of a slow line may go.
        """
        heads = [self._head(kind) for kind in ((False, True) if slow else (False,))]
        found = min((line for line in heads if line), key=lambda line: line.rank, default=None)
        if found is None:
            return None
        heappop(self._heaps[found.slow])
        one = found.waiting.popleft()
        self._count -= 1
        self._level_s = max(self._level_s, found.spent_s)
        found.at_work += 1
        self._queue(found)
        return one

    def landed(self, name: bytes, took_s: float) -> None:
        """Take that a call is done, and how long it held its worker, seconds."""
        line = self._lines[name]
        line.at_work -= 1
        line.spent_s += took_s
        line.slow = took_s > QUICK_S
        if line.entry:
            self._queue(line)

    def is_slow(self, name: bytes) -> bool:
        """Return whether a line's calls are known to take long, or not known not to."""
        return self._lines[name].slow

    def clear(self) -> list[W]:
        """Take out all that wait."""
        waiting = [one for line in self._lines.values() for one in line.waiting if not one.dropped]
        for line in self._lines.values():
            line.waiting.clear()
            line.entry = 0
        self._heaps = {False: [], True: []}
        self._count = 0
        return waiting

    def _queue(self, line: _Line[W]) -> None:
        """Enter a line, as it is now, into its heap; an entry that it had counts no more."""
        line.entry = 0
        if line.waiting:
            self._number += 1
            line.entry = self._number
            heappush(self._heaps[line.slow], (line.rank, self._number, line))

    def _head(self, slow: bool) -> _Line[W] | None:  # noqa: FBT001 - the name of a heap
        """Return the first line of a kind with someone waiting, as its rank is now."""
        heap = self._heaps[slow]
        while heap:
            rank, entry, line = heap[0]
            if entry == line.entry:
                while line.waiting and line.waiting[0].dropped:
                    line.waiting.popleft()
                    self._count -= 1
                if line.waiting and rank == line.rank:
                    return line
            heappop(heap)
            if entry == line.entry:
                self._queue(line)
        return None

    def _forget(self) -> None:
        """Forget those that were idle longest, where there are too many."""
        while len(self._lines) > LINES_KEPT:
            name, line = next(iter(self._lines.items()))
            del self._lines[name]
            if line.waiting or line.at_work:
                self._lines[name] = line
                return
