"""Terms: a subscription's own settings, else its project's, else what is built in."""

from typing import Any

import pytest

from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.subscription import NOTHING_SET, Inheritable, Subscription
from waypost.policy.retry import LITHIC, STANDARD
from waypost.policy.terms import BUILT_IN, Terms, inherited, terms_of

OWN: dict[str, Any] = {
    "timeout_s": 1.0,
    "concurrency": 1,
    "retry_schedule_s": (),
    "rate_limit": RateLimit(1),
    "breaker": Breaker(enabled=False),
    "sending_hours": SendingHours(("* 8 * * *",)),
    "priority": Priority.LOW,
    "deliver_before_s": 1,
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
}


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
