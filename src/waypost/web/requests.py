"""What a request says, read within bounds: bodies into structs, queries into values.

Everything that is wrong is told with its place: `InvalidInput.details` holds the path of the
field, such as ``events[3].payload``, or the name of the query parameter.
"""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec
from starlette.requests import Request

from waypost.model.errors import InvalidInput, PayloadTooLarge
from waypost.web.errors import UnsupportedMediaType
from waypost.web.framing import too_large

T = TypeVar("T")

_JSON: Final = re.compile(r"application/(json|[a-z0-9!#$&^_.+-]+\+json)", re.ASCII)
_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?"
    r"(?:([Zz])|([+ -])(\d\d):(\d\d))",
    re.ASCII,
)
_INTEGER: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_LOCATION: Final = re.compile(r" - at (?:`(key)` in )?`\$(.*)`$", re.DOTALL)
_FIELD: Final = re.compile(r"^Object (missing required|contains unknown) field `(.*)`$", re.DOTALL)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}


def is_encoded(request: Request) -> bool:
    """Return whether the body is compressed, or otherwise not as it reads."""
    encodings = request.headers.getlist("content-encoding")
    return any(encoding.strip().lower() != "identity" for encoding in encodings)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the whole body.

    Raises:
        PayloadTooLarge: it is over `max_bytes`: by its Content-Length, before any of it is read.
        ClientDisconnect: the client has gone (Starlette's).
    """
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise PayloadTooLarge(too_large(max_bytes))
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise PayloadTooLarge(too_large(max_bytes))
    return bytes(body)


async def read_json(
    request: Request, form: type[T], max_bytes: int, *, when_empty: T | None = None
) -> T:
    """Return the JSON body as a `form`.

    Args:
        request: the request.
        form: what msgspec makes of it, such as a Struct.
        max_bytes: of the body.
        when_empty: what no body at all stands for; None if there has to be one.

    Raises:
        InvalidInput: it is not JSON, or not a `form`; says where.
        UnsupportedMediaType: its type is not JSON in UTF-8, or it is compressed.
        PayloadTooLarge: it is over `max_bytes`.
        ClientDisconnect: the client has gone (Starlette's).
    """
    if is_encoded(request):
        raise UnsupportedMediaType("Content-Encoding is not supported")
    body = await read_body(request, max_bytes)
    if not body:
        if when_empty is None:
            raise InvalidInput("The body is empty; it must be JSON")
        return when_empty
    demand_json(request.headers.get("content-type"))
    return parse_json(body, form)


def parse_json(body: bytes, form: type[T]) -> T:
    """Return JSON as a `form`.

    Raises:
        InvalidInput: it is not JSON, or not a `form`; says where.
    """
    try:
        return msgspec.json.decode(body, type=form)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"The body is not JSON: {error}") from error
    except RecursionError as error:
        raise InvalidInput("The body is nested too deeply") from error


def invalid(error: msgspec.ValidationError) -> InvalidInput:
    """Return a failed validation with the path of the field apart from what is wrong with it."""
    text = str(error)
    location = _LOCATION.search(text)
    path = ""
    if location is not None:
        text = text[: location.start()]
        path = location[2].replace("[...]", "")
        if location[1]:
            text = f"{text} as a key"
    field = _FIELD.match(text)
    if field is not None:
        path = f"{path}.{field[2]}"
        text = "Required" if field[1] == "missing required" else "Unknown field"
    return InvalidInput(details=[(path.removeprefix("."), text)])


def parse_time_us(text: str) -> int:
    """Return an RFC 3339 time as UTC microseconds since 1970; finer digits are cut off.

    A blank for the plus of the offset is taken for it: that is what ``+`` becomes in a query.

    Raises:
        ValueError: it is no such time.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        message = "not a time such as 2030-01-31T12:00:00Z"
        raise ValueError(message)
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, _utc, sign, hours, minutes = match.groups()[6:]
    offset = timedelta()
    if hours is not None:
        if int(hours) > 23 or int(minutes) > 59:
            message = "not an offset from UTC"
            raise ValueError(message)
        offset = timedelta(hours=int(hours), minutes=int(minutes))
    microsecond = int((fraction or "").ljust(6, "0")[:6])
    zone = timezone(-offset if sign == "-" else offset)
    when = datetime(year, month, day, hour, minute, second, microsecond, zone)
    return (when - _EPOCH) // _MICROSECOND


class Query:
    """The query of a request, taken apart by typed calls inside a ``with``.

    Each call names a parameter and returns its value, or what stands for its absence. At the end
    of the block everything that is wrong is raised together, unknown parameters too:

        with Query(request) as query:
            page_size = query.integer("page_size", 1, 100) or 50
            begin_us = query.time_us("begin")

    Nothing that was read may be used before the block has ended.
    """

    def __init__(self, request: Request) -> None:
        """Take the query of `request`."""
        self._values: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            self._values.setdefault(name, []).append(value)
        self._known: set[str] = set()
        self._details: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise what is wrong.

        Raises:
            InvalidInput: parameters are unknown, repeated or not what they should be.
        """
        if kind is not None:
            return
        unknown = sorted(self._values.keys() - self._known)
        self._details += [(name, "Unknown parameter") for name in unknown]
        if self._details:
            raise InvalidInput(details=self._details)

    def text(self, name: str, choices: Sequence[str] = ()) -> str | None:
        """Return a parameter as it came, one of `choices` where there are any."""
        value = self._one(name)
        if value is not None and choices and value not in choices:
            self._details.append((name, f"Must be one of {', '.join(choices)}"))
            return None
        return value

    def integer(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number from `least` to `most`."""

        def parse(value: str) -> int:
            number = int(value) if _INTEGER.fullmatch(value) else None
            if number is None or not least <= number <= most:
                message = f"Must be a whole number from {least} to {most}"
                raise ValueError(message)
            return number

        return self._parsed(name, parse)

    def boolean(self, name: str) -> bool | None:
        """Return true or false."""

        def parse(value: str) -> bool:
            if value.lower() not in _BOOLEANS:
                message = "Must be true or false"
                raise ValueError(message)
            return _BOOLEANS[value.lower()]

        return self._parsed(name, parse)

    def time_us(self, name: str) -> int | None:
        """Return a time in UTC microseconds since 1970, from RFC 3339."""

        def parse(value: str) -> int:
            try:
                return parse_time_us(value)
            except (ValueError, OverflowError) as error:
                message = "Must be a time such as 2030-01-31T12:00:00Z"
                raise ValueError(message) from error

        return self._parsed(name, parse)

    def texts(self, name: str, choices: Sequence[str] = (), most: int = 100) -> tuple[str, ...]:
        """Return a list: comma-joined, or the parameter again and again; empty if it is absent."""
        self._known.add(name)
        parts = [part for value in self._values.get(name, ()) for part in value.split(",")]
        if len(parts) > most:
            self._details.append((name, f"Must be at most {most} values"))
        elif choices and not set(parts) <= set(choices):
            self._details.append((name, f"Must be among {', '.join(choices)}"))
        elif not all(parts):
            self._details.append((name, "Must not hold an empty value"))
        return tuple(parts)

    def blame(self, name: str, reason: str) -> None:
        """Complain of a parameter that was read."""
        self._details.append((name, reason))

    def _one(self, name: str) -> str | None:
        """Return the one value of a parameter."""
        self._known.add(name)
        values = self._values.get(name, [])
        if len(values) > 1:
            self._details.append((name, "Must be given once"))
        return values[0] if values else None

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Return the one value of a parameter as `parse` reads it; note what is wrong with it."""
        value = self._one(name)
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            self._details.append((name, str(error)))
            return None


def demand_json(content_type: str | None) -> None:
    """Make sure that a Content-Type is JSON in UTF-8; nothing said is taken for it.

    Raises:
        UnsupportedMediaType: it is something else.
    """
    if content_type is None:
        return
    media_type, _, parameters = content_type.lower().partition(";")
    charset = parameters.strip().removeprefix("charset=").strip('"') if parameters else "utf-8"
    if not _JSON.fullmatch(media_type.strip()) or charset not in {"", "utf-8", "utf8"}:
        raise UnsupportedMediaType("Content-Type must be application/json in UTF-8")
