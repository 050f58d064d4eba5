"""Figures: what the processes of a group have counted, so that any of them can tell the sum.

Each process has a slot in one file that they all have open and that has no name. It writes its own
figures there, and reads those of the others when it is asked. When a process dies, the supervisor
adds what it had counted to a slot of its own, so that no sum ever falls.
"""

import os
import tempfile
import zlib
from collections.abc import Callable, Mapping
from typing import Final, Self

import msgspec

from waypost.telemetry import MEASURES, Measure, Reading

Value = float | dict[str, float]
"""One figure, or figures by the value of a label."""

Page = dict[str, Value]
"""Figures by the names of their measures."""

SLOT_BYTES: Final = 16_384
_HEAD_BYTES: Final = 8
_TRIES: Final = 5

_COUNTERS: Final = tuple(measure for measure in MEASURES if measure.grows)


class Figures:
    """The slots of a group; the supervisor's is number 0."""

    def __init__(self, descriptor: int, count: int) -> None:
        """Take the open file, and how many processes have a slot beside the supervisor's."""
        self.descriptor = descriptor
        self._count = count
        self._known: dict[int, Page] = {}

    @classmethod
    def make(cls, count: int) -> Self:
        """Make the file; it is gone when the last process has closed it."""
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
        os.ftruncate(descriptor, SLOT_BYTES * (count + 1))
        return cls(descriptor, count)

    def write(self, slot: int, page: Page) -> None:
        """Put down what a process has counted."""
        content = msgspec.msgpack.encode(page)
        head = len(content).to_bytes(4, "big") + zlib.crc32(content).to_bytes(4, "big")
        os.pwrite(self.descriptor, head + content, slot * SLOT_BYTES)

    def read(self, slot: int) -> Page:
        """Return what a process has put down last."""
        for _ in range(_TRIES):
            slab = os.pread(self.descriptor, SLOT_BYTES, slot * SLOT_BYTES)
            length, check = (int.from_bytes(slab[at : at + 4], "big") for at in (0, 4))
            content = slab[_HEAD_BYTES : _HEAD_BYTES + length]
            if not length:
                return {}
            # Whoever writes at this moment has written a part of it.
            if zlib.crc32(content) == check:
                self._known[slot] = msgspec.msgpack.decode(content, type=Page)
                break
        return self._known.get(slot, {})

    def bury(self, slot: int) -> None:
        """Keep what a process had counted that is no more, and clear its slot for the next one."""
        left = self.read(slot)
        counted = {one.name: left[one.name] for one in _COUNTERS if one.name in left}
        self.write(0, _sum(_COUNTERS, [self.read(0), counted]))
        self.write(slot, {})

    def sum(self) -> Page:
        """Return the figures of the whole group."""
        return _sum(MEASURES, [self.read(slot) for slot in range(self._count + 1)])


class GroupReadings:
    """How one process of a group reads the metrics: its own, and then those of all."""

    def __init__(self, figures: Figures, slot: int, own: Mapping[str, Reading]) -> None:
        """Take the group's figures, this process's slot, and how its own are read."""
        self._figures = figures
        self._slot = slot
        self._own = own
        self._sum: Page = {}

    def publish(self) -> None:
        """Put down this process's figures."""
        page = {name: _plain(read()) for name, read in self._own.items()}
        self._figures.write(self._slot, page)

    def look(self) -> None:
        """Take the sum of the group as it is now.

        One's own go through the file too: what was told once is counted even if this process dies
        the next moment.
        """
        self.publish()
        self._sum = self._figures.sum()

    def readings(self) -> dict[str, Reading]:
        """Return how each metric is read after `look`."""
        return {name: self._reader(name) for name in self._own}

    def _reader(self, name: str) -> Callable[[], Value]:
        return lambda: self._sum.get(name, {})


def _sum(measures: tuple[Measure, ...], pages: list[Page]) -> Page:
    joined: Page = {}
    for measure in measures:
        values = [page[measure.name] for page in pages if measure.name in page]
        if values:
            joined[measure.name] = _join(measure, values)
    return joined


def _join(measure: Measure, values: list[Value]) -> Value:
    join = max if measure.shared else sum
    tables = [value for value in values if isinstance(value, dict)]
    numbers = [value for value in values if not isinstance(value, dict)]
    if numbers:
        return join(numbers)
    labels = dict.fromkeys(label for table in tables for label in table)
    return {label: join(table.get(label, 0.0) for table in tables) for label in labels}


def _plain(value: float | Mapping[str, float]) -> Value:
    return dict(value) if isinstance(value, Mapping) else float(value)
