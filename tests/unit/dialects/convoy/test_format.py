"""Convoy's deliveries: what is sent, and how it is signed."""

import hmac
from typing import Any

import msgspec
import pytest

from waypost.dialects.convoy.format import (
    ConvoyFormat,
    Signed,
    Version,
    as_form,
    compact,
    spelled,
)
from waypost.model import ids
from waypost.model.event import Attributes, Event
from waypost.model.subscription import Signing, SigningKey
from waypost.policy.format import Outgoing

PROJECT, EVENT, DELIVERY = ids.make(1, 1), ids.make(2, 2), ids.make(3, 3)
NOW_S = 1_700_000_000


def key(secret: str, expires_us: int | None = None) -> SigningKey:
    return SigningKey(ids.make(4, len(secret)), Signing.HMAC, secret.encode(), expires_us)


def outgoing(payload: bytes, *keys: SigningKey, **attributes: Any) -> Outgoing:
    event = Event(PROJECT, EVENT, "a", payload, Attributes(**attributes))
    return Outgoing(event, "t", DELIVERY, DELIVERY, 1, NOW_S, keys or (key("s"),))


def rendered(signed: Signed, *args: Any, **attributes: Any) -> tuple[dict[str, str], bytes]:
    found = ConvoyFormat().configured(spelled(signed)).render(outgoing(*args, **attributes))
    lines = found.head.decode("latin-1").splitlines()
    return dict(line.split(": ", 1) for line in lines), found.body


def mac(secret: str, content: bytes, digest: str = "sha256") -> str:
    return hmac.new(secret.encode(), content, digest).hexdigest()


@pytest.mark.parametrize(
    "payload, expected",
    [
        (b'{"a":1}', b'{"a":1}'),
        (b' { "a" : [ 1 , 2 ] }\n', b'{"a":[1,2]}'),
        (rb'{"a b": " \" x\\ " , "c":1.50e+2}', rb'{"a b":" \" x\\ ","c":1.50e+2}'),
        (b'"a  b"', b'"a  b"'),
        (rb'"\\" ', rb'"\\"'),
    ],
)
def test_space_between_the_parts_is_left_out(payload: bytes, expected: bytes) -> None:
    assert compact(payload) == expected
    assert msgspec.json.decode(expected) == msgspec.json.decode(payload)


@pytest.mark.parametrize(
    "payload, expected",
    [
        (b'{"a":"1 2","b":[1, 2],"c":null,"d":true}', b"a=1+2&b=%5B1%2C2%5D&c=&d=true"),
        (b"[1]", b"data=%5B1%5D"),
        (b'"x"', b"data=x"),
    ],
)
def test_a_payload_is_sent_as_a_form(payload: bytes, expected: bytes) -> None:
    assert as_form(payload) == expected


def test_the_simple_signature_is_by_the_last_way_and_the_present_secret() -> None:
    signed = Signed(header="X-S", advanced=False, versions=(Version(), Version("SHA512", "hex")))
    old = key("old", NOW_S * 1_000_000 + 1)
    headers, body = rendered(signed, b'{"a": 1}', old, key("s"))
    assert body == b'{"a":1}'
    assert headers["X-S"] == mac("s", body, "sha512")


def test_the_advanced_signature_is_by_every_way_and_every_valid_secret() -> None:
    signed = Signed(versions=(Version(), Version("SHA512", "hex")))
    keys = (key("gone", NOW_S * 1_000_000), key("old!", NOW_S * 1_000_000 + 1), key("s"))
    headers, body = rendered(signed, b"1", *keys)
    content = b"%d,1" % NOW_S
    assert headers["X-Convoy-Signature"] == ",".join(
        [
            f"t={NOW_S}",
            f"v1={mac('s', content)}",
            f"v1={mac('old!', content)}",
            f"v2={mac('s', content, 'sha512')}",
            f"v2={mac('old!', content, 'sha512')}",
        ]
    )
    assert body == b"1"


def test_nothing_is_sent_without_a_secret() -> None:
    with pytest.raises(ValueError, match="no signing key"):
        rendered(Signed(), b"1", key("gone", 1))


def test_headers_of_the_event_go_along_where_they_may() -> None:
    sent = {
        "x-a": "1",
        "content-length": "9",
        "x-own": "event's",
        "x-convoy-signature": "forged",
        "bad name": "x",
        "x-bad": "a\r\nb: c",
    }
    headers, _ = rendered(Signed(own=("x-own",)), b"1", headers=sent)
    assert headers["x-a"] == "1"
    assert set(headers) == {"content-type", "X-Convoy-Signature", "x-a"}


def test_ids_and_keys_go_along_where_that_is_asked() -> None:
    signed = Signed(trace=True, request_id_header="X-Id")
    headers, _ = rendered(signed, b"1", idempotency_key="k")
    assert headers["X-Id"] == "k"
    assert headers["X-Convoy-Event-ID"] == ids.spell_ulid(EVENT)
    assert headers["X-Convoy-EventDelivery-ID"] == ids.spell_ulid(DELIVERY)


def test_what_is_no_json_is_sent_as_it_is() -> None:
    headers, body = rendered(Signed(form=True), b"a b", content_type="text/plain")
    assert (headers["content-type"], body) == ("text/plain", b"a b")


def test_it_tells_where_the_signature_stands() -> None:
    found = ConvoyFormat(Signed(header="X-S"))
    assert (found.name, found.signature_header) == ("convoy", "X-S")
