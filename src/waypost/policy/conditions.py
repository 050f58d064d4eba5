"""Conditions: what a compiled filter is made of. Each knows when it holds, and why it does not.

A condition is asked about one value of an event. A field that is not there has the value ABSENT;
it makes every condition false but `$neq`, `$nin` and `$exist: false`. Values of unlike types are
unequal and have no order: `5` is not `"5"`, `1` is not `true`. Nothing here raises.

What may cost more than its own size pays for it: where the event's effort for this filter is spent
(`content.EFFORT`), a condition that looks at every element, or searches a text, is false.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from waypost.policy.content import ABSENT, NO_JSON, Content
from waypost.policy.patterns import Pattern
from waypost.policy.shown import kind_of, shown

_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_SEARCH_UNIT: Final = 256
"""How many steps of a search cost as much as one look at an element."""


class Mismatch(msgspec.Struct, frozen=True):
    """Why an event does not match: the first condition that does not hold.

    Attributes:
        path: where in the event, such as `body.items.$.price`.
        operator: which condition; `$eq` where a value stands alone.
        wanted: the condition's value, shortened.
        found: what is there, shortened; None where nothing is.
        reason: the same in a sentence.
        alternatives: with `$or`, why each of them does not hold.
    """

    path: str
    operator: str
    wanted: str
    found: str | None
    reason: str
    alternatives: "tuple[Mismatch, ...]" = ()


class Condition(ABC):
    """Something that holds of a value, or not.

    Attributes:
        count: of how many single conditions it is made.
    """

    __slots__ = ("count",)

    count: int

    @abstractmethod
    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether it holds; `content` is the event that the value is of."""

    @abstractmethod
    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why it does not hold, or None where it does."""


class Single(Condition):
    """A condition on one value: an operator and what it compares with."""

    __slots__ = ("operator", "path", "wanted")

    def __init__(self, path: str, operator: str, wanted: Any) -> None:
        """Take the path, for explanations, the operator and its value."""
        self.count = 1
        self.path = path
        self.operator = operator
        self.wanted = wanted

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why it does not hold, or None where it does."""
        if self.holds(value, content):
            return None
        found = None if value is ABSENT else shown(value)
        reason = "is absent" if found is None else self.reason(value, found)
        wanted = shown(self.wanted)
        return Mismatch(self.path, self.operator, wanted, found, f"{self.path} {reason}")

    @abstractmethod
    def reason(self, value: Any, found: str) -> str:
        """Return why it does not hold of a value that is there; `found` is it as it is shown."""


class Is(Single):
    """A bare value: the field is equal to it, or is an array that holds it."""

    __slots__ = ()

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether it holds."""
        wanted = self.wanted
        kind = type(value)
        if kind is str:  # the usual case, and no other kind of value is equal to one
            return bool(value == wanted)
        if kind is list:
            if not content.spend(len(value)):
                return False
            if any(same(one, wanted) for one in value):
                return True
        return same(value, wanted)

    def reason(self, value: Any, found: str) -> str:
        """Say what it is instead."""
        if type(value) is list:
            return f"is {found} without {shown(self.wanted)}"
        return f"is {found}, not {shown(self.wanted)}"


class Equal(Single):
    """`$eq`: the field is equal to it, to the last member of an object or array."""

    __slots__ = ()

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - as all conditions
        """Tell whether it holds."""
        return bool(value == self.wanted) if type(value) is str else same(value, self.wanted)

    def reason(self, value: Any, found: str) -> str:  # noqa: ARG002 - as all conditions
        """Say what it is instead."""
        return f"is {found}, not {shown(self.wanted)}"


class Unequal(Single):
    """`$neq`: the field is not equal to it, or not there."""

    __slots__ = ()

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - as all conditions
        """Tell whether it holds."""
        return not same(value, self.wanted)

    def reason(self, value: Any, found: str) -> str:  # noqa: ARG002 - as all conditions
        """Say that it is."""
        return f"is {found}"


class Ordered(Single):
    """`$gt`, `$gte`, `$lt`, `$lte`: among numbers, or among strings by their code points."""

    __slots__ = ("_compare", "_number", "_words")

    def __init__(
        self, path: str, operator: str, wanted: Any, compare: Callable[[Any, Any], bool], words: str
    ) -> None:
        """Take also the comparison, and how it is told."""
        super().__init__(path, operator, wanted)
        self._compare = compare
        self._number = is_number(wanted)
        self._words = words

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - as all conditions
        """Tell whether it holds."""
        kind = type(value)
        alike = (kind is int or kind is Decimal) if self._number else kind is str
        return alike and self._compare(value, self.wanted)

    def reason(self, value: Any, found: str) -> str:
        """Say what it is instead, or that it has no order with what is wanted."""
        if is_number(value) is self._number and (self._number or type(value) is str):
            return f"is {found}, not {self._words} {shown(self.wanted)}"
        return f"is {kind_of(value)}, which has no order with {kind_of(self.wanted)}"


class Among(Single):
    """`$in`: the field is equal to one of them."""

    __slots__ = ("_others", "_scalars")

    def __init__(self, path: str, operator: str, wanted: Sequence[Any]) -> None:
        """Take also what is to be found without a comparison with each."""
        super().__init__(path, operator, wanted)
        self._scalars = frozenset(one for one in wanted if is_number(one) or type(one) is str)
        self._others = [one for one in wanted if not (is_number(one) or type(one) is str)]

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - as all conditions
        """Tell whether it holds."""
        return self.has(value)

    def has(self, value: Any) -> bool:
        """Tell whether a value is one of them."""
        kind = type(value)
        if kind is str or kind is int or kind is Decimal:
            return value in self._scalars
        return any(same(value, one) for one in self._others)

    def reason(self, value: Any, found: str) -> str:  # noqa: ARG002 - as all conditions
        """Say what it is instead."""
        return f"is {found}, none of {shown(self.wanted)}"


class NotAmong(Among):
    """`$nin`: the field is equal to none of them, or not there."""

    __slots__ = ()

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - as all conditions
        """Tell whether it holds."""
        return not self.has(value)

    def reason(self, value: Any, found: str) -> str:  # noqa: ARG002 - as all conditions
        """Say that it is one of them."""
        return f"is {found}, one of {shown(self.wanted)}"


class Exists(Single):
    """`$exist`: the field is there, were it null; or it is not."""

    __slots__ = ()

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - as all conditions
        """Tell whether it holds."""
        return (value is not ABSENT) is self.wanted

    def reason(self, value: Any, found: str) -> str:  # noqa: ARG002 - as all conditions
        """Say that it is there."""
        return f"is there: {found}"


class Found(Single):
    """`$regex`: the field is a string in which the pattern matches somewhere."""

    __slots__ = ("_pattern",)

    def __init__(self, path: str, operator: str, wanted: str, pattern: Pattern) -> None:
        """Take also the compiled pattern."""
        super().__init__(path, operator, wanted)
        self._pattern = pattern

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether it holds."""
        if type(value) is not str:
            return False
        pattern = self._pattern
        effort = len(value) * pattern.size // _SEARCH_UNIT
        return (not effort or content.spend(effort)) and pattern.finds(value)

    def reason(self, value: Any, found: str) -> str:
        """Say what is there instead."""
        if type(value) is not str:
            return f"is {kind_of(value)}, not a string"
        return f"is {found}, in which {shown(self.wanted)} is not found"


class All(Condition):
    """All of them hold."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Condition]) -> None:
        """Take them."""
        self.count = sum(part.count for part in parts)
        self._parts = tuple(parts)

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether all hold."""
        for part in self._parts:  # noqa: SIM110 - a generator would cost as much as a condition
            if not part.holds(value, content):
                return False
        return True

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why the first that does not hold does not."""
        found = (part.mismatch(value, content) for part in self._parts)
        return next((one for one in found if one is not None), None)


class Either(Condition):
    """`$or`: at least one of them holds."""

    __slots__ = ("_parts", "_path")

    def __init__(self, path: str, parts: Sequence[Condition]) -> None:
        """Take the path, for explanations, and the alternatives."""
        self.count = sum(part.count for part in parts)
        self._path = path
        self._parts = tuple(parts)

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether one holds."""
        for part in self._parts:  # noqa: SIM110 - as above
            if part.holds(value, content):
                return True
        return False

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why each of them does not hold."""
        found = []
        for part in self._parts:
            one = part.mismatch(value, content)
            if one is None:
                return None
            found.append(one)
        told = "; ".join(one.reason for one in found)
        reason = f"none of {len(found)} alternatives holds: {told}"
        return Mismatch(self._path, "$or", "", None, reason, tuple(found))


class Field(Condition):
    """A condition on what lies at the end of a path, each step a name or an index."""

    __slots__ = ("_holds", "_part", "_steps")

    def __init__(self, names: Sequence[str], part: Condition) -> None:
        """Take the steps, and the condition on what they lead to."""
        self.count = part.count
        self._steps = tuple((name, index_of(name)) for name in names)
        self._part = part
        self._holds = part.holds

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether it holds."""
        return self._holds(walk(value, self._steps), content)

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why it does not hold of what is there."""
        return self._part.mismatch(walk(value, self._steps), content)


class AnyElement(Condition):
    """A condition on some element of an array; where there is none, on a field that is absent."""

    __slots__ = ("_part", "_path")

    def __init__(self, path: str, part: Condition) -> None:
        """Take the path, for explanations, and the condition on the element."""
        self.count = part.count
        self._path = path
        self._part = part

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether it holds of some element."""
        part = self._part
        if type(value) is not list or not value:
            return part.holds(ABSENT, content)
        if not content.spend(len(value) * part.count):
            return False
        return any(part.holds(one, content) for one in value)

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why it does not hold of the first element, as an example of all."""
        if self.holds(value, content):
            return None
        if type(value) is not list or not value:
            return self._part.mismatch(ABSENT, content)
        found = self._part.mismatch(value[0], content)
        if found is None or not content.spend(0):
            reason = f"{self._path} has more elements than a filter may look at"
            return Mismatch(self._path, "$", "", shown(value), reason)
        reason = f"{found.reason} (the first of {len(value)}, and no other is better)"
        return msgspec.structs.replace(found, reason=reason)


class AnyText(AnyElement):
    """A condition on a text of which there may be several, as in a query."""

    __slots__ = ()

    def holds(self, value: Any, content: Content) -> bool:
        """Tell whether it holds of it, or of one of them."""
        if type(value) is list:
            return super().holds(value, content)
        return self._part.holds(value, content)

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:
        """Return why it does not hold of it, or of the first."""
        if type(value) is list:
            return super().mismatch(value, content)
        return self._part.mismatch(value, content)


class Body(Condition):
    """A condition on the payload; false where it is no JSON."""

    __slots__ = ("_part",)

    def __init__(self, part: Condition) -> None:
        """Take the condition."""
        self.count = part.count
        self._part = part

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - the event is asked
        """Tell whether it holds."""
        body = content.body
        return body is not NO_JSON and self._part.holds(body, content)

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:  # noqa: ARG002 - as above
        """Return why it does not hold."""
        body = content.body
        if body is NO_JSON:
            return Mismatch("body", "", "", None, "body is no JSON")
        return self._part.mismatch(body, content)


class Beside(Condition):
    """A condition on what stands beside the payload: headers, query, path or metadata."""

    __slots__ = ("_get", "_part")

    def __init__(self, get: Callable[[Content], Any], part: Condition) -> None:
        """Take what reads it from an event, and the condition."""
        self.count = part.count
        self._get = get
        self._part = part

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - the event is asked
        """Tell whether it holds."""
        return self._part.holds(self._get(content), content)

    def mismatch(self, value: Any, content: Content) -> Mismatch | None:  # noqa: ARG002 - as above
        """Return why it does not hold."""
        return self._part.mismatch(self._get(content), content)


Steps = tuple[tuple[str, int], ...]
"""A path: each step's name, and as an index of an array; -1 where it is none."""


def walk(value: Any, steps: Steps) -> Any:
    """Return what lies at the end of a path; ABSENT where it leads nowhere."""
    for name, index in steps:
        if type(value) is dict:
            value = value.get(name, ABSENT)
        elif type(value) is list and 0 <= index < len(value):
            value = value[index]
        else:
            return ABSENT
    return value


def index_of(name: str) -> int:
    """Return a step as an index, or -1: only digits are one, and no more than are needed."""
    return int(name) if _INDEX.fullmatch(name) else -1


def is_number(value: Any) -> bool:
    """Tell whether it is a number; true and false are none."""
    kind = type(value)
    return kind is int or kind is Decimal


def same(one: Any, other: Any) -> bool:
    """Tell whether two values of JSON are equal, numbers by their value."""
    kind = type(one)
    if kind is str:
        return bool(one == other)
    if kind is bool or type(other) is bool:
        return one is other
    if kind is dict:
        return (
            type(other) is dict
            and one.keys() == other.keys()
            and all(same(value, other[name]) for name, value in one.items())
        )
    if kind is list:
        return type(other) is list and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
