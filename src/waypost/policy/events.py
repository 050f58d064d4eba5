"""Events as they are posted: parsed, checked, and the payload kept as the very bytes that came."""

import hashlib
import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.model import ids
from waypost.model.errors import InvalidInput, PayloadTooLarge
from waypost.model.event import EVENT_TYPE, EVENT_TYPE_MAX, NO_ATTRIBUTES, Attributes, Resource
from waypost.model.ids import Id
from waypost.policy import rawjson, timestamp
from waypost.policy.timing import AHEAD_MAX_S

MAX_EVENTS: Final = 1000
"""How many events a batch may hold."""

MAX_LIST: Final = 64
"""How many related resources, entries of metadata or attributes of a CloudEvent there may be."""

LARGE_BYTES: Final = 16 * 1024
"""From here on a body is worth a second look before it is parsed on the event loop."""

_AROUND_PAYLOAD_BYTES: Final = 512 * 1024

BAD_TYPE: Final = f"must be at most {EVENT_TYPE_MAX} of A-Z, a-z, 0-9, _, - and full stops between"

TEXT_MAX: Final = 256
NOTE_MAX: Final = 1024
NO_CONTROLS: Final = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
"""What may one day stand in a header or on a terminal holds no control characters."""

Text = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, pattern=NO_CONTROLS)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_CONTROLS)]
Note = Annotated[str, Meta(max_length=NOTE_MAX, pattern=NO_CONTROLS)]


class EventLimits(msgspec.Struct, frozen=True):
    """How large what is posted may be, in bytes.

    Attributes:
        max_event_bytes: of one payload.
        max_batch_bytes: of the body of a batch.
    """

    max_event_bytes: int = 256 * 1024
    max_batch_bytes: int = 8 * 1024 * 1024

    @property
    def max_body_bytes(self) -> int:
        """Bytes of a body with one event: a payload in base64, and all that may stand around it."""
        return self.max_event_bytes * 4 // 3 + _AROUND_PAYLOAD_BYTES


class Draft(msgspec.Struct, frozen=True):
    """An event that is well-formed and not yet accepted.

    Attributes:
        payload: as it came in.
        fingerprint: a digest of type, payload and attributes but for the idempotency key; empty
            where there is no such key, as then nobody asks.
    """

    type: str
    payload: bytes
    attributes: Attributes = NO_ATTRIBUTES
    fingerprint: bytes = b""


class ResourceIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A thing that an event is about, as it is posted."""

    type: Text
    id: Text


class EventIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that posts one event; null is the same as absent, but for payload."""

    event_type: str
    payload: msgspec.Raw
    idempotency_key: str | None = None
    ordering_key: Text | None = None
    occurred_at: timestamp.Moment | None = None
    owner: Text | None = None
    user: Text | None = None
    request_id: Text | None = None
    platform: Text | None = None
    label: Text | None = None
    resource: ResourceIn | None = None
    related_resources: Annotated[tuple[ResourceIn, ...], Meta(max_length=MAX_LIST)] | None = None
    metadata: Annotated[dict[Name, Note], Meta(max_length=MAX_LIST)] | None = None
    targets: Annotated[tuple[str, ...], Meta(min_length=1, max_length=1000)] | None = None
    deliver_at: timestamp.Moment | Annotated[float, Meta(ge=0, le=AHEAD_MAX_S)] | None = None
    deliver_before: timestamp.Moment | None = None


class BesideIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an event is beside its payload, where one is made up to try something on."""

    event_type: str = "example"
    idempotency_key: str | None = None
    ordering_key: Text | None = None
    occurred_at: timestamp.Moment | None = None
    owner: Text | None = None
    user: Text | None = None
    request_id: Text | None = None
    platform: Text | None = None
    label: Text | None = None
    resource: ResourceIn | None = None
    related_resources: Annotated[tuple[ResourceIn, ...], Meta(max_length=MAX_LIST)] | None = None
    metadata: Annotated[dict[Name, Note], Meta(max_length=MAX_LIST)] | None = None
    headers: Annotated[dict[str, str], Meta(max_length=MAX_LIST)] = {}
    query: Annotated[dict[str, str | list[str]], Meta(max_length=MAX_LIST)] = {}
    path: Text | None = None


class BatchIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request that posts many events."""

    events: Annotated[list[EventIn], Meta(min_length=1, max_length=MAX_EVENTS)]


_EVENT: Final = msgspec.json.Decoder(EventIn)
_BATCH: Final = msgspec.json.Decoder(BatchIn)
_NOTHING_BESIDE: Final = (None,) * (len(EventIn.__struct_fields__) - 2)
_CANONICAL: Final = msgspec.msgpack.Encoder(order="deterministic")
_IDEMPOTENCY_KEY = re.compile(rf"[!-~]{{1,{TEXT_MAX}}}")
_EVENT_TYPE = re.compile(EVENT_TYPE)


def parse_event(body: bytes, limits: EventLimits, idempotency_key: str | None = None) -> Draft:
    """Parse the body of `POST /v1/events`.

    Args:
        body: the bytes that came.
        limits: how large they may be.
        idempotency_key: the value of the header `Idempotency-Key`; the same as the field, if both
            are there.

    Raises:
        InvalidInput: it is not valid; says where.
        PayloadTooLarge: it is over a limit.
    """
    require_body_size(body, limits)
    fields = rawjson.decode(_EVENT, body)
    if idempotency_key is not None:
        require_key(idempotency_key, "Idempotency-Key")
        if fields.idempotency_key not in {None, idempotency_key}:
            raise _invalid("idempotency_key", "differs from the header Idempotency-Key")
    return _draft(fields, limits, idempotency_key, "")


def parse_batch(body: bytes, limits: EventLimits) -> list[Draft]:
    """Parse the body of `POST /v1/events/batch`: 1 to 1,000 events, all of them good.

    Raises:
        InvalidInput: it is not valid; the path names the event, as `events[3].event_type`.
        PayloadTooLarge: it, or one of its events, is over a limit.
    """
    require_batch_size(body, limits)
    return [
        _draft(fields, limits, None, f"events[{index}].")
        for index, fields in enumerate(rawjson.decode(_BATCH, body).events)
    ]


def read_event(fields: EventIn, limits: EventLimits) -> Draft:
    """Make a draft of a decoded body, as `parse_event` does of its text.

    Raises:
        InvalidInput: it is not valid; says where.
        PayloadTooLarge: it is over a limit.
    """
    try:
        bytes(fields.payload).decode()
    except UnicodeDecodeError as error:
        raise _invalid("payload", "must be UTF-8") from error
    return _draft(fields, limits, None, "")


def draft(beside: BesideIn, payload: bytes, limits: EventLimits) -> Draft:
    """Return an event that is made up of a JSON payload and of what it is beside that.

    Raises:
        InvalidInput: something is not valid; paths are those of `payload` and of `event`.
        PayloadTooLarge: the payload is over the limit.
    """
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise _invalid("payload", "must be UTF-8") from error
    require_payload_size(payload, limits, "payload")
    rawjson.require_shallow(payload, "payload")
    if not is_type(beside.event_type):
        raise _invalid("event.event_type", BAD_TYPE)
    known = msgspec.structs.asdict(beside)
    request = {name: known.pop(name) for name in ("headers", "query", "path")}
    request["headers"] = {name.lower(): value for name, value in beside.headers.items()}
    fields = EventIn(payload=msgspec.Raw(payload), **known)
    attributes = msgspec.structs.replace(_attributes(fields, None, "event."), **request)
    return Draft(beside.event_type, payload.strip(), attributes)


def needs_scan(body: bytes) -> bool:
    """Return whether parsing may take so long (milliseconds) that it should not hold up the loop.

    What costs is the scan of deep or bracket-rich JSON, and the search for lone surrogates.
    """
    return len(body) > LARGE_BYTES and (
        rawjson.brackets(body) > rawjson.MAX_DEPTH or b"\\ud" in body or b"\\uD" in body
    )


def _draft(fields: EventIn, limits: EventLimits, key: str | None, at: str) -> Draft:
    """Check what the decoder does not know of; `at` is what paths start with."""
    if not is_type(fields.event_type):
        raise _invalid(f"{at}event_type", BAD_TYPE)
    payload = rawjson.original(fields.payload)
    if len(payload) > limits.max_event_bytes or rawjson.brackets(payload) > rawjson.MAX_DEPTH:
        require_payload_size(payload, limits, f"{at}payload")
        rawjson.require_shallow(payload, f"{at}payload")
    if key is None and msgspec.structs.astuple(fields)[2:] == _NOTHING_BESIDE:
        return Draft(fields.event_type, payload)
    return finish(fields.event_type, payload, _attributes(fields, key, at))


def _attributes(fields: EventIn, key: str | None, at: str) -> Attributes:
    if fields.idempotency_key is not None:
        require_key(fields.idempotency_key, f"{at}idempotency_key")
    resource, due = fields.resource, fields.deliver_at
    if due is not None and fields.ordering_key is not None:
        raise _invalid(f"{at}deliver_at", "must not be given with an ordering_key")
    return Attributes(
        idempotency_key=fields.idempotency_key or key,
        ordering_key=fields.ordering_key,
        occurred_at_us=_moment(fields.occurred_at, f"{at}occurred_at"),
        owner=fields.owner,
        user=fields.user,
        request_id=fields.request_id,
        platform=fields.platform,
        label=fields.label,
        resource=Resource(resource.type, resource.id) if resource else None,
        related_resources=tuple(Resource(r.type, r.id) for r in fields.related_resources or ()),
        metadata=fields.metadata or {},
        targets=_targets(fields.targets or (), at),
        deliver_at_us=_moment(due if isinstance(due, datetime) else None, f"{at}deliver_at"),
        deliver_in_s=None if isinstance(due, datetime) else due,
        deliver_before_us=_moment(fields.deliver_before, f"{at}deliver_before"),
    )


def _moment(moment: datetime | None, path: str) -> int | None:
    if moment is None:
        return None
    try:
        return timestamp.microseconds(moment)
    except ValueError as error:
        raise _invalid(path, str(error)) from error


def _targets(tokens: tuple[str, ...], at: str) -> tuple[Id, ...]:
    """Read subscription tokens; one that is named twice is still owed the event once."""
    found: dict[Id, None] = {}
    for index, token in enumerate(tokens):
        identifier = ids.find(ids.SUBSCRIPTION, token)
        if identifier is None:
            raise _invalid(f"{at}targets[{index}]", "must be a token of an event subscription")
        found[identifier] = None
    return tuple(found)


def finish(event_type: str, payload: bytes, attributes: Attributes) -> Draft:
    """Make a draft of checked parts, with its fingerprint where there is an idempotency key."""
    if attributes.idempotency_key is None:
        return Draft(event_type, payload, attributes)
    bare = msgspec.structs.replace(attributes, idempotency_key=None)
    digest = hashlib.blake2b(_CANONICAL.encode((event_type, bare, payload)), digest_size=16)
    return Draft(event_type, payload, attributes, digest.digest())


def is_type(text: str) -> bool:
    """Return whether it is an event type: names parted by full stops, 256 characters at most."""
    return len(text) <= EVENT_TYPE_MAX and _is_dotted(text)


@lru_cache(maxsize=4096)
def _is_dotted(text: str) -> bool:
    return _EVENT_TYPE.fullmatch(text) is not None


def require_payload_size(payload: bytes, limits: EventLimits, path: str) -> None:
    """Refuse a payload over the limit.

    Raises:
        PayloadTooLarge: it is.
    """
    if len(payload) > limits.max_event_bytes:
        raise PayloadTooLarge(f"{path}: must be at most {limits.max_event_bytes} bytes")


def require_body_size(body: bytes, limits: EventLimits) -> None:
    """Refuse the body of one event over the limit.

    Raises:
        PayloadTooLarge: it is.
    """
    # No body is too large that is no larger than a payload may be.
    if len(body) > limits.max_event_bytes and len(body) > limits.max_body_bytes:
        raise PayloadTooLarge(f"body: must be at most {limits.max_body_bytes} bytes")


def require_batch_size(body: bytes, limits: EventLimits) -> None:
    """Refuse the body of a batch over the limit.

    Raises:
        PayloadTooLarge: it is.
    """
    if len(body) > limits.max_batch_bytes:
        raise PayloadTooLarge(f"body: must be at most {limits.max_batch_bytes} bytes")


def require_key(text: str, path: str) -> None:
    """Refuse what can be no idempotency key.

    Raises:
        InvalidInput: it is; `path` is the field to blame.
    """
    if _IDEMPOTENCY_KEY.fullmatch(text) is None:
        raise _invalid(path, f"must be 1 to {TEXT_MAX} visible ASCII characters, no spaces")


def _invalid(path: str, reason: str) -> InvalidInput:
    return InvalidInput(details=[(path, reason)])
