"""What filters see of an event: each part is read when the first condition asks for it, once."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from waypost.model import ids
from waypost.model.event import Attributes
from waypost.policy.media import is_json

EFFORT: Final = 50_000
"""What one filter may spend on one event; some milliseconds, where it is spent to the end."""


class _Absent:
    """What stands where there is nothing."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
"""A field that is not there; null is."""

NO_JSON: Final = _Absent()
"""A body that is no JSON."""

_UNREAD: Final = object()
_DIGITS_MAX: Final = 4_000
"""Python refuses to read integers of some more digits than these."""

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Content:
    """An event, as far as filters read it.

    Attributes:
        headers: by name in lower case.
        query: by name; a list where the name stood there more than once.
        path: ABSENT where the event did not come over HTTP.
        metadata: what the producer noted.
        event_type: its type.
        source: the id of what it came in by, as a UUID; ABSENT where it came by the API alone.
    """

    __slots__ = (
        "_body",
        "_payload",
        "_unspent",
        "event_type",
        "headers",
        "metadata",
        "path",
        "query",
        "source",
    )

    def __init__(self, payload: bytes, attributes: Attributes, event_type: str = "") -> None:
        """Take an event's parts."""
        self.event_type = event_type
        self._payload = payload if is_json(attributes.content_type) else None
        self._body: Any = _UNREAD
        self._unspent = EFFORT
        self.headers: dict[str, str] = attributes.headers
        self.query: dict[str, str | list[str]] = attributes.query
        self.path: Any = ABSENT if attributes.path is None else attributes.path
        self.metadata: dict[str, str] = attributes.metadata
        source = attributes.source
        self.source: Any = ABSENT if source is None else ids.spell_uuid(source)

    @property
    def body(self) -> Any:
        """The payload as JSON, its numbers exact; NO_JSON where it is none."""
        if self._body is _UNREAD:
            self._body = NO_JSON if self._payload is None else read(self._payload)
        return self._body

    def begin(self) -> None:
        """Begin with the next filter: what the last one has spent is not its concern."""
        self._unspent = EFFORT

    def spend(self, effort: int) -> bool:
        """Tell whether a filter may spend so much more on this event, and take note of it."""
        self._unspent -= effort
        return self._unspent >= 0


def read(text: bytes) -> Any:
    """Read JSON: numbers are int or Decimal, exactly as they are spelled; NO_JSON where it is none.

    Lone surrogates are taken, as they are at intake.
    """
    try:
        return _decode(text)
    except (msgspec.DecodeError, InvalidOperation, UnicodeDecodeError, RecursionError):
        return _read_odd(text)


def whole(digits: str) -> int | Decimal:
    """Return an integer, however many digits it has."""
    return int(digits) if len(digits) <= _DIGITS_MAX else Decimal(digits)


def fraction(text: str) -> Decimal:
    """Return a number with a fraction or an exponent; infinity or nought beyond all bounds."""
    try:
        return Decimal(text)
    except InvalidOperation:
        mantissa, _, exponent = text.lower().partition("e")
        sign = "-" if mantissa.startswith("-") else ""
        if exponent.startswith("-") or not mantissa.strip("-0."):
            return Decimal(0)
        return Decimal(f"{sign}Infinity")


def _read_odd(text: bytes) -> Any:
    """Read what msgspec refuses: lone surrogates, and numbers that are too long for it."""
    try:
        return json.loads(
            text.decode(), parse_int=whole, parse_float=fraction, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return NO_JSON


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
