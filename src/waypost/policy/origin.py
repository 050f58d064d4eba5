"""The request that brings an event: what of it is kept, which is what some filter reads.

All of it would cost every event its room on disk, and keep what nobody has asked for. So a filter
that is set later finds nothing of it in the events before; explanations and replays go by what
was kept.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from waypost.policy.events import Draft
from waypost.policy.filter_syntax import SECRET_HEADERS, Reads


class Origin(msgspec.Struct, frozen=True):
    """The request that brings events.

    Attributes:
        headers: names in lower case, and values.
        path: without the query; a request with a query brings no events here.
    """

    headers: Sequence[tuple[bytes, bytes]]
    path: str


def with_origin(draft: Draft, origin: Origin, reads: Reads) -> Draft:
    """Return an event with what filters read of the request that brought it.

    Secrets are never kept. The fingerprint stays: the same event by another way is the same.
    """
    kept: dict[str, Any] = {}
    headers = _headers(origin, reads.headers - SECRET_HEADERS)
    if headers:
        kept["headers"] = headers
    if reads.path:
        kept["path"] = origin.path
    if not kept:
        return draft
    attributes = msgspec.structs.replace(draft.attributes, **kept)
    return msgspec.structs.replace(draft, attributes=attributes)


def _headers(origin: Origin, names: frozenset[str]) -> dict[str, str]:
    """Return the headers of these names; of one that is there again and again all, by commas."""
    found: dict[str, str] = {}
    for raw_name, raw in origin.headers if names else ():
        name = raw_name.decode("latin-1")
        if name in names:
            value = raw.decode("latin-1")
            # RFC 9110, section 5.3.
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
