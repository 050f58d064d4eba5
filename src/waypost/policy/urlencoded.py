"""Names and values as queries and forms spell them.

Source: the WHATWG URL standard, section 5.
"""

import re
from collections.abc import Mapping
from typing import Final

_ESCAPE: Final = re.compile(rb"%([0-9A-Fa-f]{2})")
_PLAIN: Final = frozenset(b"*-._0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_SPELLED: Final = tuple(
    chr(byte) if byte in _PLAIN else "+" if byte == 0x20 else f"%{byte:02X}" for byte in range(256)
)


def read(text: bytes, most: int, errors: str = "strict") -> list[tuple[str, str]]:
    """Read names and values in their order.

    Args:
        text: as it came.
        most: how many there may be.
        errors: what is done about what is no UTF-8, in Python's words.

    Raises:
        ValueError: there are more, or something is no UTF-8.
    """
    parts = [part for part in text.split(b"&") if part]
    if len(parts) > most:
        raise ValueError("too many")
    found = []
    for part in parts:
        name, _, value = part.partition(b"=")
        found.append((_decoded(name, errors), _decoded(value, errors)))
    return found


def spell(fields: Mapping[str, str]) -> bytes:
    """Spell names and values."""
    return "&".join(
        f"{_encoded(name)}={_encoded(value)}" for name, value in fields.items()
    ).encode()


def _decoded(text: bytes, errors: str) -> str:
    plain = text.replace(b"+", b" ")
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), plain).decode("utf-8", errors)


def _encoded(text: str) -> str:
    return "".join(_SPELLED[byte] for byte in text.encode())
