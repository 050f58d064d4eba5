"""The recorder: rows that tell what became of a try."""

import msgspec
import pytest

from waypost.engine.recorder import Try, settlement
from waypost.model import ids
from waypost.model.delivery import AttemptState, DeliveryState, Reason, Timings
from waypost.policy.ending import DELETED
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import Delivered, GaveUp, RetryAt, Skipped, Transition
from waypost.policy.work import Work
from waypost.storage.changes import Settlement

PROJECT, EVENT, SUBSCRIPTION = b"p" * 16, b"e" * 16, b"s" * 16
DELIVERY = ids.make(7, 7)
TIMINGS = Timings(1, 2, 3, 4, 5)


def tried(attempts: int = 0, *, delivered: bool = False) -> Try:
    kind = OutcomeKind.DELIVERED if delivered else OutcomeKind.FAILED
    outcome = Outcome(kind, 200 if delivered else 500, b"body")
    return Try(
        PROJECT, SUBSCRIPTION, Work(DELIVERY, EVENT, 0, 7, attempts), outcome, TIMINGS, True, 99
    )


def done(_: Settlement) -> None:
    """Hear of the commit."""


def test_a_delivered_one() -> None:
    made = settlement(tried(2, delivered=True), Delivered(), None, done)
    assert (made.project_id, made.event_id, made.delivery_id) == (PROJECT, EVENT, DELIVERY)
    assert (made.attempts, made.retry_at_us, made.diverted, made.done) == (2, None, None, done)
    final = (PROJECT, EVENT, DELIVERY, SUBSCRIPTION, DeliveryState.DELIVERED, 3, 99, None)
    assert made.delivery == final
    assert made.attempt == (
        PROJECT,
        EVENT,
        ids.attempt_of(DELIVERY, 3, 7),
        DELIVERY,
        SUBSCRIPTION,
        3,
        AttemptState.SUCCESS,
        200,
        b"body",
        None,
        msgspec.msgpack.encode(TIMINGS),
        1,
    )


def test_one_that_is_tried_again() -> None:
    made = settlement(tried(1), RetryAt(1_000), None, done)
    assert (made.retry_at_us, made.delivery, made.diverted) == (1_000, None, None)
    assert made.attempt[5:8] == (2, AttemptState.FAILED, 500)


@pytest.mark.parametrize("divert", [True, False])
def test_one_that_is_given_up(divert: bool) -> None:
    made = settlement(tried(1), GaveUp(Reason.EXHAUSTED, divert=divert), None, done)
    assert made.delivery is not None
    assert made.delivery[4:] == (DeliveryState.FAILED, 2, 99, Reason.EXHAUSTED)
    box = (PROJECT, DELIVERY, EVENT, SUBSCRIPTION, Reason.EXHAUSTED, 99, 2)
    assert made.diverted == (box if divert else None)


def test_one_that_is_skipped_had_no_try() -> None:
    made = settlement(tried(1), Skipped(), None, done)
    assert made.delivery is not None
    assert made.delivery[4:] == (DeliveryState.CANCELLED, 1, 99, Reason.SKIPPED)
    assert (made.attempt, made.attempts, made.diverted) == ((), 1, None)


@pytest.mark.parametrize("transition", [RetryAt(1_000), GaveUp(Reason.EXHAUSTED)])
def test_what_was_ended_meanwhile_ends_so_unless_it_was_delivered(transition: Transition) -> None:
    made = settlement(tried(), transition, DELETED.incoming, done)
    assert made.delivery is not None
    assert made.delivery[4] == DeliveryState.CANCELLED
    assert made.delivery[7] == Reason.SUBSCRIPTION_DELETED
    assert (made.retry_at_us, made.diverted) == (None, None)
    kept = settlement(tried(delivered=True), Delivered(), DELETED.incoming, done)
    assert kept.delivery is not None
    assert kept.delivery[4] == DeliveryState.DELIVERED
