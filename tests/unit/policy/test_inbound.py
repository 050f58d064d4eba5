"""What comes in at a source becomes an event, or is refused with its reason."""

import hashlib
import hmac
from typing import Any

import pytest
from msgspec.structs import replace

from waypost.model import ids
from waypost.model.errors import InvalidInput, PayloadTooLarge, Unverified, WaypostError
from waypost.model.event import Attributes
from waypost.model.source import ApiKeyHeader, Hmac, Source
from waypost.policy.events import EventLimits
from waypost.policy.inbound import Inbound, draft_of, max_bytes

LIMITS = EventLimits()
SOURCE = Source(project_id=ids.FIRST, id=ids.make(1, 1), mask="f00d", name="s")
JSON = ("content-type", "application/json")


def inbound(body: bytes = b'{"a": 1.10}', *headers: tuple[str, str], query: bytes = b"") -> Inbound:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers or (JSON,)]
    return Inbound(raw, "/ingest/f00d", query, body)


def source(**settings: Any) -> Source:
    return replace(SOURCE, **settings)


def test_json_is_kept_as_it_came_with_what_went_with_it() -> None:
    headers = (JSON, ("x-a", "1"), ("x-a", "2"), ("authorization", "b"), ("x-key", "k"))
    verified = source(verifier=ApiKeyHeader("k", "X-Key"))
    draft = draft_of(verified, inbound(b' {"a": 1.10}\n', *headers, query=b"p=1&q=a&q=b"), LIMITS)
    assert draft.type == "f00d"
    assert draft.payload == b'{"a": 1.10}'
    assert draft.attributes == Attributes(
        headers={"content-type": "application/json", "x-a": "1, 2"},
        query={"p": "1", "q": ["a", "b"]},
        path="/ingest/f00d",
        source=SOURCE.id,
    )


@pytest.mark.parametrize(
    "body, content_type, payload, kept",
    [
        (b"", None, b"{}", None),
        (b" \n", "text/plain", b"{}", None),
        (b"[1]", "application/vnd.x+json; charset=utf-8", b"[1]", None),
        (b'"\\ud800"', None, b'"\\ud800"', None),
        (b"a=1&b=2", "application/x-www-form-urlencoded", b'{"a":"1","b":"2"}', None),
        (b"\xff\x00", "application/x-protobuf", b"\xff\x00", "application/x-protobuf"),
        (b"<a/>", "text/xml; charset=x", b"<a/>", "text/xml; charset=x"),
    ],
)
def test_what_the_payload_is(
    body: bytes, content_type: str | None, payload: bytes, kept: str | None
) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    draft = draft_of(SOURCE, inbound(body, *headers, ("x", "y")), LIMITS)
    assert (draft.payload, draft.attributes.content_type) == (payload, kept)


def test_a_form_is_verified_by_the_bytes_that_came() -> None:
    body, form = b"payload=%7B%7D", ("content-type", "application/x-www-form-urlencoded")
    signed = source(verifier=Hmac("x-sig", "s"))
    right = hmac.new(b"s", body, hashlib.sha256).hexdigest()
    assert draft_of(signed, inbound(body, form, ("x-sig", right)), LIMITS).payload
    converted = hmac.new(b"s", b'{"payload":"{}"}', hashlib.sha256).hexdigest()
    with pytest.raises(Unverified):
        draft_of(signed, inbound(body, form, ("x-sig", converted)), LIMITS)


@pytest.mark.parametrize(
    "body, headers, error, path",
    [
        (b"{", (JSON,), InvalidInput, "body"),
        (b"\xff", (JSON,), InvalidInput, "body"),
        (b"NaN", (JSON,), InvalidInput, "body"),
        (b"\xfe\xff\x00{\x00}", (JSON,), InvalidInput, "body"),
        (b"[" * 65 + b"]" * 65, (JSON,), InvalidInput, "body"),
        (b"[" * 100_000, (JSON,), InvalidInput, "body"),
        (b"x", (("content-type", "nonsense"),), InvalidInput, "content-type"),
        (b"a=%ff", (("content-type", "application/x-www-form-urlencoded"),), InvalidInput, "body"),
        (b" " * (LIMITS.max_event_bytes + 1), (JSON,), PayloadTooLarge, None),
    ],
)
def test_what_holds_no_event_is_refused(
    body: bytes, headers: Any, error: type[WaypostError], path: str | None
) -> None:
    with pytest.raises(error) as refusal:
        draft_of(SOURCE, inbound(body, *headers), LIMITS)
    if isinstance(refusal.value, InvalidInput):
        assert [place for place, _ in refusal.value.details] == [path]


def test_its_own_limit_is_kept_to() -> None:
    small = source(max_bytes=4)
    assert (max_bytes(small, LIMITS), max_bytes(SOURCE, LIMITS)) == (4, LIMITS.max_event_bytes)
    assert max_bytes(source(max_bytes=10**9), LIMITS) == LIMITS.max_event_bytes
    assert draft_of(small, inbound(b"[12]"), LIMITS).payload == b"[12]"
    with pytest.raises(PayloadTooLarge, match="request body too large"):
        draft_of(small, inbound(b"[123]"), LIMITS)


@pytest.mark.parametrize(
    "location, wanted",
    [
        ("request.body.kind", "order.made"),
        ("request.header.x-event", "push"),
        ("request.query.t", "q"),
    ],
)
def test_the_type_is_where_the_source_says(location: str, wanted: str) -> None:
    asked = inbound(b'{"kind": "order.made"}', JSON, ("x-event", "push"), query=b"t=q")
    assert draft_of(source(event_type_location=location), asked, LIMITS).type == wanted


@pytest.mark.parametrize("body", [b"{}", b'{"kind": "a b"}', b'{"kind": {}}', b'"\\ud800"'])
def test_without_a_type_there_is_no_event(body: bytes) -> None:
    where = "request.body.kind"
    with pytest.raises(InvalidInput) as refusal:
        draft_of(source(event_type_location=where), inbound(body), LIMITS)
    assert [path for path, _ in refusal.value.details] == [where]


def key_of(asked: Inbound, *places: str, of: ids.Id = SOURCE.id) -> str | None:
    made = draft_of(source(idempotency_keys=places, id=of), asked, LIMITS)
    return made.attributes.idempotency_key


def test_an_idempotency_key_is_made_of_all_its_places() -> None:
    two = ("request.body.a", "request.body.b")
    key = key_of(inbound(b'{"a":"ab","b":"c"}'), *two)
    assert key == key_of(inbound(b'{"x":1,"a":"ab","b":"c"}'), *two)
    # What is parted in another way is another key, and so is another source's.
    assert key != key_of(inbound(b'{"a":"a","b":"bc"}'), *two)
    assert key != key_of(inbound(b'{"a":"ab","b":"c"}'), *two, of=ids.make(2, 1))
    assert key is not None
    assert len(key) == 64
    by_header = key_of(inbound(b"{}", JSON, ("x-id", "7")), "request.header.X-Id")
    assert by_header == key_of(inbound(b"{}", query=b"id=7"), "request.query.id")


def test_headers_do_not_make_another_body() -> None:
    keyed = source(idempotency_keys=("request.body.a",))
    first, second = (
        draft_of(keyed, inbound(b'{"a":1}', JSON, ("x-at", at)), LIMITS).fingerprint for at in "12"
    )
    assert first == second
    assert first != draft_of(keyed, inbound(b'{"a":2}'), LIMITS).fingerprint


def test_an_empty_place_makes_no_key_but_in_the_query_where_it_is_refused() -> None:
    assert key_of(inbound(b"{}"), "request.body.a") is None
    assert key_of(inbound(b'{"b":1}'), "request.body.b", "request.header.x") is None
    with pytest.raises(InvalidInput, match=r"request\.query\.id"):
        key_of(inbound(b"{}"), "request.query.id")


def test_a_query_is_bounded() -> None:
    with pytest.raises(InvalidInput, match="query"):
        draft_of(SOURCE, inbound(query=b"a=1&" * 101), LIMITS)


def test_only_the_headers_that_are_named_are_kept() -> None:
    asked = inbound(b"{}", JSON, ("x-a", "1"), ("x-b", "2"), ("connection", "close"))
    chosen = source(forward_headers=("x-b", "x-c", "connection"))
    assert draft_of(chosen, asked, LIMITS).attributes.headers == {"x-b": "2"}
    none = source(forward_headers=())
    assert draft_of(none, asked, LIMITS).attributes.headers == {}
