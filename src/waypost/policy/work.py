"""Work: one delivery as a lane holds it, and whose turn it is among the kinds of it."""

from typing import Any, Final

import msgspec

from waypost.model.delivery import DeliveryClass
from waypost.model.ids import attempt_of

TURNS: Final = (
    (DeliveryClass.FRESH, DeliveryClass.RETRY, DeliveryClass.REPLAY),
    (DeliveryClass.FRESH, DeliveryClass.RETRY, DeliveryClass.REPLAY),
    (DeliveryClass.RETRY, DeliveryClass.FRESH, DeliveryClass.REPLAY),
    (DeliveryClass.FRESH, DeliveryClass.RETRY, DeliveryClass.REPLAY),
    (DeliveryClass.FRESH, DeliveryClass.RETRY, DeliveryClass.REPLAY),
    (DeliveryClass.RETRY, DeliveryClass.FRESH, DeliveryClass.REPLAY),
    (DeliveryClass.FRESH, DeliveryClass.RETRY, DeliveryClass.REPLAY),
    (DeliveryClass.REPLAY, DeliveryClass.RETRY, DeliveryClass.FRESH),
)
"""Who goes first, turn by turn: of eight starts five are for first tries, two for retries and one
for a replay; a class with nothing to do gives its turn to the next."""


class Work(msgspec.Struct, eq=False):
    """One delivery in a lane: what the queue says of it, and what its try needs.

    Attributes:
        due_us: when it may start, UTC microseconds.
        attempts: how many tries were made before.
        event: the event where it is in memory, else None; the lane never looks at it.
        call: the try in flight, for whoever sends it; the lane never looks at it.
        expires_us: from when on it is not tried any more, UTC microseconds; 0: not known, or never.
        started_us: when the present try started, UTC microseconds; 0 where none is in flight.
        slow: the try in flight has taken long and counts among the slow ones.
        key: of the chain that it has its place in, where its lane keeps an order; see `chains`.
        sequence: its place there.
        faults: how often an error of our own has kept it from being tried.
        replay_id: the job that owes it, where one does; the lane never looks at it.
    """

    id: bytes
    event_id: bytes
    kind: int
    due_us: int
    attempts: int
    event: Any = None
    call: Any = None
    started_us: int = 0
    slow: bool = False
    faults: int = 0
    expires_us: int = 0
    replay_id: bytes | None = None
    key: str | None = None
    sequence: int = 0

    @property
    def attempt_id(self) -> bytes:
        """The id of the next try, or of the present one."""
        return attempt_of(self.id, self.attempts + 1, self.due_us)
