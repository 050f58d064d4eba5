"""How explanations and health stand on the wire."""

import msgspec

from waypost.api.explaining import shape_explanation, shape_health
from waypost.model import flow, ids
from waypost.model.delivery import Delivery, DeliveryState, Timings
from waypost.model.event import Attributes, Event
from waypost.model.failure import Suspension
from waypost.model.page import Page
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.model.subscription import DisabledBy, Subscription
from waypost.operations.explaining import Explanation, Health, Told, ToldAttempt, ToldDelivery
from waypost.policy.conditions import Mismatch
from waypost.policy.health import Figures
from waypost.policy.judging import Condition, Failed, Taken
from waypost.policy.waits import LaneStanding, Wait
from waypost.storage.explaining import Listed
from waypost.storage.health import Backlog

NOW_US = 1_800_000_000_000_000
NOW = "2027-01-15T08:00:00Z"
P, E, S, D, A = (ids.make(NOW_US, n) for n in range(1, 6))
ATTEMPT = ToldAttempt(
    ShownAttempt(P, A, E, D, S, 1, AttemptStatus.FAILED, status_code=500, timings=Timings()), "why"
)


def test_an_explanation_is_whole() -> None:
    delivery = Delivery(P, D, E, S, "a", DeliveryState.PENDING, 1, due_us=NOW_US)
    waiting = ToldDelivery(delivery, [Wait("paused", "it is", None)], [ATTEMPT])
    listed = Listed(S, "https://a.example", "d", True, False, True, Taken(), Taken(), None)
    failed = Failed(Condition.FILTER, "no", Mismatch("body.a", "$eq", "1", None, "absent"))
    told = [
        Told(listed, None, True, "me:1", "all", [waiting]),
        Told(listed, failed, False, None, "not", []),
    ]
    event = Event(P, E, "a", b"{}", Attributes(owner="o"), 7)
    shown = shape_explanation(Explanation(event, Page(told, has_more=True)))
    found = msgspec.json.decode(msgspec.json.encode(shown))
    first, second = found.pop("event_subscriptions")
    assert found == {
        "event_token": ids.spell(ids.EVENT, E),
        "event_type": "a",
        "accepted": NOW,
        "owner": "o",
        "routing_version": 7,
        "has_more": True,
    }
    assert (first["matched"], first["state"], first["judged_by"]) == (True, "pending", "then")
    assert first["deliveries"] == [
        {
            "token": ids.spell(ids.DELIVERY, D),
            "state": "pending",
            "reason": None,
            "created": NOW,
            "attempt_count": 1,
            "due": NOW,
            "finished": None,
            "diverted": False,
            "waits": [{"kind": "paused", "reason": "it is", "until": None}],
            "attempts": [
                {
                    "token": ids.spell(ids.ATTEMPT, A),
                    "number": 1,
                    "started": NOW,
                    "status": "FAILED",
                    "response_status_code": 500,
                    "cause": "why",
                }
            ],
        }
    ]
    assert (second["matched"], second["state"], second["judged_by"]) == (False, None, "now")
    assert second["failed"]["condition"] == "filter"
    assert second["failed"]["mismatch"]["path"] == "body.a"


def test_health_is_whole() -> None:
    health = Health(
        Subscription(
            P,
            S,
            "x",
            disabled_by=DisabledBy.GONE,
            failing_since_us=NOW_US,
            suspension=Suspension(NOW_US, E, "500", "no"),
        ),
        Figures(2, 0.5, 1_500, 2_000, 3_000),
        NOW_US,
        Backlog(7, exact=False, oldest=D),
        2_500_000,
        ATTEMPT,
        4,
        "me:1",
        LaneStanding(1, 2, 3, flow.Waits(flow.Wait.RATE_LIMIT, NOW_US)),
    )
    assert msgspec.json.decode(msgspec.json.encode(shape_health(health))) == {
        "event_subscription_token": ids.spell(ids.SUBSCRIPTION, S),
        "paused": False,
        "suspended": True,
        "disabled_by": "gone",
        "attempts": 2,
        "since": NOW,
        "success_ratio": 0.5,
        "latency_ms": {"p50": 1.5, "p95": 2.0, "p99": 3.0},
        "backlog": {"size": 7, "exact": False, "oldest_age_s": 2.5},
        "failing_since": NOW,
        "blocked_keys": 4,
        "last_error": {
            "event_token": ids.spell(ids.EVENT, E),
            "attempt_token": ids.spell(ids.ATTEMPT, A),
            "started": NOW,
            "response_status_code": 500,
            "cause": "why",
        },
        "owner": "me:1",
        "lane": {
            "in_flight": 1,
            "limit": 2,
            "concurrency": 3,
            "waits_for": "rate_limit",
            "waits_until": NOW,
        },
    }


def test_a_subscription_without_attempts_has_no_figures() -> None:
    nothing = Backlog(0, exact=True, oldest=None)
    shown = shape_health(Health(Subscription(P, S, "x"), Figures(0), None, nothing, None, None))
    assert (shown.since, shown.success_ratio, shown.latency_ms.p50) == (None, None, None)
    assert (shown.last_error, shown.lane, shown.backlog.oldest_age_s) == (None, None, None)
