"""Media types: what the bytes of a body are said to be."""

import re
from typing import Final

MEDIA_TYPE_MAX: Final = 256

_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}[ \t]*(?:;[ -~]*)?")
_CHARSET = re.compile(r';[ \t]*charset="?([^\s";]*)', re.IGNORECASE)


def is_media_type(text: str) -> bool:
    """Return whether it has the form `type/subtype; parameters` of RFC 2046, in printable ASCII."""
    return len(text) <= MEDIA_TYPE_MAX and _MEDIA_TYPE.fullmatch(text) is not None


def essence(text: str) -> str:
    """Return a media type without its parameters, in lower case."""
    return text.partition(";")[0].strip().lower()


def is_json(text: str | None) -> bool:
    """Return whether bytes of this type are JSON: `*/json` and `*/*+json`; None is JSON as well.

    Source: CloudEvents 1.0, JSON event format, section 3.1.1.
    """
    return text is None or essence(text).endswith(("/json", "+json"))


def charset(text: str) -> str:
    """Return the charset that a media type names, in lower case; UTF-8 where it names none."""
    found = _CHARSET.search(text)
    return found[1].lower() if found else "utf-8"
