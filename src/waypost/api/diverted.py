"""Diverted events: the dead-letter box."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Operation
from waypost.api.replays import DryRunIn, Rate, ReplayAnswer, RequestKey, answer, micros
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
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import NotFound
from waypost.model.project import Scope
from waypost.model.replay import Order, Plan, ReplayKind
from waypost.operations.diverted import Diverted, DivertedFilter
from waypost.operations.replays import Replays, Wanted
from waypost.policy.settings import EventTypes

TAG: Final = "Diverted events"
PATH: Final = "/v1/diverted_events"
ONE_PATH: Final = f"{PATH}/{{diverted_event_token}}"


class DivertedOut(msgspec.Struct, frozen=True):
    """A delivery that was given up; its token is the delivery's.

    `response` and `response_status_code` are those of its last attempt.
    """

    token: str
    event_token: str
    event_type: str
    event_subscription_token: str
    reason: Reason
    created: Moment
    attempts: int
    response: str
    response_status_code: int


class DivertedQuery(Range, frozen=True, kw_only=True):
    """Which diverted events; the range of time is that of their deliveries."""

    event_subscription_token: Annotated[
        str | None, Meta(description="Only those of this event subscription.")
    ] = None
    event_types: Annotated[
        tuple[str, ...],
        Meta(max_length=10, description="Only these types, prefixes such as card.*, or *."),
    ] = ()
    owner: Annotated[str | None, Meta(description="Only those of this owner's events.")] = None
    reason: Reason | None = None


class BoxFilterIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which diverted events; what is left out does not narrow.

    The range of time is that of their deliveries.
    """

    event_types: EventTypes | None = None
    begin: Moment | None = None
    end: Moment | None = None
    owner: str | None = None
    event_subscription_token: str | None = None
    reason: Reason | None = None


class ResendManyIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay of diverted events that is asked for."""

    filter: BoxFilterIn
    rate: Rate | None = None
    order: Order = Order.OLDEST_FIRST
    dry_run: DryRunIn = False
    idempotency_key: RequestKey | None = None


class DeleteManyIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which diverted events are to be deleted; `{}` are all of them."""

    filter: BoxFilterIn


class DeletedOut(msgspec.Struct, frozen=True):
    """How many were deleted; `has_more`: there may be others, for the same request again."""

    deleted: int
    has_more: bool


class ResentOut(msgspec.Struct, frozen=True):
    """The delivery by which a diverted event is owed again."""

    delivery_token: str


class DivertedRoutes:
    """Handlers over the operations on diverted events."""

    def __init__(self, diverted: Diverted, replays: Replays) -> None:
        """Take the operations."""
        self._diverted = diverted
        self._replays = replays

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about diverted events."""
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_diverted_events",
                summary="List diverted events",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=DivertedQuery,
                result=PageOf[DivertedOut],
                errors=(404,),
                handler=self.list_page,
            ),
            Operation(
                method="GET",
                path=ONE_PATH,
                name="get_diverted_event",
                summary="Get a diverted event",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                result=DivertedOut,
                errors=(404,),
                handler=self.get,
            ),
            Operation(
                method="POST",
                path=f"{ONE_PATH}/resend",
                name="resend_diverted_event",
                summary="Send a diverted event again",
                description=(
                    "It leaves the box and is owed again, as a new delivery; should that be given"
                    " up as well, it is diverted under the new delivery's token."
                ),
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                result=ResentOut,
                status=202,
                errors=(404, 422),
                handler=self.resend,
            ),
            Operation(
                method="DELETE",
                path=ONE_PATH,
                name="delete_diverted_event",
                summary="Delete a diverted event",
                description="Its delivery stays failed. Who deleted it is kept.",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                status=204,
                errors=(404,),
                handler=self.delete,
            ),
            *self._of_many(),
        ]

    def _of_many(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path=f"{PATH}/resend",
                name="resend_diverted_events",
                summary="Send diverted events again",
                description="A replay in the background; see the replays for its progress.",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                body=ResendManyIn,
                result=ReplayAnswer,
                status=202,
                errors=(404, 422),
                handler=self.resend_many,
            ),
            Operation(
                method="POST",
                path=f"{PATH}/delete",
                name="delete_diverted_events",
                summary="Delete diverted events",
                description=(
                    "Their deliveries stay failed. Who deleted them is kept. One request deletes a"
                    " bounded number; `has_more` tells to send it again."
                ),
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                body=DeleteManyIn,
                result=DeletedOut,
                handler=self.delete_many,
            ),
        ]

    async def list_page(self, call: Call[DivertedQuery, None]) -> PageOf[DivertedOut]:
        """List diverted events."""
        page = await self._diverted.list_page(
            call.principal,
            page_request(call.query, ids.DELIVERY),
            DivertedFilter(
                subscription_named(call.query.event_subscription_token),
                call.query.event_types,
                call.query.owner,
                call.query.reason,
            ),
        )
        return page_of(page, _shape)

    async def get(self, call: Call[None, None]) -> DivertedOut:
        """Get a diverted event."""
        return _shape(await self._diverted.get(call.principal, _id(call)))

    async def resend(self, call: Call[None, None]) -> ResentOut:
        """Owe a diverted event again."""
        delivery_id = await self._diverted.resend(call.principal, _id(call))
        return ResentOut(ids.spell(ids.DELIVERY, delivery_id))

    async def delete(self, call: Call[None, None]) -> None:
        """Delete a diverted event."""
        await self._diverted.delete(call.principal, _id(call))

    async def resend_many(self, call: Call[None, ResendManyIn]) -> ReplayAnswer:
        """Start a replay of diverted events."""
        body, chosen = call.body, call.body.filter
        plan = Plan(
            event_types=chosen.event_types or (),
            owner=chosen.owner,
            of=_named(chosen),
            reason=chosen.reason,
            order=body.order,
            rate=body.rate,
        )
        begin_us, end_us = _range(chosen)
        key = body.idempotency_key
        wanted = Wanted(ReplayKind.DIVERTED, plan, begin_us, end_us, key=key)
        return await answer(self._replays, call.principal, wanted, is_dry=body.dry_run)

    async def delete_many(self, call: Call[None, DeleteManyIn]) -> DeletedOut:
        """Delete diverted events."""
        chosen = call.body.filter
        which = DivertedFilter(
            _named(chosen), chosen.event_types or (), chosen.owner, chosen.reason
        )
        return DeletedOut(*await self._diverted.delete_many(call.principal, which, *_range(chosen)))


def _named(chosen: BoxFilterIn) -> ids.Id | None:
    return subscription_named(chosen.event_subscription_token, "filter.event_subscription_token")


def _range(chosen: BoxFilterIn) -> tuple[int | None, int | None]:
    return micros(chosen.begin, "filter.begin"), micros(chosen.end, "filter.end")


def _id(call: Call[None, None]) -> ids.Id:
    found = ids.find(ids.DELIVERY, call.path["diverted_event_token"])
    if found is None:
        raise NotFound("diverted event")
    return found


def _shape(diverted: DivertedEvent) -> DivertedOut:
    return DivertedOut(
        token=ids.spell(ids.DELIVERY, diverted.id),
        event_token=ids.spell(ids.EVENT, diverted.event_id),
        event_type=diverted.event_type,
        event_subscription_token=ids.spell(ids.SUBSCRIPTION, diverted.subscription_id),
        reason=diverted.reason,
        created=moment(diverted.diverted_us),
        attempts=diverted.attempts,
        response=diverted.response.decode(errors="replace"),
        response_status_code=diverted.status_code,
    )
