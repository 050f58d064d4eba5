"""Places in a request: `request.header.X-Event`, `request.body.data.id`, `request.query.type`.

A source says by them where an event's type is, and what makes up its idempotency key. In a body,
names are parted by full stops, and the elements of an array are counted from 0.
"""

import re
from enum import Enum, auto
from typing import Any, Final

import msgspec

from waypost.model.errors import InvalidSetting

PLACE_MAX: Final = 256
_PLACE: Final = re.compile(
    r"(?:request|req)\."
    r"(?:(?P<header>[Hh]eaders?)|(?P<body>[Bb]ody)|(?P<query>[Qq]ueryParam|[Qq]uery))"
    r"\.(?P<path>.+)",
    re.DOTALL,
)
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")
_STEPS_MAX: Final = 16


class Part(Enum):
    """The part of a request that a place is in."""

    HEADER = auto()
    BODY = auto()
    QUERY = auto()


class Place(msgspec.Struct, frozen=True):
    """A place: the names on the way to it; of a header in lower case."""

    part: Part
    path: tuple[str, ...]


class Parts(msgspec.Struct, frozen=True):
    """What a request holds; `body` is decoded JSON, None where it is none."""

    headers: dict[str, str]
    query: dict[str, str | list[str]]
    body: Any = None


def read(text: str, path: str) -> Place:
    """Read a place.

    Raises:
        InvalidSetting: it is none; `path` is the field to blame.
    """
    found = _PLACE.fullmatch(text) if len(text) <= PLACE_MAX else None
    if found is None:
        raise _refusal(path, "must be as request.header.NAME, request.body.PATH or req.query.NAME")
    inner = found["path"]
    if found["header"]:
        if _HEADER.fullmatch(inner) is None:
            raise _refusal(path, "does not name a header")
        return Place(Part.HEADER, (inner.lower(),))
    if found["query"]:
        if _TEXT.fullmatch(inner) is None:
            raise _refusal(path, "does not name a parameter of the query")
        return Place(Part.QUERY, (inner,))
    steps = tuple(inner.split("."))
    if len(steps) > _STEPS_MAX or not all(map(_TEXT.fullmatch, steps)):
        raise _refusal(path, f"must be at most {_STEPS_MAX} names with full stops between")
    return Place(Part.BODY, steps)


def value_at(place: Place, parts: Parts) -> str | None:
    """Return what is at a place, as text; None where there is nothing, or no plain value."""
    if place.part is Part.HEADER:
        return parts.headers.get(place.path[0]) or None
    if place.part is Part.QUERY:
        given = parts.query.get(place.path[0])
        return (given[0] if isinstance(given, list) else given) or None
    found = parts.body
    for step in place.path:
        if isinstance(found, dict):
            found = found.get(step)
        elif isinstance(found, list) and _INDEX.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) or None if isinstance(found, str | int | float) else None


def _refusal(path: str, reason: str) -> InvalidSetting:
    return InvalidSetting(details=[(path, reason)])
