"""Events as Convoy's clients post them."""

from typing import Any

import pytest

from waypost.dialects.convoy import drafts
from waypost.dialects.convoy.drafts import DynamicIn, EventIn
from waypost.model import ids
from waypost.model.errors import InvalidInput, PayloadTooLarge
from waypost.policy.events import EventLimits

LIMITS = EventLimits(max_event_bytes=100)
ENDPOINT = ids.make(1, 1)


def made(body: bytes, *, needs_key: bool = False) -> Any:
    posted = drafts.read(body, EventIn, LIMITS)
    return drafts.draft(posted, LIMITS, needs_key=needs_key, endpoints=(ENDPOINT,), owner="o")


def test_the_data_stays_as_it_came() -> None:
    draft = made(
        b'{"endpoint_id":"e","event_type":"a.b","data":{"n": 1.50, "u": "\\ud800"},'
        b'"custom_headers":{"X-A":"1"},"idempotency_key":"k"}'
    )
    assert draft.payload == b'{"n": 1.50, "u": "\\ud800"}'
    known = draft.attributes
    assert (known.endpoints, known.owner, known.idempotency_key) == ((ENDPOINT,), "o", "k")
    assert known.headers == {"x-a": "1"}
    assert draft.fingerprint


@pytest.mark.parametrize(
    "body, said",
    [
        (b"", "The body is empty"),
        (b"[]", "Expected `object`"),
        (b'{"data":1}', "please provide an event type"),
        (b'{"event_type":"a"}', "please provide your data"),
        (b'{"event_type":"a b","data":1}', "event_type: "),
        (b'{"event_type":"a","data":1,"x":1}', "x: is not known"),
        (b'{"event_type":"a","data":1,"idempotency_key":"a b"}', "idempotency_key: "),
        (b'{"event_type":"a","data":1,"custom_headers":{"Host":"x"}}', "custom_headers.Host: "),
        (
            b'{"event_type":"a","data":1,"custom_headers":{"Authorization":"x"}}',
            "custom_headers.Authorization: holds a secret",
        ),
        (b'{"event_type":"a","data":"\xff"}', "UTF-8"),
        (b'{"event_type":"a","data":' + b"[" * 65 + b"]" * 65 + b"}", "data: "),
    ],
)
def test_what_is_wrong_is_told(body: bytes, said: str) -> None:
    limits = EventLimits(max_event_bytes=1_000)
    with pytest.raises(InvalidInput) as caught:
        drafts.draft(drafts.read(body, EventIn, limits), limits, needs_key=False)
    assert said in caught.value.message


def test_a_key_may_be_asked_for() -> None:
    with pytest.raises(InvalidInput, match="please provide an idempotency key"):
        made(b'{"event_type":"a","data":1}', needs_key=True)


def test_large_data_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="data"):
        made(b'{"event_type":"a","data":"' + b"x" * 200 + b'"}')


def test_a_dynamic_event_names_its_url() -> None:
    posted = drafts.read(
        b'{"url":"http://x","event_types":["a"],"event_type":"a","data":1}', DynamicIn, LIMITS
    )
    assert (posted.url, posted.event_types) == ("http://x", ("a",))
