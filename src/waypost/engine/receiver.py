"""A receiver: what this process holds of one subscription that it sends for."""

from typing import Final

import msgspec

from waypost.engine.sender import Address
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.shards import shard_of
from waypost.model.subscription import DisabledBy, OnOrderFailure, Ordering, Subscription
from waypost.policy.chains import Chains
from waypost.policy.lane import Lane
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.retry import RetryPolicy
from waypost.policy.work import Work

_STANDARD: Final = RetryPolicy()
_DELIVERED: Final = OutcomeKind.DELIVERED


class Ending(msgspec.Struct, frozen=True):
    """What becomes of deliveries that are owed to a subscription that is no more."""

    state: DeliveryState
    reason: Reason
    divert: bool


DELETED = Ending(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DELETED, divert=False)

_ENDINGS = {
    DisabledBy.PERSON: Ending(DeliveryState.CANCELLED, Reason.SUBSCRIPTION_DISABLED, divert=False),
    DisabledBy.GONE: Ending(DeliveryState.FAILED, Reason.GONE, divert=True),
    DisabledBy.FAILING: Ending(DeliveryState.FAILED, Reason.SUBSCRIPTION_FAILING, divert=True),
}


def ending_of(subscription: Subscription | None) -> Ending | None:
    """Return what becomes of a subscription's pending deliveries; None where they stay owed."""
    if subscription is None:
        return DELETED
    return None if subscription.disabled_by is None else _ENDINGS[subscription.disabled_by]


class Receiver:
    """A subscription's lane, its address and how it fares.

    Attributes:
        policy: when what has failed is tried again.
        ending: set while the subscription is disabled or deleted: nothing is tried.
        leaving: its shard is another process's now, or soon: nothing is tried here any more.
        over: one of these two.
        failing_since_us: when the present series of nothing but failures began, UTC microseconds.
        stopping: it is about to be disabled; nothing is tried.
        suspect: its last try ran into its deadline: it uses slow slots only.
        queued: it waits for a free slot, in the line of one of the two kinds.
        shard: the subscription's shard, and
        epoch: under which this process owns it.
        armed_us: when its timer goes off, UTC microseconds; None where none is set.
    """

    __slots__ = (
        "address",
        "armed_us",
        "ending",
        "epoch",
        "failing_since_us",
        "lane",
        "leaving",
        "over",
        "policy",
        "queued",
        "shard",
        "stopping",
        "subscription",
        "suspect",
    )

    def __init__(
        self, subscription: Subscription, address: Address, lane: Lane, epoch: int = 1
    ) -> None:
        """Make the receiver of a subscription whose shard this process owns under an epoch."""
        self.lane = lane
        self.shard = shard_of(subscription.id)
        self.epoch = epoch
        self.leaving = False
        self.queued = False
        self.suspect = False
        self.stopping = False
        self.armed_us: int | None = None
        self.ending: Ending | None = None
        self.failing_since_us = subscription.failing_since_us
        if subscription.ordering is not Ordering.NONE:
            lane.order = Chains(subscription.ordering, empty=lane.complete)
        self.take(subscription, address)

    def take(self, subscription: Subscription, address: Address) -> None:
        """Take the subscription's present settings."""
        ending = ending_of(subscription)
        if self.ending is not None and ending is None:
            # Else what is known here is newer than what was saved of it.
            self.failing_since_us = subscription.failing_since_us
        self.subscription = subscription
        self.address = address
        schedule_s = subscription.retry_schedule_s
        self.policy = _STANDARD if schedule_s is None else RetryPolicy(schedule_s)
        self.ending = ending
        self.over = self.leaving or ending is not None
        self.stopping = False
        self.lane.resize(subscription.concurrency)
        self.lane.paused = subscription.paused or self.over

    def delete(self) -> None:
        """The subscription was deleted: nothing is tried any more."""
        self.ending = DELETED
        self.stopping = False
        self.over = self.lane.paused = True

    def leave(self) -> None:
        """Its shard is to be another process's: nothing is tried here any more."""
        self.leaving = self.over = self.lane.paused = True

    def stop(self) -> bool:
        """The subscription is to be disabled: nothing is tried until that is written or has failed.

        Returns:
            False where it is being stopped, or has been, already.
        """
        if self.stopping or self.ending is not None:
            return False
        self.stopping = self.lane.paused = True
        return True

    def blocks(self, work: Work) -> bool:
        """Tell whether what is behind a delivery has to wait when that is given up."""
        return (
            work.key is not None
            and self.subscription.on_order_failure is OnOrderFailure.BLOCK
            and not self.over
        )

    def observe(self, outcome: Outcome, now_us: int) -> bool:
        """Take how a try has ended; tell whether `failing_since_us` has changed by it."""
        was = self.failing_since_us
        if outcome.kind is _DELIVERED:
            self.suspect = False
            self.lane.succeeded()
            self.failing_since_us = None
            return was is not None
        self.suspect = outcome.timeout
        self.lane.failed(
            now_us,
            slow_down=outcome.slow_down or outcome.timeout,
            retry_after_s=outcome.retry_after_s,
        )
        if was is None:
            self.failing_since_us = now_us
        return was is None

    def is_idle(self) -> bool:
        """Tell whether nothing would be lost by forgetting it, but for `failing_since_us`."""
        return not self.suspect and not self.queued and self.lane.is_idle()
