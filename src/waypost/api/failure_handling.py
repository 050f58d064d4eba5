"""How failure handling and suspensions stand on the wire."""

from typing import Final

import msgspec

from waypost.api.shapes import Moment, moment
from waypost.model import ids
from waypost.model.failure import FailureHandling, Retry, Strategy, Suspension

MASKED: Final = "***"


class RetryOut(msgspec.Struct, frozen=True):
    """When what has failed is tried again; what the strategy does not use is null."""

    strategy: str
    interval_s: float | None
    max_interval_s: float | None
    retries: int | None
    schedule_s: tuple[float, ...] | None
    jitter: float | None


class AlertEndpointOut(msgspec.Struct, frozen=True):
    """Where notices are posted to; the secret is never shown.

    The values of `headers` are masked for a key that may not change subscriptions.
    """

    url: str
    headers: dict[str, str]
    format: str
    insecure_tls: bool
    secret: str = MASKED


class WhileSuspendedOut(msgspec.Struct, frozen=True):
    """What becomes of deliveries while their subscription is suspended."""

    pending: str
    incoming: str


class FailureHandlingOut(msgspec.Struct, frozen=True):
    """What is done about failures; `retry` null: as `retry_schedule` has it."""

    triggers: tuple[str, ...] | None
    otherwise: str
    retry: RetryOut | None
    retry_window_s: float | None
    disable_after_s: float | None
    on_giving_up: tuple[str, ...]
    suspended: WhileSuspendedOut
    alert_endpoints: tuple[AlertEndpointOut, ...]
    never_disable: bool


class SuspensionOut(msgspec.Struct, frozen=True):
    """Why a subscription is suspended: the event that was given up, and its last failure."""

    since: Moment
    by: str
    event_token: str
    trigger: str
    message: str


def handling_out(handling: FailureHandling, *, masked: bool) -> FailureHandlingOut:
    """Return failure handling as it is shown; `masked`: without the values of headers."""
    return FailureHandlingOut(
        triggers=handling.triggers,
        otherwise=handling.otherwise.value,
        retry=None if handling.retry is None else _retry(handling.retry),
        retry_window_s=handling.retry_window_s,
        disable_after_s=handling.disable_after_s,
        on_giving_up=tuple(one.value for one in handling.on_giving_up),
        suspended=WhileSuspendedOut(
            handling.suspended.pending.value, handling.suspended.incoming.value
        ),
        alert_endpoints=tuple(
            AlertEndpointOut(
                one.url,
                dict.fromkeys(one.headers, MASKED) if masked else one.headers,
                one.format,
                one.insecure_tls,
            )
            for one in handling.alert_endpoints
        ),
        never_disable=handling.never_disable,
    )


def suspension_out(suspension: Suspension) -> SuspensionOut:
    """Return a suspension as it is shown."""
    return SuspensionOut(
        since=moment(suspension.since_us),
        by="failure_handling",
        event_token=ids.spell(ids.EVENT, suspension.event_id),
        trigger=suspension.trigger,
        message=suspension.message,
    )


def _retry(retry: Retry) -> RetryOut:
    by_schedule = retry.strategy is Strategy.SCHEDULE
    return RetryOut(
        strategy=retry.strategy.value,
        interval_s=None if by_schedule else retry.interval_s,
        max_interval_s=retry.max_interval_s,
        retries=None if by_schedule else retry.retries,
        schedule_s=retry.schedule_s if by_schedule else None,
        jitter=retry.jitter,
    )
