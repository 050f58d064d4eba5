"""Stedi's shapes, made of ours and read into ours. Nothing here does anything.

In its words a subscription is a destination, and an event is thin: it names the resource that it is
about, and does not hold it.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.model import ids
from waypost.model.delivery import EventStatus
from waypost.model.errors import Conflict, InvalidInput, NotFound
from waypost.model.event import Event, Resource
from waypost.model.failure import Strategy
from waypost.model.ids import Id
from waypost.model.project import Environment
from waypost.model.subscription import Signing, SigningKey, Subscription
from waypost.policy import retry, signing, timestamp
from waypost.policy.events import is_type
from waypost.policy.failure_settings import FailureHandlingIn, RetryIn
from waypost.policy.settings import Settings
from waypost.web.errors import Problem, Rendered

EVENT: Final = "evt"
DESTINATION: Final = "dst"
MESSAGE: Final = "msg"

FORMAT: Final = "stedi"
CONCURRENCY: Final = 5
"""Of a destination for which none is set."""
CONCURRENCY_MAX: Final = 20
DESTINATIONS_MAX: Final = 16
"""How many a project may have."""
DISABLE_AFTER_S: Final = 48 * 3600.0
"""Nothing but failures for so long disables a destination."""
HOURS_MAX: Final = 720

TYPE_MAX: Final = 255
TOKEN_MAX: Final = 1_024
KEY_MAX: Final = 255
_DESCRIPTION_MAX: Final = 1_024
_HOUR_US: Final = 3_600_000_000
_SECOND: Final = 19
_MILLISECOND: Final = 23
"""How many characters of a spelled moment are of whole seconds, and of milliseconds."""

UUID: Final = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

_ID: Final = re.compile(f"[a-z]{{3,5}}_{UUID}")
_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")
_FIELDS: Final = {
    "url": "destinationUrl",
    "event_types": "eventTypes",
    "concurrency": "concurrencyLimit",
}
"""What our settings are called here."""

_EXCEPTIONS: Final = {
    400: "InvalidRequestException",
    401: "AuthenticationFailedException",
    403: "ForbiddenException",
    404: "NotFoundException",
    405: "InvalidRequestException",
    409: "ConflictException",
    413: "ContentTooLargeException",
    429: "TooManyRequestsException",
}
_LIMIT: Final = "EventDestinationsLimitExceededException"
_OURS: Final = "InternalServerException"
_STATUSES: Final = {"invalid_setting": 400, "limit_reached": 403}
"""Where it is not the status that says it."""

Type = Annotated[str, Meta(min_length=1, max_length=TYPE_MAX)]
Label = Annotated[str, Meta(min_length=1, max_length=255)]
Description = Annotated[str, Meta(max_length=_DESCRIPTION_MAX)]
Types = Annotated[list[Type], Meta(min_length=1)]
Limit = Annotated[float, Meta(ge=1, le=CONCURRENCY_MAX)]
Status = Literal["ENABLED", "DISABLED"]
EventState = Annotated[str, Meta(extra_json_schema={"enum": ["PENDING", "DELIVERED", "FAILED"]})]
Token = Annotated[str, Meta(min_length=1, max_length=TOKEN_MAX)]
Spelled = Annotated[str, Meta(extra_json_schema={"pattern": f"^[a-z]{{3,5}}_{UUID}$"})]
Secret = Annotated[
    str,
    Meta(
        extra_json_schema={"pattern": "^whsec_[A-Za-z0-9+/=]+$", "minLength": 30, "maxLength": 255}
    ),
]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Condition = Annotated[str, Meta(pattern="^(gt|gte|lt|lte):[0-9]{4}-")]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The query of the list of events; `created`: such as `gte:2030-01-31T12:00:00Z`."""

    page_size: Annotated[int, Meta(ge=1, le=1000)] = 100
    page_token: Token | None = None
    event_id: str | None = None
    event_type: Type | None = None
    status: tuple[Literal["PENDING", "DELIVERED", "FAILED"], ...] = ()
    created: tuple[Condition, ...] = ()


class DestinationsQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The query of the list of destinations."""

    page_size: Annotated[int, Meta(ge=1, le=100)] = 25
    page_token: Token | None = None
    status: Status | None = None
    event_type: Type | None = None


class Repeatable(msgspec.Struct, frozen=True, rename={"idempotency_key": "idempotency-key"}):
    """The header of a change: with the same key it is made once."""

    idempotency_key: Annotated[str, Meta(min_length=1, max_length=KEY_MAX)] | None = None


class CreateIn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True
):
    """The body that makes a destination."""

    name: Label
    destination_url: str
    event_types: Types
    description: Description = ""
    concurrency_limit: Limit = CONCURRENCY
    status: Status = "ENABLED"


class UpdateIn(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True
):
    """The body that changes a destination: what is left out stays."""

    name: Label | UnsetType = UNSET
    destination_url: str | UnsetType = UNSET
    event_types: Types | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    concurrency_limit: Limit | UnsetType = UNSET
    status: Status | UnsetType = UNSET


class RotateIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body that rotates a secret; hours may be broken."""

    previous_secret_expiry_hours: Annotated[float, Meta(ge=0, le=HOURS_MAX)] = 24

    @property
    def overlap_us(self) -> int:
        """How long the previous secret stays good, microseconds."""
        return round(self.previous_secret_expiry_hours * _HOUR_US)


class DestinationOut(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A destination."""

    id: Spelled
    name: Label
    description: Description
    destination_url: str
    event_types: Types
    status: Status
    concurrency_limit: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)] | UnsetType = UNSET
    created_at: Moment
    updated_at: Moment
    last_delivery_time: Moment | UnsetType = UNSET


class NewDestinationOut(DestinationOut, frozen=True, rename="camel", kw_only=True):
    """A destination that was just made, with its secret."""

    signing_secret: Secret


class DestinationsOut(msgspec.Struct, frozen=True, rename="camel"):
    """One page of destinations."""

    items: list[DestinationOut]
    next_page_token: Token | UnsetType = UNSET


class SecretOut(msgspec.Struct, frozen=True, rename="camel"):
    """A destination's secret, and until when the one before it is good as well."""

    signing_secret: Secret
    previous_secret_expires_at: Moment | UnsetType = UNSET


class ThinEvent(msgspec.Struct, frozen=True, rename="camel"):
    """What is delivered."""

    account: str
    created: Moment
    environment: Literal["TEST", "PRODUCTION"]
    id: Spelled
    object: Literal["v1.event"]
    resource: Resource
    type: str
    related_resources: Sequence[Resource] | UnsetType = UNSET


class PayloadOut(msgspec.Struct, frozen=True, rename="camel"):
    """What is delivered, under the name of its kind."""

    v1_event: ThinEvent


class SummaryOut(msgspec.Struct, frozen=True, rename="camel"):
    """An event in a list."""

    id: Spelled
    created_at: Moment
    event_type: Annotated[str, Meta(min_length=1)]
    status: EventState


class EventOut(SummaryOut, frozen=True, rename="camel"):
    """An event."""

    event_payload: PayloadOut


class EventsOut(msgspec.Struct, frozen=True, rename="camel"):
    """One page of events."""

    items: list[SummaryOut]
    next_page_token: Token | UnsetType = UNSET


_HANDLING: Final = FailureHandlingIn(
    retry=RetryIn(strategy=Strategy.SCHEDULE, schedule_s=retry.STEDI, jitter=0.0),
    disable_after_s=DISABLE_AFTER_S,
)


def settings_of_new(body: CreateIn) -> Settings:
    """Return the settings of a destination that is to be made.

    Raises:
        InvalidInput: a field is wrong.
    """
    return Settings(
        name=body.name,
        url=body.destination_url,
        event_types=_types(body.event_types),
        description=body.description,
        concurrency=_whole(body.concurrency_limit),
        disabled=body.status == "DISABLED",
        format=FORMAT,
        failure_handling=_HANDLING,
    )


def settings_of(body: UpdateIn) -> Settings:
    """Return what of a destination's settings is to change.

    Raises:
        InvalidInput: a field is wrong.
    """
    enabled = body.status == "ENABLED"
    return Settings(
        name=body.name,
        url=body.destination_url,
        event_types=UNSET if body.event_types is UNSET else _types(body.event_types),
        description=body.description,
        concurrency=UNSET if body.concurrency_limit is UNSET else _whole(body.concurrency_limit),
        disabled=UNSET if body.status is UNSET else not enabled,
        paused=False if enabled else UNSET,
    )


def _types(names: Sequence[str]) -> tuple[str, ...]:
    details = [
        (f"event_types[{at}]", "is given twice" if name in names[:at] else "is no event type")
        for at, name in enumerate(names)
        if name in names[:at] or not is_type(name)
    ]
    if details:
        raise InvalidInput(details=details)
    return tuple(names)


def _whole(limit: float) -> int:
    if limit != int(limit):
        raise InvalidInput(details=[("concurrency", "must be a whole number")])
    return int(limit)


def destination_out(subscription: Subscription, last_us: int | None) -> DestinationOut:
    """Return a destination; `last_us`: when it was last sent something, UTC microseconds."""
    return DestinationOut(**_destination(subscription, last_us))


def new_destination_out(
    subscription: Subscription, keys: Sequence[SigningKey]
) -> NewDestinationOut:
    """Return a destination that was just made."""
    return NewDestinationOut(
        **_destination(subscription, None), signing_secret=signing.spell_secret(keys[0])
    )


def _destination(subscription: Subscription, last_us: int | None) -> dict[str, Any]:
    token = ids.spell(DESTINATION, subscription.id)
    made_us = ids.moment(subscription.id)
    return {
        "id": token,
        "name": subscription.name or token,
        "description": subscription.description[:_DESCRIPTION_MAX],
        "destination_url": subscription.url,
        "event_types": subscription.event_types or ("*",),
        "status": "ENABLED" if is_enabled(subscription) else "DISABLED",
        "concurrency_limit": subscription.concurrency or UNSET,
        "created_at": seconds(made_us),
        "updated_at": seconds(subscription.changed_us or made_us),
        "last_delivery_time": UNSET if last_us is None else seconds(last_us),
    }


def is_enabled(subscription: Subscription) -> bool:
    """Tell whether a destination is sent events as they come."""
    return (
        subscription.disabled_by is None
        and not subscription.paused
        and subscription.suspension is None
    )


def secret_out(keys: Sequence[SigningKey]) -> SecretOut:
    """Return a destination's secret; `keys` are those that are good, the present one first.

    Raises:
        NotFound: it signs with a key of which only the receiver's half may be shown.
    """
    if keys[0].scheme is not Signing.HMAC:
        raise NotFound("shared signing secret")
    former = max((key.expires_at_us or 0 for key in keys[1:]), default=None)
    return SecretOut(signing.spell_secret(keys[0]), UNSET if former is None else seconds(former))


def rotated(keys: Sequence[SigningKey]) -> SecretOut:
    """Return the secret that has replaced another; `keys` are those that are kept, newest first.

    The other one is good until now where it is not among them.

    Raises:
        Conflict: the destination does not sign with a shared secret.
    """
    if keys[0].scheme is not Signing.HMAC:
        raise Conflict("The destination signs with a key pair, which is rotated natively.")
    until_us = keys[1].expires_at_us if len(keys) > 1 else ids.moment(keys[0].id)
    return SecretOut(signing.spell_secret(keys[0]), seconds(until_us or 0))


def summary_out(event_id: Id, event_type: str, status: EventStatus) -> SummaryOut:
    """Return an event as a list has it."""
    created = seconds(ids.moment(event_id))
    return SummaryOut(ids.spell(EVENT, event_id), created, event_type, status.value.upper())


def event_out(event: Event, status: EventStatus, environment: Environment) -> EventOut:
    """Return an event."""
    return EventOut(
        **msgspec.structs.asdict(summary_out(event.id, event.type, status)),
        event_payload=PayloadOut(thin(event, environment)),
    )


def thin(event: Event, environment: Environment) -> ThinEvent:
    """Return what is delivered of an event in a project of this environment."""
    token = ids.spell(EVENT, event.id)
    known = event.attributes
    return ThinEvent(
        account=ids.spell_uuid(event.project_id),
        created=milliseconds(ids.moment(event.id)),
        environment="PRODUCTION" if environment is Environment.PRODUCTION else "TEST",
        id=token,
        object="v1.event",
        resource=known.resource or Resource("event", token),
        type=event.type,
        related_resources=known.related_resources or UNSET,
    )


def read_id(kind: str, text: str, path: str, name: str) -> Id:
    """Read an id of a path or a query.

    Args:
        kind: its prefix.
        text: the id.
        path: where it stood.
        name: what it is the id of.

    Raises:
        InvalidInput: it is no id at all.
        NotFound: it is one of something else.
    """
    if _ID.fullmatch(text) is None:
        raise InvalidInput(details=[(path, f"must be {kind}_ and a UUID in lower case")])
    found = ids.find(kind, text)
    if found is None:
        raise NotFound(name)
    return found


_BEYOND: Final = {"gt": 1, "gte": 0, "lt": 0, "lte": 1}
"""By how many microseconds the bound of a range lies behind the moment that is named."""


def read_created(values: Sequence[str]) -> tuple[int | None, int | None]:
    """Read conditions on the time of creation; all of them hold.

    Returns:
        From which moment on, and up to which, UTC microseconds; None for no bound.

    Raises:
        InvalidInput: one is none.
    """
    begins: list[int] = []
    ends: list[int] = []
    for value in values:
        operator, _, text = value.partition(":")
        try:
            at_us = timestamp.read(text.replace(" ", "+")) + _BEYOND[operator]
        except (KeyError, ValueError) as error:
            reason = "must be gt, gte, lt or lte, a colon, and a time as 2026-01-31T12:00:00Z"
            raise InvalidInput(details=[("created", reason)]) from error
        (begins if operator.startswith("gt") else ends).append(at_us)
    return max(begins, default=None), min(ends, default=None)


def spell_page(position: Id) -> str:
    """Spell from where on the next page goes."""
    return ids.spell_hex(position)


def read_page(token: str) -> Id:
    """Read what `spell_page` has spelled.

    Raises:
        InvalidInput: it is nothing that was spelled so.
    """
    found = ids.find_hex(token)
    if found is None:
        raise InvalidInput(details=[("pageToken", "is not one that was given out")])
    return found


def render(problem: Problem) -> Rendered:
    """Render an error: the message, what is wrong with which part, and the name in a header."""
    status = _STATUSES.get(problem.code, problem.status)
    if status == 422:
        status = 409
    elif status not in _EXCEPTIONS and status < 500:
        status = 400
    name = _LIMIT if problem.code == "limit_reached" else _EXCEPTIONS.get(status, _OURS)
    places = [(pointer(path), why) for path, why in problem.details]
    told = "; ".join(f"{path}: {why}" if path else why for path, why in places)
    envelope: dict[str, Any] = {"message": told or problem.message}
    if places:
        envelope["errors"] = [
            {"message": why, "path": path} if path else {"message": why} for path, why in places
        ]
    headers = (("x-amzn-errortype", name), ("stedi-request-id", problem.request_id))
    return Rendered(status, msgspec.json.encode(envelope), headers=headers)


def pointer(path: str) -> str:
    """Return the JSON pointer (RFC 6901) of a path such as `event_types[0]`."""
    steps = [name or index for name, index in _STEP.findall(path)]
    if steps:
        steps[0] = _FIELDS.get(steps[0], steps[0])
    return "".join(f"/{step.replace('~', '~0').replace('/', '~1')}" for step in steps)


def seconds(at_us: int) -> str:
    """Spell a moment in whole seconds."""
    return f"{timestamp.spell(at_us)[:_SECOND]}Z"


def milliseconds(at_us: int) -> str:
    """Spell a moment in milliseconds."""
    return f"{timestamp.spell(at_us)[:_MILLISECOND]}Z"
