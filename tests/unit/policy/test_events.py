import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.model import ids
from waypost.model.errors import InvalidInput, PayloadTooLarge
from waypost.model.event import NO_ATTRIBUTES, Attributes, Resource
from waypost.policy.events import (
    BesideIn,
    Draft,
    EventIn,
    EventLimits,
    draft,
    is_type,
    needs_scan,
    parse_batch,
    parse_event,
)

LIMITS = EventLimits()
SUBSCRIPTION = b"\x01" * 16
TARGET = ids.spell(ids.SUBSCRIPTION, SUBSCRIPTION)
RESOURCE = {"type": "card", "id": "c-1"}


def body(payload: bytes = b"1", /, **fields: Any) -> bytes:
    rest = json.dumps({"event_type": "card.created"} | fields).encode()
    return b'{"payload":%b,%b' % (payload, rest[1:])


def refusal(text: bytes, **more: Any) -> tuple[tuple[str, str], ...]:
    with pytest.raises(InvalidInput) as caught:
        parse_event(text, LIMITS, **more)
    return caught.value.details


@pytest.mark.parametrize(
    "given_at, kept",
    [
        (5, {"deliver_in_s": 5.0}),
        (0.25, {"deliver_in_s": 0.25}),
        ("1970-01-01T00:00:02Z", {"deliver_at_us": 2_000_000}),
    ],
)
def test_the_times_of_a_delivery_are_kept(given_at: Any, kept: dict[str, Any]) -> None:
    draft = parse_event(body(deliver_at=given_at, deliver_before="1970-01-01T00:00:03Z"), LIMITS)
    assert draft.attributes == Attributes(deliver_before_us=3_000_000, **kept)


def test_a_bare_event_is_type_and_payload() -> None:
    draft = parse_event(body(b'{"a": 1.10}'), LIMITS)
    assert draft == Draft("card.created", b'{"a": 1.10}')
    assert draft.attributes is NO_ATTRIBUTES


def test_everything_an_event_may_carry_is_kept() -> None:
    draft = parse_event(
        body(
            idempotency_key="k-1",
            ordering_key="o 1",
            occurred_at="1970-01-01T00:00:01.5Z",
            owner="öwner",
            user="user",
            request_id="r",
            platform="custom",
            label="l",
            resource=RESOURCE,
            related_resources=[RESOURCE, RESOURCE],
            metadata={"a": "b", "c": ""},
            targets=[TARGET, TARGET],
        ),
        LIMITS,
    )
    assert draft.attributes == Attributes(
        idempotency_key="k-1",
        ordering_key="o 1",
        occurred_at_us=1_500_000,
        owner="öwner",
        user="user",
        request_id="r",
        platform="custom",
        label="l",
        resource=Resource("card", "c-1"),
        related_resources=(Resource("card", "c-1"), Resource("card", "c-1")),
        metadata={"a": "b", "c": ""},
        targets=(SUBSCRIPTION,),
    )


@pytest.mark.parametrize("name", msgspec.structs.fields(Attributes), ids=lambda field: field.name)
def test_null_is_the_same_as_absent(name: msgspec.structs.FieldInfo) -> None:
    noted = {"headers", "query", "path", "endpoints", "source"}  # of the request
    times = {"deliver_at_us", "deliver_in_s", "deliver_before_us"}
    if name.name in noted | {"occurred_at_us", "cloudevent", "content_type", "example", *times}:
        assert refusal(body(**{name.name: None}))[0] == (name.name, "is not known")
    else:
        assert parse_event(body(**{name.name: None}), LIMITS) == Draft("card.created", b"1")


@pytest.mark.parametrize(
    "payload",
    [
        b"null",
        b'{ "a" : 1.10 , "a":2 }',
        b'"\\u0000\\ud800 \\\\ud800"',
        b"1e999",
        b"9" * 5000,
        b"[" * 64 + b"]" * 64,
        '{"é":"😀"}'.encode(),
        b'{"\\udfff":"' + b"[" * 500 + b'"}',
    ],
)
def test_the_payload_is_the_bytes_between_the_punctuation(payload: bytes) -> None:
    assert parse_event(body(payload), LIMITS).payload == payload
    assert parse_event(body(b" \n" + payload + b"\t"), LIMITS).payload == payload
    batch = b'{"events":[%b,%b]}' % (body(payload), body(b" " + payload))
    assert [draft.payload for draft in parse_batch(batch, LIMITS)] == [payload, payload]


LONG = "x" * 257
TEXTS = ["ordering_key", "owner", "user", "request_id", "platform", "label"]


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["", LONG, "a\x00", "a\r\nb", "\x7f", "\x85", 5, True, [], {}])
def test_a_text_is_bounded_and_without_controls(name: str, value: object) -> None:
    assert refusal(body(**{name: value}))[0][0] == name


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("value", ["x", LONG[1:], "é " * 128, "\u2028", "😀" * 256])
def test_any_other_text_passes(name: str, value: str) -> None:
    assert getattr(parse_event(body(**{name: value}), LIMITS).attributes, name) == value


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"event_type": "a" * 257}, "event_type"),
        ({"event_type": ""}, "event_type"),
        ({"event_type": "a."}, "event_type"),
        ({"event_type": "a..b"}, "event_type"),
        ({"event_type": "a b"}, "event_type"),
        ({"event_type": "a\n"}, "event_type"),
        ({"event_type": "é"}, "event_type"),
        ({"event_type": 5}, "event_type"),
        ({"event_type": None}, "event_type"),
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": LONG}, "idempotency_key"),
        ({"idempotency_key": "a b"}, "idempotency_key"),
        ({"idempotency_key": "a\n"}, "idempotency_key"),
        ({"idempotency_key": "é"}, "idempotency_key"),
        ({"idempotency_key": 5}, "idempotency_key"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2020-01-01T00:00:00"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"occurred_at": 1577836800}, "occurred_at"),
        ({"deliver_at": "tomorrow"}, "deliver_at"),
        ({"deliver_at": -1}, "deliver_at"),
        ({"deliver_at": 1e9}, "deliver_at"),
        ({"deliver_at": 5, "ordering_key": "k"}, "deliver_at"),
        ({"deliver_before": 5}, "deliver_before"),
        ({"deliver_before": "0001-01-01T00:00:00+14:00"}, "deliver_before"),
        ({"resource": "card"}, "resource"),
        ({"resource": {"type": "card"}}, "resource.id"),
        ({"resource": {"type": "card", "id": ""}}, "resource.id"),
        ({"resource": {"type": "card", "id": "a\n"}}, "resource.id"),
        ({"resource": RESOURCE | {"url": "u"}}, "resource.url"),
        ({"related_resources": [RESOURCE, {"type": "card"}]}, "related_resources[1].id"),
        ({"related_resources": [RESOURCE] * 65}, "related_resources"),
        ({"metadata": {"": "b"}}, "metadata"),
        ({"metadata": {"a\n": "b"}}, "metadata"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {"a": "b" * 1025}}, "metadata[...]"),
        ({"metadata": {"a": "\r\n"}}, "metadata[...]"),
        ({"metadata": {"a": 5}}, "metadata[...]"),
        ({"metadata": {str(n): "" for n in range(65)}}, "metadata"),
        ({"targets": []}, "targets"),
        ({"targets": TARGET}, "targets"),
        ({"targets": [TARGET, "ep_1"]}, "targets[1]"),
        ({"targets": [TARGET.replace("ep_", "evt_")]}, "targets[0]"),
        ({"targets": [TARGET] * 1001}, "targets"),
        ({"other": 1}, "other"),
        ({"fingerprint": "x"}, "fingerprint"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, Any], path: str) -> None:
    assert refusal(body(**fields))[0][0] == path
    batch = b'{"events":[%b,%b]}' % (body(), body(**fields))
    with pytest.raises(InvalidInput) as caught:
        parse_batch(batch, LIMITS)
    assert caught.value.details[0][0] == f"events[1].{path}"


@pytest.mark.parametrize(
    "fields",
    [
        {"event_type": "a" * 256},
        {"event_type": "A-b_9.c"},
        {"idempotency_key": "!~" * 128},
        {"related_resources": [RESOURCE] * 64},
        {"metadata": {str(n) * 32: "é" * 1024 for n in range(10, 74)}},
        {"targets": [TARGET] * 1000},
    ],
)
def test_what_is_just_within_bounds_passes(fields: dict[str, Any]) -> None:
    parse_event(body(**fields), LIMITS)


@pytest.mark.parametrize(
    "text, path",
    [
        (b"", ""),
        (b"null", ""),
        (b"[]", ""),
        (b"{}", "event_type"),
        (b'{"event_type":"a"}', "payload"),
        (b'{"payload":1}', "event_type"),
        (b'{"event_type":"a","payload":1}x', ""),
        (b"\xef\xbb\xbf" + body(), ""),
        (body().decode().encode("utf-16"), ""),
        (body(b'"\xff"'), ""),
        (body(b"NaN"), ""),
        (body(b'"\\x"'), ""),
        (body(b'{"a":}'), ""),
        (body(b"[" * 65 + b"]" * 65), "payload"),
        (body(b"[" * 100_000), ""),
        (b'{"event_type":"\\ud800","payload":1}', ""),
        (b'{"event_type":"a","payload":1,"owner":"\\udc00"}', ""),
    ],
)
def test_what_is_no_event_is_refused(text: bytes, path: str) -> None:
    assert refusal(text)[0][0] == path


def test_the_header_names_the_key_where_the_field_does_not() -> None:
    draft = parse_event(body(), LIMITS, "k-1")
    assert draft.attributes == Attributes(idempotency_key="k-1")
    assert draft == parse_event(body(idempotency_key="k-1"), LIMITS, "k-1")
    assert refusal(body(idempotency_key="k-2"), idempotency_key="k-1")[0][0] == "idempotency_key"


@pytest.mark.parametrize("key", ["", "a b", "a\r\nb", "\xff", LONG])
def test_a_bad_key_in_the_header_is_refused(key: str) -> None:
    assert refusal(body(), idempotency_key=key)[0][0] == "Idempotency-Key"


BASE: dict[str, Any] = {
    "payload": b'{"a":1}',
    "event_type": "a.b",
    "idempotency_key": "k",
    "metadata": {"a": "1", "b": "2"},
}


def fingerprint(**changes: Any) -> bytes:
    fields = BASE | changes
    return parse_event(body(fields.pop("payload"), **fields), LIMITS).fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"idempotency_key": "another"},
        {"metadata": {"b": "2", "a": "1"}},
        {"owner": None},
        {"payload": b' {"a":1} '},
    ],
)
def test_the_same_request_has_the_same_fingerprint(changes: dict[str, Any]) -> None:
    assert len(fingerprint()) == 16
    assert fingerprint(**changes) == fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": b'{"a": 1}'},
        {"payload": b'{"a":1.0}'},
        {"event_type": "a.c"},
        {"metadata": {"a": "1"}},
        {"metadata": {"a": "1", "b": "3"}},
        {"owner": "o"},
        {"user": "o"},
        {"occurred_at": "1970-01-01T00:00:00Z"},
        {"targets": [TARGET]},
    ],
)
def test_another_request_has_another_fingerprint(changes: dict[str, Any]) -> None:
    assert fingerprint(**changes) != fingerprint()


def test_nobody_asks_for_a_fingerprint_without_a_key() -> None:
    assert parse_event(body(owner="o"), LIMITS).fingerprint == b""


def test_limits_hold_to_the_byte() -> None:
    limits = EventLimits(max_event_bytes=100, max_batch_bytes=400)
    fits, over = b'"%b"' % (b"x" * 98), b'"%b"' % (b"x" * 99)
    assert parse_event(body(fits), limits).payload == fits
    with pytest.raises(PayloadTooLarge, match="payload: must be at most 100 bytes"):
        parse_event(body(over), limits)
    batch = b'{"events":[%b,%b]}'
    with pytest.raises(PayloadTooLarge, match=r"events\[1\].payload: must be at most 100 bytes"):
        parse_batch(batch % (body(), body(over)), limits)
    full = (batch % (body(fits), body(fits))).ljust(400)
    assert len(parse_batch(full, limits)) == 2
    with pytest.raises(PayloadTooLarge, match="body: must be at most 400 bytes"):
        parse_batch(full + b" ", limits)
    room = body(fits).ljust(limits.max_body_bytes)
    assert parse_event(room, limits).payload == fits
    with pytest.raises(PayloadTooLarge, match="body"):
        parse_event(room + b" ", limits)


@pytest.mark.parametrize("count, path", [(0, "events"), (1, None), (1000, None), (1001, "events")])
def test_a_batch_holds_one_to_a_thousand(count: int, path: str | None) -> None:
    batch = b'{"events":[%b]}' % b",".join([body()] * count)
    if path is None:
        assert parse_batch(batch, LIMITS) == [Draft("card.created", b"1")] * count
        return
    with pytest.raises(InvalidInput) as caught:
        parse_batch(batch, LIMITS)
    assert caught.value.details[0][0] == path


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"events":{}}', b'{"events":[],"a":1}'])
def test_what_is_no_batch_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_batch(text, LIMITS)


def test_a_batch_names_the_item_that_is_too_deep() -> None:
    batch = b'{"events":[%b,%b]}' % (body(b"[" * 64 + b"]" * 64), body(b"[" * 65 + b"]" * 65))
    with pytest.raises(InvalidInput) as caught:
        parse_batch(batch, LIMITS)
    assert caught.value.details[0][0] == "events[1].payload"


LARGE = b'"' + b"x" * 20_000 + b'"'


@pytest.mark.parametrize(
    "text, slow",
    [
        (b"[" * 1000, False),
        (LARGE, False),
        (b"[" * 64 + LARGE, False),
        (b"[" * 65 + LARGE, True),
        (b"{" * 65 + LARGE, True),
        (LARGE + b'"\\ud800"', True),
        (LARGE + b'"\\uD800"', True),
        (LARGE + b'"\\u0000"', False),
    ],
)
def test_only_what_takes_long_is_worth_a_thread(text: bytes, slow: bool) -> None:
    assert needs_scan(text) is slow


@given(st.text(max_size=300))
@example("a" * 256)
@example("a" * 257)
@example("-._.-")
def test_a_type_is_names_parted_by_full_stops(text: str) -> None:
    names = text.split(".")
    allowed = all(name and set(name) <= LETTERS for name in names)
    assert is_type(text) == (allowed and len(text) <= 256)


LETTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def test_an_event_may_be_made_up_of_its_parts() -> None:
    assert draft(BesideIn(), b' {"a": 1.10} ', LIMITS) == Draft("example", b'{"a": 1.10}')
    fields = {"owner": "o", "idempotency_key": "k", "metadata": {"a": "b"}}
    beside = msgspec.convert({"event_type": "a.b", **fields}, BesideIn)
    made = draft(beside, b"1", LIMITS)
    assert made == Draft("a.b", b"1", Attributes(**fields))  # type: ignore[arg-type] # fields by name
    request = {"headers": {"X-A": "b"}, "query": {"q": ["1", "2"]}, "path": "/in"}
    brought = draft(msgspec.convert(request, BesideIn), b"1", LIMITS).attributes
    assert (brought.headers, brought.query, brought.path) == (
        {"x-a": "b"},
        {"q": ["1", "2"]},
        "/in",
    )
    unseen = {"payload", "targets", "deliver_at", "deliver_before"}  # no program sees them
    posted = set(EventIn.__struct_fields__) - unseen
    assert set(BesideIn.__struct_fields__) == posted | set(request)


@pytest.mark.parametrize(
    "beside, payload, path",
    [
        ({}, b'"\xff"', "payload"),
        ({}, b"[" * 65 + b"]" * 65, "payload"),
        ({"event_type": "a b"}, b"1", "event.event_type"),
        ({"idempotency_key": "a b"}, b"1", "event.idempotency_key"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, b"1", "event.occurred_at"),
    ],
)
def test_what_is_wrong_with_a_part_is_named(
    beside: dict[str, Any], payload: bytes, path: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        draft(msgspec.convert(beside, BesideIn), payload, LIMITS)
    assert [detail[0] for detail in caught.value.details] == [path]


def test_a_part_that_is_too_large_is_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        draft(BesideIn(), b"1" * 9, EventLimits(max_event_bytes=8))


FIELDS = [
    *("event_type", "payload", "idempotency_key", "occurred_at", "owner", "resource"),
    *("related_resources", "metadata", "targets"),
]
near_events = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, json_values)).map(
    lambda value: json.dumps(value).encode()
)


@given(st.binary() | near_events, st.none() | st.text(max_size=8))
def test_no_bytes_fail_otherwise(text: bytes, key: str | None) -> None:
    for attempt in (text, body(text), b'{"events":[%b]}' % text):
        with suppress(InvalidInput, PayloadTooLarge):
            assert parse_event(attempt, LIMITS, key).payload in attempt
        with suppress(InvalidInput, PayloadTooLarge):
            assert parse_batch(attempt, LIMITS)


@given(st.lists(json_values.map(lambda value: json.dumps(value).encode()), min_size=1, max_size=5))
def test_a_batch_is_its_events(payloads: list[bytes]) -> None:
    bodies = [body(payload, idempotency_key=f"k{i}") for i, payload in enumerate(payloads)]
    batch = b'{"events": [%b]}' % b" , ".join(bodies)
    try:
        each = [parse_event(text, LIMITS) for text in bodies]
    except InvalidInput:
        with pytest.raises(InvalidInput):
            parse_batch(batch, LIMITS)
    else:
        assert parse_batch(batch, LIMITS) == each
