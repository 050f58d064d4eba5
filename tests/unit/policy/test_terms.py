"""Terms: a subscription's own settings, else its project's, else what is built in."""

from typing import Any

import pytest

from waypost.model.failure import FailureHandling, Retry, Strategy
from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.subscription import (
    NOTHING_SET,
    Inheritable,
    OnOrderFailure,
    Ordering,
    Subscription,
)
from waypost.model.verification import VerificationMode
from waypost.policy.retry import LITHIC, STANDARD
from waypost.policy.terms import BUILT_IN, Terms, inherited, terms_of

OWN_HANDLING = FailureHandling(on_giving_up=())
OWN: dict[str, Any] = {
    "timeout_s": 1.0,
    "concurrency": 1,
    "retry_schedule_s": (),
    "rate_limit": RateLimit(1),
    "breaker": Breaker(enabled=False),
    "sending_hours": SendingHours(("* 8 * * *",)),
    "priority": Priority.LOW,
    "deliver_before_s": 1,
    "failure_handling": OWN_HANDLING,
    "ordering": Ordering.KEY,
    "on_order_failure": OnOrderFailure.BLOCK,
    "verify": VerificationMode.CHALLENGE,
}
PROJECTS: dict[str, Any] = {
    "timeout_s": 2.0,
    "concurrency": 2,
    "retry_schedule_s": LITHIC,
    "rate_limit": RateLimit(2),
    "breaker": Breaker(open_s=2),
    "sending_hours": SendingHours(("* 9 * * *",)),
    "priority": Priority.HIGH,
    "deliver_before_s": 2,
    "failure_handling": FailureHandling(triggers=("5xx",)),
    "ordering": Ordering.STRICT,
    "on_order_failure": OnOrderFailure.CONTINUE,
    "verify": VerificationMode.CLOUDEVENTS,
}
TWICE = FailureHandling(retry=Retry(Strategy.CONSTANT, interval_s=2.0, retries=2))
ONCE = FailureHandling(retry=Retry(Strategy.SCHEDULE, schedule_s=(9.0,)))


def subscription(**settings: Any) -> Subscription:
    return Subscription(b"p" * 16, b"s" * 16, "https://a.example/", **settings)


def test_what_is_set_nowhere_is_built_in() -> None:
    assert terms_of(subscription(), NOTHING_SET) is BUILT_IN
    assert Terms(timeout_s=20.0, concurrency=64, retry_schedule_s=STANDARD) == BUILT_IN


@pytest.mark.parametrize("name", Inheritable.__struct_fields__)
def test_own_goes_before_the_projects_and_that_before_what_is_built_in(name: str) -> None:
    own, defaults = subscription(**{name: OWN[name]}), Inheritable(**{name: PROJECTS[name]})
    assert terms_of(own, defaults) == Terms(**{name: OWN[name]})
    assert terms_of(subscription(), defaults) == Terms(**{name: PROJECTS[name]})


def test_what_is_not_set_is_inherited() -> None:
    assert inherited(subscription()) == Inheritable.__struct_fields__
    assert inherited(subscription(**OWN)) == ()
    rest = tuple(name for name in Inheritable.__struct_fields__ if name != "concurrency")
    assert inherited(subscription(concurrency=1)) == rest
    assert "retry_schedule_s" not in inherited(subscription(failure_handling=TWICE))
    assert "retry_schedule_s" in inherited(subscription(failure_handling=OWN_HANDLING))


@pytest.mark.parametrize(
    "own, defaults, schedule_s",
    [
        ({"failure_handling": TWICE}, {}, (2.0, 2.0)),
        ({"failure_handling": TWICE}, {"retry_schedule_s": (1.0,)}, (2.0, 2.0)),
        ({"failure_handling": TWICE}, {"failure_handling": ONCE}, (2.0, 2.0)),
        ({"retry_schedule_s": (1.0,)}, {"failure_handling": ONCE}, (1.0,)),
        ({"retry_schedule_s": ()}, {"failure_handling": ONCE}, ()),
        ({"failure_handling": OWN_HANDLING}, {"failure_handling": ONCE}, (9.0,)),
        ({"failure_handling": OWN_HANDLING}, {"retry_schedule_s": (1.0,)}, (1.0,)),
        ({"failure_handling": OWN_HANDLING}, {}, STANDARD),
        ({}, {"failure_handling": ONCE}, (9.0,)),
    ],
)
def test_when_to_try_again_is_said_by_who_comes_first_in_either_way(
    own: dict[str, Any], defaults: dict[str, Any], schedule_s: tuple[float, ...]
) -> None:
    assert terms_of(subscription(**own), Inheritable(**defaults)).retry_schedule_s == schedule_s


def test_keys_are_blocked_only_where_there_is_an_order() -> None:
    for ordering in Ordering:
        for then in OnOrderFailure:
            asked = ordering is not Ordering.NONE and then is OnOrderFailure.BLOCK
            assert Terms(ordering=ordering, on_order_failure=then).blocks is asked
