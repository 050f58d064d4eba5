"""Failure handling: which failures count, and the gaps that strategies make."""

import pytest

from waypost.model.exchange import FailureKind
from waypost.model.failure import (
    BUILT_IN,
    FailureHandling,
    OnGivingUp,
    Otherwise,
    Retry,
    Strategy,
)
from waypost.policy.failure import (
    FailurePolicy,
    failure_name,
    gaps_s,
    message_of,
    policy_of,
    trigger_of,
)
from waypost.policy.outcome import Outcome, OutcomeKind

DAY_S = 86400.0


def answered(status: int, response: bytes = b"") -> Outcome:
    return Outcome(OutcomeKind.FAILED, status, response)


def broken(kind: FailureKind, response: bytes = b"") -> Outcome:
    return Outcome(OutcomeKind.FAILED, 0, response, failure=kind)


@pytest.mark.parametrize(
    "retry, gaps",
    [
        (Retry(Strategy.CONSTANT, interval_s=5, retries=3), (5, 5, 5)),
        (Retry(Strategy.CONSTANT, interval_s=2 * DAY_S, retries=1), (2 * DAY_S,)),
        (Retry(Strategy.CONSTANT, interval_s=5, retries=0), ()),
        (Retry(Strategy.LINEAR, interval_s=5, retries=4), (5, 10, 15, 20)),
        (Retry(Strategy.LINEAR, interval_s=5, retries=4, max_interval_s=12), (5, 10, 12, 12)),
        (Retry(Strategy.EXPONENTIAL, interval_s=5, retries=4), (5, 10, 20, 40)),
        (Retry(Strategy.EXPONENTIAL, interval_s=5, retries=3, max_interval_s=11), (5, 10, 11)),
        (Retry(Strategy.EXPONENTIAL, interval_s=30_000, retries=3), (30_000, 60_000, DAY_S)),
        (Retry(Strategy.SCHEDULE, schedule_s=(3.0, 1.0)), (3, 1)),
        (Retry(Strategy.SCHEDULE), ()),
    ],
)
def test_a_strategy_makes_its_gaps(retry: Retry, gaps: tuple[float, ...]) -> None:
    assert gaps_s(retry) == gaps


def test_a_thousand_doublings_stay_finite() -> None:
    gaps = gaps_s(Retry(Strategy.EXPONENTIAL, interval_s=1e-9, retries=1000))
    assert (len(gaps), gaps[-1]) == (1000, DAY_S)


@pytest.mark.parametrize(
    "outcome, triggers, named",
    [
        (answered(503), None, "503"),
        (answered(404), {"404"}, "404"),
        (answered(404), {"4xx", "404"}, "404"),
        (answered(404), {"4xx"}, "4xx"),
        (answered(302), {"3xx"}, "3xx"),
        (answered(404), {"5xx", "403", "timeout"}, None),
        (answered(503), set(), None),
        (broken(FailureKind.TIMEOUT), None, "timeout"),
        (broken(FailureKind.TIMEOUT), {"timeout"}, "timeout"),
        (broken(FailureKind.TIMEOUT), {"connection", "tls", "5xx"}, None),
        (broken(FailureKind.TLS), {"tls"}, "tls"),
        (broken(FailureKind.TLS), {"connection"}, None),
        *(
            (broken(kind), {"connection"}, "connection")
            for kind in (
                FailureKind.CONNECT,
                FailureKind.CONNECTION,
                FailureKind.RESOLVE,
                FailureKind.PROTOCOL,
                FailureKind.TOO_LARGE,
                FailureKind.DENIED,
            )
        ),
        (Outcome(OutcomeKind.FAILED, 0, b"our own"), {"connection"}, "connection"),
    ],
)
def test_the_most_specific_trigger_names_a_failure(
    outcome: Outcome, triggers: set[str] | None, named: str | None
) -> None:
    assert trigger_of(outcome, None if triggers is None else frozenset(triggers)) == named


@pytest.mark.parametrize(
    "outcome, name, message",
    [
        (answered(500, b" oh\xff no "), "500", "status 500: oh\ufffd no"),
        (answered(500), "500", "status 500"),
        (answered(500, b"x" * 999), "500", "status 500: " + "x" * 256),
        (broken(FailureKind.TLS, b"certificate expired"), "tls", "certificate expired"),
        (broken(FailureKind.CONNECT), "connection", "connection"),
    ],
)
def test_a_failure_is_told_to_people(outcome: Outcome, name: str, message: str) -> None:
    assert (failure_name(outcome), message_of(outcome)) == (name, message)


@pytest.mark.parametrize(
    "handling, policy",
    [
        (BUILT_IN, FailurePolicy((1.0,))),
        (FailureHandling(on_giving_up=()), FailurePolicy((1.0,), divert=False)),
        (
            FailureHandling(on_giving_up=tuple(OnGivingUp)),
            FailurePolicy((1.0,), suspend=True, disable=True, alert=True),
        ),
        (
            FailureHandling(disable_after_s=90.5),
            FailurePolicy((1.0,), disable_after_us=90_500_000),
        ),
        (FailureHandling(retry_window_s=1.5), FailurePolicy((1.0,), window_us=1_500_000)),
        (
            FailureHandling(triggers=("5xx",), otherwise=Otherwise.DIVERT),
            FailurePolicy((1.0,), triggers=frozenset({"5xx"}), otherwise=Otherwise.DIVERT),
        ),
        (
            FailureHandling(retry=Retry(Strategy.CONSTANT, retries=1, jitter=0.0)),
            FailurePolicy((1.0,), jitter=0.0),
        ),
    ],
)
def test_settings_become_what_is_decided_by(
    handling: FailureHandling, policy: FailurePolicy
) -> None:
    assert policy_of(handling, (1.0,)) == policy


@pytest.mark.parametrize("never", [True, False])
def test_a_subscription_may_never_be_disabled_by_its_failures(never: bool) -> None:
    assert policy_of(FailureHandling(never_disable=never)).lasting is never
    assert policy_of(FailureHandling(never_disable=never), lasting=True).lasting
