"""What Waypost sends to Socotra's webhooks: the event as the API shows it, signed or not."""

import hashlib
import hmac
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from waypost.dialects.socotra import wire
from waypost.model import ids
from waypost.model.event import Event
from waypost.model.subscription import SigningKey
from waypost.policy.format import Format, Outgoing, Rendered

PLAIN: Final = "socotra"
SIGNED: Final = "socotra-signed"
SIGNATURE: Final = "socotra-signature"

_TYPE: Final = b"content-type: application/json\r\n"
_LOCATORS: Final = {
    "subscription": (ids.SUBSCRIPTION, "webhookLocator"),
    "event": (ids.EVENT, "eventLocator"),
}

_encode: Final = msgspec.json.Encoder().encode


class Plain:
    """The event."""

    name: Final = PLAIN
    signature_header: Final = SIGNATURE

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        return Rendered(_TYPE, _body(outgoing.event))


class Signed:
    """The event, and the HMAC-SHA256 of its bytes by the webhook's secret, hexadecimal."""

    name: Final = SIGNED
    signature_header: Final = SIGNATURE

    def render(self, outgoing: Outgoing) -> Rendered:
        """Make head and body."""
        body = _body(outgoing.event)
        signature = hmac.digest(_present(outgoing.keys).material, body, hashlib.sha256).hex()
        return Rendered(b"%bsocotra-signature: %b\r\n" % (_TYPE, signature.encode()), body)


FORMATS: Final[dict[str, Format]] = {form.name: form for form in (Plain(), Signed())}


def _present(keys: tuple[SigningKey, ...]) -> SigningKey:
    """Return the one key that signs: an old one is not good any more, as there is one signature."""
    return next(key for key in keys if key.expires_at_us is None)


def _body(event: Event) -> bytes:
    if ids.is_of_alerts(event.project_id):
        event = replace(event, payload=_notice(event.payload))
    return _encode(wire.event_out(event))


def _notice(payload: bytes) -> bytes:
    """Return a notice of a failure with the locators of what it names."""
    notice: dict[str, Any] = msgspec.json.decode(payload)
    for field, (kind, name) in _LOCATORS.items():
        identifier = ids.find(kind, str(notice.get(field)))
        if identifier is not None:
            notice[name] = ids.spell_ulid(identifier)
    return msgspec.json.encode(notice)
