"""Events: the two that take them in (served by `waypost.api.intake`), and reading them back."""

import base64
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from waypost.api.intake import BATCH_PATH, EVENTS_PATH
from waypost.api.operation import Call, Operation
from waypost.api.shapes import Moment, PageOf, Range, moment, page_of, page_request
from waypost.model import ids
from waypost.model.event import Event, Receipt, Resource
from waypost.model.project import Scope
from waypost.operations.events import Events
from waypost.policy.events import BatchIn, EventIn
from waypost.policy.media import is_json
from waypost.policy.timing import due_at

TAG = "Events"
EVENT_PATH = "/v1/events/{event_token}"
CLOUDEVENT = "application/cloudevents+json"
CLOUDEVENTS = "application/cloudevents-batch+json"

_ONE = """\
Answered once the event, and a delivery for each subscription that wants it, are on disk.
The payload is kept and delivered as the very bytes that came. The header `Idempotency-Key` is as
good as the field. CloudEvents 1.0 are taken in structured and in binary mode: `source` and `id`
are then the idempotency key."""
_MANY = """\
All of them are taken in, or none: one that is wrong refuses the whole with 422 and its index.
CloudEvents 1.0 are taken in batched mode."""

PayloadEncoding = Annotated[
    Literal["base64"] | None,
    Meta(description="There where the payload is no JSON: it is then shown in base64."),
]


class AcceptedOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """An accepted event; `duplicate`: its idempotency key had brought it in before."""

    token: str
    created: Moment
    event_type: str
    payload: msgspec.Raw
    duplicate: bool
    payload_encoding: PayloadEncoding = None


class BatchOut(msgspec.Struct, frozen=True):
    """The accepted events of a batch, in its order."""

    data: list[AcceptedOut]


class EventOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """An event; what it was not given is absent."""

    token: str
    created: Moment
    event_type: str
    payload: msgspec.Raw
    payload_encoding: PayloadEncoding = None
    content_type: str | None = None
    idempotency_key: str | None = None
    ordering_key: str | None = None
    occurred_at: Moment | None = None
    owner: str | None = None
    user: str | None = None
    request_id: str | None = None
    platform: str | None = None
    label: str | None = None
    resource: Resource | None = None
    related_resources: list[Resource] = []
    metadata: dict[str, str] = {}
    targets: list[str] = []
    cloudevent: dict[str, str | int | bool] | None = None
    example: bool = False
    headers: dict[str, str] = {}
    query: dict[str, str | list[str]] = {}
    path: str | None = None
    deliver_at: Moment | None = None
    deliver_before: Moment | None = None
    source: str | None = None


class ReceiptOut(msgspec.Struct, frozen=True):
    """One repetition of an event's idempotency key, accepted or refused."""

    created: Moment
    api_key: str
    same_body: bool


class EventDetails(EventOut, frozen=True, omit_defaults=True):
    """An event, and the latest hundred repetitions of its idempotency key, newest first."""

    receipts: list[ReceiptOut] = []


class EventsQuery(Range, frozen=True, kw_only=True):
    """Which events."""

    event_types: Annotated[
        tuple[str, ...],
        Meta(
            max_length=10,
            description=(
                "Only events of these types. Without it no system events; waypost.* is for these."
            ),
        ),
    ] = ()
    with_content: Annotated[bool, Meta(description="Without it every payload is `{}`.")] = True


class EventRoutes:
    """Handlers over the operations on events."""

    def __init__(self, events: Events) -> None:
        """Take the operations."""
        self._events = events

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about events."""
        return [
            Operation(
                method="POST",
                path=EVENTS_PATH,
                name="create_event",
                summary="Post an event",
                description=_ONE,
                tag=TAG,
                scope=Scope.EVENTS_WRITE,
                body=EventIn,
                media=("application/json", CLOUDEVENT),
                result=AcceptedOut,
                status=202,
                errors=(413, 415, 422, 507),
                handler=None,
            ),
            Operation(
                method="POST",
                path=BATCH_PATH,
                name="create_events",
                summary="Post many events",
                description=_MANY,
                tag=TAG,
                scope=Scope.EVENTS_WRITE,
                body=BatchIn,
                media=("application/json", CLOUDEVENTS),
                result=BatchOut,
                status=202,
                errors=(413, 415, 422, 507),
                handler=None,
            ),
            Operation(
                method="GET",
                path=EVENTS_PATH,
                name="list_events",
                summary="List events",
                description="From newest to oldest. A page that gets too large holds fewer items.",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=EventsQuery,
                result=PageOf[EventOut],
                handler=self.list_page,
            ),
            Operation(
                method="GET",
                path=EVENT_PATH,
                name="get_event",
                summary="Get an event",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                result=EventDetails,
                errors=(404,),
                handler=self.get,
            ),
        ]

    async def list_page(self, call: Call[EventsQuery, None]) -> PageOf[EventOut]:
        """List events."""
        query = call.query
        page = await self._events.list_page(
            call.principal,
            page_request(query, ids.EVENT),
            types=query.event_types,
            with_payload=query.with_content,
        )
        return page_of(page, shape)

    async def get(self, call: Call[None, None]) -> EventDetails:
        """Get an event."""
        event_id = ids.read(ids.EVENT, call.path["event_token"])
        event, receipts = await self._events.get(call.principal, event_id)
        shown = msgspec.structs.asdict(shape(event))
        return EventDetails(**shown, receipts=[_receipt(one) for one in receipts])


def shape(event: Event) -> EventOut:
    """Return an event as it is on the wire."""
    known = event.attributes
    occurred = known.occurred_at_us
    shown = is_json(known.content_type)
    accepted_us, before_us = ids.moment(event.id), known.deliver_before_us
    due_us = due_at(known, accepted_us)
    return EventOut(
        token=ids.spell(ids.EVENT, event.id),
        created=moment(accepted_us),
        event_type=event.type,
        payload=msgspec.Raw(event.payload if shown else _in_base64(event.payload)),
        payload_encoding=None if shown else "base64",
        content_type=known.content_type,
        idempotency_key=known.idempotency_key,
        ordering_key=known.ordering_key,
        occurred_at=None if occurred is None else moment(occurred),
        owner=known.owner,
        user=known.user,
        request_id=known.request_id,
        platform=known.platform,
        label=known.label,
        resource=known.resource,
        related_resources=list(known.related_resources),
        metadata=known.metadata,
        targets=[ids.spell(ids.SUBSCRIPTION, target) for target in known.targets],
        cloudevent=known.cloudevent,
        example=known.example,
        headers=known.headers,
        query=known.query,
        path=known.path,
        deliver_at=None if due_us == accepted_us else moment(due_us),
        deliver_before=None if before_us is None else moment(before_us),
        source=None if known.source is None else ids.spell(ids.SOURCE, known.source),
    )


def _in_base64(payload: bytes) -> bytes:
    return b'"%b"' % base64.b64encode(payload)


def _receipt(receipt: Receipt) -> ReceiptOut:
    return ReceiptOut(moment(receipt.at_us), ids.spell(ids.KEY, receipt.key_id), receipt.same_body)
