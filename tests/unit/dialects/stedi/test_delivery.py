"""What a destination is sent: one body, signed; headers that tell the attempt."""

import msgspec
import pytest
import time_machine
from standardwebhooks import Webhook

from waypost.dialects.stedi import wire
from waypost.dialects.stedi.delivery import formats
from waypost.model import ids
from waypost.model.event import Event
from waypost.model.project import Environment
from waypost.model.subscription import Signing, SigningKey
from waypost.policy.format import Outgoing, Rendered
from waypost.policy.signing import spell_secret

MADE_S = 1_700_000_000
NOW_S = MADE_S + 4_000
PROJECT, TO = ids.make(1, 1), ids.make(2, 2)
EVENT = Event(PROJECT, ids.make(MADE_S * 1_000_000 + 5, 7), "card.created", b'{"n":1}')
KEY = SigningKey(ids.make(4, 4), Signing.HMAC, bytes(range(32)))
OLD = SigningKey(ids.make(3, 3), Signing.HMAC, bytes(32), (NOW_S + 1) * 1_000_000)
FORMATS = formats({PROJECT: Environment.TEST})


def render(name: str, *keys: SigningKey, number: int = 3, manual: bool = False) -> Rendered:
    outgoing = Outgoing(
        EVENT, "evt_x", ids.make(5, 5), ids.make(6, 6), number, NOW_S, keys, TO, manual
    )
    return FORMATS[name].render(outgoing)


def headers(rendered: Rendered) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in rendered.head.decode().splitlines())


@pytest.mark.parametrize("name, signed_s", [("stedi", MADE_S), ("stedi_attempt_time", NOW_S)])
def test_the_headers_tell_event_destination_and_attempt(name: str, signed_s: int) -> None:
    rendered = render(name, KEY)
    found = headers(rendered)
    with time_machine.travel(signed_s):
        Webhook(spell_secret(KEY)).verify(rendered.body, found)
    assert len(found.pop("webhook-signature").split()) == 1
    assert found == {
        "content-type": "application/json",
        "webhook-id": ids.spell("msg", EVENT.id),
        "webhook-timestamp": str(signed_s),
        "event-id": ids.spell("evt", EVENT.id),
        "destination-id": ids.spell("dst", TO),
        "attempt-number": "3",
        "attempt-type": "AUTOMATIC",
    }
    assert rendered.body == msgspec.json.encode(wire.thin(EVENT, Environment.TEST))


def test_what_somebody_asked_for_is_manual() -> None:
    assert headers(render("stedi", KEY, manual=True))["attempt-type"] == "MANUAL"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("left_s, signatures", [(1, 2), (0, 1), (-1, 1)])
def test_an_old_key_signs_while_it_is_good_now(name: str, left_s: int, signatures: int) -> None:
    old = msgspec.structs.replace(OLD, expires_at_us=(NOW_S + left_s) * 1_000_000)
    found = headers(render(name, KEY, old))["webhook-signature"].split()
    assert len(found) == signatures
