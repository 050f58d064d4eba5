"""Blocked keys over HTTP: those of a subscription, and their release."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Operation
from waypost.api.shapes import Listing, Moment, PageOf, moment, page_of, page_request
from waypost.model import ids
from waypost.model.delivery import BlockedKey
from waypost.model.errors import NotFound
from waypost.model.project import Scope
from waypost.operations.blocked_keys import BlockedKeys
from waypost.policy.events import TEXT_MAX

TAG: Final = "Event subscriptions"
PATH: Final = "/v1/event_subscriptions/{event_subscription_token}/blocked_keys"


class BlockedKeyOut(msgspec.Struct, frozen=True):
    """A key whose deliveries wait; its token is that of the delivery that was given up.

    `ordering_key` is null for all that a strict subscription is owed.
    """

    token: str
    ordering_key: str | None
    event_token: str
    created: Moment


class ReleaseIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which key is to be released."""

    ordering_key: (
        Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, description="As it is listed.")]
        | None
    )


class BlockedKeyRoutes:
    """Handlers over the operations on blocked keys."""

    def __init__(self, blocked: BlockedKeys) -> None:
        """Take the operations."""
        self._blocked = blocked

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about blocked keys."""
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_blocked_keys",
                summary="List the ordering keys that are blocked",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=Listing,
                result=PageOf[BlockedKeyOut],
                errors=(404,),
                handler=self.list_page,
            ),
            Operation(
                method="POST",
                path=f"{PATH}/release",
                name="release_blocked_key",
                summary="Go on with the events behind one that was given up",
                description="Who released it is kept.",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                body=ReleaseIn,
                status=204,
                errors=(404, 422),
                handler=self.release,
            ),
        ]

    async def list_page(self, call: Call[Listing, None]) -> PageOf[BlockedKeyOut]:
        """List blocked keys."""
        request = page_request(call.query, ids.DELIVERY)
        page = await self._blocked.list_page(call.principal, _id(call.path), request)
        return page_of(page, _shape)

    async def release(self, call: Call[None, ReleaseIn]) -> None:
        """Release one."""
        key = call.body.ordering_key or ""
        await self._blocked.release(call.principal, _id(call.path), key)


def _id(path: dict[str, str]) -> ids.Id:
    found = ids.find(ids.SUBSCRIPTION, path["event_subscription_token"])
    if found is None:
        raise NotFound(ids.KINDS[ids.SUBSCRIPTION])
    return found


def _shape(blocked: BlockedKey) -> BlockedKeyOut:
    return BlockedKeyOut(
        token=ids.spell(ids.DELIVERY, blocked.delivery_id),
        ordering_key=blocked.ordering_key or None,
        event_token=ids.spell(ids.EVENT, blocked.event_id),
        created=moment(blocked.blocked_us),
    )
