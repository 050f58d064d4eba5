"""The text of API keys: made so that a scanner of leaked secrets can tell one from anything else.

`wp_<environment>_<43 base62 digits: 256 bits of chance>_<6 base62 digits: CRC-32 of what precedes>`
"""

import hashlib
import zlib
from typing import Final

from waypost.model.project import Environment

SECRET_BITS: Final = 256

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS: Final = 43
_CHECK_DIGITS: Final = 6
_MARKS: Final = {Environment.TEST: "test", Environment.PRODUCTION: "live"}


def spell(environment: Environment, secret: int) -> str:
    """Return the text of a key whose secret is `secret`, a number of `SECRET_BITS` random bits."""
    body = f"wp_{_MARKS[environment]}_{_base62(secret, _SECRET_DIGITS)}"
    return f"{body}_{_base62(zlib.crc32(body.encode()), _CHECK_DIGITS)}"


def is_key(text: str) -> bool:
    """Tell whether a text has the form of a key and its check digits are right."""
    body, _, check = text.rpartition("_")
    if not any(body.startswith(f"wp_{mark}_") for mark in _MARKS.values()):
        return False
    return check == _base62(zlib.crc32(body.encode()), _CHECK_DIGITS)


def digest(key: bytes) -> bytes:
    """Return what is kept of a key.

    A plain SHA-256: there is nothing to guess in 256 random bits, so a slow hash would only slow
    every request down.
    """
    return hashlib.sha256(key).digest()


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
