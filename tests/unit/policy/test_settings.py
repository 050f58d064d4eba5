"""Settings: what is allowed, where what is wrong is told, and what a change leaves alone."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.errors import InvalidInput, InvalidSetting
from waypost.model.subscription import DisabledBy, OnOrderFailure, Ordering, Signing, Subscription
from waypost.model.transform import Language, Transform
from waypost.policy import settings
from waypost.policy.egress import EgressRules
from waypost.policy.retry import LITHIC, STANDARD
from waypost.policy.settings import Settings, SubscriptionRules, check, demand_consistent, merge

RULES = SubscriptionRules(EgressRules(), frozenset({"payload", "thin"}))
URL = "https://receiver.example/hook"
FULL = Subscription(
    b"p" * 16,
    b"s" * 16,
    URL,
    description="d",
    event_types=("a",),
    disabled_by=DisabledBy.GONE,
    paused=True,
    headers={"x-a": "b"},
    timeout_s=3.0,
    concurrency=2,
    format="thin",
    signing=Signing.ED25519,
    owner="o",
    retry_schedule_s=(1.0,),
    transform=Transform(Language.JAVASCRIPT, "f"),
    failing_since_us=7,
    filter='{"path":"/a"}',
)
DEFAULT = Subscription(FULL.project_id, FULL.id, URL)


def decoded(**fields: Any) -> Settings:
    return msgspec.json.decode(msgspec.json.encode(fields), type=Settings)


def test_what_is_not_given_stays() -> None:
    assert merge(FULL, Settings()) == FULL


@pytest.mark.parametrize(
    "given_field, changed",
    [
        ({"url": "https://b.example"}, {"url": "https://b.example"}),
        ({"description": ""}, {"description": ""}),
        ({"event_types": None}, {"event_types": None}),
        ({"event_types": []}, {"event_types": None}),
        ({"event_types": ["b", "a", "b"]}, {"event_types": ("b", "a")}),
        ({"disabled": True}, {"disabled_by": DisabledBy.PERSON}),
        ({"disabled": False}, {"disabled_by": None, "failing_since_us": None}),
        ({"paused": False}, {"paused": False}),
        ({"headers": {}}, {"headers": {}}),
        ({"headers": None}, {"headers": {}}),
        ({"headers": {"X-B": "c"}}, {"headers": {"X-B": "c"}}),
        ({"timeout_s": 7}, {"timeout_s": 7.0}),
        ({"timeout_s": None}, {"timeout_s": DEFAULT.timeout_s}),
        ({"concurrency": 9}, {"concurrency": 9}),
        ({"concurrency": None}, {"concurrency": DEFAULT.concurrency}),
        ({"format": "payload"}, {"format": "payload"}),
        ({"signing": "v1"}, {"signing": Signing.HMAC}),
        ({"owner": None}, {"owner": None}),
        ({"owner": "p"}, {"owner": "p"}),
        ({"retry_schedule": None}, {"retry_schedule_s": None}),
        ({"retry_schedule": "standard"}, {"retry_schedule_s": None}),
        ({"retry_schedule": list(STANDARD)}, {"retry_schedule_s": None}),
        ({"retry_schedule": "lithic"}, {"retry_schedule_s": LITHIC}),
        ({"retry_schedule": [0, 1.5]}, {"retry_schedule_s": (0.0, 1.5)}),
        ({"retry_schedule": []}, {"retry_schedule_s": ()}),
        ({"filter": None}, {"filter": None}),
        ({"filter": {}}, {"filter": "{}"}),
        ({"filter": {"body": {"n": 1}}}, {"filter": '{"body":{"n":1}}'}),
        ({"transform": None}, {"transform": None}),
        (
            {"transform": {"javascript": "x"}},
            {"transform": Transform(Language.JAVASCRIPT, "x")},
        ),
        ({"transform": {"template": [1]}}, {"transform": Transform(Language.TEMPLATE, "[1]")}),
        ({"ordering": "key"}, {"ordering": Ordering.KEY}),
        ({"ordering": None}, {"ordering": Ordering.NONE}),
        ({"on_order_failure": "block"}, {"on_order_failure": OnOrderFailure.BLOCK}),
        ({"on_order_failure": None}, {"on_order_failure": OnOrderFailure.CONTINUE}),
    ],
)
def test_what_is_given_is_merged_and_nothing_else(
    given_field: dict[str, Any], changed: dict[str, Any]
) -> None:
    wanted = decoded(**given_field)
    check(wanted, RULES)
    assert merge(FULL, wanted) == msgspec.structs.replace(FULL, **changed)


def test_every_setting_is_merged_by_some_case_above() -> None:
    assert set(Settings.__struct_fields__) == {
        *("url", "description", "event_types", "disabled", "paused", "headers", "timeout_s"),
        *("concurrency", "format", "signing", "owner", "retry_schedule", "filter", "transform"),
        *("ordering", "on_order_failure"),
    }


@pytest.mark.parametrize(
    "schedule, name",
    [(None, "standard"), (STANDARD, "standard"), (LITHIC, "lithic"), ((1.0,), None), ((), None)],
)
def test_a_schedule_is_shown_by_its_name(
    schedule: tuple[float, ...] | None, name: str | None
) -> None:
    assert settings.schedule_name(schedule) == name


@pytest.mark.parametrize("name", ["*", "a", "a.b", "a.*", "a-b.c_d.*", "x" * 256])
def test_types_prefixes_and_the_star_are_event_types(name: str) -> None:
    check(Settings(event_types=(name,)), RULES)


@pytest.mark.parametrize(
    "name",
    ["", ".", ".*", "*.a", "a.*.b", "a*", "a.**", "a.*.*", "a b", "a\n", "a.\n", "é", "x" * 257],
)
def test_what_is_no_event_type_is_named_by_its_place(name: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check(Settings(event_types=("good", name)), RULES)
    assert [detail[0] for detail in refusal.value.details] == ["event_types[1]"]


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"url": "http://receiver.example/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://a.example/\r\nx: y"}, "url"),
        ({"url": "https://a.example/\x00"}, "url"),
        ({"headers": {"webhook-id": "x"}}, "headers.webhook-id"),
        ({"headers": {"x-a": "b\r\nc: d"}}, "headers.x-a"),
        ({"headers": {"x a": "b"}}, "headers.x a"),
        ({"description": "a\x00b"}, "description"),
        ({"description": "a\x1b[31mb"}, "description"),
        ({"description": "a\u0085b"}, "description"),
        ({"format": "xml"}, "format"),
        ({"format": ""}, "format"),
        ({"retry_schedule": "fast"}, "retry_schedule"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check(decoded(**fields), RULES)
    assert [detail[0] for detail in refusal.value.details] == [path]


def test_everything_that_is_wrong_is_named_at_once() -> None:
    wanted = Settings(url="x", event_types=("",), headers={"host": "a"}, format="x")
    with pytest.raises(InvalidInput) as refusal:
        check(wanted, RULES)
    assert [detail[0] for detail in refusal.value.details] == [
        "url",
        "headers.host",
        "event_types[0]",
        "format",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"timeout_s": 0},
        {"timeout_s": 121},
        {"timeout_s": "5"},
        {"concurrency": 0},
        {"concurrency": 1001},
        {"concurrency": True},
        {"owner": ""},
        {"owner": "a\nb"},
        {"owner": "x" * 257},
        {"description": "x" * 2001},
        {"description": None},
        {"disabled": None},
        {"disabled": 1},
        {"paused": "true"},
        {"signing": "v2"},
        {"event_types": ["a"] * 501},
        {"event_types": "a"},
        {"event_types": [None]},
        {"headers": {"a": 1}},
        {"headers": []},
        {"retry_schedule": [-1]},
        {"retry_schedule": [1e9]},
        {"retry_schedule": [1] * 51},
        {"retry_schedule": 5},
    ],
)
def test_the_types_bound_the_rest(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(**fields)


def test_a_filter_is_kept_as_it_was_sent() -> None:
    text = '{ "body" : {"n":1.10, "\u00fc": 123456789012345678901234567890 } }'
    wanted = msgspec.json.decode(f'{{"filter":{text} }}'.encode(), type=Settings)
    check(wanted, RULES)
    assert merge(FULL, wanted).filter == text


@pytest.mark.parametrize(
    "text, path",
    [
        ('{"body":{"a":{"$regex":"("}}}', "filter.body.a.$regex"),
        ("5", "filter"),
        ('"\xff"', "filter"),
    ],
)
def test_a_filter_that_cannot_be_obeyed_is_refused(text: str, path: str) -> None:
    wanted = Settings(filter=msgspec.Raw(text.encode("latin-1")))
    with pytest.raises(InvalidSetting) as refusal:
        check(wanted, RULES)
    assert [detail[0] for detail in refusal.value.details] == [path]


def test_what_is_wrong_beside_the_filter_is_told_first() -> None:
    wanted = Settings(url="x", filter=msgspec.Raw(b"5"))
    with pytest.raises(InvalidInput) as refusal:
        check(wanted, RULES)
    assert type(refusal.value) is InvalidInput
    assert [detail[0] for detail in refusal.value.details] == ["url"]


def test_a_description_may_have_lines() -> None:
    check(Settings(description="one\n\ttwo ☃"), RULES)


@given(st.text(max_size=300))
def test_any_text_is_refused_or_taken_but_never_breaks(text: str) -> None:
    for wanted in (
        Settings(url=text),
        Settings(description=text),
        Settings(format=text),
        Settings(retry_schedule=text),
        Settings(event_types=(text,)),
        Settings(filter=msgspec.Raw(text.encode("utf-8", "surrogatepass"))),
        Settings(headers={text: text}),
    ):
        with suppress(InvalidInput):
            check(wanted, RULES)


@pytest.mark.parametrize("ordering", list(Ordering))
def test_nothing_is_blocked_where_there_is_no_order(ordering: Ordering) -> None:
    blocking = msgspec.structs.replace(
        FULL, ordering=ordering, on_order_failure=OnOrderFailure.BLOCK
    )
    demand_consistent(FULL)
    if ordering is not Ordering.NONE:
        demand_consistent(blocking)
        return
    with pytest.raises(InvalidSetting) as refusal:
        demand_consistent(blocking)
    [(field, _)] = refusal.value.details
    assert field == "on_order_failure"
