"""What a destination is sent: the thin event, and headers that tell which attempt it is."""

from collections.abc import Mapping
from typing import Final

import msgspec

from waypost.dialects.stedi import wire
from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.project import Environment
from waypost.model.subscription import SigningKey
from waypost.policy.format import SIGNATURE, Format, Outgoing, Rendered
from waypost.policy.signing import sign

_encode: Final = msgspec.json.encode

_HEAD: Final = (
    b"content-type: application/json\r\nwebhook-id: %b\r\nwebhook-timestamp: %d\r\n"
    b"webhook-signature: %b\r\nevent-id: %b\r\ndestination-id: %b\r\nattempt-number: %d\r\n"
    b"attempt-type: %b\r\n"
)


class Thin:
    """The thin event, signed with the moment of its creation, or of the attempt."""

    signature_header: Final = SIGNATURE

    def __init__(
        self, name: str, environments: Mapping[Id, Environment], *, by_attempt: bool
    ) -> None:
        """Take its name, and what tells the environment of each project."""
        self.name = name
        self._environments = environments
        self._by_attempt = by_attempt

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        event = outgoing.event
        body = _encode(wire.thin(event, self._environments[event.project_id]))
        message = ids.spell(wire.MESSAGE, event.id).encode()
        if self._by_attempt:
            keys, timestamp_s = outgoing.keys, outgoing.now_s
        else:
            keys = _valid(outgoing.keys, outgoing.now_s)
            timestamp_s = ids.moment(event.id) // 1_000_000
        head = _HEAD % (
            message,
            timestamp_s,
            sign(keys, message, timestamp_s, body),
            ids.spell(wire.EVENT, event.id).encode(),
            ids.spell(wire.DESTINATION, outgoing.subscription_id).encode(),
            outgoing.attempt_number,
            b"MANUAL" if outgoing.manual else b"AUTOMATIC",
        )
        return Rendered(head, body)


def formats(environments: Mapping[Id, Environment]) -> dict[str, Format]:
    """Return the two by their names."""
    at = f"{wire.FORMAT}_attempt_time"
    return {
        wire.FORMAT: Thin(wire.FORMAT, environments, by_attempt=False),
        at: Thin(at, environments, by_attempt=True),
    }


def _valid(keys: tuple[SigningKey, ...], now_s: int) -> tuple[SigningKey, ...]:
    """Return the keys that are good now: at the creation of the event more of them were."""
    if len(keys) == 1:
        return keys
    now_us = now_s * 1_000_000
    return tuple(key for key in keys if key.expires_at_us is None or key.expires_at_us > now_us)
