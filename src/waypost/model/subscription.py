"""Subscriptions: who wants to hear of which events, where, and how."""

from enum import StrEnum
from typing import Final

import msgspec

from waypost.model.ids import Id
from waypost.model.transform import Transform


class DisabledBy(StrEnum):
    """Why a subscription is disabled: it decides what happens to what is owed."""

    PERSON = "person"
    GONE = "gone"
    FAILING = "failing"


class Signing(StrEnum):
    """The signature scheme of Standard Webhooks that a subscription asks for."""

    HMAC = "v1"
    ED25519 = "v1a"


class Ordering(StrEnum):
    """In which order a subscription's events are sent."""

    NONE = "none"
    """As they come."""

    KEY = "key"
    """Those of one ordering key one at a time, as they were accepted; all others as they come."""

    STRICT = "strict"
    """All of them one at a time, as they were accepted."""


class OnOrderFailure(StrEnum):
    """What becomes of the events behind one that was given up, where there is an order."""

    CONTINUE = "continue"
    BLOCK = "block"
    """They wait until a person releases them."""


DEFAULT_CONCURRENCY: Final = 64
DEFAULT_TIMEOUT_S: Final = 20.0


class Subscription(msgspec.Struct, frozen=True):
    """One receiver of a project's events.

    Attributes:
        event_types: exact names, or prefixes as `card.*`; None for all types.
        disabled_by: set while it is disabled.
        paused: what it is owed waits until it is resumed.
        timeout_s: total deadline of one attempt, seconds.
        concurrency: how many attempts may be in flight at once.
        retry_schedule_s: seconds between an attempt and the next; None for the default schedule.
        owner: where set, only this owner's events are matched.
        filter: JSON of a condition on the content of its events; None for all.
        transform: what is made of an event before it is sent.
        ordering: in which order its events are sent.
        on_order_failure: what becomes of those behind one that was given up.
        failing_since_us: when the present series of nothing but failures began, UTC microseconds.
    """

    project_id: Id
    id: Id
    url: str
    description: str = ""
    event_types: tuple[str, ...] | None = None
    disabled_by: DisabledBy | None = None
    paused: bool = False
    headers: dict[str, str] = {}
    timeout_s: float = DEFAULT_TIMEOUT_S
    concurrency: int = DEFAULT_CONCURRENCY
    format: str = "payload"
    signing: Signing = Signing.HMAC
    owner: str | None = None
    retry_schedule_s: tuple[float, ...] | None = None
    transform: Transform | None = None
    failing_since_us: int | None = None
    filter: str | None = None
    ordering: Ordering = Ordering.NONE
    on_order_failure: OnOrderFailure = OnOrderFailure.CONTINUE


class SigningKey(msgspec.Struct, frozen=True):
    """A secret of a subscription, decrypted. `expires_at_us` None: the present one."""

    id: Id
    scheme: Signing
    material: bytes
    expires_at_us: int | None = None
