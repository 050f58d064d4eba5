"""Deliveries: one event owed to one subscription, its states, and its attempts.

A delivery is `pending` while it stands in the queue. It leaves the queue once, by one of three
final states, and is never reopened: a resend or a replay is a new delivery.
"""

from enum import IntEnum, StrEnum
from typing import Final

import msgspec

from waypost.model.ids import Id


class DeliveryState(IntEnum):
    """The state of a delivery; the numbers are what the database keeps."""

    PENDING = 0
    DELIVERED = 1
    FAILED = 2
    CANCELLED = 3


TRANSITIONS: Final[dict[DeliveryState, frozenset[DeliveryState]]] = {
    DeliveryState.PENDING: frozenset(
        {
            DeliveryState.PENDING,
            DeliveryState.DELIVERED,
            DeliveryState.FAILED,
            DeliveryState.CANCELLED,
        }
    ),
    DeliveryState.DELIVERED: frozenset(),
    DeliveryState.FAILED: frozenset(),
    DeliveryState.CANCELLED: frozenset(),
}
"""Which state may follow which: PENDING to PENDING is a retry."""


class EventStatus(StrEnum):
    """What has become of an event, over all that it is or was owed to."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class DeliveryClass(IntEnum):
    """What kind of work a delivery is: the lane weighs them."""

    FRESH = 0
    RETRY = 1
    REPLAY = 2


PARKED: Final = 3
"""The class in the queue of what has to wait for others of its ordering key: no refill reads it."""


class Reason(StrEnum):
    """Why a delivery ended without being delivered."""

    EXHAUSTED = "retries_exhausted"
    GONE = "receiver_gone"
    SUBSCRIPTION_FAILING = "subscription_failing"
    SUBSCRIPTION_DISABLED = "subscription_disabled"
    SUBSCRIPTION_DELETED = "subscription_deleted"
    SUBSCRIPTION_SUSPENDED = "subscription_suspended"
    NOT_A_TRIGGER = "not_a_trigger"
    EXPIRED = "expired"
    INTERNAL = "internal"
    SKIPPED = "skipped_by_transform"


class Owed(msgspec.Struct, frozen=True):
    """A delivery as it stands in the queue.

    Attributes:
        due_us: when it may be tried, UTC microseconds; before the first try, the moment of `id`:
            that try goes by the delivery's own id.
        attempts: how many tries were made; the next one is `attempts + 1`.
        replay_id: the job that owes it, where one does.
    """

    project_id: Id
    id: Id
    event_id: Id
    subscription_id: Id
    kind: DeliveryClass
    due_us: int
    attempts: int = 0
    replay_id: Id | None = None


class Delivery(msgspec.Struct, frozen=True):
    """A delivery as people see it, pending or final.

    Attributes:
        due_us: when a pending one is tried next, UTC microseconds; None for a final one.
        finished_us: when a final one ended, UTC microseconds; None for a pending one.
        diverted: it failed and stands in the dead-letter box.
    """

    project_id: Id
    id: Id
    event_id: Id
    subscription_id: Id
    event_type: str
    state: DeliveryState
    attempts: int
    due_us: int | None = None
    finished_us: int | None = None
    reason: Reason | None = None
    diverted: bool = False


class Timings(msgspec.Struct, frozen=True, array_like=True):
    """How long the parts of one attempt took, in microseconds; 0 for a part that did not happen."""

    resolve_us: int = 0
    connect_us: int = 0
    tls_us: int = 0
    first_byte_us: int = 0
    total_us: int = 0


class AttemptState(IntEnum):
    """How one try ended; the numbers are what the database keeps."""

    SUCCESS = 1
    FAILED = 2


class DivertedEvent(msgspec.Struct, frozen=True):
    """A failed delivery kept in the dead-letter box, under the delivery's id.

    `request_id` is what the event names as the request that has brought it.
    """

    project_id: Id
    id: Id
    event_id: Id
    subscription_id: Id
    event_type: str
    reason: Reason
    diverted_us: int
    attempts: int
    status_code: int
    response: bytes
    request_id: str | None = None


class BlockedKey(msgspec.Struct, frozen=True):
    """A key whose deliveries wait behind one that was given up.

    Attributes:
        ordering_key: empty: all that a strict subscription is owed.
        sequence: the place of what was given up; what is behind it waits.
        delivery_id: what was given up, and
        event_id: its event.
        blocked_us: since when, UTC microseconds.
    """

    project_id: Id
    subscription_id: Id
    ordering_key: str
    sequence: int
    delivery_id: Id
    event_id: Id
    blocked_us: int
