"""Values of JSON as explanations show them: short, whatever they are."""

import json
from decimal import Decimal
from typing import Any, Final

SHOWN_MAX: Final = 100
"""How many characters of a string or a number are shown."""
_LISTED_MAX: Final = 5
_WIDE_BITS: Final = 1_000


def shown(value: Any) -> str:
    """Return a value for people to read; of a long one only the beginning."""
    if isinstance(value, str):
        return json.dumps(_cut(value), ensure_ascii=False)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        # Python refuses to spell the longest ones.
        wide = value.bit_length() > _WIDE_BITS
        return "a number of very many digits" if wide else _cut(str(value))
    if isinstance(value, Decimal):
        return _cut(str(value))
    if isinstance(value, list | tuple):
        if len(value) <= _LISTED_MAX and not any(isinstance(one, list | dict) for one in value):
            return f"[{', '.join(shown(one) for one in value)}]"
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    return repr(value)


def kind_of(value: Any) -> str:
    """Return what kind of value it is, in words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int | Decimal):
        return "a number"
    return "an array" if isinstance(value, list) else "an object"


def _cut(text: str) -> str:
    short = text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"
    # A lone surrogate could not be written anywhere.
    return short.encode("utf-8", "replace").decode()
