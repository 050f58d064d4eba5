"""The notice that alert endpoints get of a delivery that was given up."""

from typing import Final

import msgspec

from waypost.model import ids
from waypost.model.ids import Id
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
