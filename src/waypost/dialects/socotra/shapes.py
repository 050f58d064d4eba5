"""Socotra's shapes of webhooks: what comes and what goes, as it stands on the wire.

A null is the same as nothing: clients that are made from the vendor's document send nulls for what
they do not set.
"""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waypost.dialects.socotra.wire import (
    COUNT,
    COUNT_MAX,
    NAME_MAX,
    OFFSET_MAX,
    PAGING_TOKEN_MAX,
    Locator,
    Moment,
)
from waypost.policy.settings import TYPES_MAX
from waypost.web.queries import MicrosInQuery

SECRET_MAX: Final = 256
TAG_MAX: Final = 256
TRIGGERS_MAX: Final = 48
VALUES_MAX: Final = 16
INTERVAL_MAX: Final = 2**53
"""More than any may be: how many depends on what one is worth."""
ATTEMPTS_MAX: Final = 10
ATTEMPTS: Final = 3

Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX)]
Types = Annotated[tuple[str, ...], Meta(max_length=TYPES_MAX)]
Headers = dict[str, Annotated[tuple[str, ...], Meta(min_length=1, max_length=VALUES_MAX)]]
Secret = Annotated[str, Meta(min_length=1, max_length=SECRET_MAX)]
Tag = Annotated[str, Meta(min_length=1, max_length=TAG_MAX)]
Triggers = Annotated[tuple[str, ...], Meta(max_length=TRIGGERS_MAX)]
Interval = Annotated[int, Meta(ge=1, le=INTERVAL_MAX)]
Attempts = Annotated[int, Meta(ge=1, le=ATTEMPTS_MAX)]
Growth = Literal["linear", "exponential"]


class _In(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What comes: nothing in it is passed over."""


class SliceQuery(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list: how many items of it, after how many."""

    offset: Annotated[int, Meta(ge=0, le=OFFSET_MAX)] = 0
    count: Annotated[int, Meta(ge=1, le=COUNT_MAX)] = COUNT


class WebhooksQuery(SliceQuery, frozen=True, kw_only=True, rename="camel"):
    """The query of the list of webhooks: which; `extended`: with how they fare."""

    name: str | None = None
    enabled: bool | None = None
    suspended: bool | None = None
    active: bool | None = None
    event_types: tuple[str, ...] = ()
    extended: bool = False


class StreamQuery(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The query of the stream of events: what is read of it, or a token alone, to read on."""

    paging_token: Annotated[str, Meta(max_length=PAGING_TOKEN_MAX)] | None = None
    page_size: Annotated[int, Meta(ge=1, le=COUNT_MAX)] | None = None
    start_timestamp: MicrosInQuery | None = None
    end_timestamp: MicrosInQuery | None = None
    type: str | None = None


class EndpointIn(_In, frozen=True, kw_only=True):
    """An endpoint, of a webhook or for alerts."""

    url: str
    headers: Headers | None = None
    secure_ssl: bool | None = None
    hmac_enabled: bool | None = None
    secret: Secret | None = None
    tag: Tag | None = None


class EndpointChange(_In, frozen=True, kw_only=True):
    """What is to change of an endpoint."""

    url: str | None = None
    add_headers: Headers | None = None
    remove_headers: tuple[str, ...] | None = None
    secure_ssl: bool | None = None
    hmac_enabled: bool | None = None
    secret: Secret | None = None
    tag: Tag | None = None


class RetryIn(_In, frozen=True, kw_only=True):
    """When what has failed is tried again."""

    type: Growth
    interval: Interval
    attempts: Attempts | None = None


class RetryChange(_In, frozen=True, kw_only=True):
    """What is to change of that."""

    type: Growth | None = None
    interval: Interval | None = None
    attempts: Attempts | None = None


class HandlingIn(_In, frozen=True, kw_only=True):
    """What is done about failures."""

    alert_endpoint: EndpointIn | None = None
    divert: bool | None = None
    retry_strategy: RetryIn | None = None
    suspend: bool | None = None
    triggers: Triggers | None = None


class HandlingChange(_In, frozen=True, kw_only=True):
    """What is to change of that: what is to go goes first."""

    alert_endpoint: EndpointChange | None = None
    remove_alert_endpoint: bool | None = None
    divert: bool | None = None
    retry_strategy: RetryChange | None = None
    remove_retry_strategy: bool | None = None
    suspend: bool | None = None
    add_triggers: Triggers | None = None
    remove_triggers: Triggers | None = None


class WebhookIn(_In, frozen=True, kw_only=True):
    """A new webhook."""

    name: Name
    enabled: bool
    event_types: Types
    endpoint: EndpointIn
    failure_handling: HandlingIn | None = None
    use_automation_plugin: bool | None = None


class WebhookChange(_In, frozen=True, kw_only=True):
    """What is to change of a webhook: what is to go goes first."""

    name: Name | None = None
    enabled: bool | None = None
    add_event_types: Types | None = None
    remove_event_types: Types | None = None
    endpoint: EndpointChange | None = None
    failure_handling: HandlingChange | None = None
    remove_failure_handling: bool | None = None


class EndpointOut(msgspec.Struct, frozen=True, rename="camel"):
    """An endpoint; the secret is masked for who may not change it, null where there is none."""

    url: str
    headers: dict[str, tuple[str, ...]]
    secure_ssl: bool
    hmac_enabled: bool
    secret: str | None
    tag: str | None


class RetryOut(msgspec.Struct, frozen=True, rename="camel"):
    """When what has failed is tried again."""

    type: Annotated[str, Meta(extra_json_schema={"enum": ["linear", "exponential"]})]
    interval: int
    attempts: int


class HandlingOut(msgspec.Struct, frozen=True, rename="camel"):
    """What is done about failures."""

    alert_endpoint: EndpointOut | None
    divert: bool
    retry_strategy: RetryOut | None
    suspend: bool
    triggers: tuple[str, ...]


class DeliveriesOut(msgspec.Struct, frozen=True, rename="camel"):
    """How many of the latest deliveries stand how; a thousand of each are counted."""

    delivered: int
    failed: int
    cancelled: int
    diverted: int


class LastFailureOut(msgspec.Struct, frozen=True, rename="camel"):
    """The last attempt that failed."""

    event_locator: Locator
    failure_message: str
    failure_timestamp: Moment


class BacklogOut(msgspec.Struct, frozen=True, rename="camel"):
    """What is owed; `exact` is false where there is more than was counted."""

    size: int
    exact: bool
    oldest_timestamp: Moment | None


class WebhookOut(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A webhook; the last three are there where they were asked for."""

    locator: Locator
    name: str
    enabled: bool
    suspended: bool
    suspended_at: Moment | None
    event_types: tuple[str, ...]
    endpoint: EndpointOut
    failure_handling: HandlingOut
    deliveries: DeliveriesOut | None = None
    last_failure: LastFailureOut | msgspec.UnsetType | None = msgspec.UNSET
    backlog: BacklogOut | None = None


class WebhooksOut(msgspec.Struct, frozen=True, rename="camel"):
    """Webhooks; `list_completed`: there are no others behind them."""

    list_completed: bool
    items: list[WebhookOut]


Particulars = dict[str, Any]
