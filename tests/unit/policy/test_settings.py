"""Settings: what is allowed, where what is wrong is told, and what a change leaves alone."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.api import Api
from waypost.model.errors import InvalidInput, InvalidSetting
from waypost.model.failure import FailureHandling, Otherwise, Retry, Strategy
from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.subscription import (
    DisabledBy,
    Inheritable,
    OnOrderFailure,
    Ordering,
    Signing,
    Subscription,
)
from waypost.model.transform import Language, Transform
from waypost.model.verification import Verification, VerificationMode
from waypost.policy import settings
from waypost.policy.egress import EgressRules
from waypost.policy.failure_settings import FailureHandlingIn
from waypost.policy.retry import LITHIC, STANDARD
from waypost.policy.settings import (
    Brought,
    DefaultSettings,
    Settings,
    SubscriptionRules,
    check,
    check_defaults,
    check_together,
    merge,
)
from waypost.policy.terms import Terms

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
    rate_limit=RateLimit(5, 2, 3),
    breaker=Breaker(probes=7),
    sending_hours=SendingHours(("* 8 * * *",), "Europe/Berlin"),
    priority=Priority.HIGH,
    deliver_before_s=60,
    failure_handling=FailureHandling(otherwise=Otherwise.IGNORE, triggers=()),
)
NINE = SendingHours(("* 9 * * *",))
DEFAULTABLE = DefaultSettings.__struct_fields__
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
        ({"retry_schedule": "standard"}, {"retry_schedule_s": STANDARD}),
        ({"retry_schedule": list(STANDARD)}, {"retry_schedule_s": STANDARD}),
        ({"retry_schedule": "lithic"}, {"retry_schedule_s": LITHIC}),
        ({"retry_schedule": [0, 1.5]}, {"retry_schedule_s": (0.0, 1.5)}),
        ({"retry_schedule": []}, {"retry_schedule_s": ()}),
        ({"rate_limit": {"count": 9}}, {"rate_limit": RateLimit(9)}),
        ({"rate_limit": None}, {"rate_limit": None}),
        ({"breaker": {"open_s": 5}}, {"breaker": Breaker(open_s=5)}),
        ({"breaker": {"enabled": False}}, {"breaker": Breaker(enabled=False)}),
        ({"breaker": None}, {"breaker": None}),
        ({"sending_hours": {"windows": ["* 9 * * *"]}}, {"sending_hours": NINE}),
        ({"sending_hours": None}, {"sending_hours": None}),
        ({"priority": "low"}, {"priority": Priority.LOW}),
        ({"priority": None}, {"priority": None}),
        ({"deliver_before_s": 5}, {"deliver_before_s": 5}),
        ({"deliver_before_s": None}, {"deliver_before_s": None}),
        ({"failure_handling": None}, {"failure_handling": None}),
        ({"failure_handling": {}}, {"failure_handling": FailureHandling()}),
        (
            {"failure_handling": {"on_giving_up": []}, "retry_schedule": [3]},
            {
                "failure_handling": FailureHandling(on_giving_up=()),
                "retry_schedule_s": (3.0,),
            },
        ),
        ({"filter": None}, {"filter": None}),
        ({"filter": {}}, {"filter": "{}"}),
        ({"filter": {"body": {"n": 1}}}, {"filter": '{"body":{"n":1}}'}),
        ({"transform": None}, {"transform": None}),
        (
            {"transform": {"javascript": "x"}},
            {"transform": Transform(Language.JAVASCRIPT, "x")},
        ),
        ({"transform": {"template": [1]}}, {"transform": Transform(Language.TEMPLATE, "[1]")}),
        ({"name": "n"}, {"name": "n"}),
        ({"insecure_tls": True}, {"insecure_tls": True}),
        ({"verification": None}, {"verification": None}),
        ({"verification": "none"}, {"verification": None, "verify": VerificationMode.NONE}),
        (
            {"verification": "challenge"},
            {
                "verification": Verification(VerificationMode.CHALLENGE),
                "verify": VerificationMode.CHALLENGE,
            },
        ),
        ({"ordering": "key"}, {"ordering": Ordering.KEY}),
        ({"ordering": "none"}, {"ordering": Ordering.NONE}),
        ({"ordering": None}, {"ordering": None}),
        ({"on_order_failure": "block"}, {"on_order_failure": OnOrderFailure.BLOCK}),
        ({"on_order_failure": None}, {"on_order_failure": None}),
    ],
)
def test_what_is_given_is_merged_and_nothing_else(
    given_field: dict[str, Any], changed: dict[str, Any]
) -> None:
    wanted = decoded(**given_field)
    check(wanted, RULES)
    assert merge(FULL, wanted) == msgspec.structs.replace(FULL, **changed)


@pytest.mark.parametrize(
    "given_field, changed",
    [
        ({"timeout_s": 7}, {"timeout_s": 7.0}),
        ({"timeout_s": None}, {"timeout_s": None}),
        ({"concurrency": 9}, {"concurrency": 9}),
        ({"retry_schedule": "lithic"}, {"retry_schedule_s": LITHIC}),
        ({"retry_schedule": None}, {"retry_schedule_s": None}),
        ({"rate_limit": {"count": 9}}, {"rate_limit": RateLimit(9)}),
        ({"breaker": {"open_s": 5}}, {"breaker": Breaker(open_s=5)}),
        ({"sending_hours": {"windows": ["* 9 * * *"]}}, {"sending_hours": NINE}),
        ({"priority": "low"}, {"priority": Priority.LOW}),
        ({"deliver_before_s": 5}, {"deliver_before_s": 5}),
        ({"ordering": "key"}, {"ordering": Ordering.KEY}),
        ({"on_order_failure": "block"}, {"on_order_failure": OnOrderFailure.BLOCK}),
        ({"verification": "challenge"}, {"verify": VerificationMode.CHALLENGE}),
    ],
)
def test_a_projects_defaults_are_merged_alike(
    given_field: dict[str, Any], changed: dict[str, Any]
) -> None:
    present = Inheritable(timeout_s=1.0, concurrency=1, retry_schedule_s=())
    wanted = msgspec.json.decode(msgspec.json.encode(given_field), type=DefaultSettings)
    check_defaults(wanted, RULES)
    assert merge(present, wanted) == msgspec.structs.replace(present, **changed)


def test_every_setting_that_a_project_may_default_is_one_of_a_subscription() -> None:
    kept = {"retry_schedule": "retry_schedule_s", "verification": "verify"}
    fields = {kept.get(name, name) for name in DEFAULTABLE}
    assert fields == set(Inheritable.__struct_fields__) == set(Terms.__struct_fields__)


def test_a_default_that_is_wrong_is_named() -> None:
    with pytest.raises(InvalidInput) as refusal:
        check_defaults(DefaultSettings(retry_schedule="fast"), RULES)
    assert [detail[0] for detail in refusal.value.details] == ["defaults.retry_schedule"]


@pytest.mark.parametrize(
    "retry, schedule_s, fits",
    [
        (None, (1.0,), True),
        (Retry(Strategy.CONSTANT, interval_s=2.0, retries=2), None, True),
        (Retry(Strategy.CONSTANT, interval_s=2.0, retries=2), (2.0, 2.0), True),
        (Retry(Strategy.CONSTANT, interval_s=2.0, retries=2), (2.0,), False),
        (Retry(Strategy.SCHEDULE, schedule_s=()), STANDARD, False),
    ],
)
def test_retries_are_not_said_in_two_ways_that_differ(
    retry: Retry | None, schedule_s: tuple[float, ...] | None, fits: bool
) -> None:
    handling = FailureHandling(retry=retry)
    both = Inheritable(failure_handling=handling, retry_schedule_s=schedule_s)
    if fits:
        check_together(both)
        return
    with pytest.raises(InvalidSetting) as refusal:
        check_together(both, "defaults.")
    assert [detail[0] for detail in refusal.value.details] == ["defaults.retry_schedule"]


def test_failure_handling_that_contradicts_itself_is_refused_in_both_places() -> None:
    wanted = DefaultSettings(failure_handling=FailureHandlingIn(triggers=("often",)))
    with pytest.raises(InvalidSetting) as refusal:
        check_defaults(wanted, RULES)
    assert [detail[0] for detail in refusal.value.details] == [
        "defaults.failure_handling.triggers[0]"
    ]
    with pytest.raises(InvalidSetting) as refusal:
        check(Settings(failure_handling=wanted.failure_handling), RULES)
    assert [detail[0] for detail in refusal.value.details] == ["failure_handling.triggers[0]"]


def test_every_setting_is_merged_by_some_case_above() -> None:
    assert set(Settings.__struct_fields__) == {
        *("url", "description", "event_types", "disabled", "paused", "headers", "timeout_s"),
        *("concurrency", "format", "signing", "owner", "retry_schedule", "filter", "transform"),
        *("name", "verification", "insecure_tls"),
        # Merged by who can encrypt it.
        "authentication",
        *("rate_limit", "breaker", "sending_hours", "priority", "deliver_before_s"),
        "failure_handling",
        *("ordering", "on_order_failure"),
    }


@pytest.mark.parametrize(
    "schedule, name",
    [(None, None), (STANDARD, "standard"), (LITHIC, "lithic"), ((1.0,), None), ((), None)],
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
        {"rate_limit": 5},
        {"rate_limit": {"count": 0}},
        {"rate_limit": {"count": 1, "per_s": 0.5}},
        {"rate_limit": {"count": 1, "every_s": 1}},
        {"breaker": False},
        {"breaker": {"failure_ratio": 0}},
        {"breaker": {"failure_ratio": 1.1}},
        {"breaker": {"min_requests": 0}},
        {"breaker": {"window_s": 3601}},
        {"breaker": {"open_s": 0}},
        {"breaker": {"probes": 0}},
        {"breaker": {"disable_after": 0}},
        {"breaker": {"ratio": 1}},
        {"sending_hours": "* 8 * * *"},
        {"sending_hours": {"windows": []}},
        {"sending_hours": {"windows": ["* * * * *"] * 11}},
        {"sending_hours": {"time_zone": "UTC"}},
        {"priority": "urgent"},
        {"priority": 1},
        {"deliver_before_s": 0},
        {"deliver_before_s": 1e9},
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


@pytest.mark.parametrize(
    "hours, path",
    [
        ({"windows": ["* 25 * * *"]}, "sending_hours.windows[0]"),
        ({"windows": ["* 8 * * *"], "time_zone": "Mars/Olympus"}, "sending_hours.time_zone"),
    ],
)
def test_sending_hours_that_cannot_be_obeyed_are_refused(hours: Any, path: str) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        check(decoded(sending_hours=hours), RULES)
    assert [detail[0] for detail in refusal.value.details] == [path]
    wanted = msgspec.convert({"sending_hours": hours}, DefaultSettings)
    with pytest.raises(InvalidSetting) as refusal:
        check_defaults(wanted, RULES)
    assert [detail[0] for detail in refusal.value.details] == [f"defaults.{path}"]


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


def test_a_handshake_needs_a_name_to_introduce_oneself_by() -> None:
    wanted = decoded(verification="cloudevents")
    with pytest.raises(InvalidSetting) as refusal:
        check(wanted, RULES)
    assert [path for path, _ in refusal.value.details] == ["verification"]
    check(wanted, msgspec.structs.replace(RULES, origin="hooks.example.com"))
    default = DefaultSettings(verification=VerificationMode.CLOUDEVENTS)
    with pytest.raises(InvalidSetting) as refusal:
        check_defaults(default, RULES)
    assert [path for path, _ in refusal.value.details] == ["defaults.verification"]
    check_defaults(default, msgspec.structs.replace(RULES, origin="hooks.example.com"))


def test_a_new_url_is_verified_as_the_project_has_it_where_nothing_is_set() -> None:
    project = Inheritable(verify=VerificationMode.CHALLENGE)
    made = merge(msgspec.structs.replace(FULL, url=""), Settings(url=URL), project)
    assert made.verification == Verification(VerificationMode.CHALLENGE)
    own = merge(FULL, decoded(url="https://b.example/", verification="none"), project)
    assert own.verification is None
    # Of one that was there before only what is set anew is verified by it.
    assert merge(FULL, Settings(url=URL, timeout_s=1.0), project).verification is None
    moved = merge(FULL, Settings(url="https://b.example/"), project)
    assert moved.verification == Verification(VerificationMode.CHALLENGE)
    assert merge(moved, Settings(timeout_s=1.0)).verification == moved.verification
    assert merge(moved, decoded(verification=None)).verification is None


@pytest.mark.parametrize("ordering", list(Ordering))
def test_nothing_is_blocked_where_there_is_no_order(ordering: Ordering) -> None:
    left = msgspec.structs.replace(FULL, on_order_failure=OnOrderFailure.BLOCK)
    check_together(left, defaults=Inheritable(ordering=Ordering.KEY))
    check_together(Inheritable(on_order_failure=OnOrderFailure.BLOCK), "defaults.")
    blocking = msgspec.structs.replace(
        FULL, ordering=ordering, on_order_failure=OnOrderFailure.BLOCK
    )
    check_together(FULL)
    if ordering is not Ordering.NONE:
        check_together(blocking)
        return
    with pytest.raises(InvalidSetting) as refusal:
        check_together(blocking)
    [(field, _)] = refusal.value.details
    assert field == "on_order_failure"


def test_what_another_api_brings_is_merged_but_for_the_secret() -> None:
    brought = Brought(api=Api.SOCOTRA, particulars={"tag": "t"}, secret=b"geheim")
    merged = merge(FULL, brought)
    assert merged == msgspec.structs.replace(FULL, api=Api.SOCOTRA, particulars={"tag": "t"})
    assert merge(merged, Brought()) == merged
