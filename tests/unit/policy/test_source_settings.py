"""A source's settings are refused where they are set, each with its path."""

from typing import Any

import msgspec
import pytest

from waypost.model import ids
from waypost.model.errors import InvalidSetting
from waypost.model.source import CustomResponse, GitHub, Noop, Source, SourceType
from waypost.policy.events import EventLimits
from waypost.policy.source_settings import SECRET_MAX, SourceSettings, check, merge

LIMITS = EventLimits()
BARE = Source(project_id=ids.FIRST, id=ids.FIRST, mask="m", name="n")
KEY = {"type": "api_key", "header_value": "k"}
BASIC = {"type": "basic_auth", "username": "a", "password": "p"}
HMAC = {"type": "hmac", "header": "X-Sig", "secret": "s"}


def asked(**fields: Any) -> SourceSettings:
    return msgspec.json.decode(msgspec.json.encode(fields), type=SourceSettings)


def test_what_is_left_out_stays_and_null_is_the_default() -> None:
    given = merge(
        BARE,
        asked(
            name="b",
            verifier={"type": "github", "secret": "s"},
            custom_response={"body": "ok"},
            event_type_location="request.body.t",
            idempotency_keys=["request.body.a", "request.body.a"],
            forward_headers=["X-A", "x-a", "x-b"],
            max_bytes=9,
            disabled=True,
        ),
    )
    assert given == Source(
        project_id=ids.FIRST,
        id=ids.FIRST,
        mask="m",
        name="b",
        verifier=GitHub("s"),
        custom_response=CustomResponse("ok", "text/plain"),
        event_type_location="request.body.t",
        idempotency_keys=("request.body.a",),
        forward_headers=("x-a", "x-b"),
        max_bytes=9,
        disabled=True,
    )
    assert merge(given, asked()) == given
    names = "verifier custom_response event_type_location idempotency_keys forward_headers"
    cleared = merge(given, asked(**dict.fromkeys([*names.split(), "max_bytes"])))
    assert cleared == msgspec.structs.replace(BARE, name="b", disabled=True)
    assert cleared.verifier == Noop()


@pytest.mark.parametrize(
    "fields",
    [
        {"verifier": HMAC, "event_type_location": "request.body.t"},
        {"verifier": {"type": "basic_auth", "username": "a", "password": ":p"}},
        {"verifier": KEY},
        {
            "verifier": {"type": "api_key", "header_value": "k"},
            "event_type_location": "req.query.t",
        },
        {"custom_response": {"body": "", "content_type": "text/html; charset=utf-8"}},
        {"max_bytes": LIMITS.max_event_bytes},
    ],
)
def test_what_may_be_set(fields: dict[str, Any]) -> None:
    check(merge(BARE, asked(**fields)), LIMITS)


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"verifier": {**HMAC, "secret": ""}}, "verifier.secret"),
        ({"verifier": {**HMAC, "secret": " \t"}}, "verifier.secret"),
        ({"verifier": {**HMAC, "secret": "s" * (SECRET_MAX + 1)}}, "verifier.secret"),
        ({"verifier": {**HMAC, "header": ""}}, "verifier.header"),
        ({"verifier": {**HMAC, "header": "a b"}}, "verifier.header"),
        ({"verifier": {"type": "github", "secret": ""}}, "verifier.secret"),
        ({"verifier": {"type": "shopify", "secret": " "}}, "verifier.secret"),
        ({"verifier": {"type": "twitter", "secret": ""}}, "verifier.secret"),
        (
            {"verifier": {"type": "basic_auth", "username": "a:b", "password": "p"}},
            "verifier.username",
        ),
        (
            {"verifier": {"type": "basic_auth", "username": "", "password": "p"}},
            "verifier.username",
        ),
        (
            {"verifier": {"type": "basic_auth", "username": "a", "password": ""}},
            "verifier.password",
        ),
        ({"verifier": {"type": "api_key", "header_value": ""}}, "verifier.header_value"),
        ({"verifier": {"type": "api_key", "header_value": "é"}}, "verifier.header_value"),
        (
            {"verifier": {"type": "api_key", "header_value": "k", "header_name": "a:"}},
            "verifier.header_name",
        ),
        ({"custom_response": {"body": "x" * 16_385}}, "custom_response.body"),
        (
            {"custom_response": {"body": "x", "content_type": "a\r\nb"}},
            "custom_response.content_type",
        ),
        ({"event_type_location": "body.t"}, "event_type_location"),
        (
            {"verifier": HMAC, "event_type_location": "request.header.x"},
            "event_type_location",
        ),
        ({"idempotency_keys": ["request.body.a", "x"]}, "idempotency_keys[1]"),
        ({"forward_headers": ["x", "a b"]}, "forward_headers[1]"),
        ({"forward_headers": ["Cookie"]}, "forward_headers[0]"),
        (
            {"forward_headers": ["x-k"], "verifier": {**KEY, "header_name": "X-K"}},
            "forward_headers[0]",
        ),
        ({"max_bytes": LIMITS.max_event_bytes + 1}, "max_bytes"),
    ],
)
def test_what_may_not(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        check(merge(BARE, asked(**fields)), LIMITS)
    assert [place for place, _ in refusal.value.details] == [path]


def test_what_has_no_meaning_for_events_that_are_posted_with_a_key() -> None:
    posted = msgspec.structs.replace(BARE, type=SourceType.REST_API)
    check(posted, LIMITS)
    given = {
        "verifier": HMAC,
        "custom_response": {"body": "x"},
        "event_type_location": "request.body.t",
        "idempotency_keys": ["request.body.t"],
        "forward_headers": ["x-a"],
        "max_bytes": 9,
    }
    for name, value in given.items():
        with pytest.raises(InvalidSetting, match="is for sources of type http") as refusal:
            check(merge(posted, asked(**{name: value})), LIMITS)
        assert [place for place, _ in refusal.value.details] == [name]
