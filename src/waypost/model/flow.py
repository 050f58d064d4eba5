"""Flow control: how fast, when, and in what order a subscription wants its deliveries."""

from enum import IntEnum, StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

DAY_S: Final = 24 * 3600
WINDOWS_MAX: Final = 10
"""How many cron expressions sending hours may have."""


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many attempts may start: a token bucket.

    In any t seconds at most `burst + t * count / per_s` start.

    Attributes:
        count: tokens that the bucket gains in `per_s` seconds.
        burst: tokens that it holds at most; None for a tenth of a second's worth, and at least one.
    """

    count: Annotated[int, Meta(ge=1, le=100_000)]
    per_s: Annotated[int, Meta(ge=1, le=DAY_S)] = 1
    burst: Annotated[int, Meta(ge=1, le=100_000)] | None = None

    @property
    def size(self) -> int:
        """How many tokens the bucket holds at most."""
        return self.burst or -(-self.count // (10 * self.per_s))


class Breaker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a receiver that fails is left alone, and how it is tried again.

    Attributes:
        enabled: false switches the breaker off.
        failure_ratio: it opens where so large a share of the attempts of a window has failed,
        min_requests: of at least so many.
        window_s: how long a window is, seconds; it begins with a failure.
        open_s: for how long nothing is sent, seconds.
        probes: so many successes in a row close it again; the first goes alone.
        disable_after: so many openings in a row disable the subscription; None for never.
    """

    enabled: bool = True
    failure_ratio: Annotated[float, Meta(gt=0, le=1)] = 0.8
    min_requests: Annotated[int, Meta(ge=1, le=10_000)] = 20
    window_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    open_s: Annotated[int, Meta(ge=1, le=DAY_S)] = 10
    probes: Annotated[int, Meta(ge=1, le=100)] = 3
    disable_after: Annotated[int, Meta(ge=1, le=1000)] | None = None


STANDARD_BREAKER: Final = Breaker()


class SendingHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When attempts may start: in every minute that one of the windows names.

    Attributes:
        windows: cron expressions of five fields: minute, hour, day, month, weekday.
        time_zone: an IANA name; the windows are of its wall clock.
    """

    windows: Annotated[tuple[str, ...], Meta(min_length=1, max_length=WINDOWS_MAX)]
    time_zone: str = "UTC"


class Priority(StrEnum):
    """A subscription's place among those of its project that wait for a free slot."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class FlowControl(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is set of a subscription's flow control; None: not set.

    Attributes:
        rate_limit: how many attempts may start in a time.
        breaker: when a receiver that fails is left alone.
        sending_hours: when attempts may start.
        priority: who goes first where the process has no free slots.
        deliver_before_s: for how long a delivery is worth anything, seconds.
    """

    rate_limit: RateLimit | None = None
    breaker: Breaker | None = None
    sending_hours: SendingHours | None = None
    priority: Priority | None = None
    deliver_before_s: int | None = None


class Wait(StrEnum):
    """What a lane that owes something may wait for."""

    PAUSED = "paused"
    SUSPENDED = "suspended"
    BREAKER_OPEN = "breaker_open"
    RETRY_AFTER = "retry_after"
    OUTSIDE_HOURS = "outside_hours"
    RATE_LIMIT = "rate_limit"


class Waits(msgspec.Struct, frozen=True):
    """What a lane waits for, and until when, UTC microseconds; None: until somebody ends it."""

    what: Wait
    until_us: int | None = None


class BreakerState(IntEnum):
    """The state of a breaker; the numbers are what the database keeps."""

    CLOSED = 0
    OPEN = 1
    HALF_OPEN = 2


class LaneState(msgspec.Struct, frozen=True):
    """What is kept of a lane for whoever owns it next, and for those who ask what it waits for.

    Attributes:
        breaker: the breaker's state,
        opened_until_us: until when it is open, or was, UTC microseconds; 0 where it is closed,
        openings: and how often in a row it has opened.
        limit: how many attempts may be in flight while the lane ramps up; None for all.
        waits: what it waited for when this was written; None: for nothing.
        at_us: when this was written, UTC microseconds.
    """

    breaker: BreakerState = BreakerState.CLOSED
    opened_until_us: int = 0
    openings: int = 0
    limit: int | None = None
    waits: Waits | None = None
    at_us: int = 0
