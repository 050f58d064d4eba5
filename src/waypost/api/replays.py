"""Replays over HTTP: resend, recover, replay what was missed, send an example."""

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Handler, Operation
from waypost.api.queries import subscription_named
from waypost.api.shapes import (
    Listing,
    MicrosInQuery,
    Moment,
    PageOf,
    moment,
    page_of,
    page_request,
)
from waypost.api.subscriptions import ONE, subscription_id
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.project import Scope
from waypost.model.replay import Replay, ReplayKind
from waypost.operations.replays import Examples, Replays
from waypost.policy import timestamp

TAG: Final = "Replays"

_BEGIN: Final = Meta(description="The start of the range; as far back as there is, unless told.")
_END: Final = Meta(description="The end of the range, itself not in it; now, unless told.")


class RangeQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A range of time, `[begin, end)`, in the query."""

    begin: Annotated[MicrosInQuery, _BEGIN] | None = None
    end: Annotated[MicrosInQuery, _END] | None = None


class RangeIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A range of time, `[begin, end)`, in the body; what stands in the query goes before it."""

    begin: Annotated[Moment, _BEGIN] | None = None
    end: Annotated[Moment, _END] | None = None


class ReplayListing(Listing, frozen=True, kw_only=True):
    """Which page of the jobs, of one subscription or all."""

    event_subscription_token: str | None = None


class ReplayOut(msgspec.Struct, frozen=True):
    """A job on the wire; `owed`: how many deliveries it has brought about so far."""

    token: str
    created: Moment
    kind: str
    event_subscription_token: str
    begin: Moment | None
    end: Moment
    state: str
    owed: int


class ExampleIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which type of event the example is to be of; the subscription's first, unless told."""

    event_type: str | None = None


class ReplayRoutes:
    """The handlers of the operations that send again."""

    def __init__(self, replays: Replays, examples: Examples) -> None:
        """Take what they call."""
        self._replays = replays
        self._examples = examples

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            self._once("/v1/events/{event_token}/event_subscriptions/{event_subscription_token}"),
            self._job("recover", "Send again what failed", self._recover),
            self._job("replay_missing", "Send what was never sent", self._replay_missing),
            Operation(
                method="POST",
                path="/v1/simulate/event_subscriptions/{event_subscription_token}/send_example",
                name="send_event_subscription_example",
                summary="Send an example event",
                description="The example is sent to this subscription alone.",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._send_example,
                body=ExampleIn,
                body_optional=True,
                status=202,
                errors=(404, 422),
            ),
            Operation(
                method="GET",
                path="/v1/replays",
                name="list_replays",
                summary="List replays",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_READ,
                handler=self._list,
                query=ReplayListing,
                result=PageOf[ReplayOut],
            ),
            Operation(
                method="GET",
                path="/v1/replays/{replay_token}",
                name="get_replay",
                summary="Get a replay",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_READ,
                handler=self._get,
                result=ReplayOut,
                errors=(404,),
            ),
        ]

    def _once(self, path: str) -> Operation:
        return Operation(
            method="POST",
            path=f"{path}/resend",
            name="resend_event",
            summary="Send an event again",
            description="To one subscription, now, whatever its filter says.",
            tag=TAG,
            scope=Scope.SUBSCRIPTIONS_WRITE,
            handler=self._resend,
            status=202,
            errors=(404, 422),
        )

    def _job(self, verb: str, summary: str, handler: Handler) -> Operation:
        return Operation(
            method="POST",
            path=f"{ONE}/{verb}",
            name=f"{verb}_event_subscription",
            summary=summary,
            description="A job in the background; see the replays for its progress.",
            tag=TAG,
            scope=Scope.SUBSCRIPTIONS_WRITE,
            handler=handler,
            query=RangeQuery,
            body=RangeIn,
            body_optional=True,
            status=202,
            errors=(404, 422),
        )

    async def _resend(self, call: Call[None, None]) -> None:
        event_id = ids.read(ids.EVENT, call.path["event_token"])
        await self._replays.resend(call.principal, event_id, subscription_id(call))

    async def _recover(self, call: Call[RangeQuery, RangeIn]) -> None:
        await self._start(ReplayKind.RECOVER, call)

    async def _replay_missing(self, call: Call[RangeQuery, RangeIn]) -> None:
        await self._start(ReplayKind.MISSING, call)

    async def _start(self, kind: ReplayKind, call: Call[RangeQuery, RangeIn]) -> None:
        query, body = call.query, call.body
        await self._replays.start(
            call.principal,
            kind,
            subscription_id(call),
            _micros(body.begin, "begin") if query.begin is None else query.begin,
            _micros(body.end, "end") if query.end is None else query.end,
        )

    async def _send_example(self, call: Call[None, ExampleIn]) -> None:
        await self._examples.send(call.principal, subscription_id(call), call.body.event_type)

    async def _list(self, call: Call[ReplayListing, None]) -> PageOf[ReplayOut]:
        request = page_request(call.query, ids.REPLAY)
        of = subscription_named(call.query.event_subscription_token)
        return page_of(await self._replays.list_page(call.principal, request, of), shape)

    async def _get(self, call: Call[None, None]) -> ReplayOut:
        replay_id = ids.read(ids.REPLAY, call.path["replay_token"])
        return shape(await self._replays.get(call.principal, replay_id))


def shape(replay: Replay) -> ReplayOut:
    """Return a job as it stands on the wire."""
    return ReplayOut(
        token=ids.spell(ids.REPLAY, replay.id),
        created=moment(ids.moment(replay.id)),
        kind=replay.kind.value,
        event_subscription_token=ids.spell(ids.SUBSCRIPTION, replay.subscription_id),
        begin=moment(replay.begin_us) if replay.begin_us else None,
        end=moment(replay.end_us),
        state=replay.state.value,
        owed=replay.owed,
    )


def _micros(at: datetime | None, path: str) -> int | None:
    try:
        return None if at is None else timestamp.microseconds(at)
    except ValueError as error:
        raise InvalidInput(details=[(path, str(error))]) from error
