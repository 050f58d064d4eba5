"""Forms: bodies that are no JSON but could be, as a flat object of the first value of each name.

Sources: the WHATWG URL standard, section 5 (urlencoded); RFC 7578 and RFC 2046, section 5.1
(multipart).
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from waypost.model.errors import InvalidInput
from waypost.policy import urlencoded
from waypost.policy.media import essence

URLENCODED: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
FIELDS_MAX: Final = 1_000
"""How many fields a form may have."""

_BOUNDARY: Final = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)
_DISPOSITION: Final = re.compile(
    r'^content-disposition:\s*form-data\b.*?;\s*name="([^"\r\n]*)"', re.IGNORECASE | re.MULTILINE
)
_FILE: Final = re.compile(r"^content-disposition:.*?;\s*filename\*?=", re.IGNORECASE | re.MULTILINE)


def is_form(content_type: str | None) -> bool:
    """Tell whether a body of this type is a form."""
    return content_type is not None and essence(content_type) in {URLENCODED, MULTIPART}


def as_json(content_type: str, body: bytes) -> bytes:
    """Return a form as JSON: an object of text by name, of several values the first; no files.

    Raises:
        InvalidInput: it is not in its form, or not UTF-8, or has too many fields.
    """
    try:
        pairs = list(
            _multipart(content_type, body)
            if essence(content_type) == MULTIPART
            else urlencoded.read(body, FIELDS_MAX)
        )
    except ValueError as error:
        raise InvalidInput(details=[("body", "is not a form in UTF-8")]) from error
    found: dict[str, str] = {}
    for name, value in pairs:
        found.setdefault(name, value)
    return msgspec.json.encode(found)


def _multipart(content_type: str, body: bytes) -> Iterator[tuple[str, str]]:
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise ValueError("no boundary")
    mark = b"--" + (boundary[1] or boundary[2]).encode("ascii")
    first, *parts = (b"\r\n" + body).split(b"\r\n" + mark)
    if first.strip() or not parts or not parts[-1].startswith(b"--"):
        raise ValueError("no parts")
    if len(parts) > FIELDS_MAX:
        raise ValueError("too many parts")
    for part in parts[:-1]:
        head, between, value = part.partition(b"\r\n\r\n")
        text = head.decode()
        named = _DISPOSITION.search(text)
        if not between or named is None:
            raise ValueError("no name")
        if _FILE.search(text) is None:
            yield named[1], value.decode()
