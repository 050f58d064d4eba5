"""Terms: what a subscription is sent by, once its project's defaults are filled in.

A setting that a project may give a default for is a field of `Inheritable` and, under the same name
and with what is built in as its default, of `Terms`: nothing else needs to be told of it here. One
thing can be said in two ways, when to try again, and is decided apart: by who comes first.
"""

from typing import Any, Final

import msgspec

from waypost.model.failure import BUILT_IN as BUILT_IN_HANDLING
from waypost.model.failure import FailureHandling
from waypost.model.flow import STANDARD_BREAKER, Breaker, Priority, RateLimit, SendingHours
from waypost.model.subscription import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TIMEOUT_S,
    Inheritable,
    OnOrderFailure,
    Ordering,
)
from waypost.model.verification import VerificationMode
from waypost.policy.failure import gaps_s
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
    failure_handling: FailureHandling = BUILT_IN_HANDLING
    ordering: Ordering = Ordering.NONE
    on_order_failure: OnOrderFailure = OnOrderFailure.CONTINUE
    verify: VerificationMode = VerificationMode.NONE

    @property
    def blocks(self) -> bool:
        """Whether what is behind an event that was given up waits until it is released."""
        return self.ordering is not Ordering.NONE and self.on_order_failure is OnOrderFailure.BLOCK


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
    schedule_s = own_schedule_s(own)
    if schedule_s is None:
        schedule_s = own_schedule_s(defaults)
    if schedule_s is not None:
        found["retry_schedule_s"] = schedule_s
    return Terms(**found) if found else BUILT_IN


def own_schedule_s(settings: Inheritable) -> tuple[float, ...] | None:
    """Return the gaps between tries that settings ask for, in seconds; None where they do not."""
    handling = settings.failure_handling
    if handling is not None and handling.retry is not None:
        return gaps_s(handling.retry)
    return settings.retry_schedule_s


def inherited(own: Inheritable) -> tuple[str, ...]:
    """Return the names of the settings that a subscription leaves to its project."""
    unset = [name for name in Inheritable.__struct_fields__ if getattr(own, name) is None]
    if own_schedule_s(own) is not None and own.retry_schedule_s is None:
        unset.remove("retry_schedule_s")
    return tuple(unset)
