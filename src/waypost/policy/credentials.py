"""The text of API keys: made so that a scanner of leaked secrets can tell one from anything else.

`wp_<environment>_<43 base62 digits: 256 bits of chance>_<6 base62 digits: CRC-32 of what precedes>`

A key for the clients of another API begins as that API's keys do; the rest is the same.
"""

import hashlib
import zlib
from typing import Final

from waypost.model.api import Api
from waypost.model.project import Environment

SECRET_BITS: Final = 256

_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS: Final = 43
_CHECK_DIGITS: Final = 6
_MARKS: Final = {Environment.TEST: "test", Environment.PRODUCTION: "live"}
_STARTS: Final = {
    (api, environment): start.format(mark)
    for environment, mark in _MARKS.items()
    for api, start in {
        Api.NATIVE: "wp_{}_",
        Api.SOCOTRA: "wp_socotra_{}_",
        Api.BUILDABLE: "sk_{}_1_",
        Api.CONVOY: "CO.wp_{}.",
        Api.STEDI: "wp_stedi_{}_",
    }.items()
}


def spell(environment: Environment, secret: int, api: Api = Api.NATIVE) -> str:
    """Return the text of a key whose secret is `secret`, a number of `SECRET_BITS` random bits."""
    body = f"{_STARTS[api, environment]}{_base62(secret, _SECRET_DIGITS)}"
    return f"{body}_{_base62(zlib.crc32(body.encode()), _CHECK_DIGITS)}"


def is_key(text: str) -> bool:
    """Tell whether a text has the form of a key and its check digits are right."""
    body, _, check = text.rpartition("_")
    if not body.startswith(tuple(_STARTS.values())):
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
