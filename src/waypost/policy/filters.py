"""Content filters: compiled once, matched with many events.

The language is told in `waypost.policy.filter_syntax`, its meaning in `waypost.policy.conditions`.
"""

from typing import Any, Final
from weakref import WeakValueDictionary

from waypost.model.errors import InvalidSetting
from waypost.policy.conditions import Condition, Mismatch
from waypost.policy.content import Content
from waypost.policy.filter_syntax import NOTHING, Parsed, parse

_TOO_LARGE = Mismatch("", "", "", None, "the event is too large for this filter")


class Filter:
    """A compiled filter. Matching and explaining never raise, whatever the event holds.

    Attributes:
        text: what it was compiled from.
        reads: what it reads of the request that brings an event.
        keys: values that fields of every event that matches have, for an index.
        empty: it has no condition, and every event matches.
    """

    __slots__ = ("__weakref__", "_root", "empty", "keys", "reads", "text")

    def __init__(self, text: str, parsed: Parsed) -> None:
        """Take what was parsed; `compiled` makes it."""
        self.text = text
        self.reads = parsed.reads
        self.keys = parsed.keys
        self.empty = parsed.root.count == 0
        self._root = parsed.root

    def matches(self, content: Content) -> bool:
        """Tell whether an event matches."""
        content.begin()
        return self._root.holds(None, content)

    def explain(self, content: Content) -> Mismatch | None:
        """Return why an event does not match, or None where it does."""
        if self.matches(content):
            return None
        content.begin()
        return self._root.mismatch(None, content) or _TOO_LARGE


def compiled(text: str) -> Filter:
    """Compile a filter, an object in JSON.

    Raises:
        InvalidSetting: it can't be obeyed; says where and why.
    """
    return Filter(text, parse(text))


def restored(text: str) -> Filter:
    """Compile a filter that was taken before; where that is impossible now, it matches nothing.

    Failure policy: fail closed. Limits, or what RE2 takes, may have been others when it was set.
    Events are kept whether or not they match, and a replay brings them once the filter is mended.
    Where one of the same text is in use, it is that one.
    """
    known = _in_use.get(text)
    if known is None:
        try:
            known = compiled(text)
        except InvalidSetting as error:
            known = Filter(text, Parsed(_Unusable(error.message), NOTHING, ()))
        _in_use[text] = known
    return known


class _Unusable(Condition):
    """What never holds, with the reason."""

    __slots__ = ("_reason",)

    def __init__(self, reason: str) -> None:
        self.count = 1
        self._reason = reason

    def holds(self, value: Any, content: Content) -> bool:  # noqa: ARG002 - it never holds
        return False

    def mismatch(self, value: Any, content: Content) -> Mismatch:  # noqa: ARG002 - as above
        return Mismatch("", "", "", None, f"the filter is of no use any more: {self._reason}")


_in_use: Final = WeakValueDictionary[str, Filter]()
