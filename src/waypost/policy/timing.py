"""When a delivery is due first, and when it is worth nothing any more."""

from typing import Final

from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.event import Attributes
from waypost.model.ids import Id

AHEAD_MAX_S: Final = 366 * 24 * 3600
"""How far ahead an event may be delivered, seconds."""

_SECOND_US: Final = 1_000_000


def due_at(attributes: Attributes, accepted_us: int) -> int:
    """Return when the deliveries of an event that was accepted then are due, UTC microseconds.

    It may lie in the past: they are due at once.
    """
    if attributes.deliver_in_s is not None:
        return accepted_us + round(attributes.deliver_in_s * _SECOND_US)
    return attributes.deliver_at_us or accepted_us


def is_put_off(attributes: Attributes) -> bool:
    """Tell whether an event says from when on it is to be delivered."""
    return attributes.deliver_at_us is not None or attributes.deliver_in_s is not None


def is_timed(attributes: Attributes) -> bool:
    """Tell whether an event says from when, or until when, it is to be delivered."""
    return is_put_off(attributes) or attributes.deliver_before_us is not None


def expires_at(delivery_id: Id, attributes: Attributes, within_us: int) -> int:
    """Return from when on a delivery is not tried any more, UTC microseconds; 0: it always is.

    What was made behind the event's `deliver_before`, by a resend or a replay, was wanted then:
    that moment does not count for it.

    Args:
        delivery_id: the delivery; its period begins when it is due first, the moment of its id.
        attributes: those of its event.
        within_us: for how long the subscription wants it, microseconds; 0: for ever.
    """
    due_us = ids.moment(delivery_id)
    until_us = due_us + within_us if within_us else 0
    before_us = attributes.deliver_before_us
    if before_us is not None and due_us < before_us and (not until_us or before_us < until_us):
        until_us = before_us
    return until_us


def check(attributes: Attributes, now_us: int, at: str) -> None:
    """Refuse times that an event can't be delivered at.

    Args:
        attributes: of the event.
        now_us: the present, UTC microseconds.
        at: what paths start with.

    Raises:
        InvalidInput: says what is wrong, and where.
    """
    due_us = due_at(attributes, now_us)
    if due_us > now_us + AHEAD_MAX_S * _SECOND_US:
        reason = f"must be at most {AHEAD_MAX_S // 86_400} days ahead"
        raise InvalidInput(details=[(f"{at}deliver_at", reason)])
    before_us = attributes.deliver_before_us
    if before_us is not None and before_us <= now_us:
        raise InvalidInput(details=[(f"{at}deliver_before", "must lie in the future")])
    if before_us is not None and before_us <= due_us:
        raise InvalidInput(details=[(f"{at}deliver_before", "must lie behind deliver_at")])
