"""A stream of events, read on and on in the order of their acceptance, and nothing of it missed.

An event has its id before it is committed, so one may come to be seen after others that were
accepted later. What is young is therefore not passed: the reader's position stays before it, and
remembers which of it were read.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.ids import Id

LATE_US: Final = 5_000_000
"""What is older is committed, or never will be: nobody waits so long for an answer."""

SEEN_MAX: Final = 500
"""So many young events are read; those beyond them when they are older."""

_TAIL: Final = 6
"""So many bytes of an id's chance are remembered."""


class Position(msgspec.Struct, frozen=True, array_like=True):
    """How far a reader is.

    Attributes:
        after: everything up to here was read.
        seen: the ends of the ids behind it that were read too.
    """

    after: Id
    seen: tuple[bytes, ...] = ()


def read_on(
    position: Position, found: Sequence[Id], size: int, now_us: int
) -> tuple[list[Id], Position]:
    """Read what was found behind a position.

    Args:
        position: where the reader is.
        found: the first ids behind it, in their order, those that were read among them.
        size: how many to read at most.
        now_us: the present, UTC microseconds.

    Returns:
        Which of them are read now, and where the reader is then.
    """
    horizon = ids.lowest(now_us - LATE_US)
    after, seen = position.after, dict.fromkeys(position.seen)
    read: list[Id] = []
    for one in found:
        is_new, is_old = one[-_TAIL:] not in seen, one < horizon
        if is_new and (len(read) == size or (not is_old and len(seen) >= SEEN_MAX)):
            break
        if is_new:
            read.append(one)
        if is_old:
            after = one
            seen.pop(one[-_TAIL:], None)
        else:
            seen[one[-_TAIL:]] = None
    return read, Position(after, tuple(seen))
