"""Terms: what a subscription is sent by, once its project's defaults are filled in.

A setting that a project may give a default for is a field of `Inheritable` and, under the same name
and with what is built in as its default, of `Terms`: nothing else needs to be told of it here.
"""

from typing import Any, Final

import msgspec

from waypost.model.flow import STANDARD_BREAKER, Breaker, Priority, RateLimit, SendingHours
from waypost.model.subscription import DEFAULT_CONCURRENCY, DEFAULT_TIMEOUT_S, Inheritable
from waypost.policy.retry import STANDARD


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that hold: every field of `Inheritable`, and what is None is not limited.

    The fields are what is built in; their meaning is told there.
    """

    timeout_s: float = DEFAULT_TIMEOUT_S
    concurrency: int = DEFAULT_CONCURRENCY
    retry_schedule_s: tuple[float, ...] = STANDARD
    rate_limit: RateLimit | None = None
    breaker: Breaker = STANDARD_BREAKER
    sending_hours: SendingHours | None = None
    priority: Priority = Priority.NORMAL
    deliver_before_s: int | None = None


BUILT_IN: Final = Terms()


def terms_of(own: Inheritable, defaults: Inheritable) -> Terms:
    """Return what holds for a subscription.

    Args:
        own: the subscription's own settings.
        defaults: its project's.
    """
    found: dict[str, Any] = {}
    for name in Inheritable.__struct_fields__:
        value = getattr(own, name)
        if value is None:
            value = getattr(defaults, name)
        if value is not None:
            found[name] = value
    return Terms(**found) if found else BUILT_IN


def inherited(own: Inheritable) -> tuple[str, ...]:
    """Return the names of the settings that a subscription leaves to its project."""
    return tuple(name for name in Inheritable.__struct_fields__ if getattr(own, name) is None)
