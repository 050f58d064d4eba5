"""Failure handling: what a subscription wants done about deliveries that fail."""

from enum import StrEnum
from typing import Any, Final

import msgspec

from waypost.model.ids import Id


class Strategy(StrEnum):
    """How the gaps between tries grow."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"
    SCHEDULE = "schedule"


class Retry(msgspec.Struct, frozen=True, omit_defaults=True):
    """When what has failed is tried again; all gaps in seconds.

    Attributes:
        interval_s: the first gap; for all strategies but a schedule.
        max_interval_s: no gap is longer; None for a day.
        retries: how many tries follow the first; for all strategies but a schedule.
        schedule_s: the gaps themselves, for a schedule.
        jitter: the share of a gap by which chance may shorten or stretch it, 0 to 1.
    """

    strategy: Strategy
    interval_s: float = 0.0
    max_interval_s: float | None = None
    retries: int = 0
    schedule_s: tuple[float, ...] = ()
    jitter: float | None = None


class Otherwise(StrEnum):
    """What a failure means that no trigger names."""

    TRIGGER = "trigger"
    DIVERT = "divert"
    IGNORE = "ignore"


class OnGivingUp(StrEnum):
    """What is done when a delivery is given up."""

    DIVERT = "divert"
    SUSPEND = "suspend"
    DISABLE = "disable"
    ALERT = "alert"


class Pending(StrEnum):
    """What a suspension does to what is owed when it begins."""

    KEEP = "keep"
    DIVERT = "divert"


class Incoming(StrEnum):
    """What a suspension does to what comes to be owed while it lasts."""

    KEEP = "keep"
    DIVERT = "divert"
    CANCEL = "cancel"


class WhileSuspended(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What becomes of deliveries while their subscription is suspended."""

    pending: Pending = Pending.KEEP
    incoming: Incoming = Incoming.KEEP


class AlertEndpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where notices of deliveries that were given up are posted to.

    Attributes:
        id: of the hidden subscription whose deliveries the notices are.
        insecure_tls: any certificate will do.
        particulars: what the API that has set it keeps with it; nothing else reads it.
    """

    id: Id
    url: str
    headers: dict[str, str] = {}
    format: str = "payload"
    insecure_tls: bool = False
    particulars: dict[str, Any] = {}


class FailureHandling(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is done about failures.

    Attributes:
        triggers: the failures that count: statuses as "404", classes as "5xx", "timeout",
            "connection" and "tls"; None for all.
        otherwise: what the others mean.
        retry: None for the subscription's schedule.
        retry_window_s: no retry is due later than this after the delivery was made.
        disable_after_s: nothing but failures for so long disables it; None for the server's.
        never_disable: neither a 410 nor days of failures disable the subscription: they are
            failures like all others.
    """

    triggers: tuple[str, ...] | None = None
    otherwise: Otherwise = Otherwise.TRIGGER
    retry: Retry | None = None
    retry_window_s: float | None = None
    disable_after_s: float | None = None
    on_giving_up: tuple[OnGivingUp, ...] = (OnGivingUp.DIVERT,)
    suspended: WhileSuspended = WhileSuspended()
    alert_endpoints: tuple[AlertEndpoint, ...] = ()
    never_disable: bool = False


BUILT_IN: Final = FailureHandling()


class Suspension(msgspec.Struct, frozen=True):
    """Why a subscription is suspended.

    Attributes:
        since_us: UTC microseconds; what came to be owed from then on came meanwhile.
        event_id: the event whose delivery was given up.
        trigger: the failure, as a trigger names it.
        message: the same for people.
    """

    since_us: int
    event_id: Id
    trigger: str
    message: str
