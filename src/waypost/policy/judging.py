"""Judging: whether a subscription was owed an event, and if not, which condition failed.

It judges by what the router goes by, in the same order, one subscription at a time and with a
reason. The router, which is asked about every event, gives none.
"""

from enum import StrEnum

import msgspec

from waypost.model.event import SYSTEM, Event
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy
from waypost.policy import filters
from waypost.policy.conditions import Mismatch
from waypost.policy.content import Content
from waypost.policy.routing import ALL, takes_type
from waypost.policy.shown import shown


class Condition(StrEnum):
    """What a subscription may have failed by."""

    CREATED_LATER = "created_later"
    TARGETS = "targets"
    ENDPOINTS = "endpoints"
    DISABLED = "disabled"
    EVENT_TYPES = "event_types"
    OWNER = "owner"
    FILTER = "filter"


class Taken(msgspec.Struct, frozen=True):
    """What of a subscription decides about which events it is owed."""

    event_types: tuple[str, ...] | None = None
    owner: str | None = None
    filter: str | None = None
    disabled_by: DisabledBy | None = None


class Failed(msgspec.Struct, frozen=True):
    """The first condition that failed, in a sentence; with a filter, which part of it."""

    condition: Condition
    reason: str
    mismatch: Mismatch | None = None


def judge(
    subscription_id: Id, taken: Taken, event: Event, endpoint_id: Id | None = None
) -> Failed | None:
    """Return why a subscription is not owed an event, or None where it is.

    Args:
        subscription_id: the subscription.
        taken: what it takes.
        event: the event.
        endpoint_id: the address that it shares with others.
    """
    if taken.disabled_by is DisabledBy.PERSON:
        return Failed(Condition.DISABLED, "it was disabled by a person")
    if event.attributes.targets:
        if subscription_id in event.attributes.targets:
            return None
        return Failed(Condition.TARGETS, "the event is aimed at other event subscriptions")
    endpoints = event.attributes.endpoints
    if endpoints and endpoint_id not in endpoints:
        return Failed(Condition.ENDPOINTS, "the event is aimed at other endpoints")
    types = taken.event_types or (ALL,)
    if not takes_type(types, event.type):
        return Failed(Condition.EVENT_TYPES, other_type(event.type, types).reason)
    owner = event.attributes.owner
    if taken.owner is not None and taken.owner != owner:
        found = "absent" if owner is None else shown(owner)
        return Failed(Condition.OWNER, f"owner is {found}, and must be {shown(taken.owner)}")
    if taken.filter is not None:
        compiled = filters.restored(taken.filter)
        mismatch = compiled.explain(Content(event.payload, event.attributes, event.type))
        if mismatch is not None:
            return Failed(Condition.FILTER, mismatch.reason, mismatch)
    return None


def other_type(event_type: str, wanted: tuple[str, ...]) -> Mismatch:
    """Return that a type is none of those that are wanted."""
    found, listed = shown(event_type), shown(wanted)
    reason = f"event_type is {found}, which is none of {listed}"
    if event_type.startswith(SYSTEM) and ALL in wanted:
        reason += f"; {ALL} takes no system events"
    return Mismatch("event_type", "$in", listed, found, reason)
