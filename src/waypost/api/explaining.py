"""Explaining over HTTP: where an event is, and how a subscription fares."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.filters import MismatchOut, shape_mismatch
from waypost.api.operation import Call, Operation
from waypost.api.queries import subscription_named
from waypost.api.shapes import Listing, Moment, moment, page_request
from waypost.api.subscriptions import ONE, subscription_id
from waypost.model import ids
from waypost.model.delivery import Reason
from waypost.model.project import Scope
from waypost.model.shown import AttemptStatus
from waypost.operations.explaining import (
    Explaining,
    Explanation,
    Health,
    Told,
    ToldAttempt,
    ToldDelivery,
)
from waypost.policy.judging import Condition
from waypost.policy.waits import LaneStanding, Wait

TAG: Final = "Explaining"
PATH: Final = "/v1/events/{event_token}/explain"


class ExplainQuery(Listing, frozen=True, kw_only=True):
    """Which of the project's event subscriptions."""

    event_subscription_token: Annotated[
        str | None, Meta(description="This event subscription alone.")
    ] = None


class WaitOut(msgspec.Struct, frozen=True):
    """One thing that a delivery waits for; `until`: when that ends by itself, where it does."""

    kind: str
    reason: str
    until: Moment | None


class CauseOut(msgspec.Struct, frozen=True):
    """An attempt that ended; `cause` tells in a sentence what it came to."""

    token: str
    number: int
    started: Moment
    status: AttemptStatus
    response_status_code: int
    cause: str


class ExplainedDelivery(msgspec.Struct, frozen=True):
    """A delivery; `waits` while it is pending, `attempts` the latest, newest first."""

    token: str
    state: str
    reason: Reason | None
    created: Moment
    attempt_count: int
    due: Moment | None
    finished: Moment | None
    diverted: bool
    waits: list[WaitOut]
    attempts: list[CauseOut]


class NotMatched(msgspec.Struct, frozen=True):
    """The condition that failed; `mismatch` where it is the filter."""

    condition: Condition
    reason: str
    mismatch: MismatchOut | None


class ExplainedSubscription(msgspec.Struct, frozen=True):
    """What there is to say of the event and one subscription.

    Attributes:
        state: of the latest delivery; null where there is none.
        summary: all of it in a sentence.
        judged_by: `then`: the settings that the event was routed by; `now`: the present ones, where
            the others are not known.
        owner: the process that sends for the subscription.
        deliveries: the latest, newest first.
    """

    event_subscription_token: str
    url: str
    description: str
    deleted: Moment | None
    matched: bool
    failed: NotMatched | None
    judged_by: str
    state: str | None
    summary: str
    owner: str | None
    deliveries: list[ExplainedDelivery]


class ExplanationOut(msgspec.Struct, frozen=True):
    """Where an event is; `has_more`: the project has further subscriptions."""

    event_token: str
    event_type: str
    accepted: Moment
    owner: str | None
    routing_version: int
    event_subscriptions: list[ExplainedSubscription]
    has_more: bool


class LatencyOut(msgspec.Struct, frozen=True):
    """Half, 95 and 99 of a hundred attempts took no longer, in milliseconds."""

    p50: float | None
    p95: float | None
    p99: float | None


class BacklogOut(msgspec.Struct, frozen=True):
    """What is owed; `exact` is false where there is more than was counted."""

    size: int
    exact: bool
    oldest_age_s: float | None


class LaneOut(msgspec.Struct, frozen=True):
    """How the lane stands, where the process that was asked has it.

    Attributes:
        waits_for: what holds up all of it: an open breaker, a pause that the receiver asked for,
            sending hours, or a rate limit.
    """

    in_flight: int
    limit: int
    concurrency: int
    waits_for: str | None
    waits_until: Moment | None


class ErrorOut(msgspec.Struct, frozen=True):
    """The last attempt that failed."""

    event_token: str
    attempt_token: str
    started: Moment
    response_status_code: int
    cause: str


class HealthOut(msgspec.Struct, frozen=True):
    """How an event subscription fares, by its latest attempts: at most 1,000, of 24 hours.

    Attributes:
        attempts: how many they are, and `since` when they were made.
        failing_since: since when there was nothing but failures.
        blocked_keys: how many ordering keys wait to be released, counted up to 10,000.
    """

    event_subscription_token: str
    paused: bool
    suspended: bool
    disabled_by: str | None
    attempts: int
    since: Moment | None
    success_ratio: float | None
    latency_ms: LatencyOut
    backlog: BacklogOut
    failing_since: Moment | None
    blocked_keys: int
    last_error: ErrorOut | None
    owner: str | None
    lane: LaneOut | None


class ExplainingRoutes:
    """The handlers of the operations that explain."""

    def __init__(self, explaining: Explaining) -> None:
        """Take what they call."""
        self._explaining = explaining

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            Operation(
                method="GET",
                path=PATH,
                name="explain_event",
                summary="Explain where an event is",
                description=(
                    "For each event subscription that exists, or existed when the event was"
                    " accepted: whether it matched and which condition failed, how its delivery"
                    " stands, what that waits for now, and what happened."
                ),
                tag=TAG,
                scope=Scope.EVENTS_READ,
                query=ExplainQuery,
                result=ExplanationOut,
                errors=(404,),
                handler=self._explain,
            ),
            Operation(
                method="GET",
                path=f"{ONE}/health",
                name="get_event_subscription_health",
                summary="Get the health of an event subscription",
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_READ,
                result=HealthOut,
                errors=(404,),
                handler=self._health,
            ),
        ]

    async def _explain(self, call: Call[ExplainQuery, None]) -> ExplanationOut:
        return shape_explanation(
            await self._explaining.explain(
                call.principal,
                ids.read(ids.EVENT, call.path["event_token"]),
                page_request(call.query, ids.SUBSCRIPTION),
                subscription_named(call.query.event_subscription_token),
            )
        )

    async def _health(self, call: Call[None, None]) -> HealthOut:
        return shape_health(await self._explaining.health(call.principal, subscription_id(call)))


def shape_explanation(explanation: Explanation) -> ExplanationOut:
    """Return an explanation as it stands on the wire."""
    event = explanation.event
    return ExplanationOut(
        ids.spell(ids.EVENT, event.id),
        event.type,
        moment(ids.moment(event.id)),
        event.attributes.owner,
        event.routing_version,
        [_shape_told(one) for one in explanation.page.items],
        explanation.page.has_more,
    )


def shape_health(health: Health) -> HealthOut:
    """Return how a subscription fares as it stands on the wire."""
    of, found, lane = health.subscription, health.figures, health.lane
    age_us = health.oldest_age_us
    return HealthOut(
        event_subscription_token=ids.spell(ids.SUBSCRIPTION, of.id),
        paused=of.paused,
        suspended=of.suspension is not None,
        disabled_by=of.disabled_by,
        attempts=found.attempts,
        since=_moment(health.since_us),
        success_ratio=found.success_ratio,
        latency_ms=LatencyOut(_millis(found.p50_us), _millis(found.p95_us), _millis(found.p99_us)),
        backlog=BacklogOut(
            health.backlog.size,
            health.backlog.exact,
            None if age_us is None else age_us / 1_000_000,
        ),
        failing_since=_moment(of.failing_since_us),
        blocked_keys=health.blocked_keys,
        last_error=None if health.last_error is None else _shape_error(health.last_error),
        owner=health.owner,
        lane=None if lane is None else _shape_lane(lane),
    )


def _shape_lane(lane: LaneStanding) -> LaneOut:
    held = lane.held
    return LaneOut(
        lane.in_flight,
        lane.limit,
        lane.concurrency,
        None if held is None else held.what.value,
        None if held is None else _moment(held.until_us),
    )


def _shape_told(told: Told) -> ExplainedSubscription:
    listed, failed = told.listed, told.failed
    return ExplainedSubscription(
        event_subscription_token=ids.spell(ids.SUBSCRIPTION, listed.id),
        url=listed.url,
        description=listed.description,
        deleted=_moment(listed.deleted_at_us),
        matched=failed is None,
        failed=None
        if failed is None
        else NotMatched(
            failed.condition,
            failed.reason,
            None if failed.mismatch is None else shape_mismatch(failed.mismatch),
        ),
        judged_by="then" if told.judged_by_then else "now",
        state=told.deliveries[0].delivery.state.name.lower() if told.deliveries else None,
        summary=told.summary,
        owner=told.owner,
        deliveries=[_shape_delivery(one) for one in told.deliveries],
    )


def _shape_delivery(told: ToldDelivery) -> ExplainedDelivery:
    one = told.delivery
    return ExplainedDelivery(
        token=ids.spell(ids.DELIVERY, one.id),
        state=one.state.name.lower(),
        reason=one.reason,
        created=moment(ids.moment(one.id)),
        attempt_count=one.attempts,
        due=_moment(one.due_us),
        finished=_moment(one.finished_us),
        diverted=one.diverted,
        waits=[_shape_wait(wait) for wait in told.waits],
        attempts=[_shape_attempt(attempt) for attempt in told.attempts],
    )


def _shape_wait(wait: Wait) -> WaitOut:
    return WaitOut(wait.kind, wait.reason, _moment(wait.until_us))


def _shape_attempt(told: ToldAttempt) -> CauseOut:
    attempt = told.attempt
    return CauseOut(
        ids.spell(ids.ATTEMPT, attempt.id),
        attempt.number,
        moment(ids.moment(attempt.id)),
        attempt.status,
        attempt.status_code,
        told.cause,
    )


def _shape_error(told: ToldAttempt) -> ErrorOut:
    attempt = told.attempt
    return ErrorOut(
        ids.spell(ids.EVENT, attempt.event_id),
        ids.spell(ids.ATTEMPT, attempt.id),
        moment(ids.moment(attempt.id)),
        attempt.status_code,
        told.cause,
    )


def _moment(at_us: int | None) -> Moment | None:
    return None if at_us is None else moment(at_us)


def _millis(us: int | None) -> float | None:
    return None if us is None else us / 1_000
