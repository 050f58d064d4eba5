"""What becomes of a delivery after an attempt: the state machine of `model.delivery`, decided.

::

    pending ── delivered ───────────────────────────────▶ delivered
    pending ── failed, and the schedule goes on ────────▶ pending    (RetryAt)
    pending ── 410, schedule exhausted, days of failures ▶ failed     (GaveUp, diverted)
    pending ── its transform says so ───────────────────▶ cancelled  (Skipped)
"""

from typing import Final

import msgspec

from waypost.model.delivery import Reason
from waypost.model.subscription import DisabledBy
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.retry import RetryPolicy, next_due

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
    """

    reason: Reason
    divert: bool = True
    disable: DisabledBy | None = None


class Skipped(msgspec.Struct, frozen=True):
    """It is cancelled: the subscription's own program wanted nothing sent."""


Transition = Delivered | RetryAt | GaveUp | Skipped

_DELIVERED: Final = Delivered()
_KIND_DELIVERED: Final = OutcomeKind.DELIVERED


def settle(
    attempts: int,
    outcome: Outcome,
    policy: RetryPolicy,
    now_us: int,
    jitter: float,
    failing_since_us: int | None,
    disable_after_us: int = DISABLE_AFTER_US,
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
        disable_after_us: for how long it may last, microseconds.
    """
    if outcome.kind is _KIND_DELIVERED:
        return _DELIVERED
    if outcome.gone:
        return GaveUp(Reason.GONE, disable=DisabledBy.GONE)
    if failing_since_us is not None and now_us - failing_since_us >= disable_after_us:
        return GaveUp(Reason.SUBSCRIPTION_FAILING, disable=DisabledBy.FAILING)
    due_us = next_due(policy.schedule_s, attempts + 1, now_us, jitter, outcome.retry_after_s)
    return GaveUp(Reason.EXHAUSTED) if due_us is None else RetryAt(due_us)


def internal_failure(failures: int, now_us: int, jitter: float) -> RetryAt | GaveUp:
    """Decide what follows an error of our own: tried three times in all, then diverted.

    It is not the receiver's failure, so it counts neither against the schedule nor against the
    subscription.

    Args:
        failures: how many errors of our own this delivery has met, this one counted; at least 1.
        now_us: when it happened, UTC microseconds.
        jitter: chance, from 0 to below 1.
    """
    due_us = next_due(INTERNAL_SCHEDULE_S, failures, now_us, jitter)
    return GaveUp(Reason.INTERNAL) if due_us is None else RetryAt(due_us)
