"""Replays over HTTP: resend, recover, replay what was missed, send an example."""

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Handler, Operation
from waypost.api.shapes import (
    Listing,
    Moment,
    PageOf,
    moment,
    page_of,
    page_request,
    subscription_named,
)
from waypost.api.subscriptions import ONE, subscription_id
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.project import Principal, Scope
from waypost.model.replay import Order, PastState, Plan, Replay, ReplayKind, Route
from waypost.operations.replays import DryRun, Examples, Replays, Wanted
from waypost.policy import timestamp
from waypost.policy.events import NO_CONTROLS
from waypost.policy.settings import ContentFilter, EventTypes, filter_text
from waypost.web.queries import MicrosInQuery

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


Rate = Annotated[
    float,
    Meta(
        ge=0.1,
        le=10_000,
        description="Deliveries a second at most, on the whole; as fast as it goes, unless told.",
    ),
]
RequestKey = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        pattern=NO_CONTROLS,
        description="The same request again with the same key is the same replay.",
    ),
]
DryRunIn = Annotated[bool, Meta(description="Count what would be sent, and send nothing.")]


class SelectionIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events; what is left out does not narrow."""

    event_types: EventTypes | None = None
    begin: Annotated[Moment, _BEGIN] | None = None
    end: Annotated[Moment, _END] | None = None
    owner: str | None = None
    event_subscription_token: Annotated[
        str | None, Meta(description="Only what was owed to this event subscription before.")
    ] = None
    state: Annotated[
        PastState | None,
        Meta(description="Only where the last delivery to an event subscription ended so."),
    ] = None
    content: ContentFilter = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))


class ReplayIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay that is asked for."""

    filter: SelectionIn
    route: Annotated[
        Route,
        Meta(
            description=(
                "To whom: those who were owed each event before, those who would be owed it now,"
                " or one event subscription (`to`)."
            )
        ),
    ] = Route.AS_BEFORE
    to: Annotated[str | None, Meta(description="With the route to_subscription: which.")] = None
    rate: Rate | None = None
    order: Order = Order.OLDEST_FIRST
    dry_run: DryRunIn = False
    idempotency_key: RequestKey | None = None


class SampleOut(msgspec.Struct, frozen=True):
    """One of the deliveries that there would be."""

    event_token: str
    event_type: str
    event_subscription_token: str


class DryRunOut(msgspec.Struct, frozen=True):
    """What there would be to send.

    Attributes:
        looked_at: how many events, or diverted events, were looked at.
        complete: there is no more; else the counts are those of a part.
        event_subscriptions: how many deliveries to each.
    """

    looked_at: int
    complete: bool
    events: int
    deliveries: int
    event_subscriptions: dict[str, int]
    samples: list[SampleOut]


class ReplayOut(msgspec.Struct, frozen=True):
    """A job on the wire.

    Attributes:
        event_subscription_token: to whom, where that is one for all events.
        owed: how many deliveries it has brought about so far.
        looked_at: how many events, or deliveries, it has looked at.
        progress: how much of its range lies behind it, from 0 to 1.
        estimated_end: when it will be done, about; null where that can't be told.
    """

    token: str
    created: Moment
    kind: str
    event_subscription_token: str | None
    begin: Moment | None
    end: Moment
    state: str
    owed: int
    looked_at: int = 0
    progress: float = 0.0
    estimated_end: Moment | None = None
    filter: dict[str, Any] = {}
    route: Route | None = None
    rate: float | None = None
    order: Order = Order.OLDEST_FIRST


class ReplayAnswer(msgspec.Struct, frozen=True):
    """The replay that was started, or what a dry run has found."""

    replay: ReplayOut | None = None
    dry_run: DryRunOut | None = None


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
            self._start_operation(),
            *self._steps(),
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

    def _start_operation(self) -> Operation:
        return Operation(
            method="POST",
            path="/v1/replays",
            name="create_replay",
            summary="Send a selection of events again",
            description=(
                "A job in the background: it goes behind live traffic, survives restarts, and"
                " can be paused. Each request that it brings about has the webhook-id of the"
                " event and a webhook-replay-id. With dry_run, nothing is sent."
            ),
            tag=TAG,
            scope=Scope.SUBSCRIPTIONS_WRITE,
            handler=self._create,
            body=ReplayIn,
            result=ReplayAnswer,
            status=202,
            errors=(404, 422),
        )

    def _steps(self) -> list[Operation]:
        return [
            self._step("pause", "Pause a replay"),
            self._step("resume", "Resume a replay"),
            self._step("cancel", "Cancel a replay"),
        ]

    def _step(self, verb: str, summary: str) -> Operation:
        act = {
            "pause": self._replays.pause,
            "resume": self._replays.resume,
            "cancel": self._replays.cancel,
        }[verb]

        async def handle(call: Call[None, None]) -> ReplayOut:
            replay_id = ids.read(ids.REPLAY, call.path["replay_token"])
            return shape(await act(call.principal, replay_id))

        return Operation(
            method="POST",
            path=f"/v1/replays/{{replay_token}}/{verb}",
            name=f"{verb}_replay",
            summary=summary,
            description="What it has brought about so far is sent all the same.",
            tag=TAG,
            scope=Scope.SUBSCRIPTIONS_WRITE,
            handler=handle,
            result=ReplayOut,
            errors=(404, 422),
        )

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
            micros(body.begin, "begin") if query.begin is None else query.begin,
            micros(body.end, "end") if query.end is None else query.end,
        )

    async def _create(self, call: Call[None, ReplayIn]) -> ReplayAnswer:
        body = call.body
        chosen = body.filter
        plan = Plan(
            event_types=chosen.event_types or (),
            owner=chosen.owner,
            of=subscription_named(
                chosen.event_subscription_token, "filter.event_subscription_token"
            ),
            state=chosen.state,
            content=filter_text(chosen.content),
            route=body.route,
            order=body.order,
            rate=body.rate,
        )
        wanted = Wanted(
            ReplayKind.SELECTED,
            plan,
            micros(chosen.begin, "filter.begin"),
            micros(chosen.end, "filter.end"),
            subscription_named(body.to, "to"),
            body.idempotency_key,
        )
        return await answer(self._replays, call.principal, wanted, is_dry=body.dry_run)

    async def _send_example(self, call: Call[None, ExampleIn]) -> None:
        await self._examples.send(call.principal, subscription_id(call), call.body.event_type)

    async def _list(self, call: Call[ReplayListing, None]) -> PageOf[ReplayOut]:
        request = page_request(call.query, ids.REPLAY)
        of = subscription_named(call.query.event_subscription_token)
        return page_of(await self._replays.list_page(call.principal, request, of), shape)

    async def _get(self, call: Call[None, None]) -> ReplayOut:
        replay_id = ids.read(ids.REPLAY, call.path["replay_token"])
        return shape(await self._replays.get(call.principal, replay_id))


async def answer(
    replays: Replays, principal: Principal, wanted: Wanted, *, is_dry: bool
) -> ReplayAnswer:
    """Start a job that is wanted, or only tell what it would do."""
    if is_dry:
        return ReplayAnswer(dry_run=_shape_dry_run(await replays.dry_run(principal, wanted)))
    return ReplayAnswer(shape(await replays.ask(principal, wanted)))


def shape(replay: Replay) -> ReplayOut:
    """Return a job as it stands on the wire."""
    plan, to = replay.plan, replay.subscription_id
    left_us = replay.left_us()
    return ReplayOut(
        token=ids.spell(ids.REPLAY, replay.id),
        created=moment(ids.moment(replay.id)),
        kind=replay.kind.value,
        event_subscription_token=None if to is None else ids.spell(ids.SUBSCRIPTION, to),
        begin=moment(replay.begin_us) if replay.begin_us else None,
        end=moment(replay.end_us),
        state=replay.state.value,
        owed=replay.owed,
        looked_at=replay.looked,
        progress=round(replay.progress(), 4),
        estimated_end=None if left_us is None else moment(replay.stepped_us + left_us),
        filter=_shape_filter(plan),
        route=plan.route if replay.kind is ReplayKind.SELECTED else None,
        rate=plan.rate,
        order=plan.order,
    )


def _shape_filter(plan: Plan) -> dict[str, Any]:
    """Return what narrows a job, as it was asked for."""
    said = {
        "event_types": plan.event_types,
        "owner": plan.owner,
        "event_subscription_token": plan.of and ids.spell(ids.SUBSCRIPTION, plan.of),
        "state": plan.state,
        "content": plan.content and msgspec.Raw(plan.content.encode()),
        "reason": plan.reason,
    }
    return {name: value for name, value in said.items() if value}


def _shape_dry_run(found: DryRun) -> DryRunOut:
    return DryRunOut(
        found.looked,
        found.complete,
        found.events,
        found.deliveries,
        {ids.spell(ids.SUBSCRIPTION, to): n for to, n in found.by_subscription.items()},
        [
            SampleOut(
                ids.spell(ids.EVENT, one.event_id),
                one.event_type,
                ids.spell(ids.SUBSCRIPTION, one.subscription_id),
            )
            for one in found.samples
        ],
    )


def micros(at: datetime | None, path: str) -> int | None:
    """Return a moment of a body in UTC microseconds.

    Raises:
        InvalidInput: it is none that can be kept; `path` is its field.
    """
    try:
        return None if at is None else timestamp.microseconds(at)
    except ValueError as error:
        raise InvalidInput(details=[(path, str(error))]) from error
