"""The vendor's contract of the fifteen operations, as facts that an answer is held against.

Ours differs from it in these points, each of them wider: event types are open; a payload may be any
JSON value, not objects alone; objects have members beyond the vendor's; `event_types` is null where
a subscription wants every type, which the vendor's own client has it to be; a setting that the
vendor does not have may be refused by 422; and any operation may refuse by 400, 401, 403, 413, 415,
429, 503, in the vendor's envelope.
"""

import json
import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import Meta

T = TypeVar("T")

Token = Annotated[str, Meta(min_length=1)]
Moment = Annotated[datetime, Meta(tz=True)]
Url = Annotated[str, Meta(pattern=r"\Ahttps?://[^\s]+\Z")]


class Page(msgspec.Struct, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool


class Event(msgspec.Struct):
    """An event."""

    token: Token
    created: Moment
    event_type: str
    payload: Any


class EventSubscription(msgspec.Struct):
    """A subscription; the description is never null."""

    token: Token
    description: str
    disabled: bool
    url: Url
    event_types: list[str] | None = None


class Status(StrEnum):
    """How an attempt stands."""

    FAILED = "FAILED"
    PENDING = "PENDING"
    SENDING = "SENDING"
    SUCCESS = "SUCCESS"


class MessageAttempt(msgspec.Struct):
    """An attempt."""

    token: Token
    created: Moment
    event_subscription_token: Token
    event_token: Token
    response: str
    response_status_code: int
    status: Status
    url: Url


class Secret(msgspec.Struct):
    """A subscription's secret."""

    secret: str


class Refusal(msgspec.Struct):
    """Every error."""

    message: Annotated[str, Meta(min_length=1)]
    debugging_request_id: UUID


OURS: Final = {422}
"""The refusal of a setting that the vendor does not have, so its clients never see it."""

SUBSCRIPTION: Final = "/v1/event_subscriptions/{s}"
OPERATIONS: Final[dict[tuple[str, str], tuple[int, Any, set[int]]]] = {
    ("GET", "/v1/events"): (200, Page[Event], set()),
    ("GET", "/v1/events/{e}"): (200, Event, {404}),
    ("GET", "/v1/events/{e}/attempts"): (200, Page[MessageAttempt], {404}),
    ("POST", "/v1/events/{e}/event_subscriptions/{s}/resend"): (202, None, {404, 422}),
    ("GET", "/v1/event_subscriptions"): (200, Page[EventSubscription], set()),
    ("POST", "/v1/event_subscriptions"): (201, EventSubscription, OURS),
    ("GET", SUBSCRIPTION): (200, EventSubscription, {404}),
    ("PATCH", SUBSCRIPTION): (200, EventSubscription, {404} | OURS),
    ("DELETE", SUBSCRIPTION): (204, None, {404}),
    ("POST", f"{SUBSCRIPTION}/recover"): (202, None, {404, 422}),
    ("GET", f"{SUBSCRIPTION}/attempts"): (200, Page[MessageAttempt], {404}),
    ("POST", f"{SUBSCRIPTION}/replay_missing"): (202, None, {404, 422}),
    ("GET", f"{SUBSCRIPTION}/secret"): (200, Secret, {404}),
    ("POST", f"{SUBSCRIPTION}/secret/rotate"): (204, None, {404}),
    ("POST", "/v1/simulate/event_subscriptions/{s}/send_example"): (202, None, {404, 422}),
}
"""By method and path: the status of success, its body (None: empty), further refusals."""

ALWAYS: Final = {400, 401, 403, 413, 415, 429, 503}

_PATTERNS: Final = {
    (method, path): re.compile(re.sub(r"\\\{[a-z]\\\}", "[^/]+", re.escape(path)))
    for method, path in OPERATIONS
}


def operation(method: str, path: str) -> tuple[str, str] | None:
    """Return which of the fifteen a request is for; None for what is ours alone."""
    found = (key for key, pattern in _PATTERNS.items() if pattern.fullmatch(path))
    return next((key for key in found if key[0] == method), None)


def check(method: str, path: str, status: int, body: bytes) -> None:
    """Hold an answer against the contract; every refusal, of whatever operation, to the envelope.

    Args:
        method: of the request.
        path: of the request, without the query.
        status: of the answer.
        body: of the answer.
    """
    where = f"{method} {path}: {status} {body[:300]!r}"
    if status >= 400 and not path.startswith("/readyz"):
        refusal = json.loads(body)
        msgspec.convert(refusal, Refusal)
        assert set(refusal) <= {"message", "debugging_request_id", "errors"}, where
    known = operation(method, path)
    if known is None:
        return
    success, form, refusals = OPERATIONS[known]
    if status >= 400:
        assert status in ALWAYS | refusals, where
    elif form is None:
        assert (status, body) == (success, b""), where
    else:
        assert status == success, where
        # The library is more lenient than msgspec about what a payload holds.
        msgspec.convert(json.loads(body), form)
