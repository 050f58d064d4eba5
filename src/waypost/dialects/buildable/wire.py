"""Buildable's shapes, made of ours and read into ours. Nothing here does anything.

In its words an event is a message, and its name is short (`order.created`) or full:
`v1/{buildableId}.default.{test|live}.{platform}.{label}.{name}`.
"""

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.event import Attributes, Event
from waypost.model.ids import Id
from waypost.model.project import Environment, Principal, Project
from waypost.model.transaction import Change, Standing, Transaction, TransactionState
from waypost.policy import rawjson
from waypost.policy.events import (
    BAD_TYPE,
    TEXT_MAX,
    Draft,
    EventLimits,
    is_type,
    require_body_size,
    require_payload_size,
)
from waypost.policy.media import is_json
from waypost.policy.transactions import Output, TxKey, progress
from waypost.web.errors import Problem, Rendered

HEADER: Final = "x-buildable-secret"
PLATFORM: Final = "custom"
"""Of what was emitted here, and of every event that names none."""

PAGE_MAX: Final = 100
NEVER_MS: Final = 2**53 - 1
"""The time to live of what is kept for ever: the greatest whole number that JavaScript has."""

_NAME_MAX: Final = 1_024
_VERSION: Final = 1
_FULL: Final = re.compile(r"v1/([^.]+)\.default\.(test|live)\.([\w-]+)\.([\w-]+)\.(.+)", re.ASCII)
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_-]")
_ENVIRONMENTS: Final = {Environment.TEST: "test", Environment.PRODUCTION: "live"}
_NOWHERE: Final = "does-not-exist"
_STANDINGS: Final = {
    _NOWHERE: frozenset({Standing.ABSENT, Standing.LAPSED}),
    "pending": frozenset({Standing.PENDING}),
    "processing": frozenset({Standing.PROCESSING}),
    "finished": frozenset({Standing.FINISHED}),
    "failed": frozenset({Standing.FAILED}),
}
_NAMES: Final = {
    "not_authenticated": "invalid-secret",
    "not_permitted": "not-permitted",
    "invalid_input": "invalid-request",
    "invalid_setting": "invalid-request",
}

EventName = Annotated[str, Meta(min_length=1, max_length=_NAME_MAX)]
Place = Annotated[str, Meta(max_length=TEXT_MAX)]
"""A platform or a label; an empty one is the same as none."""

End = Literal["finished", "failed"]


class EmitIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `/emit`."""

    event: EventName
    payload: Annotated[msgspec.Raw, Meta(extra_json_schema={"type": "object"})]


class QueryIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of `/query`."""

    event_name: EventName
    tx_key: TxKey
    since: Annotated[float, Meta(ge=0, le=NEVER_MS)] | None = None
    platform: Place | None = None
    label: Place | None = None
    tx_state: Literal["does-not-exist", "pending", "processing", "finished", "failed"] = (
        "does-not-exist"
    )
    page: Annotated[int, Meta(ge=1, le=2**31)] = 1
    page_size: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 10


class UpdateIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of `/update`."""

    key: str
    event_name: EventName
    tx_key: TxKey
    tx_state: Literal["processing", "finished", "failed"]


class InitIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of `/init`."""

    key: str
    tx_key: TxKey
    event_name: EventName | None = None


class TransactIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of `/transact`."""

    key: str
    tx_key: TxKey
    state: End
    output: Output | None = None
    event_name: EventName | None = None


class NameIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body of `/get-full-event-name`."""

    event_name: EventName
    platform: Place | None = None
    label: Place | None = None


class HistoryOut(msgspec.Struct, frozen=True, rename="camel"):
    """One change of a state, at a moment in milliseconds."""

    enter_state: str
    exit_state: str
    timestamp: int
    updated_by: str


class OwnershipOut(msgspec.Struct, frozen=True, rename="camel"):
    """Whose an event is."""

    buildable_id: str
    user_id: str
    client_id: str


class ProcessingOut(msgspec.Struct, frozen=True, rename="camel"):
    """How far the consumers of an event are."""

    has_transactions: bool
    total_transactions: int
    has_future_transactions: bool
    is_completed: bool


class EventOut(msgspec.Struct, frozen=True, rename="camel"):
    """An event; payload, query and headers are JSON in a string."""

    id: str = msgspec.field(name="_id")
    key: str
    event_name: str
    environment: str
    payload: str | None
    query: str | None
    headers: str | None
    created_at: int
    state: str
    history: list[HistoryOut]
    ttl: int
    v: int
    ownership: OwnershipOut
    processing: ProcessingOut


class PageOut(msgspec.Struct, frozen=True, rename="camel"):
    """One page of `/query`."""

    rows: list[EventOut]
    total: int
    page: int
    page_size: int
    total_pages: int


class TransactionEventOut(msgspec.Struct, frozen=True, rename="camel"):
    """The event of a transaction."""

    id: str = msgspec.field(name="_id")
    event_name: str


class TransactionOut(msgspec.Struct, frozen=True, rename="camel"):
    """A transaction; `input` is the event's payload."""

    id: str = msgspec.field(name="_id")
    key: str
    txn: str
    event: TransactionEventOut
    created_at: int
    ttl: int
    state: str
    history: list[HistoryOut]
    started_at: int | None
    tx_key: str
    ended_at: int | None
    input: str | None
    output: str | None


class NameOut(msgspec.Struct, frozen=True, rename="camel"):
    """The answer of `/get-full-event-name`."""

    full_name: str


class Home(msgspec.Struct, frozen=True):
    """Where a caller is: what its project and its key are called here.

    Attributes:
        buildable_id: of the account.
        environment: test or live.
        client_id: of the project.
        label: of the key: what it emits has it, and what names no label is taken to have it.
    """

    buildable_id: str
    environment: str
    client_id: str
    label: str


class Named(msgspec.Struct, frozen=True):
    """An event name that was asked for.

    Attributes:
        type: the short name.
        is_here: False where the full name is of another account or environment.
        platform: as it stands in a full name; None where the name was short.
        label: the same.
    """

    type: str
    is_here: bool = True
    platform: str | None = None
    label: str | None = None


_EMIT: Final = msgspec.json.Decoder(EmitIn)


def home_of(project: Project, caller: Principal) -> Home:
    """Return where a caller is."""
    return Home(
        f"build-{ids.spell_hex(project.account_id)}",
        _ENVIRONMENTS[project.environment],
        ids.spell_hex(project.id),
        caller.key_name,
    )


def read_emit(body: bytes, limits: EventLimits, caller: Principal) -> Draft:
    """Read the body of `/emit`; the payload stays the bytes that came.

    Raises:
        InvalidInput: it is not valid; says where.
        PayloadTooLarge: it is over a limit.
    """
    require_body_size(body, limits)
    fields = rawjson.decode(_EMIT, body)
    _require_type(fields.event, "event")
    payload = rawjson.original(fields.payload)
    if not payload.startswith(b"{"):
        raise InvalidInput(details=[("payload", "must be an object")])
    require_payload_size(payload, limits, "payload")
    rawjson.require_shallow(payload, "payload")
    attributes = Attributes(
        platform=PLATFORM, label=caller.key_name, user=ids.spell_hex(caller.key_id)
    )
    return Draft(fields.event, payload, attributes)


def read_name(text: str, home: Home) -> Named:
    """Read an event name, short or full.

    Raises:
        InvalidInput: it is neither.
    """
    if not text.startswith("v1/"):
        _require_type(text, "eventName")
        return Named(text)
    found = _FULL.fullmatch(text)
    if found is None:
        raise InvalidInput(details=[("eventName", "is neither an event's name nor a full one")])
    buildable_id, environment, platform, label, name = found.groups()
    _require_type(name, "eventName")
    is_here = (buildable_id, environment) == (home.buildable_id, home.environment)
    return Named(name, is_here, platform, label)


def full_name(named: Named, home: Home, platform: str | None, label: str | None) -> str:
    """Return the full name of an event; what is given stands before what the name says."""
    where = _plain(platform) if platform else named.platform or PLATFORM
    what = _plain(label) if label else named.label or _plain(home.label)
    return f"v1/{home.buildable_id}.default.{home.environment}.{where}.{what}.{named.type}"


def read_key(text: str) -> Id:
    """Read the key of an event.

    Raises:
        NotFound: it is none, so nothing can have it.
    """
    found = ids.find_hex(text)
    if found is None:
        raise NotFound(ids.KINDS[ids.EVENT])
    return found


def standings_of(state: str) -> frozenset[Standing]:
    """Return what is looked for by a `txState`."""
    return _STANDINGS[state]


def begin_us(since: float | None) -> int:
    """Return from when on events are wanted, UTC microseconds; `since` is in milliseconds."""
    return 0 if since is None else math.ceil(since) * 1_000


class Selection(msgspec.Struct, frozen=True):
    """Which events a query is about, beside their type: by platform and label."""

    named: Named
    platform: str | None
    label: str | None
    own_label: str

    @property
    def is_any(self) -> bool:
        """Whether all are."""
        return not (self.platform or self.label or self.named.platform)

    def admits(self, event: Event) -> bool:
        """Tell whether an event is among them."""
        platform = event.attributes.platform or PLATFORM
        label = event.attributes.label or self.own_label
        return (
            (not self.platform or self.platform == platform)
            and (not self.label or self.label == label)
            and (self.named.platform is None or self.named.platform == _plain(platform))
            and (self.named.label is None or self.named.label == _plain(label))
        )


def event_out(
    event: Event,
    transactions: Sequence[Transaction],
    home: Home,
    retention_us: int | None,
    *,
    expects_more: bool,
) -> EventOut:
    """Return an event as it is on the wire; `expects_more`: another consumer is expected."""
    key = ids.spell_hex(event.id)
    made_ms = _milliseconds(ids.moment(event.id))
    known = event.attributes
    found = progress(transactions)
    user = known.user or home.client_id
    begun = HistoryOut(TransactionState.PENDING.value, _NOWHERE, made_ms, user)
    return EventOut(
        id=key,
        key=key,
        event_name=event.type,
        environment=home.environment,
        payload=_payload(event),
        query=_in_string(known.query),
        headers=_in_string(known.headers),
        created_at=made_ms,
        state=found.state.value,
        history=[begun, *map(_history, found.history)],
        ttl=_ttl(event, retention_us),
        v=_VERSION,
        ownership=OwnershipOut(home.buildable_id, user, home.client_id),
        processing=ProcessingOut(found.total > 0, found.total, expects_more, found.is_completed),
    )


def transaction_out(
    event: Event, transaction: Transaction, retention_us: int | None
) -> TransactionOut:
    """Return a transaction as it is on the wire."""
    key, own = ids.spell_hex(event.id), ids.spell_hex(transaction.id)
    started, ended = transaction.started_us, transaction.ended_us
    return TransactionOut(
        id=own,
        key=key,
        txn=own,
        event=TransactionEventOut(key, event.type),
        created_at=_milliseconds(ids.moment(transaction.id)),
        ttl=_ttl(event, retention_us),
        state=transaction.state.value,
        history=[*map(_history, transaction.history)],
        started_at=None if started is None else _milliseconds(started),
        tx_key=transaction.tx_key,
        ended_at=None if ended is None else _milliseconds(ended),
        input=_payload(event),
        output=transaction.output,
    )


def emitted(event_id: Id) -> bytes:
    """Return the answer of `/emit`."""
    return b'{"status":"success","key":"%b"}' % ids.spell_hex(event_id).encode()


def render(problem: Problem) -> Rendered:
    """Render an error in Buildable's envelope."""
    status = 400 if problem.status == 422 else problem.status
    data: dict[str, Any] = {}
    if problem.details:
        data["errors"] = [{"path": path, "message": why} for path, why in problem.details]
    envelope = {
        "status": "error",
        "name": _NAMES.get(problem.code, problem.code.replace("_", "-")),
        "message": problem.message,
        "code": status,
        "data": data,
    }
    return Rendered(status, msgspec.json.encode(envelope))


def _require_type(text: str, path: str) -> None:
    if not is_type(text):
        raise InvalidInput(details=[(path, BAD_TYPE)])


def _plain(text: str) -> str:
    """Return a platform or label as it stands in a full name, whose parts a full stop divides."""
    return _NOT_PLAIN.sub("-", text)


def _history(change: Change) -> HistoryOut:
    former = _NOWHERE if change.former is None else change.former.value
    at_ms = _milliseconds(change.at_us)
    return HistoryOut(change.state.value, former, at_ms, ids.spell_hex(change.key_id))


def _payload(event: Event) -> str | None:
    if is_json(event.attributes.content_type):
        return event.payload.decode("utf-8", "replace")
    return msgspec.json.encode(event.payload).decode()


def _in_string(value: object) -> str | None:
    return msgspec.json.encode(value).decode() if value else None


def _ttl(event: Event, retention_us: int | None) -> int:
    if retention_us is None:
        return NEVER_MS
    return _milliseconds(ids.moment(event.id) + retention_us)


def _milliseconds(at_us: int) -> int:
    return at_us // 1_000
