"""A subscription's settings: what people may set, what is allowed, and how a change is merged in.

What is not given stays as it is; an explicit null sets a field back to its default. Those that a
project may give defaults for are checked and merged alike in both places.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.model.api import Api
from waypost.model.authentication import Authentication
from waypost.model.errors import InvalidInput, InvalidSetting
from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.subscription import (
    NOTHING_SET,
    DisabledBy,
    Inheritable,
    OnOrderFailure,
    Ordering,
    Signing,
    Subscription,
)
from waypost.model.verification import VerificationMode
from waypost.policy import (
    authentication,
    failure,
    failure_settings,
    filters,
    headers,
    hours,
    retry,
    transforms,
    urls,
    verification,
)
from waypost.policy.egress import EgressRules
from waypost.policy.events import Text, is_type
from waypost.policy.failure_settings import GAP_MAX_S, SCHEDULE_MAX, FailureHandlingIn
from waypost.policy.routing import ALL, PREFIX
from waypost.policy.terms import terms_of
from waypost.policy.transforms import TransformIn

TYPES_MAX: Final = 500
"""How many event types a subscription may name."""
TIMEOUT_MIN_S: Final = 0.1
TIMEOUT_MAX_S: Final = 120.0
CONCURRENCY_MAX: Final = 1_000
WORTH_MAX_S: Final = 366 * 24 * 3600
DESCRIPTION_MAX: Final = 2_000
NAME_MAX: Final = 255
_NAMELESS: Final = "needs a name of this server, which WAYPOST_ORIGIN would tell, and has none"

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
"""Control characters; a description may still have lines and tabs."""

Description = Annotated[str, Meta(max_length=DESCRIPTION_MAX, description="For people.")]
Name = Annotated[str, Meta(max_length=NAME_MAX, description="For people.")]
EventTypes = Annotated[
    tuple[str, ...],
    Meta(
        max_length=TYPES_MAX,
        description=(
            "Exact types, prefixes as card.*, or *; null and empty for all types, but for those of"
            " system events, which are named or taken by waypost.*."
        ),
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
        description="Total deadline of one attempt, seconds; null for the project's, or 20.",
    ),
]
Concurrency = Annotated[
    int,
    Meta(
        ge=1,
        le=CONCURRENCY_MAX,
        description="How many attempts may be in flight at once; null for the project's, or 64.",
    ),
]
FormatName = Annotated[
    str, Meta(description="What is sent: payload, envelope, cloudevents, thin, or stedi.")
]
Owner = Annotated[Text, Meta(description="Only this owner's events; null for all.")]
Gap = Annotated[float, Meta(ge=0, le=GAP_MAX_S)]
Schedule = Annotated[
    tuple[Gap, ...],
    Meta(
        max_length=SCHEDULE_MAX,
        description=(
            "Seconds from each failed attempt to the next; or standard, lithic or stedi; null for"
            " the project's, or standard."
        ),
    ),
]
FailureHandling = Annotated[
    FailureHandlingIn,
    Meta(description="What is done about failures, as a whole; null for the project's."),
]
OrderingMode = Annotated[
    Ordering,
    Meta(
        description=(
            "In which order events are sent: none; key: those of one ordering key one at a time,"
            " as they were accepted; strict: all of them. Null for the project's, or none."
        )
    ),
]
AfterFailure = Annotated[
    OnOrderFailure,
    Meta(
        description=(
            "When an event is given up that has a place in an order: continue with the next one,"
            " or block those behind it until they are released. Null for the project's, or"
            " continue."
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
InsecureTls = Annotated[
    bool,
    Meta(description="Any certificate of the receiver will do: for receivers that have no other."),
]
Verify = Annotated[
    VerificationMode,
    Meta(
        description=(
            "How its URL is verified, before anything is sent there; null for the project's when it"
            " is set, or none."
        )
    ),
]


Proof = Annotated[
    Authentication,
    Meta(description="How deliveries prove who sends them, beside the signature; null for not."),
]
Limit = Annotated[
    RateLimit,
    Meta(
        description=(
            "At most burst + t * count / per_s attempts start in any t seconds; null for the"
            " project's, or no limit."
        )
    ),
]
BreakerSettings = Annotated[
    Breaker,
    Meta(
        description=(
            'Leaves a receiver alone that fails; {"enabled": false} switches it off, null is for'
            " the project's, or what is built in."
        )
    ),
]
Hours = Annotated[
    SendingHours,
    Meta(
        description=(
            "Attempts start in the minutes that one of these cron expressions names; null for the"
            " project's, or always."
        )
    ),
]
Place = Annotated[
    Priority,
    Meta(description="Who of the project goes first when slots are short; null for normal."),
]
WorthFor = Annotated[
    int,
    Meta(
        ge=1,
        le=WORTH_MAX_S,
        description=(
            "Deliveries that are older, seconds, are not tried any more and end as expired; null"
            " for the project's, or never."
        ),
    ),
]


class DefaultSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be set of what a project may give defaults for; what is left out stays."""

    timeout_s: Timeout | UnsetType | None = UNSET
    concurrency: Concurrency | UnsetType | None = UNSET
    retry_schedule: Schedule | str | UnsetType | None = UNSET
    failure_handling: FailureHandling | UnsetType | None = UNSET
    rate_limit: Limit | UnsetType | None = UNSET
    breaker: BreakerSettings | UnsetType | None = UNSET
    sending_hours: Hours | UnsetType | None = UNSET
    priority: Place | UnsetType | None = UNSET
    deliver_before_s: WorthFor | UnsetType | None = UNSET
    ordering: OrderingMode | UnsetType | None = UNSET
    on_order_failure: AfterFailure | UnsetType | None = UNSET
    verification: Verify | UnsetType | None = UNSET


class Settings(DefaultSettings, frozen=True, kw_only=True):
    """What of a subscription is to be set; what is left out stays as it is."""

    url: Annotated[str, Meta(description="Where events are posted to.")] | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    event_types: EventTypes | UnsetType | None = UNSET
    disabled: Disabled | UnsetType = UNSET
    paused: Paused | UnsetType = UNSET
    headers: Headers | UnsetType | None = UNSET
    format: FormatName | UnsetType = UNSET
    signing: Signing | UnsetType = UNSET
    owner: Owner | UnsetType | None = UNSET
    filter: ContentFilter | UnsetType = UNSET
    transform: TransformIn | UnsetType | None = UNSET
    authentication: Proof | UnsetType | None = UNSET
    insecure_tls: InsecureTls | UnsetType = UNSET
    name: Name | UnsetType = UNSET


class Brought(Settings, frozen=True, kw_only=True):
    """Settings that another API has set, and what only it has words for.

    Attributes:
        api: which it is, at the making of a subscription.
        particulars: what it keeps with the subscription.
        secret: any text; it takes the present one's place at once. None: one is made.
    """

    api: Api | UnsetType = UNSET
    particulars: dict[str, Any] | UnsetType = UNSET
    secret: bytes | UnsetType | None = UNSET


class SubscriptionRules(msgspec.Struct, frozen=True):
    """What settings are held to.

    Attributes:
        egress: where deliveries may go.
        formats: the names of the formats.
        origin: the name by which this server introduces itself; None where it has none.
    """

    egress: EgressRules
    formats: frozenset[str]
    origin: str | None = None


Present = TypeVar("Present", bound=Inheritable)


def merge(
    present: Present, wanted: DefaultSettings, defaults: Inheritable = NOTHING_SET
) -> Present:
    """Return a subscription, or a project's defaults, with checked settings merged in.

    `defaults` are those of a subscription's project.
    """
    given = {
        name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET
    }
    # Made by who can encrypt them.
    for name in ("authentication", "secret"):
        given.pop(name, None)
    changes: dict[str, Any] = {}
    for name, value in given.items():
        changes.update(_MERGES[name](value) if name in _MERGES else {name: value})
    merged = msgspec.structs.replace(present, **changes)
    if not isinstance(merged, Subscription) or not isinstance(present, Subscription):
        return merged
    if merged.url == present.url and wanted.verification is UNSET:
        return merged  # the project's may have changed since, which is for new URLs
    mode = terms_of(merged, defaults).verify
    return msgspec.structs.replace(
        merged, verification=verification.renewed(present, merged.url, mode)
    )


def reordered(
    present: Subscription, changed: Subscription, defaults: Inheritable
) -> tuple[Subscription, bool]:
    """Return a changed subscription with what its order needs, and whether blocked keys are free.

    What had to wait by the old order is to be found by the new one. A strict one finds it anyway.
    """
    before, after = terms_of(present, defaults), terms_of(changed, defaults)
    frees = before.ordering is not after.ordering or (before.blocks and not after.blocks)
    # One that is left to the project from now on may be changed there at the same time.
    if before.ordering is not after.ordering or present.ordering is not changed.ordering:
        unparking = after.ordering is not Ordering.STRICT
        changed = msgspec.structs.replace(changed, unparking=unparking)
    return changed, frees


def schedule_name(schedule_s: tuple[float, ...] | None) -> str | None:
    """Return the name of a schedule, or None where it has none."""
    return next((name for name, known in retry.SCHEDULES.items() if known == schedule_s), None)


def _disabled(disabled: bool) -> dict[str, Any]:  # noqa: FBT001 - the field's value
    if disabled:
        return {"disabled_by": DisabledBy.PERSON}
    return {"disabled_by": None, "failing_since_us": None}


def _retry_schedule(schedule: tuple[float, ...] | str | None) -> dict[str, Any]:
    if isinstance(schedule, str):
        schedule = retry.SCHEDULES[schedule]
    return {"retry_schedule_s": schedule}


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
    "retry_schedule": _retry_schedule,
    "failure_handling": lambda wanted: {
        "failure_handling": None if wanted is None else failure_settings.kept(wanted)
    },
    "filter": lambda raw: {"filter": filter_text(raw)},
    "transform": lambda given: {"transform": given and transforms.read(given)},
    "verification": lambda mode: {"verify": mode},
}


def check(wanted: Settings, rules: SubscriptionRules) -> None:
    """Refuse settings that a subscription may not have; what the types bound is taken for granted.

    Raises:
        InvalidInput: its details name every field that is wrong.
        InvalidSetting: failure handling, hours, verification or filter can't be obeyed, and nothing
            else is wrong.
    """
    details = [
        *_refusals(wanted.url, lambda url: urls.check(url, rules.egress)),
        *_refusals(wanted.headers, headers.check),
        *type_faults(wanted.event_types),
        *_default_faults(wanted),
        *_proof_faults(wanted, rules),
    ]
    contradictions = _contradictions(wanted, rules)
    if wanted.description and _CONTROLS.search(wanted.description):
        details.append(("description", "must not hold control characters"))
    if wanted.name and _CONTROLS.search(wanted.name):
        details.append(("name", "must not hold control characters"))
    if wanted.format is not UNSET and wanted.format not in rules.formats:
        details.append(("format", f"must be one of {', '.join(sorted(rules.formats))}"))
    if details:
        raise InvalidInput(details=details)
    if contradictions:
        raise InvalidSetting(details=contradictions)
    if wanted.sending_hours:
        hours.check(wanted.sending_hours)
    _require_origin(wanted, rules)
    text = filter_text(wanted.filter)
    if text is not None:
        filters.compiled(text)


def check_defaults(wanted: DefaultSettings, rules: SubscriptionRules) -> None:
    """Refuse defaults that a project may not have, as `check` does; paths begin with `defaults`.

    Raises:
        InvalidInput: its details name every field that is wrong.
        InvalidSetting: failure handling or hours can't be obeyed, and nothing else is wrong.
    """
    details = [(f"defaults.{path}", reason) for path, reason in _default_faults(wanted)]
    if details:
        raise InvalidInput(details=details)
    details = [(f"defaults.{path}", reason) for path, reason in _contradictions(wanted, rules)]
    if details:
        raise InvalidSetting(details=details)
    if wanted.sending_hours:
        hours.check(wanted.sending_hours, "defaults.sending_hours")
    _require_origin(wanted, rules, "defaults.")


def _require_origin(wanted: DefaultSettings, rules: SubscriptionRules, at: str = "") -> None:
    if wanted.verification is VerificationMode.CLOUDEVENTS and rules.origin is None:
        raise InvalidSetting(details=[(f"{at}verification", _NAMELESS)])


def _proof_faults(wanted: Settings, rules: SubscriptionRules) -> list[tuple[str, str]]:
    given = wanted.authentication
    return authentication.faults(given, rules.egress) if given else []


def check_together(
    settings: Inheritable, path: str = "", defaults: Inheritable = NOTHING_SET
) -> None:
    """Refuse settings that contradict each other, once a change is merged in.

    Args:
        settings: of a subscription, or a project's defaults.
        path: where they stand in the request, with a full stop behind.
        defaults: those of a subscription's project.

    Raises:
        InvalidSetting: retries, or a header, are said in two ways; or an order's failures are to
            block where there is no order.
    """
    if isinstance(settings, Subscription) and settings.authentication is not None:
        name = authentication.header_name(settings.authentication.shown)
        if name.lower() in map(str.lower, settings.headers):
            reason = "is what authentication is sent in"
            raise InvalidSetting(details=[(f"headers.{name}", reason)])
    if (
        isinstance(settings, Subscription)
        and settings.on_order_failure is OnOrderFailure.BLOCK
        and terms_of(settings, defaults).ordering is Ordering.NONE
    ):
        reason = "block needs an ordering: key or strict"
        raise InvalidSetting(details=[(f"{path}on_order_failure", reason)])
    handling, schedule_s = settings.failure_handling, settings.retry_schedule_s
    if handling is None or handling.retry is None or schedule_s is None:
        return
    if failure.gaps_s(handling.retry) != schedule_s:
        reason = "contradicts failure_handling.retry: set one of the two to null"
        raise InvalidSetting(details=[(f"{path}retry_schedule", reason)])


def _contradictions(wanted: DefaultSettings, rules: SubscriptionRules) -> list[tuple[str, str]]:
    if wanted.failure_handling is UNSET or wanted.failure_handling is None:
        return []
    found = failure_settings.faults(wanted.failure_handling, rules.egress, rules.formats)
    return [(f"failure_handling.{path}", reason) for path, reason in found]


def _default_faults(wanted: DefaultSettings) -> list[tuple[str, str]]:
    schedule = wanted.retry_schedule
    if isinstance(schedule, str) and schedule not in retry.SCHEDULES:
        names = ", ".join(sorted(retry.SCHEDULES))
        return [("retry_schedule", f"must be one of {names}, or a list of seconds")]
    return []


def _refusals(value: Any, demand: Callable[[Any], object]) -> list[tuple[str, str]]:
    """Return the details of what `demand` refuses of a value that was given."""
    if value is UNSET or value is None:
        return []
    try:
        demand(value)
    except InvalidInput as refusal:
        return list(refusal.details)
    return []


def type_faults(types: tuple[str, ...] | UnsetType | None) -> list[tuple[str, str]]:
    """Return the path and the fault of each that is no type, no prefix and not `*`."""
    return [
        (f"event_types[{index}]", "must be an event type, a prefix such as card.*, or *")
        for index, name in enumerate(types or ())
        if name != ALL and not is_type(name.removesuffix(PREFIX))
    ]
