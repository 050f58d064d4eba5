"""Durations as Convoy's clients spell them: `10s`, `1h30m`, or a number of seconds."""

import re
from typing import Final

from waypost.model.errors import InvalidInput

DURATION_MAX_S: Final = 86_400

_PART = re.compile(r"([0-9]{1,7})(h|m|s)")
_SECONDS: Final = {"h": 3_600, "m": 60, "s": 1}


def seconds(given: str | int, path: str) -> int:
    """Return a duration in seconds.

    Raises:
        InvalidInput: it is none, or longer than a day; `path` is the field to blame.
    """
    total = given if isinstance(given, int) else _read(given)
    if total is None or not 0 <= total <= DURATION_MAX_S:
        reason = f"must be a duration such as 90s or 1h30m, of at most {DURATION_MAX_S} seconds"
        raise InvalidInput(details=[(path, reason)])
    return total


def _read(text: str) -> int | None:
    if text.isascii() and text.isdecimal() and len(text) < 8:
        return int(text)
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)
