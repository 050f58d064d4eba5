"""Failure handling as people set it: its shape, what contradicts itself, and what is kept of it.

It is set as a whole. What can't be obeyed, or would have no effect, is refused when it is set.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.model.errors import InvalidInput
from waypost.model.failure import (
    AlertEndpoint,
    FailureHandling,
    OnGivingUp,
    Otherwise,
    Retry,
    Strategy,
    WhileSuspended,
)
from waypost.model.ids import FIRST, Id
from waypost.policy import headers, signing, urls
from waypost.policy.egress import EgressRules
from waypost.policy.failure import CONNECTION, TIMEOUT, TLS

RETRIES_MAX: Final = 1_000
SCHEDULE_MAX: Final = 50
GAP_MAX_S: Final = 30 * 24 * 3600.0
WINDOW_MAX_S: Final = 365 * 24 * 3600.0
DISABLE_AFTER_MIN_S: Final = 60.0
TRIGGERS_MAX: Final = 50
ALERT_ENDPOINTS_MAX: Final = 5

_WORDS: Final = frozenset({"3xx", "4xx", "5xx", TIMEOUT, CONNECTION, TLS})
_STATUS: Final = re.compile(r"[345][0-9][0-9]", re.ASCII)

Faults = Iterator[tuple[str, str]]
"""Pairs of the path of a field and what is wrong with it."""

Gap = Annotated[float, Meta(ge=0, le=GAP_MAX_S)]
Schedule = Annotated[tuple[Gap, ...], Meta(max_length=SCHEDULE_MAX)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may hold nothing unknown."""


class RetryIn(_Strict, frozen=True, kw_only=True):
    """When what has failed is tried again."""

    strategy: Annotated[
        Strategy,
        Meta(
            description=(
                "constant: always interval_s; linear: interval_s times the number of the retry;"
                " exponential: doubled each time; schedule: as schedule_s has it."
            )
        ),
    ]
    interval_s: Annotated[Gap, Meta(description="The first gap, seconds.")] | None = None
    max_interval_s: (
        Annotated[Gap, Meta(description="No gap is longer, seconds; null for a day.")] | None
    ) = None
    retries: (
        Annotated[int, Meta(ge=0, le=RETRIES_MAX, description="Tries behind the first.")] | None
    ) = None
    schedule_s: Annotated[Schedule, Meta(description="The gaps, seconds.")] | None = None
    jitter: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="By which share chance varies a gap; null for 0.2."),
        ]
        | None
    ) = None


class AlertEndpointIn(_Strict, frozen=True, kw_only=True):
    """Where notices of what was given up are posted to."""

    url: Annotated[str, Meta(description="Where notices are posted to.")]
    headers: Annotated[dict[str, str], Meta(description="Sent with every notice.")] = {}
    format: Annotated[str, Meta(description="As of a subscription.")] = "payload"
    secret: (
        Annotated[
            str,
            Meta(
                description=(
                    "Signs the notices: whsec_ or whsk_. May be left out for a URL that is an alert"
                    " endpoint already: then its secret stays. Never shown."
                )
            ),
        ]
        | UnsetType
    ) = UNSET
    insecure_tls: Annotated[bool, Meta(description="Any certificate will do.")] = False


class BroughtAlertEndpoint(AlertEndpointIn, frozen=True, kw_only=True):
    """An alert endpoint that another API has set: its secret may be any text.

    Attributes:
        particulars: what that API keeps with it.
        key: the secret; None: it stays, or one is made.
        follows: the URL of the one whose place it takes.
    """

    particulars: dict[str, Any] = {}
    key: bytes | None = None
    follows: str | None = None


class FailureHandlingIn(_Strict, frozen=True, kw_only=True):
    """What is done about failures; what is left out is what is built in."""

    triggers: (
        Annotated[
            tuple[str, ...],
            Meta(
                max_length=TRIGGERS_MAX,
                description=(
                    "The failures that count: 404, 5xx, timeout, connection, tls; null for all."
                ),
            ),
        ]
        | None
    ) = None
    otherwise: Annotated[
        Otherwise,
        Meta(
            description=(
                "What other failures mean. trigger: the same; divert, ignore: the delivery has"
                " failed at once, and goes to the dead-letter box, or not."
            )
        ),
    ] = Otherwise.TRIGGER
    retry: RetryIn | None = None
    retry_window_s: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=WINDOW_MAX_S,
                description="No retry is due later than this behind the event, seconds.",
            ),
        ]
        | None
    ) = None
    disable_after_s: (
        Annotated[
            float,
            Meta(
                ge=DISABLE_AFTER_MIN_S,
                le=WINDOW_MAX_S,
                description=(
                    "Nothing but failures for so long disables it, seconds; null for the server's."
                ),
            ),
        ]
        | None
    ) = None
    on_giving_up: Annotated[
        tuple[OnGivingUp, ...],
        Meta(description="What is done when a delivery is given up; [] for nothing."),
    ] = (OnGivingUp.DIVERT,)
    suspended: (
        Annotated[WhileSuspended, Meta(description="What becomes of deliveries meanwhile.")] | None
    ) = None
    alert_endpoints: Annotated[
        tuple[AlertEndpointIn, ...], Meta(max_length=ALERT_ENDPOINTS_MAX)
    ] = ()
    never_disable: Annotated[
        bool, Meta(description="Neither a 410 nor days of failures disable the subscription.")
    ] = False


def kept(wanted: FailureHandlingIn) -> FailureHandling:
    """Return what is kept of checked settings; who keeps them gives the alert endpoints their ids.

    Their secrets are kept elsewhere.
    """
    retry = wanted.retry
    return FailureHandling(
        triggers=None if wanted.triggers is None else tuple(dict.fromkeys(wanted.triggers)),
        otherwise=wanted.otherwise,
        retry=None
        if retry is None
        else Retry(
            strategy=retry.strategy,
            interval_s=retry.interval_s or 0.0,
            max_interval_s=retry.max_interval_s,
            retries=retry.retries or 0,
            schedule_s=retry.schedule_s or (),
            jitter=retry.jitter,
        ),
        retry_window_s=wanted.retry_window_s,
        disable_after_s=wanted.disable_after_s,
        on_giving_up=tuple(dict.fromkeys(wanted.on_giving_up)),
        suspended=wanted.suspended or WhileSuspended(),
        alert_endpoints=tuple(kept_endpoint(FIRST, one) for one in wanted.alert_endpoints),
        never_disable=wanted.never_disable,
    )


def kept_endpoint(endpoint_id: Id, wanted: AlertEndpointIn) -> AlertEndpoint:
    """Return what is kept of an alert endpoint."""
    own = wanted.particulars if isinstance(wanted, BroughtAlertEndpoint) else {}
    return AlertEndpoint(
        endpoint_id, wanted.url, wanted.headers, wanted.format, wanted.insecure_tls, own
    )


def faults(wanted: FailureHandlingIn, egress: EgressRules, formats: frozenset[str]) -> Faults:
    """Yield what can't be obeyed, each with its path below `failure_handling`."""
    yield from _trigger_faults(wanted)
    if wanted.retry is not None:
        for path, reason in _retry_faults(wanted.retry):
            yield f"retry.{path}", reason
    done = wanted.on_giving_up
    if OnGivingUp.SUSPEND in done and OnGivingUp.DISABLE in done:
        yield "on_giving_up", "must not hold both suspend and disable"
    if wanted.suspended is not None and OnGivingUp.SUSPEND not in done:
        yield "suspended", "has no effect unless on_giving_up holds suspend"
    if OnGivingUp.ALERT in done and not wanted.alert_endpoints:
        yield "alert_endpoints", "are required where on_giving_up holds alert"
    if wanted.alert_endpoints and OnGivingUp.ALERT not in done:
        yield "alert_endpoints", "have no effect unless on_giving_up holds alert"
    seen: set[str] = set()
    for index, endpoint in enumerate(wanted.alert_endpoints):
        for path, reason in _endpoint_faults(endpoint, egress, formats):
            yield f"alert_endpoints[{index}].{path}", reason
        if endpoint.url in seen:
            yield f"alert_endpoints[{index}].url", "is given twice"
        seen.add(endpoint.url)


def _trigger_faults(wanted: FailureHandlingIn) -> Faults:
    for index, trigger in enumerate(wanted.triggers or ()):
        if trigger not in _WORDS and _STATUS.fullmatch(trigger) is None:
            words = "3xx, 4xx, 5xx, timeout, connection or tls"
            yield f"triggers[{index}]", f"must be a status from 300 to 599, {words}"
    if wanted.otherwise is not Otherwise.TRIGGER and wanted.triggers is None:
        yield "otherwise", "has no effect without triggers"


def _retry_faults(retry: RetryIn) -> Faults:
    if retry.strategy is Strategy.SCHEDULE:
        if retry.schedule_s is None:
            yield "schedule_s", "is required for a schedule"
        for path in ("interval_s", "max_interval_s", "retries"):
            if getattr(retry, path) is not None:
                yield path, "has no effect on a schedule"
        return
    if retry.schedule_s is not None:
        yield "schedule_s", "has no effect but on a schedule"
    for path in ("interval_s", "retries"):
        if getattr(retry, path) is None:
            yield path, f"is required for {retry.strategy.value}"
    longest_s = retry.max_interval_s
    if longest_s is not None and retry.strategy is Strategy.CONSTANT:
        yield "max_interval_s", "has no effect on a constant interval"
    elif longest_s is not None and longest_s < (retry.interval_s or 0):
        yield "max_interval_s", "must not be less than interval_s"


def _endpoint_faults(
    endpoint: AlertEndpointIn, egress: EgressRules, formats: frozenset[str]
) -> Faults:
    try:
        urls.check(endpoint.url, egress)
    except InvalidInput as refusal:
        yield from refusal.details
    try:
        headers.check(endpoint.headers)
    except InvalidInput as refusal:
        yield from refusal.details
    if endpoint.format not in formats:
        yield "format", f"must be one of {', '.join(sorted(formats))}"
    if endpoint.secret is not UNSET:
        try:
            signing.read_secret(endpoint.secret)
        except InvalidInput as refusal:
            yield from refusal.details
