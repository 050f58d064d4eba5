"""A source's settings: what people may set, what is allowed, and how a change is merged in.

What is not given stays as it is; an explicit null sets a field back to its default.
"""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.model.errors import InvalidSetting
from waypost.model.source import (
    SIGNED,
    ApiKeyHeader,
    BasicAuth,
    CustomResponse,
    Hmac,
    Noop,
    Source,
    SourceType,
    Verifier,
)
from waypost.policy import headers, places, verifiers
from waypost.policy.events import NO_CONTROLS, EventLimits
from waypost.policy.filter_syntax import SECRET_HEADERS
from waypost.policy.media import is_media_type
from waypost.policy.places import Part

NAME_MAX: Final = 128
SECRET_MAX: Final = 1_024
RESPONSE_MAX: Final = 16 * 1024
KEYS_MAX: Final = 8
HEADERS_MAX: Final = 64

_NAMED: Final = "Where events' type is in a request; null: all have the mask of the source."
_KEYS: Final = "Places that make up an idempotency key; null and empty: events have none."
_HEADERS: Final = "Which headers are kept with events; null: all that hold no secret."

Named = Annotated[str, Meta(min_length=1, max_length=NAME_MAX, pattern=NO_CONTROLS)]


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What of a source is to be set; what is left out stays as it is."""

    name: Named | UnsetType = UNSET
    verifier: (
        Annotated[Verifier, Meta(description="How senders prove who they are; null: not.")]
        | UnsetType
        | None
    ) = UNSET
    custom_response: (
        Annotated[CustomResponse, Meta(description="What senders are answered.")] | UnsetType | None
    ) = UNSET
    event_type_location: Annotated[str, Meta(description=_NAMED)] | UnsetType | None = UNSET
    idempotency_keys: (
        Annotated[tuple[str, ...], Meta(max_length=KEYS_MAX, description=_KEYS)] | UnsetType | None
    ) = UNSET
    forward_headers: (
        Annotated[tuple[str, ...], Meta(max_length=HEADERS_MAX, description=_HEADERS)]
        | UnsetType
        | None
    ) = UNSET
    max_bytes: (
        Annotated[int, Meta(ge=1, description="Of a body; null for what every event may have.")]
        | UnsetType
        | None
    ) = UNSET
    disabled: Annotated[bool, Meta(description="True: nothing is taken in.")] | UnsetType = UNSET


def merge(present: Source, wanted: SourceSettings) -> Source:
    """Return a source with settings merged in, unchecked."""
    given = {
        name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET
    }
    given = {name: given[name] for name in given if name in SourceSettings.__struct_fields__}
    if "verifier" in given:
        given["verifier"] = given["verifier"] or Noop()
    if "idempotency_keys" in given:
        given["idempotency_keys"] = tuple(dict.fromkeys(given["idempotency_keys"] or ()))
    if given.get("forward_headers") is not None:
        names = (name.lower() for name in given["forward_headers"])
        given["forward_headers"] = tuple(dict.fromkeys(names))
    return msgspec.structs.replace(present, **given)


def check(source: Source, limits: EventLimits) -> None:
    """Refuse a source that can't be obeyed, a change merged in.

    Raises:
        InvalidSetting: its details name every field that is wrong.
    """
    details = [*_verifier_faults(source.verifier), *_response_faults(source.custom_response)]
    for index, text in enumerate(source.idempotency_keys):
        details += _place_faults(text, f"idempotency_keys[{index}]")
    location = source.event_type_location
    if location is not None:
        details += _place_faults(location, "event_type_location")
        if not details and _is_unsigned(source, location):
            reason = "must be in the body: the signature covers nothing else"
            details.append(("event_type_location", reason))
    secrets = SECRET_HEADERS | verifiers.secret_headers(source.verifier)
    for index, name in enumerate(source.forward_headers or ()):
        if not headers.is_name(name) or name in secrets:
            reason = "holds a secret" if name in secrets else "is not a header name"
            details.append((f"forward_headers[{index}]", reason))
    if source.max_bytes is not None and source.max_bytes > limits.max_event_bytes:
        details.append(("max_bytes", f"must be at most {limits.max_event_bytes}"))
    if source.type is SourceType.REST_API:
        details += _only_of_http(source)
    if details:
        raise InvalidSetting(details=details)


def _is_unsigned(source: Source, location: str) -> bool:
    """Tell whether senders sign, and not what is at a place."""
    is_body = places.read(location, "event_type_location").part is Part.BODY
    return isinstance(source.verifier, SIGNED) and not is_body


def _only_of_http(source: Source) -> list[tuple[str, str]]:
    """Name what has no meaning where events are posted with a key."""
    given = {
        "verifier": not isinstance(source.verifier, Noop),
        "custom_response": source.custom_response is not None,
        "event_type_location": source.event_type_location is not None,
        "idempotency_keys": bool(source.idempotency_keys),
        "forward_headers": source.forward_headers is not None,
        "max_bytes": source.max_bytes is not None,
    }
    return [(name, "is for sources of type http") for name, is_given in given.items() if is_given]


def _place_faults(text: str, path: str) -> list[tuple[str, str]]:
    try:
        places.read(text, path)
    except InvalidSetting as error:
        return list(error.details)
    return []


def _verifier_faults(verifier: Verifier) -> list[tuple[str, str]]:
    faults: list[tuple[str, str]] = []
    match verifier:
        case Noop():
            pass
        case BasicAuth(username, password):
            if not username or ":" in username or len(username) > SECRET_MAX:
                faults.append(("verifier.username", "must be given, and hold no colon"))
            faults += _secret_faults("password", password)
        case ApiKeyHeader(value, name):
            faults += _header_faults("header_name", name) if name else []
            faults += _secret_faults("header_value", value)
            if not value.isascii() or not value.isprintable():
                faults.append(("verifier.header_value", "must be visible ASCII characters"))
        case Hmac(header, secret):
            faults += [*_header_faults("header", header), *_secret_faults("secret", secret)]
        case _:
            faults += _secret_faults("secret", verifier.secret)
    return faults


def _header_faults(field: str, name: str) -> list[tuple[str, str]]:
    if headers.is_name(name):
        return []
    return [(f"verifier.{field}", "is not a header name of 1 to 64 characters")]


def _secret_faults(field: str, secret: str) -> list[tuple[str, str]]:
    if not secret.strip():
        return [(f"verifier.{field}", "must not be empty: everybody would know it")]
    if len(secret) > SECRET_MAX:
        return [(f"verifier.{field}", f"must be at most {SECRET_MAX} characters")]
    return []


def _response_faults(response: CustomResponse | None) -> list[tuple[str, str]]:
    if response is None:
        return []
    faults = []
    if len(response.body.encode("utf-8", "replace")) > RESPONSE_MAX:
        faults.append(("custom_response.body", f"must be at most {RESPONSE_MAX} bytes"))
    if not is_media_type(response.content_type):
        faults.append(("custom_response.content_type", "is no media type"))
    return faults
