"""Failure handling as it is set: refused with its place, or kept whole."""

from typing import Any

import msgspec
import pytest

from waypost.model.failure import (
    AlertEndpoint,
    FailureHandling,
    Incoming,
    OnGivingUp,
    Otherwise,
    Pending,
    Retry,
    Strategy,
    WhileSuspended,
)
from waypost.model.ids import FIRST
from waypost.policy.egress import EgressRules
from waypost.policy.failure_settings import FailureHandlingIn, faults, kept

FORMATS = frozenset({"payload", "thin"})
SECRET = "whsec_" + "A" * 40
ALERT = {"url": "https://alerts.example/", "secret": SECRET}
LINEAR = {"strategy": "linear", "interval_s": 5, "retries": 3}


def read(**fields: Any) -> FailureHandlingIn:
    return msgspec.json.decode(msgspec.json.encode(fields), type=FailureHandlingIn)


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"triggers": ["404", "often"]}, "triggers[1]"),
        ({"triggers": ["200"]}, "triggers[0]"),
        ({"triggers": ["600"]}, "triggers[0]"),
        ({"triggers": ["2xx"]}, "triggers[0]"),
        ({"triggers": ["404\n"]}, "triggers[0]"),
        ({"otherwise": "ignore"}, "otherwise"),
        ({"retry": {"strategy": "schedule"}}, "retry.schedule_s"),
        ({"retry": {"strategy": "schedule", "schedule_s": [], "retries": 1}}, "retry.retries"),
        (
            {"retry": {"strategy": "schedule", "schedule_s": [], "interval_s": 1}},
            "retry.interval_s",
        ),
        (
            {"retry": {"strategy": "schedule", "schedule_s": [], "max_interval_s": 1}},
            "retry.max_interval_s",
        ),
        ({"retry": {**LINEAR, "schedule_s": [1]}}, "retry.schedule_s"),
        ({"retry": {"strategy": "linear", "retries": 3}}, "retry.interval_s"),
        ({"retry": {"strategy": "exponential", "interval_s": 3}}, "retry.retries"),
        ({"retry": {**LINEAR, "max_interval_s": 4}}, "retry.max_interval_s"),
        (
            {"retry": {**LINEAR, "strategy": "constant", "max_interval_s": 9}},
            "retry.max_interval_s",
        ),
        ({"on_giving_up": ["suspend", "disable"]}, "on_giving_up"),
        ({"suspended": {"pending": "divert"}}, "suspended"),
        ({"on_giving_up": ["alert"]}, "alert_endpoints"),
        ({"alert_endpoints": [ALERT]}, "alert_endpoints"),
        (
            {"on_giving_up": ["alert"], "alert_endpoints": [{**ALERT, "url": "http://a.example"}]},
            "alert_endpoints[0].url",
        ),
        (
            {"on_giving_up": ["alert"], "alert_endpoints": [{**ALERT, "url": "https://10.0.0.1/"}]},
            "alert_endpoints[0].url",
        ),
        ({"on_giving_up": ["alert"], "alert_endpoints": [ALERT, ALERT]}, "alert_endpoints[1].url"),
        (
            {"on_giving_up": ["alert"], "alert_endpoints": [{**ALERT, "headers": {"host": "a"}}]},
            "alert_endpoints[0].headers.host",
        ),
        (
            {"on_giving_up": ["alert"], "alert_endpoints": [{**ALERT, "format": "xml"}]},
            "alert_endpoints[0].format",
        ),
        (
            {"on_giving_up": ["alert"], "alert_endpoints": [{**ALERT, "secret": "hush"}]},
            "alert_endpoints[0].secret",
        ),
    ],
)
def test_what_cannot_be_obeyed_is_named(fields: dict[str, Any], path: str) -> None:
    assert [fault[0] for fault in faults(read(**fields), EgressRules(), FORMATS)] == [path]


@pytest.mark.parametrize(
    "fields",
    [
        {"triggers": "404"},
        {"triggers": ["404"] * 51},
        {"otherwise": "retry"},
        {"retry": {}},
        {"retry": {"strategy": "random"}},
        {"retry": {**LINEAR, "retries": 1001}},
        {"retry": {**LINEAR, "retries": -1}},
        {"retry": {**LINEAR, "interval_s": -1}},
        {"retry": {**LINEAR, "jitter": 1.1}},
        {"retry": {**LINEAR, "unknown": 1}},
        {"retry": {"strategy": "schedule", "schedule_s": [1] * 51}},
        {"retry_window_s": 0},
        {"disable_after_s": 59},
        {"disable_after_s": 1e9},
        {"retry_window_s": 1e9},
        {"on_giving_up": ["explode"]},
        {"on_giving_up": ["suspend"], "suspended": {"pending": "cancel"}},
        {"on_giving_up": ["suspend"], "suspended": {"unknown": "keep"}},
        {"alert_endpoints": [ALERT] * 6},
        {"alert_endpoints": [{"secret": SECRET}]},
        {"unknown": 1},
    ],
)
def test_the_types_bound_the_rest(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(**fields)


def test_nothing_given_is_what_is_built_in() -> None:
    assert list(faults(read(), EgressRules(), FORMATS)) == []
    assert kept(read()) == FailureHandling()


def test_everything_given_is_kept_but_the_secrets() -> None:
    wanted = read(
        triggers=["404", "5xx", "404"],
        otherwise="ignore",
        retry={**LINEAR, "max_interval_s": 9, "jitter": 0},
        retry_window_s=60,
        disable_after_s=90,
        on_giving_up=["alert", "suspend", "alert"],
        suspended={"pending": "divert", "incoming": "cancel"},
        alert_endpoints=[{**ALERT, "headers": {"x-a": "b"}, "format": "thin"}],
    )
    assert list(faults(wanted, EgressRules(), FORMATS)) == []
    assert kept(wanted) == FailureHandling(
        triggers=("404", "5xx"),
        otherwise=Otherwise.IGNORE,
        retry=Retry(Strategy.LINEAR, interval_s=5, retries=3, max_interval_s=9, jitter=0),
        retry_window_s=60,
        disable_after_s=90,
        on_giving_up=(OnGivingUp.ALERT, OnGivingUp.SUSPEND),
        suspended=WhileSuspended(Pending.DIVERT, Incoming.CANCEL),
        alert_endpoints=(AlertEndpoint(FIRST, ALERT["url"], {"x-a": "b"}, "thin"),),
    )


def test_what_is_kept_comes_back_from_json() -> None:
    retry = {"strategy": "schedule", "schedule_s": [1, 2]}
    handling = kept(read(retry=retry, triggers=[], alert_endpoints=[ALERT]))
    assert msgspec.json.decode(msgspec.json.encode(handling), type=FailureHandling) == handling
