"""The shards of this process: for which subscriptions it sends, and until when it may.

On SQLite one process owns all of them for ever. Where processes share a database, each owns those
that its ownership has claimed, until its lease ends or it can't tell whether its memory is right.
"""

import math
from collections.abc import Callable
from typing import Final

from waypost.model.ids import Id
from waypost.model.shards import SHARDS, Shard, shard_of

FOR_EVER: Final = math.inf
LEADING: Final = 0
"""The jobs that one process does for all run at the owner of this shard."""


class Shards:
    """For the loop's thread alone.

    Attributes:
        epochs: by shard, the epoch under which this process owns it; 0 where it does not.
        unseen: those that were claimed, and not looked at since: more is owed there than is known.
        until: no try starts later than this, by the monotonic clock in seconds.
        wake: told of the project and subscription of work that another process has to send, and
            of the delivery that is to go before all that waits there, or None.
    """

    __slots__ = ("_confirmed", "_lease", "epochs", "unseen", "until", "wake")

    def __init__(self, wake: Callable[[Id, Id, Id | None], None]) -> None:
        """Begin with none."""
        self.epochs = [0] * SHARDS
        self.unseen: set[Shard] = set()
        self.wake = wake
        self.until = self._lease = self._confirmed = 0.0

    def owns(self, subscription_id: Id) -> bool:
        """Tell whether this process sends to a subscription."""
        return self.epochs[shard_of(subscription_id)] > 0

    def leads(self) -> bool:
        """Tell whether this process does what one does for all."""
        return self.epochs[LEADING] > 0

    def count(self) -> int:
        """Return how many this process owns."""
        return SHARDS - self.epochs.count(0)

    def lease(self, until: float) -> None:
        """Take until when nobody else can own what this process owns."""
        self._lease = until
        self.until = min(until, self._confirmed)

    def confirm(self, until: float) -> None:
        """Take until when what is in memory of the configuration may be sent by."""
        self._confirmed = until
        self.until = min(until, self._lease)


def all_shards() -> Shards:
    """Return the shards of a process that has the database to itself: all of them, for ever."""
    shards = Shards(lambda *_: None)
    shards.epochs = [1] * SHARDS
    shards.lease(FOR_EVER)
    shards.confirm(FOR_EVER)
    return shards
