"""System events: what Waypost itself tells a project of, as events of the project.

Each kind is a payload with a type of its own, a name behind `waypost.`. From the payloads come the
schemas and examples in the catalogue, so these say no more and no less than what is sent.
"""

from functools import cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from waypost.model import ids
from waypost.model.delivery import Reason
from waypost.model.errors import InvalidInput
from waypost.model.event import SYSTEM, Attributes, Event, Resource
from waypost.model.flow import Wait
from waypost.model.ids import Id
from waypost.model.replay import ReplayKind, ReplayState
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy import timestamp
from waypost.policy.routing import PREFIX, takes_type

LEVELS_US: Final = (2 * 3600 * 1_000_000, 24 * 3600 * 1_000_000)
"""A subscription is told of when it has failed for so long, and again when for so long."""

SUBSCRIPTION: Final = "event_subscription"
REPLAY: Final = "replay"

At = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Token = Annotated[str, Meta(pattern=r"^[a-z]+_[0-9a-f-]{36}$")]


class News(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The payload of a system event.

    Attributes:
        timestamp: when it happened, or was found.
    """

    timestamp: At


class OfSubscription(News, frozen=True, kw_only=True):
    """News of a subscription; `description` is the subscription's own."""

    subscription: Token
    description: str


class SubscriptionDisabled(
    OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "subscription.disabled"
):
    """An event subscription was disabled: by a person, by a 410, or by days of failures."""

    disabled_by: DisabledBy


class SubscriptionSuspended(
    OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "subscription.suspended"
):
    """An event subscription was suspended by its failure handling."""

    event: Token
    failure_trigger: str
    failure_message: str
    failure_timestamp: At


class SubscriptionFailing(
    OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "subscription.failing"
):
    """An event subscription has had nothing but failures for two hours, or for a day."""

    failing_since: At
    failing_for_s: int


class SubscriptionRecovered(
    OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "subscription.recovered"
):
    """An event subscription is sent to again, or delivers again after its failing was told."""

    recovered_by: Annotated[str, Meta(extra_json_schema={"enum": ["person", "delivery"]})]


class DeliveryDiverted(OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "delivery.diverted"):
    """Deliveries of an event subscription were diverted; tells how many, and of the last."""

    diverted: Annotated[int, Meta(ge=1)]
    delivery: Token
    event: Token
    reason: Reason


class BreakerOpened(OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "breaker.opened"):
    """The circuit breaker of an event subscription has opened."""

    open_until: At
    openings: int


class BreakerClosed(OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "breaker.closed"):
    """The circuit breaker of an event subscription, of whose opening was told, is closed again."""

    opened: At


class OrderingKeyBlocked(
    OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "ordering_key.blocked"
):
    """Ordering keys of an event subscription wait behind events that were given up."""

    blocked: Annotated[int, Meta(ge=1)]
    ordering_key: str | None
    delivery: Token
    event: Token


class OrderingKeyReleased(
    OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "ordering_key.released"
):
    """Ordering keys of an event subscription that were blocked go on."""

    released: Annotated[int, Meta(ge=1)]
    ordering_key: str | None
    released_by: Annotated[str, Meta(extra_json_schema={"enum": ["person", "delivery"]})]


class BacklogHigh(OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "backlog.high"):
    """What an event subscription is owed has waited for long; `waits_for` is what holds it up."""

    oldest_due: At
    deliveries: Annotated[int, Meta(ge=1)]
    waits_for: Wait | None = None


class SecretRotated(OfSubscription, frozen=True, kw_only=True, tag=SYSTEM + "secret.rotated"):
    """The signing secret of an event subscription was replaced; the old one signs for a while."""

    overlap_until: At


class ReplayFinished(News, frozen=True, kw_only=True, tag=SYSTEM + "replay.finished"):
    """A replay, to one event subscription or to several, has come to its end, or was cancelled."""

    replay: Token
    kind: ReplayKind
    subscription: Token | None
    state: ReplayState
    owed: int


class SystemType(msgspec.Struct, frozen=True):
    """A type of system events; `example` is a payload and `schema` its JSON Schema, both JSON."""

    name: str
    description: str
    example: bytes
    schema: bytes


_DOC_AT: Final = "2026-01-31T23:59:59.000001Z"
_ABOUT: Final = {
    "timestamp": _DOC_AT,
    "subscription": "ep_01890a5d-ac96-774b-bcce-b302099a8057",
    "description": "Billing",
}
_EVENT: Final = "evt_01890a5d-ac96-774b-bcce-b302099a8058"
_EXAMPLES: Final[tuple[News, ...]] = (
    SubscriptionDisabled(**_ABOUT, disabled_by=DisabledBy.FAILING),
    SubscriptionSuspended(
        **_ABOUT,
        event=_EVENT,
        failure_trigger="5xx",
        failure_message="status 503: down for repairs",
        failure_timestamp=_DOC_AT,
    ),
    SubscriptionFailing(**_ABOUT, failing_since="2026-01-31T21:59:59.000001Z", failing_for_s=7200),
    SubscriptionRecovered(**_ABOUT, recovered_by="delivery"),
    DeliveryDiverted(
        **_ABOUT,
        diverted=3,
        delivery="dlv_01890a5d-ac96-774b-bcce-b302099a8059",
        event=_EVENT,
        reason=Reason.EXHAUSTED,
    ),
    BreakerOpened(**_ABOUT, open_until="2026-02-01T00:00:09.000001Z", openings=1),
    BreakerClosed(**_ABOUT, opened="2026-01-31T23:50:00.000001Z"),
    OrderingKeyBlocked(
        **_ABOUT,
        blocked=1,
        ordering_key="customer-7",
        delivery="dlv_01890a5d-ac96-774b-bcce-b302099a8059",
        event=_EVENT,
    ),
    OrderingKeyReleased(**_ABOUT, released=1, ordering_key="customer-7", released_by="person"),
    BacklogHigh(
        **_ABOUT,
        oldest_due="2026-01-31T23:44:59.000001Z",
        deliveries=1200,
        waits_for=Wait.RATE_LIMIT,
    ),
    SecretRotated(**_ABOUT, overlap_until="2026-02-01T23:59:59.000001Z"),
    ReplayFinished(
        timestamp=_DOC_AT,
        replay="rpl_01890a5d-ac96-774b-bcce-b302099a805a",
        kind=ReplayKind.RECOVER,
        subscription="ep_01890a5d-ac96-774b-bcce-b302099a8057",
        state=ReplayState.DONE,
        owed=120,
    ),
)


def name_of(news: News | type[News]) -> str:
    """Return the type of the event that tells of some news."""
    return str(news.__struct_config__.tag)


NAMES: Final = tuple(name_of(example) for example in _EXAMPLES)
"""Every type of system events."""


def is_system(event_type: str) -> bool:
    """Tell whether an event type is Waypost's own: no producer may send it."""
    return event_type.startswith(SYSTEM)


def require_some(pattern: str, path: str) -> None:
    """Refuse a type, or a prefix such as `waypost.breaker.*`, that no system event has.

    Raises:
        InvalidInput: none has; `path` is the field to blame.
    """
    if not any(takes_type((pattern,), name) for name in NAMES):
        raise InvalidInput(details=[(path, f"{pattern} is not among {', '.join(NAMES)}")])


def taken_by(pattern: str) -> tuple[str, ...]:
    """Return the types of system events that a prefix such as `waypost.*` takes; else itself."""
    if is_system(pattern) and pattern.endswith(PREFIX):
        return tuple(name for name in NAMES if takes_type((pattern,), name)) or (pattern,)
    return (pattern,)


@cache
def system_types() -> tuple[SystemType, ...]:
    """Return every type of system events, with schema and example."""
    return tuple(
        SystemType(
            name_of(example),
            (type(example).__doc__ or "").split("\n", 1)[0],
            msgspec.json.encode(example),
            msgspec.json.encode(_schema(type(example))),
        )
        for example in _EXAMPLES
    )


def event_of(
    project_id: Id, event_id: Id, news: News, *, owner: str | None = None, version: int = 0
) -> Event:
    """Return the event that tells of some news.

    Args:
        project_id: of which project.
        event_id: a new id.
        news: what it tells.
        owner: of the subscription that it is about.
        version: of the project's routing that it is matched by.
    """
    if isinstance(news, ReplayFinished):
        about = Resource(REPLAY, news.replay)
    else:
        about = Resource(SUBSCRIPTION, getattr(news, "subscription", ""))
    attributes = Attributes(owner=owner, resource=about)
    return Event(
        project_id, event_id, name_of(news), msgspec.json.encode(news), attributes, version
    )


def about(subscription: Subscription, at_us: int) -> dict[str, Any]:
    """Return what all news of a subscription begin with."""
    return {
        "timestamp": timestamp.spell(at_us),
        "subscription": ids.spell(ids.SUBSCRIPTION, subscription.id),
        "description": subscription.description,
    }


def watched(news: News, what: str) -> bytes:
    """Return some news as JSON for who watches a subscription, with what it is to them."""
    return msgspec.json.encode({**msgspec.to_builtins(news), "about": what})


def change_of(before: Subscription, after: Subscription, at_us: int) -> News | None:
    """Return the news of a subscription's change of state, where there are any."""
    known = about(after, at_us)
    if after.disabled_by is not None:
        if before.disabled_by is not None:
            return None
        return SubscriptionDisabled(**known, disabled_by=after.disabled_by)
    why = after.suspension
    if why is not None:
        if before.suspension is not None:
            return None
        return SubscriptionSuspended(
            **known,
            event=ids.spell(ids.EVENT, why.event_id),
            failure_trigger=why.trigger,
            failure_message=why.message,
            failure_timestamp=timestamp.spell(why.since_us),
        )
    if before.disabled_by is not None or before.suspension is not None:
        return SubscriptionRecovered(**known, recovered_by="person")
    return None


def is_mailed(news: News) -> bool:
    """Tell whether operators want to read of some news: somebody may have to do something."""
    if isinstance(news, SubscriptionDisabled):
        return news.disabled_by is not DisabledBy.PERSON
    return isinstance(
        news, SubscriptionSuspended | SubscriptionFailing | BacklogHigh | OrderingKeyBlocked
    )


def is_watched(news: News, before: Subscription) -> bool:
    """Tell whether who watches a subscription, as it was before, wants to hear of some news.

    What a person does is known to that person; that it is sent to again, to who was told that it
    was not.
    """
    if isinstance(news, SubscriptionDisabled):
        return news.disabled_by is not DisabledBy.PERSON
    if isinstance(news, SubscriptionRecovered):
        return before.disabled_by is not DisabledBy.PERSON
    return isinstance(news, SubscriptionSuspended | SubscriptionFailing)


def level_of(failing_since_us: int, told_us: int | None, now_us: int) -> int | None:
    """Return which of `LEVELS_US` is to be told of a subscription that fails; None: none is.

    Args:
        failing_since_us: when the series of nothing but failures began.
        told_us: up to when a series was told, the moment of its level; None: none was.
        now_us: the present.
    """
    reached = [level for level in LEVELS_US if failing_since_us + level <= now_us]
    if not reached or (told_us is not None and told_us >= failing_since_us + reached[-1]):
        return None
    return reached[-1]


def _schema(kind: type[News]) -> dict[str, Any]:
    """Return the JSON Schema of a payload, which stands by itself."""
    made, parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = str(made[0]["$ref"]).rpartition("/")[2]
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **parts.pop(name)}
    return {**schema, "$defs": parts} if parts else schema
