"""Time and chance: the only module that reads either."""

import secrets
import time
from typing import Final, Protocol

from waypost.model import ids

_MICROS: Final = 1_000_000
_STRIDE: Final = 157
"""The last byte of what ids are counted up by: 256 of them differ, and by the golden ratio no two
that follow each other, however few, are close."""

# Counts while the machine sleeps, as other machines' clocks do; CLOCK_MONOTONIC does so on macOS.
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the rest of Waypost knows of time."""

    def now_us(self) -> int:
        """Return the wall clock, UTC microseconds since 1970."""
        ...

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back; only differences mean something.

        It goes on while the machine sleeps: a lease ends in the meantime.
        """
        ...


class SystemClock:
    """The machine's own clock."""

    def now_us(self) -> int:
        """Return the wall clock, UTC microseconds since 1970."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back, nor stands still in a machine's sleep."""
        return time.clock_gettime(_STEADY)


class AlignedClock:
    """The clock of a database that many machines share, as one process knows it.

    Between readings it goes on by this machine's monotonic clock, so that nobody who sets the wall
    clock moves it. It never goes back: where a reading shows that it was ahead, it waits.
    """

    def __init__(self, own: Clock) -> None:
        """Begin with the machine's own wall clock, until the first reading."""
        self._own = own
        self._ahead_us = own.now_us() - own.monotonic() * _MICROS
        self._read = False
        self._last_us = 0

    def now_us(self) -> int:
        """Return the database's clock, UTC microseconds since 1970."""
        now_us = int(self._own.monotonic() * _MICROS + self._ahead_us)
        self._last_us = max(self._last_us, now_us)
        return self._last_us

    def monotonic(self) -> float:
        """Return seconds of this machine's clock that never goes back."""
        return self._own.monotonic()

    def align(self, theirs_us: int, asked: float, answered: float) -> None:
        """Take a reading of the database's clock.

        It was taken at an unknown moment between the question and the answer, so it corrects only
        what can't be so: a slow answer, which says little, moves nothing.

        Args:
            theirs_us: what the database's clock showed, UTC microseconds since 1970.
            asked: `monotonic` before the question.
            answered: `monotonic` after the answer.
        """
        least, most = theirs_us - answered * _MICROS, theirs_us - asked * _MICROS
        if self._read:
            self._ahead_us = min(max(self._ahead_us, least), most)
        else:
            self._ahead_us = (least + most) / 2
            self._read = True

    def offset_us(self) -> int:
        """Return by how much the database's clock is ahead of this machine's wall clock."""
        return round(self._ahead_us + self._own.monotonic() * _MICROS) - self._own.now_us()


class Entropy(Protocol):
    """What the rest of Waypost knows of chance."""

    def bits(self, count: int) -> int:
        """Return `count` random bits as a number, fit for secrets."""
        ...

    def fraction(self) -> float:
        """Return a number in [0, 1), fit for jitter."""
        ...


class SystemEntropy:
    """The operating system's randomness."""

    def bits(self, count: int) -> int:
        """Return `count` random bits as a number, fit for secrets."""
        return secrets.randbits(count)

    def fraction(self) -> float:
        """Return a number in [0, 1), fit for jitter."""
        return secrets.randbits(53) / (1 << 53)


class IdSource:
    """Makes ids that grow strictly, whatever the wall clock does. Not for use by many threads.

    The chance of an id is a random 62-bit start that is taken anew every 1,024 ids and counted up
    in steps between, so that one id costs no system call; an id is unguessable enough to be unique,
    never a secret. Ids that are made one after the other differ in their last byte, and lie far
    apart by it: what is shared out among processes by that byte goes to all of them.
    """

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        """Take the clock and the chance that the ids are made of."""
        self._clock = clock
        self._entropy = entropy
        self._last_us = 0
        self._chance = 0
        self._step = 0
        self._left = 0

    def next(self) -> bytes:
        """Return a new id: greater than every id that this source has made."""
        return self.next_at()[0]

    def next_at(self) -> tuple[bytes, int]:
        """Return a new id and the moment that it carries, UTC microseconds."""
        return self.at(self._clock.now_us())

    def at(self, now_us: int) -> tuple[bytes, int]:
        """Do as `next_at` does for whoever has just read the clock."""
        self._last_us = now_us if now_us > self._last_us else self._last_us + 1
        if not self._left:
            self._chance = self._entropy.bits(62)
            self._step = self._entropy.bits(53) << 8 | _STRIDE
            self._left = 1024
        self._left -= 1
        self._chance = (self._chance + self._step) & ids.MAX_CHANCE
        return ids.make(self._last_us, self._chance), self._last_us
