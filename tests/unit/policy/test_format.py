import base64
import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from waypost.model import ids
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event, Resource
from waypost.model.subscription import Signing, SigningKey
from waypost.policy import signing
from waypost.policy.format import NATIVE_FORMATS, Outgoing, Rendered

AT_US = 1_700_000_000_123_456
AT = "2023-11-14T22:13:20.123456Z"
NOW_S = 1_700_000_500
KEY = SigningKey(b"k" * 16, Signing.HMAC, b"s" * 32)
SECRET = signing.spell_secret(KEY)
PAYLOAD = b'{"amount": 1.10, "big": 12345678901234567890123, "odd": "\\u0000\\ud800", "a":1,"a":2}'
TOKEN = ids.spell(ids.EVENT, ids.make(AT_US, 5))
CLOUDEVENT: dict[str, str | int | bool] = {
    "specversion": "1.0",
    "id": "a b",
    "source": "/s",
    "type": "card.created",
    "time": "2018-04-05T17:31:00Z",
    "text": 'Euro € 😀 "100%"',
    "count": -5,
    "flag": True,
}


def outgoing(payload: bytes = PAYLOAD, attributes: Attributes = NO_ATTRIBUTES) -> Outgoing:
    event = Event(b"\x01" * 16, ids.make(AT_US, 5), "card.created", payload, attributes)
    return Outgoing(event, TOKEN, b"\x02" * 16, b"\x03" * 16, 1, NOW_S, (KEY,))


def render(name: str, of: Outgoing) -> tuple[dict[str, str], bytes]:
    rendered = NATIVE_FORMATS[name].render(of)
    return headers(rendered), rendered.body


def headers(rendered: Rendered) -> dict[str, str]:
    """Read the head as a strict receiver would: whole lines, each name once."""
    *lines, rest = rendered.head.decode("ascii").split("\r\n")
    assert rest == ""
    pairs = [line.split(": ", 1) for line in lines]
    assert all(value.isprintable() and value == value.strip() for _, value in pairs)
    assert len({name for name, _ in pairs}) == len(pairs)
    return {name: value for name, value in pairs}  # noqa: C416 - lists of two, not tuples


def verify(found: dict[str, str], body: bytes) -> None:
    wire = [found[f"webhook-{name}"].encode("ascii") for name in ("id", "timestamp", "signature")]
    signing.verify([SECRET], wire[0], wire[1], wire[2], body, now_s=NOW_S)


@pytest.mark.parametrize("name", NATIVE_FORMATS)
def test_a_format_is_found_by_its_name(name: str) -> None:
    assert NATIVE_FORMATS[name].name == name
    assert set(NATIVE_FORMATS) == {"payload", "envelope", "cloudevents", "thin"}


@pytest.mark.parametrize("name", NATIVE_FORMATS)
def test_exactly_the_body_is_signed_under_the_event_s_token(name: str) -> None:
    found, body = render(name, outgoing())
    assert found["webhook-id"] == TOKEN
    assert found["webhook-timestamp"] == str(NOW_S)
    verify(found, body)
    with pytest.raises(signing.SignatureInvalid):
        verify(found, body + b" ")


@pytest.mark.parametrize("name", NATIVE_FORMATS)
def test_all_keys_sign(name: str) -> None:
    old = SigningKey(b"o" * 16, Signing.ED25519, b"o" * 32, 2**62)
    of = outgoing()
    both = Outgoing(of.event, TOKEN, of.delivery_id, of.attempt_id, 2, NOW_S, (old, KEY))
    found, body = render(name, both)
    parts = [part.partition(",")[0] for part in found["webhook-signature"].split(" ")]
    assert parts == ["v1", "v1a"]
    verify(found, body)


def test_payload_is_the_bytes_that_came() -> None:
    found, body = render("payload", outgoing())
    assert body == PAYLOAD
    assert found["content-type"] == "application/json"
    assert set(found) == {
        "content-type",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    }


def test_payload_carries_a_cloudevent_in_binary_mode() -> None:
    attributes = Attributes(
        cloudevent=CLOUDEVENT | {"datacontenttype": "text/plain"}, content_type="text/plain"
    )
    found, body = render("payload", outgoing(b"\x00\xff", attributes))
    assert body == b"\x00\xff"
    assert found["content-type"] == "text/plain"
    assert {name: value for name, value in found.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0",
        "ce-id": "a%20b",
        "ce-source": "/s",
        "ce-type": "card.created",
        "ce-time": "2018-04-05T17:31:00Z",
        "ce-text": "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22100%25%22",
        "ce-count": "-5",
        "ce-flag": "true",
    }


def test_a_cloudevent_of_json_says_so() -> None:
    found, _ = render("payload", outgoing(b"1", Attributes(cloudevent=CLOUDEVENT)))
    assert found["content-type"] == "application/json"


def test_envelope_holds_the_very_payload() -> None:
    found, body = render("envelope", outgoing())
    assert found["content-type"] == "application/json"
    assert body == b'{"type":"card.created","timestamp":"%b","data":%b}' % (AT.encode(), PAYLOAD)


def test_envelope_of_bytes_holds_them_in_base64() -> None:
    attributes = Attributes(content_type="image/png")
    found, body = render("envelope", outgoing(b"\x00\xff", attributes))
    assert found["content-type"] == "application/json"
    assert json.loads(body) == {
        "type": "card.created",
        "timestamp": AT,
        "content_type": "image/png",
        "data_base64": "AP8=",
    }


@pytest.mark.parametrize("name", ["envelope", "thin", "cloudevents"])
def test_the_timestamp_is_when_it_happened_if_that_is_known(name: str) -> None:
    _, body = render(name, outgoing(b"1", Attributes(occurred_at_us=0)))
    shown = json.loads(body)
    assert shown["time" if name == "cloudevents" else "timestamp"] == "1970-01-01T00:00:00.000000Z"


def test_a_native_event_is_a_whole_cloudevent() -> None:
    found, body = render("cloudevents", outgoing())
    assert found["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert not any(name.startswith("ce-") for name in found)
    assert body.endswith(b',"data":' + PAYLOAD + b"}")
    assert json.loads(body.replace(PAYLOAD, b"0")) == {
        "specversion": "1.0",
        "id": TOKEN,
        "source": "/projects/prj_01010101-0101-0101-0101-010101010101",
        "type": "card.created",
        "time": AT,
        "datacontenttype": "application/json",
        "data": 0,
    }


def test_a_cloudevent_goes_out_with_the_attributes_it_came_with() -> None:
    attributes = Attributes(cloudevent=CLOUDEVENT, occurred_at_us=1)
    _, body = render("cloudevents", outgoing(b" [1.0]", attributes))
    assert json.loads(body) == CLOUDEVENT | {"data": [1.0]}
    assert body.endswith(b',"data": [1.0]}')


def test_a_cloudevent_of_bytes_goes_out_in_base64() -> None:
    context = CLOUDEVENT | {"datacontenttype": "application/xml"}
    attributes = Attributes(cloudevent=context, content_type="application/xml")
    _, body = render("cloudevents", outgoing(b"<a/>", attributes))
    assert json.loads(body) == context | {"data_base64": base64.b64encode(b"<a/>").decode()}


@pytest.mark.parametrize(
    "resource, shown",
    [
        (None, {"type": "event", "id": TOKEN}),
        (Resource("card", "c-1"), {"type": "card", "id": "c-1"}),
    ],
)
def test_thin_tells_what_it_is_about_and_no_more(
    resource: Resource | None, shown: dict[str, str]
) -> None:
    attributes = Attributes(resource=resource, owner="o", metadata={"secret": "s"})
    found, body = render("thin", outgoing(PAYLOAD, attributes))
    assert found["content-type"] == "application/json"
    assert json.loads(body) == {
        "id": TOKEN,
        "type": "card.created",
        "timestamp": AT,
        "delivery_id": "dlv_02020202-0202-0202-0202-020202020202",
        "resource": shown,
    }


@pytest.mark.parametrize(
    "attributes",
    [
        Attributes(content_type="text/plain\r\nx: y"),
        Attributes(content_type="text/plain\n"),
        Attributes(content_type="text/\x00"),
        Attributes(content_type="text/é"),
        Attributes(cloudevent={"a\r\nx": 1}),
        Attributes(cloudevent={"a\n": 1}),
        Attributes(cloudevent={"a: b": 1}),
        Attributes(cloudevent={"": 1}),
    ],
)
def test_what_intake_lets_by_no_format_sends(attributes: Attributes) -> None:
    with pytest.raises(ValueError, match="not a"):
        render("payload", outgoing(b"1", attributes))


hostile = st.text(st.characters(codec="utf-8") | st.sampled_from('\r\n\x00 :%"é'))
names = st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True) | hostile
contexts = st.none() | st.dictionaries(names, hostile | st.integers() | st.booleans(), min_size=1)


@given(
    name=st.sampled_from(sorted(NATIVE_FORMATS)),
    content_type=st.none() | hostile,
    context=contexts,
    payload=st.binary(),
)
def test_no_value_ends_a_header_line(
    name: str, content_type: str | None, context: Any, payload: bytes
) -> None:
    attributes = Attributes(content_type=content_type, cloudevent=context)
    try:
        rendered = NATIVE_FORMATS[name].render(outgoing(payload, attributes))
    except ValueError:
        assert name == "payload"
        return
    lines = rendered.head.split(b"\r\n")
    context_lines = len(context.keys() - {"datacontenttype"}) if context else 0
    assert len(lines) == 4 + 1 + (context_lines if name == "payload" else 0)
    assert lines[-1] == b""
    assert not any(control in line for line in lines for control in b"\r\n\x00")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(value=json_values, indent=st.sampled_from([None, 1]))
def test_the_payload_survives_every_format_that_carries_it(value: Any, indent: int | None) -> None:
    payload = json.dumps(value, indent=indent).encode()
    for name in ("payload", "envelope", "cloudevents"):
        found, body = render(name, outgoing(payload))
        assert payload in body
        assert json.loads(body) == value if name == "payload" else json.loads(body)["data"] == value
        verify(found, body)


@given(data=st.data())
def test_the_same_attempt_renders_the_same_bytes(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(NATIVE_FORMATS)))
    of = outgoing(data.draw(st.binary()))
    first, again = (NATIVE_FORMATS[name].render(of) for _ in range(2))
    assume(first.body)
    assert (first.head, first.body) == (again.head, again.body)
