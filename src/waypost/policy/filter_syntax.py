r"""The language of content filters: JSON to conditions, or the place and the reason of a refusal.

A filter is an object of scopes, `body`, `headers`, `query`, `path`, `metadata`, `event_type` and
`source`, each with a condition; all of them must hold. `$and` and `$or` may stand among the scopes.
A condition is

- a bare value: the field is equal to it, or is an array that holds it;
- an object: each member is an operator with its value or, within `body`, a path with a condition
  on what lies there. The steps of a path are names and indexes, parted by full stops; `$` is any
  index. A backslash makes a full stop, a dollar sign or a backslash part of a name.

`headers`, `query` and `metadata` hold text by name, and full stops in those names are nothing
special; `path`, `event_type` and `source` are one text each. What conditions mean is told in
`waypost.policy.conditions`.
"""

import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from waypost.model.errors import InvalidSetting
from waypost.policy import rawjson
from waypost.policy.conditions import (
    All,
    Among,
    AnyElement,
    AnyText,
    Beside,
    Body,
    Condition,
    Either,
    Equal,
    Exists,
    Field,
    Found,
    Is,
    NotAmong,
    Ordered,
    Unequal,
    is_number,
)
from waypost.policy.content import Content, fraction, whole
from waypost.policy.patterns import Pattern

FILTER_BYTES_MAX: Final = 16 * 1024
DEPTH_MAX: Final = 16
"""How deep a filter may be nested."""
CONDITIONS_MAX: Final = 100
ANY_MAX: Final = 8
"""How many steps on the way to one field may be any index."""

SECRET_HEADERS: Final = frozenset(
    {
        "authorization",
        "cookie",
        "proxy-authorization",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
    }
)
"""Headers that are never kept of an event, hence never filtered by."""

BODY: Final = "body"
PATH: Final = "path"
EVENT_TYPE: Final = "event_type"
SOURCE: Final = "source"
TEXTS: Final[dict[str, Callable[[Content], Any]]] = {
    "headers": lambda content: content.headers,
    "metadata": lambda content: content.metadata,
    "query": lambda content: content.query,
}
"""The scopes that hold text by name."""
BESIDE: Final[dict[str, Callable[[Content], Any]]] = {
    **TEXTS,
    EVENT_TYPE: lambda content: content.event_type,
    PATH: lambda content: content.path,
    SOURCE: lambda content: content.source,
}
"""All scopes but the body."""

_OF_REQUEST: Final = ("headers", "query", PATH, "\\")
_ANY: Final = "$"
_NESTED: Final = ("$and", "$or")
_ORDERS: Final[dict[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "$gt": (operator.gt, "greater than"),
    "$gte": (operator.ge, "at least"),
    "$lt": (operator.lt, "less than"),
    "$lte": (operator.le, "at most"),
}
_LISTS: Final[dict[str, type[Among]]] = {"$in": Among, "$nin": NotAmong}
_OPERATORS: Final = (*_NESTED, "$eq", "$exist", *_ORDERS, *_LISTS, "$neq", "$regex")
_STEP = re.compile(r"((?:[^.\\]|\\[.$\\])+)(\.(?!\Z)|\Z)")
_ESCAPED = re.compile(r"\\(.)")


class Reads(msgspec.Struct, frozen=True):
    """What of the request that brings an event is read; header names are in lower case."""

    headers: frozenset[str] = frozenset()
    query: frozenset[str] = frozenset()
    path: bool = False

    def __or__(self, other: "Reads") -> "Reads":
        """Return what either reads."""
        return Reads(
            self.headers | other.headers, self.query | other.query, self.path or other.path
        )


NOTHING: Final = Reads()


class Key(msgspec.Struct, frozen=True):
    """A value that a field of every event that matches has, or holds where it is an array."""

    scope: str
    names: tuple[str, ...]
    value: Any


class Parsed(msgspec.Struct, frozen=True):
    """A filter that was understood.

    Attributes:
        root: holds of the events that match.
        reads: what it reads of the request that brings an event.
        keys: what an index may find it by.
    """

    root: Condition
    reads: Reads
    keys: tuple[Key, ...]


class _Spot(msgspec.Struct, frozen=True):
    """Where the parser stands.

    Attributes:
        at: in the filter, for refusals.
        scope: of the event.
        path: in the event, for explanations.
        names: the steps from the scope; None behind an any-index.
        anys: how many any-indexes were passed.
        required: what is read here must hold: it is under no `$or`.
    """

    at: str
    scope: str = ""
    path: str = ""
    names: tuple[str, ...] | None = ()
    anys: int = 0
    required: bool = True


def parse(text: str) -> Parsed:
    """Parse a filter.

    Raises:
        InvalidSetting: it can't be obeyed; says where and why.
    """
    parser = _Parser()
    root = parser.filter(_load(text), _Spot("filter"), nested=False)
    return Parsed(root, parser.reads, tuple(parser.keys))


def may_read_request(text: str) -> bool:
    """Tell, without parsing it, whether a filter may read of the request; false is certain."""
    # What has neither a name of them nor, with the backslash, another spelling of it.
    return any(name in text for name in _OF_REQUEST)


def _load(text: str) -> Any:
    """Read JSON exactly."""
    start = _Spot("filter")
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > FILTER_BYTES_MAX:
        raise _refusal(start, f"must be at most {FILTER_BYTES_MAX} bytes")
    try:
        encoded.decode()
        # Stricter than what reads it below: it takes no lone surrogates, and no infinity.
        msgspec.json.decode(encoded, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(start, f"must be JSON: {error}") from error
    except RecursionError as error:
        raise _refusal(start, f"must not be nested deeper than {DEPTH_MAX}") from error
    if rawjson.scan_depth(encoded) > DEPTH_MAX:
        raise _refusal(start, f"must not be nested deeper than {DEPTH_MAX}")
    try:
        return _read(text)
    except ValueError as error:
        raise _refusal(start, str(error)) from error


def _once_each(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; one that stands there twice would say two things."""
    made: dict[str, Any] = {}
    for name, value in members:
        if name in made:
            raise ValueError(f"must hold {name!r} once in one object")
        made[name] = value
    return made


# Made once: `json.loads` would make it for every text, which takes as long as to read a short one.
_read: Final = json.JSONDecoder(
    parse_int=whole, parse_float=fraction, object_pairs_hook=_once_each
).decode


class _Parser:
    """Reads one filter.

    Attributes:
        reads: what it reads of the request that brings an event.
        keys: what an index may find it by.
    """

    def __init__(self) -> None:
        self.reads = NOTHING
        self.keys: list[Key] = []
        self._count = 0

    def filter(self, value: Any, spot: _Spot, *, nested: bool) -> Condition:
        """Read a filter: the whole of it, or one that is `nested` among the scopes."""
        parts = []
        for name, inner in _members(value, spot, empty=not nested).items():
            here = msgspec.structs.replace(
                spot, at=f"{spot.at}.{name}", scope=name, path=name, names=()
            )
            if name in _NESTED:
                parts.append(
                    self._nested(name, inner, here, lambda v, s: self.filter(v, s, nested=True))
                )
            elif inner == {} and name in {BODY, *BESIDE}:
                continue
            elif name == BODY:
                parts.append(Body(self._condition(inner, here)))
            elif name in {EVENT_TYPE, PATH, SOURCE}:
                self.reads |= Reads(path=name == PATH)
                parts.append(Beside(BESIDE[name], self._condition(inner, here)))
            elif name in TEXTS:
                parts.append(Beside(BESIDE[name], self._named(inner, here)))
            else:
                known = ", ".join((BODY, *sorted(BESIDE), *_NESTED))
                raise _refusal(here, f"must be one of {known}")
        return _all(parts)

    def _named(self, value: Any, spot: _Spot) -> Condition:
        """Read conditions on texts by their names."""
        parts = []
        for key, inner in _members(value, spot).items():
            here = msgspec.structs.replace(spot, at=f"{spot.at}.{key}")
            if key in _NESTED:
                parts.append(self._nested(key, inner, here, self._named))
                continue
            if key.startswith("$"):
                raise _refusal(here, r"must be a name; one that begins with $ is written \$")
            name = _unescaped(key)
            if spot.scope == "headers":
                name = name.lower()
            self._note(name, here)
            here = msgspec.structs.replace(here, path=f"{spot.path}.{name}", names=(name,))
            condition = self._condition(inner, here)
            parts.append(Field((name,), AnyText(here.path, condition)))
        return _all(parts)

    def _note(self, name: str, spot: _Spot) -> None:
        """Note that a text is read."""
        if spot.scope == "headers":
            if name in SECRET_HEADERS:
                raise _refusal(spot, "holds a secret, and is not kept of any event")
            self.reads |= Reads(headers=frozenset({name}))
        elif spot.scope == "query":
            self.reads |= Reads(query=frozenset({name}))

    def _condition(self, value: Any, spot: _Spot) -> Condition:
        """Read a condition on one value."""
        if not isinstance(value, dict):
            self._demand_text(value, spot)
            self._count_one(spot)
            self._index(value, spot)
            return Is(spot.path, "$eq", value)
        parts = []
        for key, inner in _members(value, spot).items():
            here = msgspec.structs.replace(spot, at=f"{spot.at}.{key}")
            if key in _NESTED:
                parts.append(self._nested(key, inner, here, self._condition))
            elif key in _OPERATORS:
                self._count_one(here)
                parts.append(self._single(key, inner, here))
            else:
                parts.append(self._field(key, inner, here))
        return _all(parts)

    def _field(self, key: str, value: Any, spot: _Spot) -> Condition:
        """Read a condition on what lies at the end of a path."""
        if spot.scope != BODY or (key.startswith("$") and not key.startswith("$.") and key != _ANY):
            raise _refusal(spot, f"is no operator; those are {', '.join(_OPERATORS)}")
        steps = _split(key, spot)
        anys = spot.anys + steps.count(None)
        if anys > ANY_MAX:
            raise _refusal(spot, f"must not have more than {ANY_MAX} any-indexes on its way")
        names = spot.names
        if names is not None:
            names = None if None in steps else (*names, *(s for s in steps if s is not None))
        path = f"{spot.path}.{key}"
        end = msgspec.structs.replace(spot, path=path, names=names, anys=anys)
        condition = self._condition(value, end)
        run: list[str] = []
        for step in reversed(steps):
            if step is not None:
                run.insert(0, step)
                continue
            if run:
                condition, run = Field(run, condition), []
            condition = AnyElement(path, condition)
        return Field(run, condition) if run else condition

    def _nested(
        self, name: str, value: Any, spot: _Spot, read: Callable[[Any, _Spot], Condition]
    ) -> Condition:
        """Read the conditions under `$and` or `$or`."""
        if not isinstance(value, list) or not value:
            raise _refusal(spot, "must be an array of conditions, one at least")
        either = name == "$or" and len(value) > 1
        required = spot.required and not either
        parts = [
            read(one, msgspec.structs.replace(spot, at=f"{spot.at}[{n}]", required=required))
            for n, one in enumerate(value)
        ]
        return Either(spot.path, parts) if either else _all(parts)

    def _single(self, name: str, value: Any, spot: _Spot) -> Condition:
        """Read an operator's value."""
        if name == "$exist":
            if not isinstance(value, bool):
                raise _refusal(spot, "must be true or false")
            return Exists(spot.path, name, value)
        if name == "$regex":
            return _found(value, spot)
        if name in _LISTS:
            if not isinstance(value, list) or not value:
                raise _refusal(spot, "must be an array of values, one at least")
            for n, one in enumerate(value):
                self._demand_text(one, msgspec.structs.replace(spot, at=f"{spot.at}[{n}]"))
            return _LISTS[name](spot.path, name, value)
        return self._compared(name, value, spot)

    def _compared(self, name: str, value: Any, spot: _Spot) -> Condition:
        """Read the value of an operator that compares with one."""
        self._demand_text(value, spot)
        if name in _ORDERS:
            if not is_number(value) and not isinstance(value, str):
                raise _refusal(spot, "must be a number or a string: nothing else has an order")
            return Ordered(spot.path, name, value, *_ORDERS[name])
        if name == "$neq":
            return Unequal(spot.path, name, value)
        self._index(value, spot)
        return Equal(spot.path, name, value)

    def _index(self, value: Any, spot: _Spot) -> None:
        """Note what an index may go by."""
        if spot.required and spot.names is not None and not isinstance(value, list | dict):
            self.keys.append(Key(spot.scope, spot.names, value))

    def _count_one(self, spot: _Spot) -> None:
        self._count += 1
        if self._count > CONDITIONS_MAX:
            raise _refusal(spot, f"is one condition more than the {CONDITIONS_MAX} of a filter")

    def _demand_text(self, value: Any, spot: _Spot) -> None:
        """Refuse what could never be equal: beside the body there is only text."""
        if spot.scope != BODY and not isinstance(value, str):
            raise _refusal(spot, f"must be a string: that is all there is in {spot.scope}")


def _all(parts: Sequence[Condition]) -> Condition:
    return parts[0] if len(parts) == 1 else All(parts)


def _found(value: Any, spot: _Spot) -> Condition:
    """Read a regular expression."""
    if not isinstance(value, str):
        raise _refusal(spot, "must be a string")
    try:
        return Found(spot.path, "$regex", value, Pattern(value))
    except ValueError as error:
        raise _refusal(spot, str(error)) from error


def _members(value: Any, spot: _Spot, *, empty: bool = False) -> dict[str, Any]:
    """Return the members of an object, of which there must be one at least, unless told."""
    if not isinstance(value, dict):
        raise _refusal(spot, "must be an object")
    if not value and not empty:
        raise _refusal(spot, "must hold a condition; an empty object is compared with by $eq")
    return value


def _split(key: str, spot: _Spot) -> list[str | None]:
    """Return the steps of a path; None for any index."""
    steps: list[str | None] = []
    position = 0
    while position < len(key) or not steps:
        step = _STEP.match(key, position)
        if step is None:
            raise _refusal(
                spot,
                r"must be names parted by full stops, none of them empty; a backslash stands only"
                r" before a full stop, a dollar sign or a backslash that are part of a name",
            )
        if step[1] != _ANY and step[1].startswith("$"):
            raise _refusal(spot, rf"must have \{step[1]} for a name that begins with $")
        steps.append(None if step[1] == _ANY else _unescaped(step[1]))
        position = step.end()
    return steps


def _unescaped(name: str) -> str:
    return _ESCAPED.sub(r"\1", name) if "\\" in name else name


def _refusal(spot: _Spot, reason: str) -> InvalidSetting:
    return InvalidSetting(details=[(spot.at, reason)])
