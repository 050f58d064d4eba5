"""A subscription's settings: what people may set, what is allowed, and how a change is merged in.

What is not given stays as it is; an explicit null sets a field back to its default.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.model.errors import InvalidInput, InvalidSetting
from waypost.model.subscription import (
    DEFAULT_CONCURRENCY,
    DEFAULT_TIMEOUT_S,
    DisabledBy,
    OnOrderFailure,
    Ordering,
    Signing,
    Subscription,
)
from waypost.policy import filters, headers, retry, transforms, urls
from waypost.policy.egress import EgressRules
from waypost.policy.events import Text, is_type
from waypost.policy.routing import ALL, PREFIX
from waypost.policy.transforms import TransformIn

TYPES_MAX: Final = 500
"""How many event types a subscription may name."""
TIMEOUT_MIN_S: Final = 0.1
TIMEOUT_MAX_S: Final = 120.0
CONCURRENCY_MAX: Final = 1_000
RETRIES_MAX: Final = 50
RETRY_GAP_MAX_S: Final = 30 * 24 * 3600.0
DESCRIPTION_MAX: Final = 2_000

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters; a description may still have lines and tabs."""

Description = Annotated[str, Meta(max_length=DESCRIPTION_MAX, description="For people.")]
EventTypes = Annotated[
    tuple[str, ...],
    Meta(
        max_length=TYPES_MAX,
        description="Exact types, prefixes as card.*, or *; null and empty for all types.",
    ),
]
Disabled = Annotated[
    bool,
    Meta(description="True: nothing is owed, and what was is cancelled. False: enabled anew."),
]
Paused = Annotated[bool, Meta(description="Nothing is sent; what is owed is kept.")]
Headers = Annotated[dict[str, str], Meta(description="Sent with every delivery.")]
Timeout = Annotated[
    float,
    Meta(
        ge=TIMEOUT_MIN_S,
        le=TIMEOUT_MAX_S,
        description="Total deadline of one attempt, seconds; null for 20.",
    ),
]
Concurrency = Annotated[
    int,
    Meta(
        ge=1,
        le=CONCURRENCY_MAX,
        description="How many attempts may be in flight at once; null for 64.",
    ),
]
FormatName = Annotated[
    str, Meta(description="What is sent: payload, envelope, cloudevents or thin.")
]
Owner = Annotated[Text, Meta(description="Only this owner's events; null for all.")]
Gap = Annotated[float, Meta(ge=0, le=RETRY_GAP_MAX_S)]
Schedule = Annotated[
    tuple[Gap, ...],
    Meta(
        max_length=RETRIES_MAX,
        description="Seconds from each failed attempt to the next; or standard, or lithic.",
    ),
]
OrderingMode = Annotated[
    Ordering,
    Meta(
        description=(
            "In which order events are sent: none; key: those of one ordering key one at a time,"
            " as they were accepted; strict: all of them. Null for none."
        )
    ),
]
AfterFailure = Annotated[
    OnOrderFailure,
    Meta(
        description=(
            "When an event is given up that has a place in an order: continue with the next one,"
            " or block those behind it until they are released. Null for continue."
        )
    ),
]
ContentFilter = Annotated[
    msgspec.Raw,
    Meta(
        description=(
            'A condition on the content of events, as {"body": {"amount": {"$gt": 100}}};'
            " null for none."
        ),
        extra_json_schema={"type": ["object", "null"]},
    ),
]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What of a subscription is to be set; what is left out stays as it is."""

    url: Annotated[str, Meta(description="Where events are posted to.")] | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    event_types: EventTypes | UnsetType | None = UNSET
    disabled: Disabled | UnsetType = UNSET
    paused: Paused | UnsetType = UNSET
    headers: Headers | UnsetType | None = UNSET
    timeout_s: Timeout | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    format: FormatName | UnsetType = UNSET
    signing: Signing | UnsetType = UNSET
    owner: Owner | UnsetType | None = UNSET
    retry_schedule: Schedule | str | UnsetType | None = UNSET
    filter: ContentFilter | UnsetType = UNSET
    transform: TransformIn | UnsetType | None = UNSET
    ordering: OrderingMode | UnsetType | None = UNSET
    on_order_failure: AfterFailure | UnsetType | None = UNSET


class SubscriptionRules(msgspec.Struct, frozen=True):
    """What settings are held to: where deliveries may go, and the names of the formats."""

    egress: EgressRules
    formats: frozenset[str]


def merge(present: Subscription, wanted: Settings) -> Subscription:
    """Return a subscription with checked settings merged in."""
    given = {
        name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET
    }
    changes: dict[str, Any] = {}
    for name, value in given.items():
        changes.update(_MERGES[name](value) if name in _MERGES else {name: value})
    return msgspec.structs.replace(present, **changes)


def demand_consistent(subscription: Subscription) -> None:
    """Refuse settings that contradict each other.

    Raises:
        InvalidSetting: one of them can't be obeyed because of another.
    """
    blocks = subscription.on_order_failure is OnOrderFailure.BLOCK
    if blocks and subscription.ordering is Ordering.NONE:
        raise InvalidSetting(
            details=[("on_order_failure", "block needs an ordering: key or strict")]
        )


def schedule_name(schedule_s: tuple[float, ...] | None) -> str | None:
    """Return the name of a schedule, or None where it has none."""
    if schedule_s is None:
        return "standard"
    return next((name for name, known in retry.SCHEDULES.items() if known == schedule_s), None)


def _disabled(disabled: bool) -> dict[str, Any]:  # noqa: FBT001 - the field's value
    if disabled:
        return {"disabled_by": DisabledBy.PERSON}
    return {"disabled_by": None, "failing_since_us": None}


def _retry_schedule(schedule: tuple[float, ...] | str | None) -> dict[str, Any]:
    if isinstance(schedule, str):
        schedule = retry.SCHEDULES[schedule]
    return {"retry_schedule_s": None if schedule == retry.STANDARD else schedule}


def filter_text(raw: msgspec.Raw | UnsetType) -> str | None:
    """Return a filter as it was sent; None where it is null or was not sent.

    Raises:
        InvalidSetting: it is no UTF-8.
    """
    text = b"null" if raw is UNSET else bytes(raw)
    try:
        return None if text == b"null" else text.decode()
    except UnicodeDecodeError as error:
        raise InvalidSetting(details=[("filter", "must be UTF-8")]) from error


_MERGES: Final[dict[str, Callable[[Any], dict[str, Any]]]] = {
    "event_types": lambda types: {"event_types": tuple(dict.fromkeys(types or ())) or None},
    "disabled": _disabled,
    "headers": lambda custom: {"headers": custom or {}},
    "timeout_s": lambda seconds: {"timeout_s": seconds or DEFAULT_TIMEOUT_S},
    "concurrency": lambda count: {"concurrency": count or DEFAULT_CONCURRENCY},
    "retry_schedule": _retry_schedule,
    "filter": lambda raw: {"filter": filter_text(raw)},
    "transform": lambda given: {"transform": given and transforms.read(given)},
    "ordering": lambda mode: {"ordering": mode or Ordering.NONE},
    "on_order_failure": lambda what: {"on_order_failure": what or OnOrderFailure.CONTINUE},
}


def check(wanted: Settings, rules: SubscriptionRules) -> None:
    """Refuse settings that a subscription may not have; what the types bound is taken for granted.

    Raises:
        InvalidInput: its details name every field that is wrong.
        InvalidSetting: the filter can't be obeyed, and nothing else is wrong.
    """
    details = [
        *_refusals(wanted.url, lambda url: urls.check(url, rules.egress)),
        *_refusals(wanted.headers, headers.check),
        *_type_faults(wanted.event_types),
    ]
    if wanted.description and _CONTROLS.search(wanted.description):
        details.append(("description", "must not hold control characters"))
    if wanted.format is not UNSET and wanted.format not in rules.formats:
        details.append(("format", f"must be one of {', '.join(sorted(rules.formats))}"))
    schedule = wanted.retry_schedule
    if isinstance(schedule, str) and schedule not in retry.SCHEDULES:
        names = ", ".join(sorted(retry.SCHEDULES))
        details.append(("retry_schedule", f"must be one of {names}, or a list of seconds"))
    if details:
        raise InvalidInput(details=details)
    text = filter_text(wanted.filter)
    if text is not None:
        filters.compiled(text)


def _refusals(value: Any, demand: Callable[[Any], object]) -> list[tuple[str, str]]:
    """Return the details of what `demand` refuses of a value that was given."""
    if value is UNSET or value is None:
        return []
    try:
        demand(value)
    except InvalidInput as refusal:
        return list(refusal.details)
    return []


def _type_faults(types: tuple[str, ...] | UnsetType | None) -> list[tuple[str, str]]:
    return [
        (f"event_types[{index}]", "must be an event type, a prefix such as card.*, or *")
        for index, name in enumerate(types or ())
        if name != ALL and not is_type(name.removesuffix(PREFIX))
    ]
