"""Which headers a subscription may add to its deliveries.

A custom header must not change how a request is framed, routed or signed, nor open a cloud's
metadata service; the rest is the receiver's business.

Sources: RFC 9110, sections 5.1, 5.5 and 7.6.1; RFC 6265; the clouds' metadata documentation.
"""

import re
from collections.abc import Mapping
from typing import Final

from waypost.model.errors import InvalidInput

HEADERS_MAX: Final = 32
NAME_MAX: Final = 64
VALUE_MAX: Final = 4096

RESERVED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-digest",
        "content-encoding",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "expect",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "metadata",
        "metadata-flavor",
        "set-cookie",
        "signature",
        "signature-input",
        "socotra-signature",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
        "x-google-metadata-request",
        "x-real-ip",
    }
)
RESERVED_PREFIXES: Final = (
    "ce-",
    "proxy-",
    "svix-",
    "waypost-",
    "webhook-",
    "x-aliyun-ecs-metadata-token",
    "x-aws-ec2-metadata-token",
    "x-forwarded-",
)

_NAME: Final = re.compile(rf"[!#$%&'*+.^_`|~0-9A-Za-z-]{{1,{NAME_MAX}}}")
_VALUE: Final = re.compile(rf"[\t\x20-\x7e]{{0,{VALUE_MAX}}}")


def check(headers: Mapping[str, str]) -> None:
    """Refuse custom headers that may not leave.

    Args:
        headers: names and values; at most 32, names of 1 to 64 and values of 0 to 4,096
            characters.

    Raises:
        InvalidInput: its details name each bad header as `headers.<name>`, or `headers` where
            there are too many.
    """
    if len(headers) > HEADERS_MAX:
        raise InvalidInput(details=[("headers", f"must not be more than {HEADERS_MAX}")])
    details: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, value in headers.items():
        reason = _fault(name, value, seen)
        if reason is not None:
            details.append((f"headers.{name}", reason))
        seen.add(name.lower())
    if details:
        raise InvalidInput(details=details)


def is_name(name: str) -> bool:
    """Say whether it is a header name of 1 to 64 characters."""
    return _NAME.fullmatch(name) is not None


def is_reserved(name: str) -> bool:
    """Say whether a header of this name is Waypost's own, or must not be sent at all."""
    lowered = name.lower()
    return lowered in RESERVED or lowered.startswith(RESERVED_PREFIXES)


def _fault(name: str, value: str, seen: set[str]) -> str | None:
    if not is_name(name):
        return f"is not a header name of 1 to {NAME_MAX} characters"
    if is_reserved(name):
        return "is a reserved header"
    if name.lower() in seen:
        return "is given twice"
    if not _VALUE.fullmatch(value):
        return f"must be at most {VALUE_MAX} visible ASCII characters, blanks and tabs"
    return None
