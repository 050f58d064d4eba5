"""How failure handling and suspensions are shown."""

from typing import Any

import msgspec

from waypost.api.failure_handling import handling_out, suspension_out
from waypost.model import ids
from waypost.model.failure import (
    AlertEndpoint,
    FailureHandling,
    Incoming,
    OnGivingUp,
    Otherwise,
    Pending,
    Retry,
    Strategy,
    Suspension,
    WhileSuspended,
)

BARE: dict[str, Any] = {
    "triggers": None,
    "otherwise": "trigger",
    "retry": None,
    "retry_window_s": None,
    "disable_after_s": None,
    "on_giving_up": ["divert"],
    "suspended": {"pending": "keep", "incoming": "keep"},
    "alert_endpoints": [],
    "never_disable": False,
}


def shown(handling: FailureHandling, *, masked: bool = False) -> Any:
    return msgspec.json.decode(msgspec.json.encode(handling_out(handling, masked=masked)))


def test_what_is_built_in_is_shown_whole() -> None:
    assert shown(FailureHandling()) == BARE


def test_everything_is_shown_but_secrets() -> None:
    handling = FailureHandling(
        triggers=("5xx",),
        otherwise=Otherwise.DIVERT,
        retry=Retry(Strategy.LINEAR, interval_s=5, retries=3, max_interval_s=9, jitter=0),
        retry_window_s=60,
        disable_after_s=90,
        on_giving_up=(OnGivingUp.SUSPEND, OnGivingUp.ALERT),
        suspended=WhileSuspended(Pending.DIVERT, Incoming.CANCEL),
        alert_endpoints=(
            AlertEndpoint(ids.FIRST, "https://a.example/", {"x-a": "b"}, "thin", insecure_tls=True),
        ),
        never_disable=True,
    )
    endpoint = {
        "url": "https://a.example/",
        "headers": {"x-a": "b"},
        "format": "thin",
        "insecure_tls": True,
        "secret": "***",
    }
    expected = {
        "triggers": ["5xx"],
        "otherwise": "divert",
        "retry": {
            "strategy": "linear",
            "interval_s": 5,
            "max_interval_s": 9,
            "retries": 3,
            "schedule_s": None,
            "jitter": 0,
        },
        "retry_window_s": 60,
        "disable_after_s": 90,
        "on_giving_up": ["suspend", "alert"],
        "suspended": {"pending": "divert", "incoming": "cancel"},
        "alert_endpoints": [endpoint],
        "never_disable": True,
    }
    assert shown(handling) == expected
    masked = {**expected, "alert_endpoints": [{**endpoint, "headers": {"x-a": "***"}}]}
    assert shown(handling, masked=True) == masked


def test_a_schedule_has_its_gaps_and_nothing_else() -> None:
    retry = shown(FailureHandling(retry=Retry(Strategy.SCHEDULE, schedule_s=())))["retry"]
    assert retry == {
        "strategy": "schedule",
        "interval_s": None,
        "max_interval_s": None,
        "retries": None,
        "schedule_s": [],
        "jitter": None,
    }


def test_a_suspension_says_who_why_and_since_when() -> None:
    event_id = ids.make(1, 1)
    made = suspension_out(Suspension(2, event_id, "5xx", "status 500"))
    assert msgspec.json.decode(msgspec.json.encode(made)) == {
        "since": "1970-01-01T00:00:00.000002Z",
        "by": "failure_handling",
        "event_token": ids.spell(ids.EVENT, event_id),
        "trigger": "5xx",
        "message": "status 500",
    }
