"""Events as Convoy's clients post them, made into ours; the data stays the bytes that came."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.model.errors import InvalidInput
from waypost.model.event import EVENT_TYPE, EVENT_TYPE_MAX, Attributes
from waypost.model.ids import Id
from waypost.policy import headers, rawjson
from waypost.policy.events import (
    BAD_TYPE,
    Draft,
    EventLimits,
    finish,
    is_type,
    require_body_size,
    require_key,
    require_payload_size,
)
from waypost.policy.filter_syntax import SECRET_HEADERS

T = TypeVar("T", bound="Posted")

_NOT_KEPT: Final = "holds a secret, and is not kept of any event: set it at the endpoint"


class Posted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every way to post an event takes."""

    # What a document says of a body; what is missing is told by words of our own.
    DEMANDED: ClassVar[tuple[str, ...]] = ("event_type", "data")
    EITHER: ClassVar[tuple[str, ...]] = ()

    event_type: Annotated[
        str, Meta(extra_json_schema={"pattern": EVENT_TYPE, "maxLength": EVENT_TYPE_MAX})
    ] = ""
    data: msgspec.Raw | UnsetType = UNSET
    custom_headers: dict[str, str] | None = None
    idempotency_key: str | None = None


class EventIn(Posted, frozen=True, kw_only=True):
    """An event for one endpoint; `app_id` stands for all endpoints of an owner."""

    EITHER: ClassVar[tuple[str, ...]] = ("endpoint_id", "app_id")

    endpoint_id: str | None = None
    app_id: str | None = None


class FanOutIn(Posted, frozen=True, kw_only=True):
    """An event for all endpoints of an owner."""

    DEMANDED: ClassVar[tuple[str, ...]] = (*Posted.DEMANDED, "owner_id")

    owner_id: str = ""


class BroadcastIn(Posted, frozen=True, kw_only=True):
    """An event for whoever wants it."""


class DynamicIn(Posted, frozen=True, kw_only=True):
    """An event for a URL, which is an endpoint from then on."""

    DEMANDED: ClassVar[tuple[str, ...]] = (*Posted.DEMANDED, "url")

    url: str = ""
    secret: str | None = None
    event_types: tuple[str, ...] | None = None


_DECODERS: Final[dict[type[Any], msgspec.json.Decoder[Any]]] = {
    form: msgspec.json.Decoder(form) for form in (EventIn, FanOutIn, BroadcastIn, DynamicIn)
}


def read(body: bytes, form: type[T], limits: EventLimits) -> T:
    """Read a body.

    Raises:
        InvalidInput: it is not valid; says where.
        PayloadTooLarge: it is over the limit.
    """
    require_body_size(body, limits)
    if not body:
        raise InvalidInput("The body is empty; it must be JSON")
    found: T = rawjson.decode(_DECODERS[form], body)
    return found


def draft(
    posted: Posted,
    limits: EventLimits,
    *,
    needs_key: bool,
    endpoints: tuple[Id, ...] = (),
    owner: str | None = None,
) -> Draft:
    """Return an event that was posted: `checked` and `made` at once."""
    payload = checked(posted, limits)
    return made(posted, payload, needs_key=needs_key, endpoints=endpoints, owner=owner)


def checked(posted: Posted, limits: EventLimits) -> bytes:
    """Return the data of an event, as it came; this may take long.

    Raises:
        InvalidInput: something is missing or not valid, in Convoy's words.
        PayloadTooLarge: the data is over the limit.
    """
    if not posted.event_type:
        raise InvalidInput("please provide an event type")
    if posted.data is UNSET:
        raise InvalidInput("please provide your data")
    if not is_type(posted.event_type):
        raise InvalidInput(details=[("event_type", BAD_TYPE)])
    payload = rawjson.original(posted.data)
    require_payload_size(payload, limits, "data")
    rawjson.require_shallow(payload, "data")
    return payload


def made(
    posted: Posted,
    payload: bytes,
    *,
    needs_key: bool,
    endpoints: tuple[Id, ...] = (),
    owner: str | None = None,
) -> Draft:
    """Return an event that was posted.

    Args:
        posted: as it was read.
        payload: its data, checked.
        needs_key: it must have an idempotency key.
        endpoints: the addresses whose subscriptions alone are asked.
        owner: whose it is.

    Raises:
        InvalidInput: a header or the key is not valid, or the key is missing.
    """
    key = posted.idempotency_key or None
    if key is not None:
        require_key(key, "idempotency_key")
    elif needs_key:
        raise InvalidInput("please provide an idempotency key")
    attributes = Attributes(
        idempotency_key=key,
        owner=owner,
        endpoints=endpoints,
        headers=_headers(posted.custom_headers or {}),
    )
    return finish(posted.event_type, payload, attributes)


def _headers(given: Mapping[str, str]) -> dict[str, str]:
    try:
        headers.check(given)
    except InvalidInput as error:
        moved = [(path.replace("headers", "custom_headers", 1), why) for path, why in error.details]
        raise InvalidInput(details=moved) from error
    secret = [name for name in given if name.lower() in SECRET_HEADERS]
    if secret:
        raise InvalidInput(details=[(f"custom_headers.{name}", _NOT_KEPT) for name in secret])
    return {name.lower(): value for name, value in given.items()}
