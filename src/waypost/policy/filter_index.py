"""Finds, among many filters, the few that an event may match: by what its fields must be equal to.

A filter that demands a value of some field, such as `{"body": {"customer": "c_17"}}`, can match
only events with that value, so it is found by it. The others are all candidates of every event.
What is found is a superset of what matches.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

from waypost.policy.conditions import Steps, index_of, walk
from waypost.policy.content import Content
from waypost.policy.filter_syntax import BESIDE, BODY, Key
from waypost.policy.filters import Filter

T = TypeVar("T")

_TRUE = object()
_FALSE = object()


class _Place(Generic[T]):
    """One field, and by its values who demands them."""

    __slots__ = ("_get", "_steps", "by_value")

    def __init__(self, scope: str, names: tuple[str, ...]) -> None:
        self._get = None if scope == BODY else BESIDE[scope]
        self._steps: Steps = tuple((name, index_of(name)) for name in names)
        self.by_value: dict[Any, dict[bytes, T]] = {}

    def find(self, content: Content) -> Iterator[dict[bytes, T]]:
        """Yield those who demand what an event has here."""
        root = content.body if self._get is None else self._get(content)
        value = walk(root, self._steps)
        # An array holds what may be demanded of it; one with everything is looked at from here.
        if type(value) is list:
            if len(value) > len(self.by_value):
                yield from self.by_value.values()
                return
            values: Iterable[Any] = value
        else:
            values = (value,)
        for one in values:
            found = self.by_value.get(_hashable(one))
            if found is not None:
                yield found


class FilterIndex(Generic[T]):
    """Things with filters, each under the id that it was put in by."""

    __slots__ = ("_places", "_rest", "_where")

    def __init__(self) -> None:
        """Start with nothing."""
        self._places: dict[tuple[str, tuple[str, ...]], _Place[T]] = {}
        self._rest: dict[bytes, T] = {}
        self._where: dict[bytes, Key] = {}

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self._rest or self._where)

    def put(self, identifier: bytes, thing: T, compiled: Filter) -> None:
        """Add a thing; there must be none under this id."""
        key = min(compiled.keys, key=self._crowd, default=None)
        if key is None:
            self._rest[identifier] = thing
            return
        self._where[identifier] = key
        at = (key.scope, key.names)
        place = self._places.get(at)
        if place is None:
            place = self._places[at] = _Place(*at)
        place.by_value.setdefault(_hashable(key.value), {})[identifier] = thing

    def drop(self, identifier: bytes) -> None:
        """Remove a thing; it may be absent."""
        self._rest.pop(identifier, None)
        key = self._where.pop(identifier, None)
        if key is None:
            return
        at, value = (key.scope, key.names), _hashable(key.value)
        by_value = self._places[at].by_value
        del by_value[value][identifier]
        if not by_value[value]:
            del by_value[value]
        if not by_value:
            del self._places[at]

    def candidates(self, content: Content) -> Iterator[T]:
        """Yield those that may match an event, some perhaps twice."""
        yield from self._rest.values()
        for place in self._places.values():
            for found in place.find(content):
                yield from found.values()

    def _crowd(self, key: Key) -> int:
        """Return how many would be found together with one more under this key."""
        place = self._places.get((key.scope, key.names))
        return 0 if place is None else len(place.by_value.get(_hashable(key.value), ()))


def _hashable(value: Any) -> Any:
    """Return what stands for a value in a dictionary; to Python true is one, and false nought."""
    if value is True:
        return _TRUE
    if value is False:
        return _FALSE
    return None if type(value) in {dict, list} else value
