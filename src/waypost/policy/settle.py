"""What becomes of a delivery after an attempt: the state machine of `model.delivery`, decided.

::

    pending ── delivered ───────────────────────────────▶ delivered
    pending ── failed, and the schedule goes on ────────▶ pending    (RetryAt)
    pending ── 410, schedule exhausted, days of failures ▶ failed     (GaveUp)
    pending ── its transform says so ───────────────────▶ cancelled  (Skipped)

What follows from giving up, beside the delivery's own end, is the subscription's failure handling.
"""

from typing import Final

import msgspec

from waypost.model.delivery import Reason
from waypost.model.failure import Otherwise
from waypost.model.subscription import DisabledBy
from waypost.policy.failure import FailurePolicy, trigger_of
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.retry import next_due

DISABLE_AFTER_US: Final = 5 * 24 * 3600 * 1_000_000
"""How long a subscription may do nothing but fail: five days, as docs.lithic.com has it."""

INTERNAL_SCHEDULE_S: Final = (5.0, 60.0)
"""Gaps after errors of our own: three tries, since waiting for days would not mend our code."""


class Delivered(msgspec.Struct, frozen=True):
    """The receiver has it."""


class RetryAt(msgspec.Struct, frozen=True):
    """It stays pending and is tried again at `due_us`, UTC microseconds."""

    due_us: int


class GaveUp(msgspec.Struct, frozen=True):
    """It is failed.

    Attributes:
        divert: it goes to the dead-letter box.
        disable: set where the subscription is to be disabled along with it.
        suspend: the subscription is to be suspended along with it.
        alert: alert endpoints are to hear of it.
    """

    reason: Reason
    divert: bool = True
    disable: DisabledBy | None = None
    suspend: bool = False
    alert: bool = False


class Skipped(msgspec.Struct, frozen=True):
    """It is cancelled: the subscription's own program wanted nothing sent."""


Transition = Delivered | RetryAt | GaveUp | Skipped

DELIVERED: Final = Delivered()
_KIND_DELIVERED: Final = OutcomeKind.DELIVERED


def settle(
    attempts: int,
    outcome: Outcome,
    policy: FailurePolicy,
    now_us: int,
    jitter: float,
    failing_since_us: int | None,
    disable_after_us: int = DISABLE_AFTER_US,
    made_us: int = 0,
) -> Transition:
    """Decide what follows an attempt.

    Args:
        attempts: how many attempts were made before this one.
        outcome: what the attempt came to.
        policy: the subscription's, or its project's.
        now_us: when the attempt ended, UTC microseconds.
        jitter: chance, from 0 to below 1, for the next due time.
        failing_since_us: when the subscription's present series of nothing but failures began, this
            attempt not counted; None where its last attempt was a success.
        disable_after_us: for how long it may last, microseconds, where the policy sets nothing.
        made_us: when the delivery was made, UTC microseconds; asked for by a retry window alone.
    """
    if outcome.kind is _KIND_DELIVERED:
        return DELIVERED
    if not policy.lasting:
        if outcome.gone:
            return GaveUp(Reason.GONE, disable=DisabledBy.GONE, alert=policy.alert)
        longest_us = policy.disable_after_us or disable_after_us
        if failing_since_us is not None and now_us - failing_since_us >= longest_us:
            by = DisabledBy.FAILING
            return GaveUp(Reason.SUBSCRIPTION_FAILING, disable=by, alert=policy.alert)
    if policy.otherwise is not Otherwise.TRIGGER and trigger_of(outcome, policy.triggers) is None:
        return GaveUp(Reason.NOT_A_TRIGGER, divert=policy.otherwise is Otherwise.DIVERT)
    due_us = next_due(
        policy.schedule_s, attempts + 1, now_us, jitter, outcome.retry_after_s, policy.jitter
    )
    if due_us is None or (policy.window_us is not None and due_us > made_us + policy.window_us):
        return GaveUp(
            Reason.EXHAUSTED,
            divert=policy.divert,
            disable=DisabledBy.FAILING if policy.disable else None,
            suspend=policy.suspend,
            alert=policy.alert,
        )
    return RetryAt(due_us)


def within(transition: RetryAt, expires_us: int) -> RetryAt | GaveUp:
    """Give up at once what would be tried again only when it has expired, UTC microseconds."""
    if transition.due_us < expires_us:
        return transition
    return GaveUp(Reason.EXPIRED, divert=False)


def internal_failure(
    failures: int, now_us: int, jitter: float, *, alert: bool = False
) -> RetryAt | GaveUp:
    """Decide what follows an error of our own: tried three times in all, then diverted.

    It is not the receiver's failure, so it counts neither against the schedule nor against the
    subscription.

    Args:
        failures: how many errors of our own this delivery has met, this one counted; at least 1.
        now_us: when it happened, UTC microseconds.
        jitter: chance, from 0 to below 1.
        alert: alert endpoints are to hear of what is given up.
    """
    due_us = next_due(INTERNAL_SCHEDULE_S, failures, now_us, jitter)
    return GaveUp(Reason.INTERNAL, alert=alert) if due_us is None else RetryAt(due_us)
