"""What became of an attempt and a delivery is told in plain words."""

import pytest

from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason, Timings
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.policy.judging import Condition, Failed
from waypost.policy.telling import tell_attempt, tell_delivery, tell_none
from waypost.policy.waits import Wait

P, A, E, D, S = (ids.make(n, n) for n in range(1, 6))


def attempt(code: int, response: bytes = b"", total_us: int = 2_000) -> ShownAttempt:
    status = AttemptStatus.SUCCESS if 200 <= code < 300 else AttemptStatus.FAILED
    return ShownAttempt(
        P,
        A,
        E,
        D,
        S,
        1,
        status,
        status_code=code,
        response=response,
        timings=Timings(total_us=total_us),
    )


@pytest.mark.parametrize(
    "of, said",
    [
        (attempt(204), "the receiver took it: 204 No Content, after 2 ms"),
        (attempt(503, b"busy", 1_500_000), "refused it: 503 Service Unavailable, after 1.5 s"),
        (attempt(599), "the receiver refused it: 599, after"),
        (attempt(302), "redirected it: 302 Found; redirects are not followed"),
        (attempt(0, b"connection refused"), "it failed before an answer: connection refused"),
        (attempt(0), "there was no answer"),
        (attempt(0, b"x" * 999), f"it failed before an answer: {'x' * 200}…"),
        (attempt(0, b"\xff"), "it failed before an answer: \ufffd"),
    ],
)
def test_an_attempt_is_told(of: ShownAttempt, said: str) -> None:
    assert tell_attempt(of).endswith(said) or said in tell_attempt(of)


def delivery(
    state: DeliveryState, attempts: int, reason: Reason | None = None, *, diverted: bool = False
) -> Delivery:
    return Delivery(P, D, E, S, "a", state, attempts, reason=reason, diverted=diverted)


@pytest.mark.parametrize(
    "of, said",
    [
        (delivery(DeliveryState.PENDING, 0), "pending, not tried"),
        (delivery(DeliveryState.DELIVERED, 2), "delivered at attempt 2"),
        (
            delivery(DeliveryState.FAILED, 10, Reason.EXHAUSTED, diverted=True),
            "given up, tried 10 times: its retries were used up; it is in the dead-letter box",
        ),
        (
            delivery(DeliveryState.CANCELLED, 1, Reason.SUBSCRIPTION_DELETED),
            "cancelled, tried once: the event subscription was deleted",
        ),
    ],
)
def test_a_delivery_is_told(of: Delivery, said: str) -> None:
    assert tell_delivery(of) == said


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_its_words(reason: Reason) -> None:
    assert ": " in tell_delivery(delivery(DeliveryState.FAILED, 1, reason))


def test_what_a_pending_one_waits_for_is_told() -> None:
    told = tell_delivery(delivery(DeliveryState.PENDING, 3), [Wait("a", "b"), Wait("c", "d")])
    assert told == "pending, tried 3 times: b; d"


def test_no_delivery_is_told_with_its_reason() -> None:
    failed = Failed(Condition.OWNER, "owner is absent")
    assert tell_none(failed, spreading=False, judged_by_then=True) == "not owed: owner is absent"
    assert "about to be made" in tell_none(None, spreading=True, judged_by_then=True)
    assert "present settings" in tell_none(None, spreading=False, judged_by_then=False)
    assert "not kept" in tell_none(None, spreading=False, judged_by_then=True)
