"""What is sent to a webhook: the event as it is shown, and a signature of its very bytes."""

import hashlib
import hmac

import msgspec
import pytest

from waypost.dialects.socotra import wire
from waypost.dialects.socotra.formats import FORMATS, PLAIN, SIGNED
from waypost.model import ids
from waypost.model.event import Event
from waypost.model.subscription import Signing, SigningKey
from waypost.policy.format import Outgoing

TENANT, EVENT, HOOK = ids.make(1, 1), ids.make(2, 2), ids.make(3, 3)
OLD = SigningKey(HOOK, Signing.HMAC, b"old", expires_at_us=2**60)
KEY = SigningKey(HOOK, Signing.HMAC, b"geheim")


def outgoing(event: Event) -> Outgoing:
    return Outgoing(event, "evt_1", HOOK, HOOK, 1, 1, (OLD, KEY))


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_has_its_name(name: str) -> None:
    assert FORMATS[name].name == name


def test_the_event_is_sent_as_it_is_shown_and_signed_by_the_present_key() -> None:
    event = Event(TENANT, EVENT, "a", b'{"n": 1.10}')
    plain, signed = (FORMATS[name].render(outgoing(event)) for name in (PLAIN, SIGNED))
    assert plain.body == signed.body == msgspec.json.encode(wire.event_out(event))
    assert plain.head == b"content-type: application/json\r\n"
    signature = hmac.new(b"geheim", plain.body, hashlib.sha256).hexdigest()
    assert signed.head == plain.head + f"socotra-signature: {signature}\r\n".encode()


def test_a_notice_has_locators() -> None:
    told = {
        "type": "delivery.failed",
        "subscription": ids.spell(ids.SUBSCRIPTION, HOOK),
        "event": ids.spell(ids.EVENT, EVENT),
    }
    notice = Event(ids.alerts_of(TENANT), EVENT, "delivery.failed", msgspec.json.encode(told))
    body = msgspec.json.decode(FORMATS[PLAIN].render(outgoing(notice)).body)
    assert body["data"] == {
        **told,
        "webhookLocator": ids.spell_ulid(HOOK),
        "eventLocator": ids.spell_ulid(EVENT),
    }
    assert body["userLocator"] == ids.spell_uuid(TENANT)
