"""How a subscription stands on the wire."""

import msgspec
import pytest

from waypost.api.subscriptions import SubscriptionIn, shape
from waypost.model import ids
from waypost.model.project import Principal, Scope
from waypost.model.subscription import DisabledBy, Subscription
from waypost.model.transform import Language, Transform
from waypost.policy.retry import LITHIC

ID = ids.make(1_800_000_000_123_456, 1)
BARE = Subscription(ids.FIRST, ID, "https://a.example/")


def caller(*scopes: Scope) -> Principal:
    return Principal(ids.FIRST, "", ids.FIRST, frozenset(scopes))


WRITER = caller(Scope.SUBSCRIPTIONS_WRITE)


def test_the_fields_of_lithic_are_of_the_types_that_its_client_asks_for() -> None:
    shown = msgspec.json.decode(msgspec.json.encode(shape(BARE, WRITER)))
    lithic = {
        "token": ids.spell(ids.SUBSCRIPTION, ID),
        "description": "",
        "disabled": False,
        "url": "https://a.example/",
        "event_types": None,
    }
    assert {name: shown[name] for name in lithic} == lithic
    assert shown["created"] == "2027-01-15T08:00:00.123456Z"


@pytest.mark.parametrize("by", [None, *DisabledBy])
def test_why_it_is_disabled_is_shown(by: DisabledBy | None) -> None:
    shown = shape(msgspec.structs.replace(BARE, disabled_by=by, failing_since_us=0), WRITER)
    assert (shown.disabled, shown.disabled_reason) == (by is not None, by)
    assert shown.failing_since is not None


@pytest.mark.parametrize(
    "schedule, shown", [(None, "standard"), (LITHIC, "lithic"), ((), ()), ((1.5,), (1.5,))]
)
def test_a_schedule_is_shown_as_it_is_set(
    schedule: tuple[float, ...] | None, shown: str | tuple[float, ...]
) -> None:
    subscription = msgspec.structs.replace(BARE, retry_schedule_s=schedule)
    assert shape(subscription, WRITER).retry_schedule == shown


def test_header_values_are_for_those_who_may_set_them() -> None:
    subscription = msgspec.structs.replace(BARE, headers={"x-key": "s3cret"})
    assert shape(subscription, WRITER).headers == {"x-key": "s3cret"}
    masked = shape(subscription, caller(Scope.SUBSCRIPTIONS_READ, Scope.EVENTS_WRITE))
    assert masked.headers == {"x-key": "***"}


def test_a_body_needs_a_url_and_nothing_unknown() -> None:
    for bad in (b"{}", b'{"url": "a", "token": "ep_x"}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(bad, type=SubscriptionIn)
    body = msgspec.json.decode(b'{"url": "a"}', type=SubscriptionIn)
    assert {body.description, body.event_types, body.disabled} == {msgspec.UNSET}


@pytest.mark.parametrize(
    "program, writer, reader",
    [
        (None, None, None),
        (Transform(Language.JAVASCRIPT, "s3cret"), {"javascript": "s3cret"}, {"javascript": "***"}),
        (Transform(Language.TEMPLATE, '{"a":1.10}'), {"template": {"a": 1.1}}, {"template": "***"}),
    ],
)
def test_a_transform_is_shown_to_who_may_change_it(
    program: Transform | None, writer: object, reader: object
) -> None:
    one = msgspec.structs.replace(BARE, transform=program)
    for caller_, expected in ((WRITER, writer), (caller(Scope.SUBSCRIPTIONS_READ), reader)):
        shown = msgspec.json.decode(msgspec.json.encode(shape(one, caller_)))
        assert shown["transform"] == expected
