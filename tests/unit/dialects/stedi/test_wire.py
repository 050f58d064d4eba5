"""Stedi's shapes: read into ours, made of ours, errors by their names."""

from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from waypost.dialects.stedi import wire
from waypost.dialects.stedi.wire import CreateIn, RotateIn, UpdateIn
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.delivery import EventStatus
from waypost.model.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    InvalidSetting,
    LimitReached,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    PayloadTooLarge,
    TooManyRequests,
    Unavailable,
    WaypostError,
)
from waypost.model.event import Attributes, Event, Resource
from waypost.model.project import Environment
from waypost.model.subscription import DisabledBy, Signing, SigningKey, Subscription
from waypost.model.verification import Verification, VerificationMode
from waypost.policy import retry, timestamp
from waypost.web.errors import Problem, UnsupportedMediaType, status_of

AT_US = 1_700_000_000_123_456
PROJECT, EVENT_ID = ids.make(1, 1), ids.make(AT_US, 7)
ONE = Subscription(
    PROJECT, EVENT_ID, "https://a.example/", event_types=("a", "b.c"), api=Api.STEDI, name="n"
)
KEY = SigningKey(ids.make(AT_US, 1), Signing.HMAC, bytes(32))


def plain(made: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(made))


def test_a_new_destination_has_the_vendors_settings() -> None:
    body = CreateIn(name="n", destination_url="https://a.example/", event_types=["a"])
    wanted = wire.settings_of_new(body)
    assert (wanted.format, wanted.concurrency, wanted.disabled) == ("stedi", 5, False)
    handling = wanted.failure_handling
    assert handling not in {None, UNSET}
    assert handling.retry.schedule_s == retry.STEDI  # type: ignore[union-attr] # told above
    assert handling.retry.jitter == 0  # type: ignore[union-attr] # it is there
    assert handling.disable_after_s == 172_800


@pytest.mark.parametrize(
    "body, changes",
    [
        (UpdateIn(), {}),
        (UpdateIn(name="m"), {"name": "m"}),
        (UpdateIn(destination_url="u"), {"url": "u"}),
        (UpdateIn(event_types=["a", "b"]), {"event_types": ("a", "b")}),
        (UpdateIn(description=""), {"description": ""}),
        (UpdateIn(concurrency_limit=7.0), {"concurrency": 7}),
        (UpdateIn(status="DISABLED"), {"disabled": True}),
        (UpdateIn(status="ENABLED"), {"disabled": False, "paused": False}),
    ],
)
def test_an_update_changes_what_it_names(body: UpdateIn, changes: dict[str, Any]) -> None:
    fields = msgspec.structs.asdict(wire.settings_of(body))
    assert {name: value for name, value in fields.items() if value is not UNSET} == changes


@pytest.mark.parametrize(
    "body, path",
    [
        (UpdateIn(event_types=["a", "b", "a"]), "event_types[2]"),
        (UpdateIn(event_types=["a.*"]), "event_types[0]"),
        (UpdateIn(concurrency_limit=1.5), "concurrency"),
    ],
)
def test_what_ours_would_take_and_the_vendor_not_is_refused(body: UpdateIn, path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        wire.settings_of(body)
    assert [place for place, _ in refusal.value.details] == [path]


def test_hours_of_overlap_may_be_broken() -> None:
    assert RotateIn().overlap_us == 24 * 3_600_000_000
    assert RotateIn(0.5).overlap_us == 1_800_000_000


def test_a_destination_is_shown_in_the_vendors_words() -> None:
    changed = msgspec.structs.replace(ONE, concurrency=7, changed_us=AT_US + 5_000_000)
    assert plain(wire.destination_out(changed, AT_US + 1_000_000)) == {
        "id": ids.spell("dst", EVENT_ID),
        "name": "n",
        "description": "",
        "destinationUrl": "https://a.example/",
        "eventTypes": ["a", "b.c"],
        "status": "ENABLED",
        "concurrencyLimit": 7,
        "createdAt": "2023-11-14T22:13:20Z",
        "updatedAt": "2023-11-14T22:13:25Z",
        "lastDeliveryTime": "2023-11-14T22:13:21Z",
    }
    bare = plain(wire.new_destination_out(ONE, [KEY]))
    assert bare["signingSecret"].startswith("whsec_AAAA")
    assert bare["updatedAt"] == bare["createdAt"]
    assert bare.keys().isdisjoint({"concurrencyLimit", "lastDeliveryTime"})


def test_what_only_the_native_api_can_set_fits_the_vendors_shape() -> None:
    odd = msgspec.structs.replace(ONE, event_types=None, name="", description="d" * 2_000)
    shown = plain(wire.destination_out(odd, None))
    assert (shown["eventTypes"], shown["name"]) == (["*"], shown["id"])
    assert len(shown["description"]) == 1_024


@pytest.mark.parametrize(
    "state",
    [{"disabled_by": DisabledBy.FAILING}, {"disabled_by": DisabledBy.PERSON}, {"paused": True}],
)
def test_whatever_is_not_sent_to_is_disabled(state: dict[str, Any]) -> None:
    one = msgspec.structs.replace(ONE, **state)
    assert plain(wire.destination_out(one, None))["status"] == "DISABLED"
    unverified = msgspec.structs.replace(ONE, verification=Verification(VerificationMode.CHALLENGE))
    assert wire.is_enabled(unverified), "that is not the vendor's"


def test_a_secret_tells_until_when_the_former_one_is_good() -> None:
    former = msgspec.structs.replace(KEY, expires_at_us=AT_US)
    assert plain(wire.secret_out([KEY])).keys() == {"signingSecret"}
    until = plain(wire.secret_out([KEY, former]))["previousSecretExpiresAt"]
    assert until == plain(wire.rotated([KEY, former]))["previousSecretExpiresAt"]
    assert until == plain(wire.rotated([KEY]))["previousSecretExpiresAt"] == wire.seconds(AT_US)


def test_a_key_pair_is_not_shown_as_a_secret() -> None:
    pair = SigningKey(KEY.id, Signing.ED25519, bytes(32))
    with pytest.raises(NotFound):
        wire.secret_out([pair])
    with pytest.raises(Conflict):
        wire.rotated([pair, KEY])


def test_an_event_is_thin() -> None:
    known = Attributes(resource=Resource("card", "c_1"), related_resources=(Resource("a", "b"),))
    event = Event(PROJECT, EVENT_ID, "card.created", b"{}", known)
    shown = plain(wire.event_out(event, EventStatus.FAILED, Environment.PRODUCTION))
    thin = shown.pop("eventPayload")["v1Event"]
    token = ids.spell("evt", EVENT_ID)
    assert shown == {
        "id": token,
        "createdAt": "2023-11-14T22:13:20Z",
        "eventType": "card.created",
        "status": "FAILED",
    }
    assert thin == {
        "account": ids.spell_uuid(PROJECT),
        "created": "2023-11-14T22:13:20.123Z",
        "environment": "PRODUCTION",
        "id": token,
        "object": "v1.event",
        "resource": {"type": "card", "id": "c_1"},
        "relatedResources": [{"type": "a", "id": "b"}],
        "type": "card.created",
    }
    bare = plain(wire.thin(Event(PROJECT, EVENT_ID, "a", b""), Environment.TEST))
    assert bare["resource"] == {"type": "event", "id": token}
    assert (bare["environment"], "relatedResources" in bare) == ("TEST", False)


@pytest.mark.parametrize(
    "values, begin, end",
    [
        ((), None, None),
        (("gt:2023-11-14T22:13:20Z",), 1, None),
        (("gte:2023-11-14T22:13:20Z",), 0, None),
        (("lt:2023-11-14T22:13:20Z",), None, 0),
        (("lte:2023-11-14T23:13:20 01:00",), None, 1),
        (
            ("gt:2023-11-14T22:13:20Z", "gte:2023-11-14T22:13:21Z", "lt:2023-11-14T22:13:22Z"),
            1_000_000,
            2_000_000,
        ),
    ],
)
def test_all_conditions_on_the_time_hold(
    values: tuple[str, ...], begin: int | None, end: int | None
) -> None:
    base = timestamp.read("2023-11-14T22:13:20Z")
    found = wire.read_created(values)
    assert found == tuple(None if bound is None else base + bound for bound in (begin, end))


@pytest.mark.parametrize("value", ["", "gt", "gt:", "eq:2023-11-14T22:13:20Z", "gt:soon"])
def test_a_condition_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        wire.read_created([value])


def test_a_page_goes_on_where_it_was_told_to() -> None:
    assert wire.read_page(wire.spell_page(EVENT_ID)) == EVENT_ID
    with pytest.raises(InvalidInput):
        wire.read_page("x")


def problem(error: WaypostError) -> Problem:
    details = getattr(error, "details", ())
    return Problem(status_of(type(error)), error.code, error.message, "r", details)


@pytest.mark.parametrize(
    "error, status, name",
    [
        (InvalidInput("x"), 400, "InvalidRequestException"),
        (InvalidSetting(details=[("a", "b")]), 400, "InvalidRequestException"),
        (UnsupportedMediaType("x"), 400, "InvalidRequestException"),
        (NotAuthenticated(), 401, "AuthenticationFailedException"),
        (NotPermitted(), 403, "ForbiddenException"),
        (LimitReached(), 403, "EventDestinationsLimitExceededException"),
        (NotFound("x"), 404, "NotFoundException"),
        (Conflict(), 409, "ConflictException"),
        (IdempotencyMismatch(), 409, "ConflictException"),
        (PayloadTooLarge(), 413, "ContentTooLargeException"),
        (TooManyRequests(), 429, "TooManyRequestsException"),
        (Unavailable(), 503, "InternalServerException"),
        (WaypostError(), 500, "InternalServerException"),
    ],
)
def test_each_error_has_the_vendors_name(error: WaypostError, status: int, name: str) -> None:
    rendered = wire.render(problem(error))
    assert rendered.status == status
    assert dict(rendered.headers)["x-amzn-errortype"] == name
    assert msgspec.json.decode(rendered.body)["message"]


def test_what_is_wrong_is_pointed_at_by_the_vendors_names() -> None:
    details = [("event_types[3]", "no"), ("url", "nor that"), ("", "nor all"), ("a~b/c", "d")]
    told = msgspec.json.decode(wire.render(problem(InvalidInput(details=details))).body)
    assert told == {
        "message": "/eventTypes/3: no; /destinationUrl: nor that; nor all; /a~0b~1c: d",
        "errors": [
            {"message": "no", "path": "/eventTypes/3"},
            {"message": "nor that", "path": "/destinationUrl"},
            {"message": "nor all"},
            {"message": "d", "path": "/a~0b~1c"},
        ],
    }
