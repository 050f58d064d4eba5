"""Socotra's shapes of events, diverted events and tokens, made of ours. Nothing here does anything.

An id is a locator: a ULID, and of a tenant (a project) or a user a UUID. What came in by another
API and has no request or user has a stated stand-in: its own id, and what its user is called.
"""

import base64
import binascii
import uuid
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from waypost.model import ids
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import InvalidInput
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.policy import timestamp
from waypost.policy.failure import message_of
from waypost.policy.media import is_json
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.stream import Position
from waypost.web.errors import Problem, Rendered

NAME_MAX: Final = 2_000
TOKEN_NAME_MAX: Final = 200
TENANTS_MAX: Final = 100
COUNT_MAX: Final = 1_000
COUNT: Final = 50
OFFSET_MAX: Final = 2**31 - 1
PAGING_TOKEN_MAX: Final = 1024

TIMEOUT: Final = "timeout"
SUSPENDED: Final = "suspended"
_SUSPENDED_MESSAGE: Final = "the webhook was suspended"
_NOT_TENANT: Final = 7 << 4
_CONFLICT: Final = 409
_BAD: Final = 400

_encode_token: Final = msgspec.msgpack.Encoder().encode


ULID: Final = {"format": "ulid", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"}
Locator = Annotated[str, Meta(extra_json_schema=ULID)]
UserLocator = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class EventOut(msgspec.Struct, frozen=True, rename="camel"):
    """An event, and the body of what is sent to a webhook."""

    locator: Locator
    request_id: Locator
    user_locator: UserLocator
    timestamp: Moment
    type: str
    data: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


class EventsOut(msgspec.Struct, frozen=True, rename="camel"):
    """Events of the stream; the token leads on from them, also where there are no more yet."""

    paging_token: str
    events: list[EventOut]


class DivertedOut(msgspec.Struct, frozen=True, rename="camel"):
    """A diverted event."""

    event_locator: Locator
    request_locator: Locator
    failure_message: str
    failure_timestamp: Moment
    failure_trigger: str


class TokenIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of a request for a token."""

    name: Annotated[str, Meta(min_length=1, max_length=TOKEN_NAME_MAX)]
    permissions: Annotated[list[str], Meta(min_length=1, max_length=100)]
    tenants: Annotated[list[str], Meta(min_length=1, max_length=TENANTS_MAX)]
    expires_at: timestamp.Moment | None = None


class TokenOut(msgspec.Struct, frozen=True, rename="camel"):
    """A new token, which is shown this once."""

    name: str
    expires_at: datetime | None
    permissions: list[str]
    tenants: list[str]
    token: str


class Stream(msgspec.Struct, frozen=True, array_like=True):
    """What a paging token holds: where the reader is, and what it asked for at first."""

    position: Position
    until: Id | None
    type: str | None
    size: int


_read_token: Final = msgspec.msgpack.Decoder(Stream).decode


def read_tenant(text: str) -> Id:
    """Read the locator of a tenant.

    Raises:
        InvalidInput: it is no UUID.
    """
    found = ids.find_uuid(text)
    if found is None:
        raise InvalidInput(details=[("tenantLocator", "Must be a UUID")])
    return found


def read_locator(name: str, text: str) -> Id:
    """Read a locator; `name` is what it is called in the path.

    Raises:
        InvalidInput: it is no ULID.
    """
    found = ids.find_ulid(text)
    if found is None:
        raise InvalidInput(details=[(name, "Must be a ULID")])
    return found


def spell_stream(stream: Stream) -> str:
    """Spell a paging token."""
    return base64.urlsafe_b64encode(_encode_token(stream)).decode().rstrip("=")


def read_stream(text: str) -> Stream:
    """Read a paging token.

    Raises:
        InvalidInput: it is none.
    """
    try:
        stream = _read_token(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise _bad_token() from error
    known = (stream.position.after, *([stream.until] if stream.until is not None else []))
    if any(len(one) != ids.ID_BYTES for one in known) or not 1 <= stream.size <= COUNT_MAX:
        raise _bad_token()
    return stream


def _bad_token() -> InvalidInput:
    return InvalidInput(details=[("pagingToken", "Is not a paging token of this list")])


def event_out(event: Event) -> EventOut:
    """Return an event as it is on the wire."""
    return EventOut(
        locator=ids.spell_ulid(event.id),
        request_id=_request(event.attributes.request_id, event.id),
        user_locator=_user(event),
        timestamp=timestamp.spell(ids.moment(event.id)),
        type=event.type,
        data=_data(event),
    )


def _request(named: str | None, event_id: Id) -> str:
    """Return the locator of a request: the event's own where it names none that could be one."""
    return ids.spell_ulid((ids.find_spelled(named) if named else None) or event_id)


def _user(event: Event) -> str:
    """Return the locator of a user: a UUID as it is, else one that is made of what it is called.

    Of an event without one it is the tenant's.
    """
    named, tenant_id = event.attributes.user, tenant_of(event.project_id)
    if not named:
        return ids.spell_uuid(tenant_id)
    known = ids.find_spelled(named)
    if known is None:
        return str(uuid.uuid5(uuid.UUID(bytes=tenant_id), named))
    return ids.spell_uuid(known)


def tenant_of(project_id: Id) -> Id:
    """Return the tenant whose events these are: notices stand in a hidden project beside it."""
    if not ids.is_of_alerts(project_id):
        return project_id
    return project_id[:6] + bytes([_NOT_TENANT | project_id[6] & 0x0F]) + project_id[7:]


def _data(event: Event) -> msgspec.Raw:
    """Return the payload as an object: its own bytes where it is one."""
    if not is_json(event.attributes.content_type):
        return msgspec.Raw(msgspec.json.encode({"base64": event.payload}))
    if event.payload.lstrip(b" \t\r\n").startswith(b"{"):
        return msgspec.Raw(event.payload)
    return msgspec.Raw(b'{"value":%b}' % event.payload)


def diverted_out(diverted: DivertedEvent, triggers: frozenset[str] | None) -> DivertedOut:
    """Return a diverted event as it is on the wire; `triggers` are the webhook's."""
    trigger, message = _failure(diverted, triggers)
    return DivertedOut(
        event_locator=ids.spell_ulid(diverted.event_id),
        request_locator=_request(diverted.request_id, diverted.event_id),
        failure_message=message,
        failure_timestamp=timestamp.spell(diverted.diverted_us),
        failure_trigger=trigger,
    )


def _failure(diverted: DivertedEvent, triggers: frozenset[str] | None) -> tuple[str, str]:
    if diverted.reason is Reason.SUBSCRIPTION_SUSPENDED:
        return SUSPENDED, _SUSPENDED_MESSAGE
    if not diverted.attempts or diverted.reason is Reason.INTERNAL:
        return diverted.reason.value, diverted.reason.value.replace("_", " ")
    status = diverted.status_code
    message = message_of(Outcome(OutcomeKind.FAILED, status, diverted.response))
    if not status:
        return TIMEOUT, message
    own = str(status)
    family = f"{own[0]}xx"
    return (family if triggers and own not in triggers and family in triggers else own), message


def render(problem: Problem) -> Rendered:
    """Render an error: Socotra has published no envelope, so this is one of ours."""
    status = problem.status
    if status == 422:
        status = _BAD if problem.details else _CONFLICT
    envelope: dict[str, Any] = {
        "httpStatus": status,
        "message": problem.message,
        "requestId": problem.request_id,
    }
    if problem.details:
        envelope["errors"] = [{"path": path, "message": why} for path, why in problem.details]
    return Rendered(status, msgspec.json.encode(envelope))
