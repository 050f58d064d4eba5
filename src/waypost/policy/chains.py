"""Chains: the order of a lane. Of each ordering key one delivery at a time, by its sequence.

The database holds the chain of a key: all that is owed of it, by sequence. It only ever grows at
its end, since numbers are given in the order of commits. So whoever reads its beginning while
nothing of the key is in the lane may send what was read one after the other, and look again behind
the last one. Nothing else decides: not the order of news, nor what other reads have found.

A key of which something is in the lane is busy: its chain is not read. What a refill finds of busy
keys only stands in the way of others; it is parked, by whoever reads.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from waypost.model.subscription import Ordering
from waypost.policy.work import Work

WHOLE: Final = ""
"""The key of the one chain of a strict subscription."""

FIRST: Final = ""
"""No ordering key is before this one: all of them are to be looked for."""

KEYS_AT_ONCE: Final = 256
"""So many chains are read at once."""

HELD_US: Final = 100_000
"""After so long it is looked again at a chain whose beginning is in flight from before."""

RESCAN_US: Final = 60_000_000
"""All keys are looked for so often: a delivery may have been ended behind the lane's back."""


class Asked(msgspec.Struct, frozen=True):
    """What a refill is to read for the order of a lane.

    Attributes:
        strict: there is one chain, of all that is owed.
        busy: keys whose chains are not read.
        wanted: keys whose chains are read whatever else is found.
        behind: keys behind this one are looked for as well; None: none are.
        most: so many chains at most.
    """

    strict: bool
    busy: frozenset[str]
    wanted: tuple[str, ...]
    behind: str | None
    most: int


class Chains:
    """What a lane knows of the chains of its keys.

    Attributes:
        mode: by key, or strict.
    """

    __slots__ = (
        "_behind",
        "_blocks",
        "_held",
        "_lines",
        "_looked_us",
        "_strays",
        "_wanted",
        "mode",
    )

    def __init__(
        self, mode: Ordering, strays: Iterable[bytes] = (), *, empty: bool = False
    ) -> None:
        """Begin with no chain.

        Args:
            mode: by key, or strict.
            strays: deliveries in flight, that were started without regard to an order.
            empty: nothing is owed, so no key needs to be looked for.
        """
        self.mode = mode
        self._strays = set(strays)
        self._lines: dict[str, deque[Work]] = {}
        self._wanted: dict[str, None] = {}
        self._held: dict[str, None] = {}
        self._blocks: dict[str, bytes] = {}
        self._behind: str | None = None if empty else FIRST
        self._looked_us = 0

    def ask(self, room: int) -> Asked:
        """Return what a refill is to read; what is wanted counts as read from then on."""
        most = max(min(room, KEYS_AT_ONCE), 1)
        self._wanted.update(self._held)
        self._held.clear()
        wanted = tuple(self._wanted)[:most]
        for key in wanted:
            del self._wanted[key]
        if self.mode is not Ordering.STRICT:
            return Asked(False, frozenset(self._lines), wanted, self._behind, most)
        if self._behind is not None:
            wanted = (WHOLE,)
        return Asked(True, frozenset(self._lines), wanted, None, most)

    def restart(self) -> None:
        """Look for all keys anew: what a refill was to bring has not come."""
        self._wanted.clear()
        self._held.clear()
        self._behind = FIRST

    def scanned(self, behind: str | None, now_us: int) -> None:
        """Keys were looked for up to `behind`; None: up to the last one."""
        if behind is None and now_us - self._looked_us >= RESCAN_US:
            # The one that has just ended is the first of all, or it is time for another.
            behind = None if self._behind is not None else FIRST
            self._looked_us = now_us
        self._behind = behind

    def is_read(self) -> bool:
        """Tell whether no chain is known that should be read as soon as there is room."""
        return not self._wanted and self._behind is None

    def hold(self, key: str) -> None:
        """The chain of a key is to be read at the next refill, which it calls for by itself."""
        self._held[key] = None

    def want(self, key: str) -> None:
        """The chain of a key is to be read."""
        self._wanted[key] = None

    def enter(self, head: Work, followers: Iterable[Work]) -> None:
        """The beginning of a chain is in the lane: the first may be tried, the others behind it."""
        assert head.key is not None  # noqa: S101 - it has a place
        self._lines[head.key] = deque(followers)

    def know_blocks(self, blocks: Mapping[str, bytes]) -> None:
        """Learn by which events keys are blocked whose chains were read up to there."""
        self._blocks.update((key, event) for key, event in blocks.items() if key in self._lines)

    def releases(self, work: Work) -> bool:
        """Tell whether a key is blocked by an event that is delivered by this after all."""
        return work.key is not None and self._blocks.get(work.key) == work.event_id

    def leave(self, work: Work) -> Work | None:
        """A delivery has ended.

        Returns:
            What may be tried now; None: the key is free, and its chain is wanted, or it had none.
        """
        self._strays.discard(work.id)
        line = None if work.key is None else self._lines.get(work.key)
        if line is None or work.key is None:
            return None
        if line:
            return line.popleft()
        del self._lines[work.key]
        self._blocks.pop(work.key, None)
        self.want(work.key)
        return None

    def cut(self, work: Work) -> Sequence[Work]:
        """Drop what is behind a delivery, and return it: the database decides what follows."""
        line = None if work.key is None else self._lines.get(work.key)
        if not line:
            return ()
        dropped = tuple(line)
        line.clear()
        return dropped

    def is_stray(self, work: Work) -> bool:
        """Tell whether a delivery was started without regard to an order."""
        return work.id in self._strays

    def forget(self, waiting: Iterable[Work]) -> list[Work]:
        """Forget what waits: these heads, and all that is behind any; return the latter."""
        followers = [work for line in self._lines.values() for work in line]
        for line in self._lines.values():
            line.clear()
        for work in waiting:
            if work.key is not None:
                self._lines.pop(work.key, None)
                self._blocks.pop(work.key, None)
        self.restart()
        return followers
