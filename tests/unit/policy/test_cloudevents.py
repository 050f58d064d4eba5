import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.errors import InvalidInput, PayloadTooLarge
from waypost.model.event import Attributes, Event
from waypost.model.subscription import Signing, SigningKey
from waypost.policy.cloudevents import (
    Mode,
    mode,
    parse_batched,
    parse_binary,
    parse_structured,
)
from waypost.policy.events import Draft, EventLimits
from waypost.policy.format import NATIVE_FORMATS, Outgoing

LIMITS = EventLimits()
CONTEXT: dict[str, str | int | bool] = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/s",
    "type": "card.created",
}
JSON = b"application/json"

Headers = list[tuple[bytes, bytes]]


def structured(*members: bytes, **attributes: Any) -> bytes:
    """Spell a CloudEvent in JSON; `members` are added as they are, `...` leaves one out."""
    shown = json.dumps({name: v for name, v in (CONTEXT | attributes).items() if v is not ...})
    return b"%b}" % b",".join([shown[:-1].encode(), *members])


def binary(content_type: bytes | None = JSON, **attributes: Any) -> Headers:
    context = {name: str(value).encode() for name, value in CONTEXT.items()} | attributes
    headers = [
        (b"ce-" + name.encode(), value) for name, value in context.items() if value is not ...
    ]
    return [(b"host", b"x"), *headers, *([(b"content-type", content_type)] if content_type else [])]


def refused(text: bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_structured(text, LIMITS)
    return caught.value.details[0][0]


def refused_binary(headers: Headers, body: bytes = b"1") -> str:
    with pytest.raises(InvalidInput) as caught:
        parse_binary(headers, body, LIMITS)
    return caught.value.details[0][0]


@pytest.mark.parametrize(
    "headers, found",
    [
        ([(b"content-type", b"application/cloudevents+json")], Mode.STRUCTURED),
        ([(b"content-type", b"Application/CloudEvents+JSON; charset=UTF-8")], Mode.STRUCTURED),
        ([(b"content-type", b"application/cloudevents-batch+json")], Mode.BATCHED),
        ([(b"ce-id", b"1"), (b"content-type", b"application/cloudevents+json")], Mode.STRUCTURED),
        ([(b"content-type", JSON)], None),
        ([(b"ce-other", b"1")], None),
        ([(b"ce-\xff", b"1")], None),
        ([], None),
        (binary(), Mode.BINARY),
        ([(b"ce-specversion", b"1.0")], Mode.BINARY),
        ([(b"ce-id", b"1")], Mode.BINARY),
        ([(b"ce-source", b"1")], Mode.BINARY),
        ([(b"ce-type", b"1")], Mode.BINARY),
    ],
)
def test_the_mode_is_told_by_the_headers(headers: Headers, found: Mode | None) -> None:
    assert mode(headers) is found


@pytest.mark.parametrize(
    "content_type", [b"application/cloudevents+xml", b"application/cloudevents-batch+avro"]
)
def test_formats_other_than_json_are_refused(content_type: bytes) -> None:
    with pytest.raises(InvalidInput, match="content-type"):
        mode([(b"content-type", content_type)])


def test_attributes_and_extensions_are_kept_as_they_came() -> None:
    draft = parse_structured(
        structured(
            b'"data":{"a": 1.10}',
            time="1970-01-01T00:00:01Z",
            subject="x y",
            dataschema="https://example.com/s",
            count=-5,
            flag=True,
            empty="",
            unset=None,
        ),
        LIMITS,
    )
    assert (draft.type, draft.payload) == ("card.created", b'{"a": 1.10}')
    assert draft.attributes == Attributes(
        idempotency_key="/s a-1",
        occurred_at_us=1_000_000,
        cloudevent=CONTEXT
        | {
            "time": "1970-01-01T00:00:01Z",
            "subject": "x y",
            "dataschema": "https://example.com/s",
            "count": -5,
            "flag": True,
            "empty": "",
        },
    )
    assert draft.attributes.cloudevent is not None
    assert draft.attributes.cloudevent["flag"] is True


@pytest.mark.parametrize(
    "members, datacontenttype, payload, content_type",
    [
        ([b'"data": {"a" : 1.0} '], None, b'{"a" : 1.0}', None),
        ([b'"data":null'], None, b"null", None),
        ([b'"data":"\\ud800"'], None, b'"\\ud800"', None),
        ([b'"data":[]'], "application/json", b"[]", None),
        ([b'"data":[]'], "text/json; a=b", b"[]", "text/json; a=b"),
        ([b'"data":"x"'], "application/vnd.x+json", b'"x"', "application/vnd.x+json"),
        ([b'"data":"<a b=\\"c\\"/>"'], "application/xml", b'<a b="c"/>', "application/xml"),
        ([b'"data":"\\u00e9"'], "text/plain", "é".encode(), "text/plain"),
        ([b'"data":"\\u00e9"'], "t/p;charset=iso-8859-1", b"\xe9", "t/p;charset=iso-8859-1"),
        ([b'"data_base64":"AP8="'], "image/png", b"\x00\xff", "image/png"),
        ([b'"data_base64":"AP8="'], None, b"\x00\xff", "application/octet-stream"),
        ([b'"data_base64":"WzEg\\u0058Q=="'], JSON.decode(), b"[1 ]", None),
        ([b'"data_base64":""'], "image/png", b"", "image/png"),
        ([], None, b"null", None),
        ([], "application/json", b"null", None),
        ([], "image/png", b"", "image/png"),
    ],
)
def test_data_becomes_the_payload(
    members: list[bytes], datacontenttype: str | None, payload: bytes, content_type: str | None
) -> None:
    draft = parse_structured(structured(*members, datacontenttype=datacontenttype), LIMITS)
    assert draft.payload == payload
    assert draft.attributes.content_type == content_type


@pytest.mark.parametrize(
    "members, datacontenttype, path",
    [
        ([b'"data":1', b'"data_base64":"AP8="'], None, "data_base64"),
        ([b'"data_base64":"AP8"'], None, "data_base64"),
        ([b'"data_base64":"A P8="'], None, "data_base64"),
        ([b'"data_base64":"\\u00e9"'], None, "data_base64"),
        ([b'"data_base64":5'], None, "data_base64"),
        ([b'"data_base64":null'], None, "data_base64"),
        ([b'"data_base64":"AP8="'], "application/json", "data_base64"),
        ([b'"data":{}'], "application/xml", "data"),
        ([b'"data":"\\ud800"'], "text/plain", "data"),
        ([b'"data":"\\u20ac"'], "t/p;charset=iso-8859-1", "data"),
        ([b'"data":"a"'], "t/p;charset=utf-16", "data"),
        ([b'"data":' + b"[" * 65 + b"]" * 65], None, "data"),
    ],
)
def test_data_that_is_not_what_it_says_is_refused(
    members: list[bytes], datacontenttype: str | None, path: str
) -> None:
    text = structured(*members, datacontenttype=datacontenttype)
    assert refused(text) == path
    with pytest.raises(InvalidInput) as caught:
        parse_batched(b"[%b,%b]" % (structured(), text), LIMITS)
    assert caught.value.details[0][0] == f"[1].{path}"


RULES = [
    ("specversion", ["0.3", "1.0.2", ""]),
    ("id", ["", "x" * 257]),
    ("source", ["", "a b", "é", "x" * 1025]),
    ("type", ["", "a b", "a..b", "x" * 257]),
    ("datacontenttype", ["", "json", "text/plain, text/html"]),
    ("dataschema", ["", "a b"]),
    ("subject", ["", "x" * 1025]),
    ("time", ["", "yesterday", "2020-01-01T00:00:00"]),
    ("ext", ["x" * 1025]),
]
BAD = [(name, value) for name, values in RULES for value in values]


@pytest.mark.parametrize("name, value", BAD)
def test_a_bad_attribute_is_named(name: str, value: str) -> None:
    assert refused(structured(**{name: value})) == name
    header = "".join(f"%{byte:02x}" for byte in value.encode()).encode()
    if name == "datacontenttype":
        assert refused_binary(binary(value.encode())) == "content-type"
    else:
        assert refused_binary(binary(**{name: header})) == f"ce-{name}"


@pytest.mark.parametrize("name", CONTEXT)
def test_a_required_attribute_is_missed(name: str) -> None:
    assert refused(structured(**{name: ...})) == name
    assert refused(structured(**{name: None})) == name
    assert refused_binary(binary(JSON, **{name: ...})) == f"ce-{name}"


@pytest.mark.parametrize("name", [name for name, _ in RULES if name != "ext"])
@pytest.mark.parametrize("value", [1, True, 1.5, [], {}])
def test_an_attribute_of_cloudevents_is_a_string(name: str, value: object) -> None:
    assert refused(structured(**{name: value})) == name


@pytest.mark.parametrize("value", [1.5, [], {}, 2**31, -(2**31) - 1, 10**30, "a\x00", "a\r\nb"])
def test_an_extension_is_of_the_types_of_cloudevents(value: object) -> None:
    assert refused(structured(ext=value)) == "ext"


@pytest.mark.parametrize("value", [2**31 - 1, -(2**31), 0, False, "😀" * 1024])
def test_any_other_value_passes(value: str | int | bool) -> None:
    attributes = parse_structured(structured(ext=value), LIMITS).attributes
    assert attributes.cloudevent == CONTEXT | {"ext": value}


@pytest.mark.parametrize("name", ["Ext", "e_t", "", "é", "x" * 65, "a\r\nb", "data_base65"])
def test_an_attribute_has_a_plain_name(name: str) -> None:
    assert refused(structured(**{name: "x"})) == name[:64]
    assert refused_binary([*binary(), (b"ce-" + name.encode("latin-1"), b"x")]).startswith("ce-")


def test_there_are_at_most_64_attributes() -> None:
    parse_structured(structured(**{f"e{n}": "" for n in range(60)}), LIMITS)
    assert refused(structured(**{f"e{n}": "" for n in range(61)})) == ""


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"\xff", b"1", b'{"\\ud800":1}'])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    assert refused(text) == ""


def test_a_batch_holds_up_to_a_thousand_and_may_be_empty() -> None:
    assert parse_batched(b"[]", LIMITS) == []
    one = parse_structured(structured(b'"data":1'), LIMITS)
    for count in (1, 1000):
        batch = b"[%b]" % b",".join([structured(b'"data":1')] * count)
        assert parse_batched(batch, LIMITS) == [one] * count
    with pytest.raises(InvalidInput):
        parse_batched(b"[%b]" % b",".join([structured()] * 1001), LIMITS)


def test_limits_hold_to_the_byte() -> None:
    limits = EventLimits(max_event_bytes=100, max_batch_bytes=500)
    fits, over = b'"data":"%b"' % (b"x" * 98), b'"data":"%b"' % (b"x" * 99)
    assert len(parse_structured(structured(fits), limits).payload) == 100
    with pytest.raises(PayloadTooLarge, match="data: must be at most 100 bytes"):
        parse_structured(structured(over), limits)
    with pytest.raises(PayloadTooLarge, match=r"\[1\].data: must be at most 100 bytes"):
        parse_batched(b"[%b,%b]" % (structured(), structured(over)), limits)
    with pytest.raises(PayloadTooLarge, match="data"):
        parse_binary(binary(b"image/png"), b"x" * 101, limits)
    for parse in (parse_batched, parse_structured):
        with pytest.raises(PayloadTooLarge, match="body"):
            parse(b" " * 600_000, limits)


def test_a_body_within_the_limit_may_be_as_large_in_base64() -> None:
    data = base64.b64encode(b"x" * LIMITS.max_event_bytes)
    text = structured(b'"data_base64":"%b"' % data)
    assert len(parse_structured(text, LIMITS).payload) == LIMITS.max_event_bytes


@pytest.mark.parametrize(
    "content_type, body, payload, kept",
    [
        (JSON, b' {"a": 1.0}\n', b' {"a": 1.0}\n', None),
        (b"application/vnd.x+json", b"1", b"1", "application/vnd.x+json"),
        (b" text/plain ", b"\xff\x00", b"\xff\x00", "text/plain"),
        (b"image/png", b"", b"", "image/png"),
        (JSON, b"", b"null", None),
        (None, b"", b"null", None),
    ],
)
def test_the_body_of_binary_mode_is_the_payload(
    content_type: bytes | None, body: bytes, payload: bytes, kept: str | None
) -> None:
    draft = parse_binary(binary(content_type, ext=b"5"), body, LIMITS)
    assert (draft.type, draft.payload) == ("card.created", payload)
    told: dict[str, str | int | bool] = {}
    if content_type:
        told["datacontenttype"] = content_type.decode().strip()
    assert draft.attributes == Attributes(
        idempotency_key="/s a-1", cloudevent=CONTEXT | {"ext": "5"} | told, content_type=kept
    )


@pytest.mark.parametrize(
    "content_type, body, path",
    [
        (None, b"1", "content-type"),
        (b"", b"1", "content-type"),
        (b"\xff/x", b"1", "content-type"),
        (JSON, b"{", "data"),
        (JSON, b"\xff", "data"),
        (JSON, b"\xef\xbb\xbf1", "data"),
        (JSON, b"1 2", "data"),
        (JSON, b"[" * 65 + b"]" * 65, "data"),
        (JSON, b"[" * 100_000, "data"),
    ],
)
def test_a_body_that_is_not_what_it_says_is_refused(
    content_type: bytes | None, body: bytes, path: str
) -> None:
    headers = binary(None)
    if content_type is not None:
        headers.append((b"content-type", content_type))
    assert refused_binary(headers, body) == path


@pytest.mark.parametrize(
    "raw, text",
    [
        (b"plain", "plain"),
        (b" \tspace around ", "space around"),
        (b"Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        (b"%e2%82%ac", "€"),
        (b"%41", "A"),
        (b"100%", "100%"),
        (b"%zz", "%zz"),
        (b"%2541", "%41"),
        (b'"quoted \\"text\\" \\\\"', 'quoted "text" \\'),
        (b'"a%20b"', "a b"),
        (b"%22a%22", '"a"'),
        (b'"open', '"open'),
        (b'a "b" c', 'a "b" c'),
        (b'"' + b'\\"' * 500 + b'"', '"' * 500),
        (b'"' * 1001, '"' * 1001),
        (b"", ""),
    ],
)
def test_a_header_is_unquoted_then_percent_decoded_once(raw: bytes, text: str) -> None:
    context = parse_binary(binary(ext=raw), b"1", LIMITS).attributes.cloudevent
    assert context is not None
    assert context["ext"] == text


@pytest.mark.parametrize(
    "raw", [b"%C0%A0", b"%ff", b"\xe2\x82\xac", b"%ED%A0%80", b"%0d%0a", b"%00"]
)
def test_a_header_that_is_no_text_is_refused(raw: bytes) -> None:
    assert refused_binary(binary(ext=raw)) == "ce-ext"


@pytest.mark.parametrize("name", [b"ce-id", b"ce-ext", b"content-type", b"ce-datacontenttype"])
def test_a_header_is_there_once(name: bytes) -> None:
    headers = [*binary(ext=b"1"), (name, b"text/plain")]
    assert refused_binary(headers) == name.decode()


def test_other_headers_are_passed_over() -> None:
    plain = parse_binary(binary(), b"1", LIMITS)
    more = [(b"x-ce-id", b"1"), (b"cookie", b"\xff"), (b"\xff", b"")]
    assert parse_binary([*more, *binary(), *more], b"1", LIMITS) == plain


visible = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9)
printable = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=9)


@given(visible, printable, visible, printable)
def test_source_and_id_name_one_event(source: str, name: str, source_2: str, name_2: str) -> None:
    key, other = (
        parse_structured(structured(source=s, id=i), LIMITS).attributes.idempotency_key
        for s, i in ((source, name), (source_2, name_2))
    )
    assert (key == other) == ((source, name) == (source_2, name_2))
    assert key is not None
    assert " " in key  # no native key holds one


def test_an_event_repeats_itself_by_its_fingerprint() -> None:
    first = parse_structured(structured(b'"data":1', a="1", b="2"), LIMITS)
    turned = parse_structured(structured(b'"data":1', b="2", a="1"), LIMITS)
    other = parse_structured(structured(b'"data":2', a="1", b="2"), LIMITS)
    assert len(first.fingerprint) == 16
    assert first.fingerprint == turned.fingerprint != other.fingerprint


extensions = st.dictionaries(
    st.from_regex(r"x[a-z0-9]{1,9}", fullmatch=True),
    printable | st.integers(-(2**31), 2**31 - 1) | st.booleans(),
    max_size=5,
)


def forward(draft: Draft, name: str) -> tuple[Headers, bytes]:
    """Send a draft on in a format, as another Waypost would receive it."""
    event = Event(b"p" * 16, b"e" * 16, draft.type, draft.payload, draft.attributes)
    keys = (SigningKey(b"k" * 16, Signing.HMAC, b"s" * 32),)
    rendered = NATIVE_FORMATS[name].render(Outgoing(event, "evt_1", b"d", b"a", 1, 1, keys))
    lines = [line.partition(b": ") for line in rendered.head.split(b"\r\n")]
    return [(header, value) for header, _, value in lines], rendered.body


@given(extensions, printable, st.binary(min_size=1), st.sampled_from(["image/png", "text/x"]))
def test_bytes_survive_the_way_through(
    more: dict[str, Any], subject: str, data: bytes, content_type: str
) -> None:
    encoded = base64.b64encode(data)
    text = structured(
        b'"data_base64":"%b"' % encoded, datacontenttype=content_type, subject=subject, **more
    )
    draft = parse_structured(text, LIMITS)
    headers, body = forward(draft, "cloudevents")
    assert mode(headers) is Mode.STRUCTURED
    assert parse_structured(body, LIMITS) == draft
    headers, body = forward(draft, "payload")
    assert mode(headers) is Mode.BINARY
    again = parse_binary(headers, body, LIMITS)
    assert again.payload == data
    assert again.attributes.cloudevent == {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in (draft.attributes.cloudevent or {}).items()
    }


near_headers = st.lists(
    st.tuples(
        st.sampled_from(
            [b"ce-id", b"ce-source", b"ce-type", b"ce-specversion", b"ce-time", b"content-type"]
        )
        | st.binary(max_size=9).map(lambda name: b"ce-" + name),
        st.sampled_from([b"1.0", b"a", b"application/json", b"%", b'"']) | st.binary(max_size=9),
    )
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


NAMES = [*CONTEXT, "data", "data_base64", "time", "datacontenttype", "Ä"]


@given(st.binary(), near_headers, st.dictionaries(st.sampled_from(NAMES), json_values))
def test_no_bytes_fail_otherwise(body: bytes, headers: Headers, members: dict[str, Any]) -> None:
    near = json.dumps(members).encode()
    for text in (body, near, structured(b'"data":%b' % body), structured(**members)):
        with suppress(InvalidInput, PayloadTooLarge):
            parse_structured(text, LIMITS)
        with suppress(InvalidInput, PayloadTooLarge):
            parse_batched(b"[%b]" % text, LIMITS)
        for head in (headers, [*binary(None), *headers]):
            with suppress(InvalidInput, PayloadTooLarge):
                parse_binary(head, text, LIMITS)
            with suppress(InvalidInput):
                mode(head)
