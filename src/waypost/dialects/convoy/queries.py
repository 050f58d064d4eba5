"""Which parameters Convoy's API takes behind the question mark: fields alone."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from waypost.dialects.convoy.event_answers import DeliveryStatus


def _spelled(name: str) -> str:
    """Return what a parameter is called on the wire."""
    if name.endswith("_cursor") or name in {"event_type", "dry_run"}:
        return name
    head, *rest = name.removeprefix("camel_").split("_")
    return head + "".join(word.capitalize() for word in rest)


class Query(msgspec.Struct, frozen=True, kw_only=True, rename=_spelled):
    """The query of an operation; what is empty is as good as absent."""


class Paged(Query, frozen=True, kw_only=True, rename=_spelled):
    """Which page of a list."""

    per_page: Annotated[int, Meta(ge=1, le=1_000)] = 20
    sort: Literal["desc", "asc"] = "desc"
    direction: Literal["next", "prev"] = "next"
    next_page_cursor: str | None = None
    prev_page_cursor: str | None = None


Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-9:]{8}$")]
Many = Annotated[tuple[str, ...], Meta(max_length=100)]


class EndpointsQuery(Query, frozen=True, kw_only=True, rename=_spelled):
    """Which endpoints: whose name holds `q`, and of which owner."""

    q: str | None = None
    owner_id: str | None = None


class SpanQuery(Query, frozen=True, kw_only=True, rename=_spelled):
    """A range of time; both ends belong to it."""

    start_date: Date | None = None
    end_date: Date | None = None


class SubscriptionsQuery(Query, frozen=True, kw_only=True, rename=_spelled):
    """Which subscriptions."""

    endpoint_id: Many | None = None
    name: str | None = None


class SelectionQuery(SpanQuery, frozen=True, kw_only=True, rename=_spelled):
    """Which events; `query` and `body` are for lists alone."""

    source_id: Many | None = None
    endpoint_id: Many | None = None
    owner_id: str | None = None
    idempotency_key: str | None = None
    query: str | None = None
    body: str | None = None


class EventsQuery(SelectionQuery, frozen=True, kw_only=True, rename=_spelled):
    """Which events: `query` is a word, `body` JSON that theirs contain."""

    broker_message_id: str | None = None


class ChosenQuery(SpanQuery, frozen=True, kw_only=True, rename=_spelled):
    """Which deliveries."""

    endpoint_id: Many | None = None
    event_id: str | None = None
    subscription_id: Many | None = None
    idempotency_key: str | None = None
    status: Annotated[tuple[DeliveryStatus, ...], Meta(max_length=100)] | None = None
    camel_event_type: Many | None = None
    event_type: Many | None = None
    broker_message_id: str | None = None


class SourcesQuery(Query, frozen=True, kw_only=True, rename=_spelled):
    """Which sources: whose name holds `q`, of which type and provider."""

    type: str | None = None
    provider: str | None = None
    q: str | None = None


class OrganisationQuery(msgspec.Struct, frozen=True, rename={"organisation": "orgID"}):
    """Of which organisation; there may be one."""

    organisation: str | None = None


class OnboardQuery(Query, frozen=True, kw_only=True, rename=_spelled):
    """Whether nothing is to be made."""

    dry_run: bool = False
