"""What comes in at a source: verified as it came, then made into an event.

Only bytes that the verifier has seen count: a form is turned into JSON behind it. JSON is kept as
it stands, anything else as it came under its own type.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from waypost.model.errors import InvalidInput, PayloadTooLarge, Unverified
from waypost.model.event import Attributes
from waypost.model.source import Source
from waypost.policy import forms, places, rawjson, urlencoded
from waypost.policy.events import BAD_TYPE, Draft, EventLimits, is_type
from waypost.policy.filter_syntax import SECRET_HEADERS
from waypost.policy.media import is_json, is_media_type
from waypost.policy.places import Part, Parts
from waypost.policy.verifiers import secret_headers, verifies

QUERY_MAX: Final = 100
"""How many parameters a query may have."""
_HOP_BY_HOP: Final = frozenset(
    {"connection", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)
_EMPTY: Final = b"{}"
_JSON: Final = msgspec.json.Decoder(msgspec.Raw)
_ANY: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(Any, strict=False)


class Inbound(msgspec.Struct, frozen=True):
    """A request at a source.

    Attributes:
        headers: names in lower case, and values.
        path: decoded.
        query: undecoded.
        body: the very bytes that came.
    """

    headers: Sequence[tuple[bytes, bytes]]
    path: str
    query: bytes
    body: bytes


def max_bytes(source: Source, limits: EventLimits) -> int:
    """Return how long a body at a source may be."""
    return min(source.max_bytes or limits.max_event_bytes, limits.max_event_bytes)


def draft_of(source: Source, inbound: Inbound, limits: EventLimits) -> Draft:
    """Make an event of a request.

    Raises:
        PayloadTooLarge: its body is over the source's limit.
        Unverified: it is not from who it should be.
        InvalidInput: it is, and holds no event: the body is no JSON that says it is, a place is
            empty that must not be, or what is there is no event type.
    """
    if len(inbound.body) > max_bytes(source, limits):
        raise PayloadTooLarge("request body too large")
    if not verifies(source.verifier, inbound.headers, inbound.body):
        raise Unverified
    headers = _headers(inbound.headers)
    given_type = headers.get("content-type")
    payload, content_type = _payload(inbound.body, given_type)
    parts = Parts(headers, _query(inbound.query), _body(source, payload, content_type))
    dropped = SECRET_HEADERS | _HOP_BY_HOP | secret_headers(source.verifier)
    wanted = headers.keys() if source.forward_headers is None else set(source.forward_headers)
    attributes = Attributes(
        idempotency_key=_key(source, parts),
        content_type=content_type,
        headers={name: headers[name] for name in headers if name in wanted and name not in dropped},
        query=parts.query,
        path=inbound.path,
        source=source.id,
    )
    # Not of the headers: senders repeat themselves with other timestamps.
    digest = hashlib.blake2b(payload, digest_size=16).digest()
    return Draft(_type(source, parts), payload, attributes, digest)


def _headers(given: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return headers by name; of one that is there again and again all, by commas."""
    found: dict[str, str] = {}
    for raw_name, raw in given:
        name, value = raw_name.decode("latin-1"), raw.decode("latin-1")
        # RFC 9110, section 5.3.
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _query(query: bytes) -> dict[str, str | list[str]]:
    found: dict[str, str | list[str]] = {}
    try:
        pairs = urlencoded.read(query, QUERY_MAX, "replace")
    except ValueError as error:
        reason = f"must be at most {QUERY_MAX} parameters"
        raise InvalidInput(details=[("query", reason)]) from error
    for name, value in pairs:
        known = found.get(name)
        if known is None:
            found[name] = value
        else:
            found[name] = [*([known] if isinstance(known, str) else known), value]
    return found


def _payload(body: bytes, given: str | None) -> tuple[bytes, str | None]:
    """Return what is kept as the payload, and its type where that is not JSON."""
    if not body.strip():
        return _EMPTY, None
    if given is not None and forms.is_form(given):
        return forms.as_json(given, body), None
    if not is_json(given):
        if given is None or not is_media_type(given):
            raise InvalidInput(details=[("content-type", "is no media type")])
        return body, given
    payload = rawjson.original(rawjson.decode(_JSON, body, "body"))
    rawjson.require_shallow(payload, "body")
    return payload, None


def _body(source: Source, payload: bytes, content_type: str | None) -> Any:
    """Return the payload as a value, where something is to be read of it."""
    named = (source.event_type_location or "", *source.idempotency_keys)
    if content_type is not None or not any(
        places.read(text, "").part is Part.BODY for text in named if text
    ):
        return None
    try:
        return _ANY.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None  # valid, and holds what no value stands for: a lone surrogate, say


def _type(source: Source, parts: Parts) -> str:
    location = source.event_type_location
    if location is None:
        return source.mask
    found = places.value_at(places.read(location, "event_type_location"), parts)
    if found is None:
        raise InvalidInput(details=[(location, "holds no event type")])
    if not is_type(found):
        raise InvalidInput(details=[(location, BAD_TYPE)])
    return found


def _key(source: Source, parts: Parts) -> str | None:
    """Return the idempotency key; None where one of its places is empty in headers or body.

    Each value stands behind its length: what is parted in another way is another key.
    """
    if not source.idempotency_keys:
        return None
    digest, is_whole = hashlib.sha256(source.id), True
    for text in source.idempotency_keys:
        place = places.read(text, "idempotency_keys")
        value = places.value_at(place, parts)
        if value is None and place.part is Part.QUERY:
            raise InvalidInput(details=[(text, "is required for the idempotency key")])
        is_whole = is_whole and value is not None
        encoded = (value or "").encode("utf-8", "surrogatepass")
        digest.update(b"%d:%b" % (len(encoded), encoded))
    return digest.hexdigest() if is_whole else None
