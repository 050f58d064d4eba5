"""Diverted events: the dead-letter box."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Operation
from waypost.api.queries import subscription_named
from waypost.api.shapes import Moment, PageOf, Range, moment, page_of, page_request
from waypost.model import ids
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import NotFound
from waypost.model.project import Scope
from waypost.operations.diverted import Diverted

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


class ResentOut(msgspec.Struct, frozen=True):
    """The delivery by which a diverted event is owed again."""

    delivery_token: str


class DivertedRoutes:
    """Handlers over the operations on diverted events."""

    def __init__(self, diverted: Diverted) -> None:
        """Take the operations."""
        self._diverted = diverted

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
        ]

    async def list_page(self, call: Call[DivertedQuery, None]) -> PageOf[DivertedOut]:
        """List diverted events."""
        page = await self._diverted.list_page(
            call.principal,
            page_request(call.query, ids.DELIVERY),
            subscription_named(call.query.event_subscription_token),
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
