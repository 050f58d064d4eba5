"""CloudEvents 1.0 as they are posted, in each of the three modes of the HTTP binding.

Attributes and extensions are kept as they came. `source` and `id` together are the idempotency
key: they are joined by a space, which neither a source nor any other idempotency key can hold.
"""

import base64
import re
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.model.errors import InvalidInput
from waypost.model.event import Attributes
from waypost.policy import rawjson, timestamp
from waypost.policy.events import (
    BAD_TYPE,
    MAX_EVENTS,
    MAX_LIST,
    NO_CONTROLS,
    NOTE_MAX,
    TEXT_MAX,
    Draft,
    EventLimits,
    finish,
    is_type,
    require_batch_size,
    require_body_size,
    require_payload_size,
)
from waypost.policy.media import charset, essence, is_json, is_media_type

Value = str | int | bool
"""What an attribute may be in JSON; the other types of CloudEvents are spelled as strings."""


class Mode(Enum):
    """How a request carries CloudEvents."""

    STRUCTURED = auto()
    BATCHED = auto()
    BINARY = auto()


_FORMATS: Final = {
    "application/cloudevents+json": Mode.STRUCTURED,
    "application/cloudevents-batch+json": Mode.BATCHED,
}
_PREFIX: Final = b"ce-"
_REQUIRED: Final = ("specversion", "id", "source", "type")
_INTEGERS: Final = range(-(2**31), 2**31)
_JSON: Final = "application/json"
_OCTETS: Final = "application/octet-stream"
_NAME_SHOWN: Final = 64
_ABSENT: Final = b"null"
"""The payload of an event without data: a delivery needs a body, and a view a JSON value."""

_NAME = re.compile(r"[a-z0-9]{1,64}")
_URI = re.compile(rf"[!-~]{{1,{NOTE_MAX}}}")
_VALUE = re.compile(NO_CONTROLS)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")
_CHARSETS: Final = frozenset({"utf-8", "us-ascii", "iso-8859-1"})


def _is_uri(text: str) -> bool:
    return _URI.fullmatch(text) is not None


def _is_time(text: str) -> bool:
    try:
        timestamp.read(text)
    except ValueError:
        return False
    return True


_BAD_URI: Final = f"must be a URI reference of at most {NOTE_MAX} visible ASCII characters"
_RULES: Final[dict[str, tuple[Callable[[str], bool], str]]] = {
    "specversion": ("1.0".__eq__, "must be 1.0"),
    "id": (lambda text: 0 < len(text) <= TEXT_MAX, f"must be 1 to {TEXT_MAX} characters"),
    "source": (_is_uri, _BAD_URI),
    "type": (is_type, BAD_TYPE),
    "datacontenttype": (is_media_type, "must be a media type"),
    "dataschema": (_is_uri, _BAD_URI),
    "subject": (bool, "must not be empty"),
    "time": (_is_time, "must be an RFC 3339 timestamp"),
}
"""The attributes that CloudEvents itself defines: all strings, each with its rule."""

_Members = dict[str, msgspec.Raw]
_EVENT: Final = msgspec.json.Decoder(_Members)
_BATCH: Final = msgspec.json.Decoder(Annotated[list[_Members], Meta(max_length=MAX_EVENTS)])
_ATTRIBUTE: Final = msgspec.json.Decoder(str | int | float | bool | None)
_TEXT: Final = msgspec.json.Decoder(str)
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)


def mode(headers: Iterable[tuple[bytes, bytes]]) -> Mode | None:
    """Return how a request carries CloudEvents; None where it carries none.

    Args:
        headers: names in lower case, and values.

    Raises:
        InvalidInput: it names a format of CloudEvents that is not JSON.
    """
    binary = None
    for name, value in headers:
        if name == b"content-type":
            media_type = essence(value.decode("latin-1"))
            if media_type.startswith("application/cloudevents"):
                if media_type not in _FORMATS:
                    raise _invalid("content-type", f"must be one of {', '.join(_FORMATS)}")
                return _FORMATS[media_type]
        elif name.startswith(_PREFIX) and name[3:].decode("latin-1") in _REQUIRED:
            binary = Mode.BINARY
    return binary


def parse_structured(body: bytes, limits: EventLimits) -> Draft:
    """Parse the body of a request in structured mode.

    Raises:
        InvalidInput: it is not valid; says where.
        PayloadTooLarge: it is over a limit.
    """
    require_body_size(body, limits)
    return _of_members(rawjson.decode(_EVENT, body), limits, "")


def parse_batched(body: bytes, limits: EventLimits) -> list[Draft]:
    """Parse the body of a request in batched mode; a batch may be empty.

    Raises:
        InvalidInput: it is not valid; the path names the event, as `[3].source`.
        PayloadTooLarge: it, or one of its events, is over a limit.
    """
    require_batch_size(body, limits)
    return [
        _of_members(members, limits, f"[{index}].")
        for index, members in enumerate(rawjson.decode(_BATCH, body))
    ]


def parse_binary(headers: Iterable[tuple[bytes, bytes]], body: bytes, limits: EventLimits) -> Draft:
    """Parse a request in binary mode: attributes are headers, the body is the data.

    Args:
        headers: names in lower case, and values; those of no attribute are passed over.
        body: JSON if the content-type says so, else any bytes.
        limits: how large it may be.

    Raises:
        InvalidInput: it is not valid; says where.
        PayloadTooLarge: it is over a limit.
    """
    context: dict[str, Value] = {}
    for raw_name, raw in headers:
        name = raw_name.decode("latin-1")
        if name == "content-type":
            media_type = raw.decode("latin-1").strip()
            if not is_media_type(media_type):
                raise _invalid(name, "must be a media type")
            _put(context, "datacontenttype", media_type, name)
        elif name == "ce-datacontenttype":
            raise _invalid(name, "must be the content-type")
        elif name.startswith("ce-"):
            _put(context, name[3:], _header_text(raw, name), name)
    _require_context(context, "ce-")
    if not body:
        return _without_data(context, limits, "")
    content_type = _content_type(context)
    if content_type is None:
        raise _invalid("content-type", "is required")
    if is_json(content_type):
        rawjson.decode(_ANY, body, "data")
    return _draft(context, body, content_type, limits, "")


def _put(context: dict[str, Value], name: str, value: str, path: str) -> None:
    if name in context:
        raise _invalid(path, "must be there once")
    context[name] = value


def _header_text(raw: bytes, path: str) -> str:
    """Read the value of a header (HTTP binding, section 3.1.3.2): first quotes, then percents."""
    try:
        text = raw.decode("ascii").strip(" \t")
        quoted = _QUOTED.fullmatch(text)
        if quoted:
            text = _ESCAPED.sub(r"\1", quoted[1])
        return _PERCENT.sub(lambda code: bytes([int(code[1], 16)]), text.encode()).decode()
    except UnicodeDecodeError as error:
        raise _invalid(path, "must be UTF-8, percent-encoded") from error


def _of_members(members: _Members, limits: EventLimits, at: str) -> Draft:
    """Make a draft of the members of a JSON object (JSON event format, section 3)."""
    data, encoded = members.pop("data", None), members.pop("data_base64", None)
    context: dict[str, Value] = {}
    for name, raw in members.items():
        path = f"{at}{name[:_NAME_SHOWN]}"
        value = rawjson.decode(_ATTRIBUTE, rawjson.original(raw), path)
        if isinstance(value, float):
            raise _invalid(path, "must be a string, an integer or a boolean")
        if value is not None:
            context[name] = value
    _require_context(context, at)
    if encoded is not None:
        if data is not None:
            raise _invalid(f"{at}data_base64", "must not stand beside data")
        content_type = _content_type(context) or _OCTETS
        payload = _decoded(rawjson.original(encoded), content_type, f"{at}data_base64")
    elif data is not None:
        content_type = _content_type(context) or _JSON
        payload = _encoded(rawjson.original(data), content_type, f"{at}data")
    else:
        return _without_data(context, limits, at)
    return _draft(context, payload, content_type, limits, at)


def _decoded(text: bytes, content_type: str, path: str) -> bytes:
    """Return what `data_base64` holds; it must be JSON where the event says that it is."""
    try:
        payload = base64.b64decode(rawjson.decode(_TEXT, text, path), validate=True)
    except ValueError as error:
        raise _invalid(path, "must be base64") from error
    if is_json(content_type):
        rawjson.decode(_ANY, payload, path)
    return payload


def _encoded(data: bytes, content_type: str, path: str) -> bytes:
    """Return the bytes of `data`: JSON as it stands, other text in the charset of its type."""
    if is_json(content_type):
        return data
    encoding = charset(content_type)
    if encoding not in _CHARSETS:
        raise _invalid(path, f"must be data_base64 in the charset {encoding}")
    try:
        return rawjson.decode(_TEXT, data, path).encode(encoding)
    except UnicodeEncodeError as error:
        raise _invalid(path, f"must be text in the charset {encoding}") from error


def _without_data(context: dict[str, Value], limits: EventLimits, at: str) -> Draft:
    """Make a draft of an event that has only attributes; JSON cannot be empty, other bytes can."""
    content_type = _content_type(context) or _JSON
    return _draft(context, _ABSENT if is_json(content_type) else b"", content_type, limits, at)


def _draft(
    context: dict[str, Value], payload: bytes, content_type: str, limits: EventLimits, at: str
) -> Draft:
    require_payload_size(payload, limits, f"{at}data")
    if is_json(content_type):
        rawjson.require_shallow(payload, f"{at}data")
    time = context.get("time")
    attributes = Attributes(
        idempotency_key=f"{context['source']} {context['id']}",
        occurred_at_us=None if time is None else timestamp.read(str(time)),
        cloudevent=context,
        content_type=None if content_type == _JSON else content_type,
    )
    return finish(str(context["type"]), payload, attributes)


def _content_type(context: dict[str, Value]) -> str | None:
    value = context.get("datacontenttype")
    return None if value is None else str(value)


def _require_context(context: dict[str, Value], at: str) -> None:
    for name in _REQUIRED:
        if name not in context:
            raise _invalid(f"{at}{name}", "is required")
    if len(context) > MAX_LIST:
        raise _invalid(at.rstrip("."), f"must have at most {MAX_LIST} attributes")
    for name, value in context.items():
        path = f"{at}{name[:_NAME_SHOWN]}"
        if _NAME.fullmatch(name) is None:
            raise _invalid(path, "must be named in at most 64 lower-case letters and digits")
        _require_value(name, value, path)


def _require_value(name: str, value: Value, path: str) -> None:
    """Refuse what is not of the types of CloudEvents 1.0, or breaks the rule of its attribute."""
    if isinstance(value, str):
        if len(value) > NOTE_MAX or _VALUE.fullmatch(value) is None:
            raise _invalid(path, f"must be at most {NOTE_MAX} characters, no controls among them")
    elif value not in _INTEGERS:
        raise _invalid(path, "must be an integer of 32 bits")
    if name in _RULES:
        holds, rule = _RULES[name]
        if not isinstance(value, str) or not holds(value):
            raise _invalid(path, rule)


def _invalid(path: str, reason: str) -> InvalidInput:
    return InvalidInput(details=[(path, reason)])
