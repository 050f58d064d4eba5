"""The payload is read once, exactly, and only if somebody asks."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.policy import content as subject
from waypost.policy.content import ABSENT, EFFORT, NO_JSON, Content, fraction, read, whole


@pytest.mark.parametrize(
    "text, value",
    [
        (b"null", None),
        (b'{"a":[1,true,"b"]}', {"a": [1, True, "b"]}),
        (b"123456789012345678901234567890", 123456789012345678901234567890),
        (b"1.10", Decimal("1.10")),
        (b"0.10000000000000000001", Decimal("0.10000000000000000001")),
        (b"1e400", Decimal("1e400")),
        (b"-0", 0),
        (b'"\\ud800"', "\ud800"),
        (b'["\\ud800", 1.10]', ["\ud800", Decimal("1.10")]),
        (b"1" * 5000, Decimal("1" * 5000)),
        (b"1e99999999999999999999", Decimal("Infinity")),
        (b"-1e99999999999999999999", Decimal("-Infinity")),
        (b"1e-99999999999999999999", Decimal(0)),
        (b"-0.0e99999999999999999999", Decimal(0)),
        (b'{"a":1,"a":2}', {"a": 2}),
    ],
)
def test_json_is_read_exactly(text: bytes, value: Any) -> None:
    found = read(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b'"\xff"', b"\x00\x01", b"[" * 100_000]
)
def test_what_is_no_json_is_told_apart(text: bytes) -> None:
    assert read(text) is NO_JSON


@given(
    st.binary(max_size=30) | st.text('[]{}",:0123456789.eE-+\\ud8a', max_size=30).map(str.encode)
)
def test_any_bytes_are_read_or_no_json(text: bytes) -> None:
    read(text)


@given(st.integers(), st.decimals(allow_nan=False, allow_infinity=False))
def test_numbers_stay_what_they_are(number: int, broken: Decimal) -> None:
    assert read(str(number).encode()) == number == whole(str(number))
    assert fraction(str(broken)) == broken


def test_the_payload_is_read_once_and_only_if_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts: list[bytes] = []

    def note(text: bytes) -> Any:
        texts.append(text)
        return json.loads(text)

    monkeypatch.setattr(subject, "read", note)
    content = Content(b"[1]", NO_ATTRIBUTES)
    assert texts == []
    assert content.body == [1]
    assert content.body == [1]
    assert texts == [b"[1]"]


@pytest.mark.parametrize(
    "content_type, body",
    [
        (None, [1]),
        ("application/json; charset=utf-8", [1]),
        ("application/vnd.x+json", [1]),
        ("text/plain", NO_JSON),
    ],
)
def test_only_what_is_said_to_be_json_is_read(content_type: str | None, body: object) -> None:
    assert Content(b"[1]", Attributes(content_type=content_type)).body == body


def test_what_stands_beside_the_payload_is_there() -> None:
    bare = Content(b"", NO_ATTRIBUTES)
    assert (bare.headers, bare.query, bare.metadata, bare.path) == ({}, {}, {}, ABSENT)
    full = Content(
        b"", Attributes(headers={"a": "b"}, query={"c": ["d"]}, metadata={"e": "f"}, path="/g")
    )
    assert (full.headers, full.query, full.metadata, full.path) == (
        {"a": "b"},
        {"c": ["d"]},
        {"e": "f"},
        "/g",
    )


def test_each_filter_may_spend_as_much() -> None:
    content = Content(b"", NO_ATTRIBUTES)
    assert content.spend(EFFORT)
    assert not content.spend(1)
    content.begin()
    assert content.spend(EFFORT)


def test_what_stands_for_nothing_says_so() -> None:
    assert repr(ABSENT) == "absent"
