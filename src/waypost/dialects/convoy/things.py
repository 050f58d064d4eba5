"""What is kept for Convoy's clients, as it is kept: endpoints, subscriptions and their filters."""

from typing import Any, Final, Literal

import msgspec

from waypost.dialects.convoy.config import RateConfig, StrategyConfig
from waypost.model.ids import Id
from waypost.model.record import Record

PROJECT: Final = "convoy.project"
ENDPOINT: Final = "convoy.endpoint"
SUBSCRIPTION: Final = "convoy.subscription"
FILTER: Final = "convoy.filter"
SOURCE: Final = "convoy.source"

ANY_TYPE: Final = "*"

Condition = dict[str, Any]
"""One scope of a filter, in Convoy's language."""


class Secret(msgspec.Struct, frozen=True):
    """A secret of an endpoint; it signs until `expires_us`, UTC microseconds."""

    id: Id
    value: str
    expires_us: int | None = None


class Endpoint(msgspec.Struct, frozen=True):
    """Where events are sent to; its id and times are its record's.

    Attributes:
        status: what people made of it; inactive is also what failures make of it.
        http_timeout: seconds; 0 for 10.
        rate_limit: attempts in `rate_limit_duration` seconds; 0 for the project's limit.
    """

    name: str
    url: str
    secrets: tuple[Secret, ...]
    owner_id: str = ""
    description: str = ""
    advanced_signatures: bool = True
    support_email: str = ""
    slack_webhook_url: str = ""
    teams_webhook_url: str = ""
    http_timeout: int = 0
    rate_limit: int = 0
    rate_limit_duration: int = 0
    content_type: str = "application/json"
    authentication: dict[str, Any] | None = None
    status: Literal["active", "paused", "inactive"] = "active"


class Scopes(msgspec.Struct, frozen=True):
    """A filter: all scopes must hold; an empty one holds of everything."""

    headers: Condition = {}
    body: Condition = {}
    query: Condition = {}
    path: Condition = {}

    @property
    def is_empty(self) -> bool:
        """Whether everything matches."""
        return not (self.headers or self.body or self.query or self.path)


class EventFilter(msgspec.Struct, frozen=True):
    """The filter of a subscription for one of its event types, or for all others: `*`."""

    event_type: str
    scopes: Scopes = Scopes()
    enabled_us: int | None = None


class Subscribed(msgspec.Struct, frozen=True):
    """Which events an endpoint wants; its record's parent is the endpoint.

    Attributes:
        source_id: only what came in by this source.
        event_types: exact, prefixes as `card.*`, or `*`.
        filter: for all its types; those of single types are records of their own.
        function: JavaScript with a `transform(payload)`.
        retry: in place of the project's strategy.
        rate_limit: in place of the endpoint's.
    """

    name: str
    event_types: tuple[str, ...] = (ANY_TYPE,)
    filter: Scopes = Scopes()
    function: str = ""
    source_id: Id | None = None
    retry: StrategyConfig | None = None
    rate_limit: RateConfig | None = None
    delivery_mode: Literal["at_least_once", "at_most_once"] = "at_least_once"
    kind: Literal["api", "cli"] = "api"


def endpoint_of(record: Record) -> Endpoint:
    """Return the endpoint of a record."""
    return msgspec.json.decode(record.body, type=Endpoint)


def subscribed_of(record: Record) -> Subscribed:
    """Return the subscription of a record."""
    return msgspec.json.decode(record.body, type=Subscribed)


def filter_of(record: Record) -> EventFilter:
    """Return the filter of a record."""
    return msgspec.json.decode(record.body, type=EventFilter)
