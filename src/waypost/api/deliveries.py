"""Deliveries and attempts: what is owed, what became of it, and each try."""

import base64
import binascii
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.events import EVENT_PATH
from waypost.api.operation import Call, Operation
from waypost.api.shapes import (
    Moment,
    PageOf,
    Range,
    moment,
    page_of,
    page_request,
    subscription_named,
)
from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason, Timings
from waypost.model.errors import InvalidInput
from waypost.model.page import Page, PageRequest
from waypost.model.project import Scope
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.operations.deliveries import Deliveries, DeliveryFilter, position

TAG: Final = "Deliveries"
ATTEMPT_PATH: Final = f"{EVENT_PATH}/attempts/{{attempt_token}}"
_POSITION_BYTES: Final = 2 * ids.ID_BYTES


class State(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class DeliveryOut(msgspec.Struct, frozen=True):
    """One event owed to one subscription.

    `due`: when a pending one is tried next; `finished`: when it was delivered or given up;
    `diverted`: it stands among the diverted events, under the same token.
    """

    token: str
    event_token: str
    event_type: str
    event_subscription_token: str
    state: State
    reason: Reason | None
    attempts: int
    created: Moment
    due: Moment | None
    finished: Moment | None
    diverted: bool


class DeliveryPage(msgspec.Struct, frozen=True):
    """One page of deliveries, by event and then by delivery, both newest first.

    `older` and `newer` are the positions of its ends, for `starting_after` and `ending_before`;
    null where the page is empty.
    """

    data: list[DeliveryOut]
    has_more: bool
    older: str | None
    newer: str | None


class DeliveriesOfEventQuery(Range, frozen=True, kw_only=True):
    """Which deliveries of an event; the range of time is that of the event."""

    state: State | None = None


class DeliveriesQuery(DeliveriesOfEventQuery, frozen=True, kw_only=True):
    """Which deliveries; the range of time is that of their events."""

    event_subscription_token: Annotated[
        str | None, Meta(description="Only those of this event subscription.")
    ] = None
    event_types: Annotated[
        tuple[str, ...], Meta(max_length=10, description="Only events of these types.")
    ] = ()


class AttemptsQuery(Range, frozen=True, kw_only=True):
    """Which attempts."""

    status: AttemptStatus | None = None


class AttemptOut(msgspec.Struct, frozen=True):
    """One try of a delivery.

    A delivery that waits shows as one PENDING attempt, one in flight as one SENDING attempt, under
    the token that the attempt will keep; `created` is then when it is due.
    """

    token: str
    created: Moment
    event_subscription_token: str
    event_token: str
    response: str
    response_status_code: int
    status: AttemptStatus
    url: str


class TimingsOut(msgspec.Struct, frozen=True):
    """How long the parts of an attempt took, in milliseconds; 0 for what did not happen."""

    resolve_ms: float
    connect_ms: float
    tls_ms: float
    first_byte_ms: float
    total_ms: float


class AttemptDetails(AttemptOut, frozen=True):
    """An attempt and its circumstances.

    `request_headers` are made again from the subscription's present settings, the timestamp from
    when the attempt was due; what could be a secret is masked, and what a transform adds is not
    there. Null where the subscription is deleted. `possibly_repeated`: a connection broke off
    before any answer and the request went out a second time.
    """

    delivery_token: str
    attempt_number: int
    timings: TimingsOut | None
    possibly_repeated: bool
    request_headers: dict[str, str] | None


class DeliveryRoutes:
    """Handlers over the operations on deliveries."""

    def __init__(self, deliveries: Deliveries) -> None:
        """Take the operations."""
        self._deliveries = deliveries

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about deliveries and an event's attempts."""
        return [
            Operation(
                method="GET",
                path="/v1/deliveries",
                name="list_deliveries",
                summary="List deliveries",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=DeliveriesQuery,
                result=DeliveryPage,
                errors=(404,),
                handler=self.list_page,
            ),
            Operation(
                method="GET",
                path=f"{EVENT_PATH}/deliveries",
                name="list_deliveries_of_event",
                summary="List an event's deliveries",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=DeliveriesOfEventQuery,
                result=DeliveryPage,
                errors=(404,),
                handler=self.list_of_event,
            ),
            Operation(
                method="GET",
                path=f"{EVENT_PATH}/attempts",
                name="list_attempts_of_event",
                summary="List an event's attempts",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=AttemptsQuery,
                result=PageOf[AttemptOut],
                errors=(404,),
                handler=self.list_attempts,
            ),
            Operation(
                method="GET",
                path=ATTEMPT_PATH,
                name="get_attempt",
                summary="Get an attempt, with its request's headers",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                result=AttemptDetails,
                errors=(404,),
                handler=self.get_attempt,
            ),
        ]

    async def list_page(self, call: Call[DeliveriesQuery, None]) -> DeliveryPage:
        """List deliveries."""
        query = call.query
        which = DeliveryFilter(
            state=_state(query.state),
            subscription_id=subscription_named(query.event_subscription_token),
            types=query.event_types,
        )
        page = await self._deliveries.list_page(call.principal, _page_request(query), which)
        return _page(page)

    async def list_of_event(self, call: Call[DeliveriesOfEventQuery, None]) -> DeliveryPage:
        """List an event's deliveries."""
        which = DeliveryFilter(
            state=_state(call.query.state),
            event_id=ids.read(ids.EVENT, call.path["event_token"]),
        )
        page = await self._deliveries.list_page(call.principal, _page_request(call.query), which)
        return _page(page)

    async def list_attempts(self, call: Call[AttemptsQuery, None]) -> PageOf[AttemptOut]:
        """List an event's attempts."""
        page = await self._deliveries.attempts_of_event(
            call.principal,
            ids.read(ids.EVENT, call.path["event_token"]),
            page_request(call.query, ids.ATTEMPT),
            call.query.status,
        )
        return page_of(page, attempt_out)

    async def get_attempt(self, call: Call[None, None]) -> AttemptDetails:
        """Get an attempt."""
        attempt, headers = await self._deliveries.attempt(
            call.principal,
            ids.read(ids.EVENT, call.path["event_token"]),
            ids.read(ids.ATTEMPT, call.path["attempt_token"]),
        )
        return AttemptDetails(
            **msgspec.structs.asdict(attempt_out(attempt)),
            delivery_token=ids.spell(ids.DELIVERY, attempt.delivery_id),
            attempt_number=attempt.number,
            timings=None if attempt.timings is None else _timings(attempt.timings),
            possibly_repeated=attempt.reused_unknown,
            request_headers=headers,
        )


def attempt_out(attempt: ShownAttempt) -> AttemptOut:
    """Return an attempt in its shape on the wire; a response that is no UTF-8 is shown mended."""
    return AttemptOut(
        token=ids.spell(ids.ATTEMPT, attempt.id),
        created=moment(ids.moment(attempt.id)),
        event_subscription_token=ids.spell(ids.SUBSCRIPTION, attempt.subscription_id),
        event_token=ids.spell(ids.EVENT, attempt.event_id),
        response=attempt.response.decode(errors="replace"),
        response_status_code=attempt.status_code,
        status=attempt.status,
        url=attempt.url,
    )


def _timings(timings: Timings) -> TimingsOut:
    return TimingsOut(*(part / 1000 for part in msgspec.structs.astuple(timings)))


def _state(state: State | None) -> DeliveryState | None:
    return None if state is None else DeliveryState[state.name]


def _page(page: Page[Delivery]) -> DeliveryPage:
    ends = (_spell(page.items[-1]), _spell(page.items[0])) if page.items else (None, None)
    return DeliveryPage([delivery_out(one) for one in page.items], page.has_more, *ends)


def delivery_out(delivery: Delivery) -> DeliveryOut:
    """Return a delivery in its shape on the wire."""
    return DeliveryOut(
        token=ids.spell(ids.DELIVERY, delivery.id),
        event_token=ids.spell(ids.EVENT, delivery.event_id),
        event_type=delivery.event_type,
        event_subscription_token=ids.spell(ids.SUBSCRIPTION, delivery.subscription_id),
        state=State[delivery.state.name],
        reason=delivery.reason,
        attempts=delivery.attempts,
        created=moment(ids.moment(delivery.id)),
        due=None if delivery.due_us is None else moment(delivery.due_us),
        finished=None if delivery.finished_us is None else moment(delivery.finished_us),
        diverted=delivery.diverted,
    )


def _page_request(query: Range) -> PageRequest:
    return PageRequest(
        query.page_size,
        _position("starting_after", query.starting_after),
        _position("ending_before", query.ending_before),
        query.begin,
        query.end,
    )


def _spell(delivery: Delivery) -> str:
    return base64.urlsafe_b64encode(position(delivery)).decode().rstrip("=")


def _position(field: str, text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        read = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        read = b""
    if len(read) != _POSITION_BYTES:
        raise InvalidInput(details=[(field, "must be a position from a page of this list")])
    return read
