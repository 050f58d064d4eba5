"""Events: what happened, with the payload as the very bytes that came in."""

from typing import Final

import msgspec

from waypost.model.ids import Id

EVENT_TYPE: Final = r"^[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*$"
EVENT_TYPE_MAX: Final = 256
SYSTEM: Final = "waypost."
"""With it begin the types of the events that Waypost itself makes, and nobody else may."""


class Resource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A thing that an event is about."""

    type: str
    id: str


class Attributes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event may carry beside type and payload; all optional, none invented.

    Stored as MessagePack; `cloudevent` holds the context attributes of a CloudEvent as they came.
    `targets` are subscriptions that alone are owed it, whatever they ask for; of those that share
    an address, only the ones at `endpoints` are asked. `headers` (names in lower case), `query` (a
    list where a name stood there more than once) and `path` are of the request that brought the
    event, as far as they were kept; `source` is what it came in by, where that is more than the
    API. It is delivered from
    `deliver_at_us` on, or `deliver_in_s` seconds after its acceptance, and not any more from
    `deliver_before_us` on. `source` is where it came in, if it was at one.
    """

    idempotency_key: str | None = None
    ordering_key: str | None = None
    occurred_at_us: int | None = None
    owner: str | None = None
    user: str | None = None
    request_id: str | None = None
    platform: str | None = None
    label: str | None = None
    resource: Resource | None = None
    related_resources: tuple[Resource, ...] = ()
    metadata: dict[str, str] = {}
    targets: tuple[Id, ...] = ()
    endpoints: tuple[Id, ...] = ()
    cloudevent: dict[str, str | int | bool] | None = None
    content_type: str | None = None
    example: bool = False
    headers: dict[str, str] = {}
    query: dict[str, str | list[str]] = {}
    path: str | None = None
    deliver_at_us: int | None = None
    deliver_in_s: float | None = None
    deliver_before_us: int | None = None
    source: Id | None = None


NO_ATTRIBUTES: Final = Attributes()


class Event(msgspec.Struct, frozen=True):
    """An accepted event. When it was accepted is the moment in its id."""

    project_id: Id
    id: Id
    type: str
    payload: bytes
    attributes: Attributes = NO_ATTRIBUTES
    routing_version: int = 0


class Receipt(msgspec.Struct, frozen=True):
    """One repetition of an event's idempotency key: when, by which key, with the same body?"""

    at_us: int
    key_id: Id
    same_body: bool
