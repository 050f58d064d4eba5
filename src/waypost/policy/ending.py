"""What becomes of deliveries that are owed to a subscription which is not to be sent to."""

from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.failure import FailureHandling, Incoming, Pending
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy, Subscription

Span = tuple[int, int]
"""A span of time, UTC microseconds: from the first moment on, up to the second."""

NEVER_US: Final = 2**48 * 1000 - 1
"""The last moment that an id can carry."""


class Ending(msgspec.Struct, frozen=True):
    """How a delivery ends without being delivered."""

    state: DeliveryState
    reason: Reason
    divert: bool


class Endings(msgspec.Struct, frozen=True):
    """What becomes of the deliveries of a subscription; None: they stay owed.

    Attributes:
        pending: of those that were made before `since_us`.
        incoming: of the others.
        since_us: UTC microseconds; 0 where all end alike, for good.
    """

    pending: Ending | None
    incoming: Ending | None
    since_us: int = 0

    def of(self, delivery_id: Id) -> Ending | None:
        """Return how one delivery ends; None: it stays owed."""
        return self.incoming if delivery_id >= ids.lowest(self.since_us) else self.pending

    def parts(self) -> list[tuple[Ending, Span | None]]:
        """Return each ending with the span in which the deliveries were made; None for all."""
        if not self.since_us:
            return [] if self.incoming is None else [(self.incoming, None)]
        parts = (self.pending, (0, self.since_us)), (self.incoming, (self.since_us, NEVER_US))
        return [(ending, span) for ending, span in parts if ending is not None]


def _all(state: DeliveryState, reason: Reason, *, divert: bool) -> Endings:
    ending = Ending(state, reason, divert)
    return Endings(ending, ending)


DELETED: Final = _all(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DELETED, divert=False)

_DISABLED: Final = {
    DisabledBy.PERSON: _all(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DISABLED, divert=False),
    DisabledBy.GONE: _all(DeliveryState.FAILED, Reason.GONE, divert=True),
    DisabledBy.FAILING: _all(DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING, divert=True),
}
_DIVERTED: Final = Ending(DeliveryState.FAILED, Reason.SUBSCRIPTION_SUSPENDED, divert=True)
_CANCELLED: Final = Ending(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_SUSPENDED, divert=False)
_PENDING: Final = {Pending.KEEP: None, Pending.DIVERT: _DIVERTED}
_INCOMING: Final = {
    Incoming.KEEP: None,
    Incoming.DIVERT: _DIVERTED,
    Incoming.CANCEL: _CANCELLED,
}


def endings_of(subscription: Subscription | None, handling: FailureHandling) -> Endings | None:
    """Return what becomes of what a subscription is owed; None where all of it stays owed.

    Args:
        subscription: None where it was deleted.
        handling: the failure handling that holds for it.
    """
    if subscription is None:
        return DELETED
    if subscription.disabled_by is not None:
        return _DISABLED[subscription.disabled_by]
    if subscription.suspension is None:
        return None
    pending = _PENDING[handling.suspended.pending]
    incoming = _INCOMING[handling.suspended.incoming]
    if pending is None and incoming is None:
        return None
    return Endings(pending, incoming, subscription.suspension.since_us)
