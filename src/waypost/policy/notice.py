"""Notices: what alert endpoints get of a delivery that was given up, and others of every try."""

from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import End
from waypost.policy import timestamp
from waypost.policy.failure import failure_name, message_of, trigger_of
from waypost.policy.outcome import Outcome

TYPE: Final = "delivery.failed"
"""The type of the event that a notice is."""


class GivenUp(msgspec.Struct, frozen=True):
    """What a notice tells.

    Attributes:
        failed_us: when the last try ended, UTC microseconds.
        attempts: how many tries there were.
        left_out: so many deliveries were given up since the last notice that none tells of.
    """

    subscription_id: Id
    event_id: Id
    outcome: Outcome
    triggers: frozenset[str] | None
    failed_us: int
    attempts: int
    diverted: bool
    suspended: bool
    left_out: int = 0


def render(given_up: GivenUp) -> bytes:
    """Return the notice as JSON."""
    outcome = given_up.outcome
    left_out = {"left_out": given_up.left_out} if given_up.left_out else {}
    return msgspec.json.encode(
        {
            "type": TYPE,
            "subscription": ids.spell(ids.SUBSCRIPTION, given_up.subscription_id),
            "event": ids.spell(ids.EVENT, given_up.event_id),
            "failure_trigger": trigger_of(outcome, given_up.triggers) or failure_name(outcome),
            "failure_message": message_of(outcome),
            "failure_timestamp": timestamp.spell(given_up.failed_us),
            "attempts": given_up.attempts,
            "diverted": given_up.diverted,
            "suspended": given_up.suspended,
            **left_out,
        }
    )


class Tried(msgspec.Struct, frozen=True):
    """A try that has ended, for who is told of each.

    Attributes:
        endpoint_id: the address that the subscription shares with others.
        number: 1 for the first try of the delivery.
        retry_at_us: when the next one is due, UTC microseconds; None: there is none.
        reason: why the delivery ended undelivered.
    """

    end: End
    project_id: Id
    subscription_id: Id
    endpoint_id: Id | None
    event_id: Id
    delivery_id: Id
    attempt_id: Id
    number: int
    url: str
    outcome: Outcome
    started_us: int
    ended_us: int
    retry_at_us: int | None
    reason: str | None


def render_try(tried: Tried, event: Event) -> bytes:
    """Return what is told of a try of an event as JSON; ids are plain UUIDs."""
    outcome = tried.outcome
    shared = None if tried.endpoint_id is None else ids.spell_uuid(tried.endpoint_id)
    return msgspec.json.encode(
        {
            "end": tried.end,
            "project": ids.spell_uuid(tried.project_id),
            "subscription": ids.spell_uuid(tried.subscription_id),
            "endpoint": shared,
            "event": ids.spell_uuid(tried.event_id),
            "event_type": event.type,
            "idempotency_key": event.attributes.idempotency_key,
            "delivery": ids.spell_uuid(tried.delivery_id),
            "attempt": ids.spell_uuid(tried.attempt_id),
            "number": tried.number,
            "url": tried.url,
            "status_code": outcome.status_code,
            "response": outcome.response.decode(errors="replace"),
            "started_at": timestamp.spell(tried.started_us),
            "ended_at": timestamp.spell(tried.ended_us),
            "retry_at": None if tried.retry_at_us is None else timestamp.spell(tried.retry_at_us),
            "reason": tried.reason,
        }
    )
