"""Flow control on a real server, seen from a real receiver."""

import math
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, eventually

SUBSCRIPTIONS = "/v1/event_subscriptions"
AT_ONCE_S = 0.25
"""What comes within so long may have been sent together: the way here takes unlike times."""


def batch(tenant: Tenant, count: int, **more: Any) -> list[str]:
    events = [{"event_type": "a", "payload": {"n": n}, **more} for n in range(count)]
    answer = tenant.ask(202, "POST", "/v1/events/batch", json={"events": events})
    return [one["token"] for one in answer["data"]]


def within_rate(received: Receiver, rate: float, burst: int) -> bool:
    """Tell whether no stretch of time brought more than the limit allows."""
    times = sorted(request.at_s for request in received.requests)
    return all(
        last - first + 1 <= math.floor(burst + rate * (times[last] - times[first] + AT_ONCE_S))
        for first in range(len(times))
        for last in range(first, len(times))
    )


def test_the_rate_is_never_exceeded(tenant: Tenant, received: Receiver) -> None:
    limit = {"count": 20, "per_s": 1, "burst": 2}
    tenant.subscribe(received.url, rate_limit=limit)
    tokens = batch(tenant, 30)
    received.wait_for(30)
    assert within_rate(received, 20, 2)
    assert {request.headers["webhook-id"] for request in received.requests} == set(tokens)
    # A limited delivery is not an attempt.
    attempts = tenant.ask(200, "GET", f"/v1/events/{tokens[-1]}/attempts")["data"]
    assert len(attempts) == 1


def test_a_project_may_limit_all_of_its_receivers(
    site: Site, tenant: Tenant, received: Receiver
) -> None:
    limit = {"count": 20, "per_s": 1, "burst": 1}
    token = tenant.subscribe(received.url)
    assert tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["rate_limit"] is None
    body = {"defaults": {"rate_limit": limit}}
    assert site.admin.patch(f"/v1/projects/{tenant.project}", json=body).status_code == 200
    assert tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["rate_limit"] == limit
    batch(tenant, 15)
    received.wait_for(15)
    assert within_rate(received, 20, 1)


def test_a_project_may_order_and_verify_all_of_its_receivers(
    site: Site, tenant: Tenant, received: Receiver
) -> None:
    there = f"{SUBSCRIPTIONS}/{tenant.subscribe(received.url)}"
    defaults = {"ordering": "key", "on_order_failure": "block", "verification": "challenge"}
    path = f"/v1/projects/{tenant.project}"
    assert site.admin.patch(path, json={"defaults": defaults}).status_code == 200
    shown = tenant.ask(200, "GET", there)
    assert {name: shown[name] for name in defaults} == {**defaults, "verification": "none"}
    assert shown["inherited"][-3:] == list(defaults)
    other = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{tenant.subscribe('https://b.example/')}")
    assert {name: other[name] for name in defaults} == defaults
    body = {"url": received.url, "ordering": "none"}
    assert tenant.refused(422, "PATCH", there, json={**body, "on_order_failure": "block"}) == [
        "on_order_failure"
    ]
    assert tenant.ask(200, "PATCH", there, json=body)["ordering"] == "none"


def test_the_breaker_opens_and_lets_the_receiver_recover(
    tenant: Tenant, received: Receiver
) -> None:
    breaker = {"min_requests": 5, "failure_ratio": 1, "open_s": 2, "probes": 2}
    tenant.subscribe(received.url, breaker=breaker, retry_schedule=[0.05] * 40, concurrency=2)
    received.status = 500
    tokens = batch(tenant, 20)
    received.wait_for(7)  # at most six are sent before it opens
    received.status = 204
    for token in tokens:
        assert tenant.settled(token, "delivered") == [("delivered", None)]
    times = sorted(request.at_s for request in received.requests)
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert max(gaps) > 1.5
    # What was in flight when it opened has ended by then; a probe goes alone.
    before = gaps.index(max(gaps)) + 1
    assert 5 <= before <= 7


def test_a_breaker_that_is_off_does_not_open(tenant: Tenant, received: Receiver) -> None:
    breaker = {"enabled": False, "min_requests": 1, "open_s": 3600}
    token = tenant.subscribe(received.url, breaker=breaker, retry_schedule=[0.05] * 40)
    received.status = 500
    tokens = batch(tenant, 5)
    received.wait_for(30)
    received.status = 204
    for one in tokens:
        tenant.settled(one, "delivered")
    assert tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["breaker"]["enabled"] is False


def test_outside_its_hours_a_receiver_hears_nothing(tenant: Tenant, received: Receiver) -> None:
    hours = {"windows": ["0 0 29 2 *"], "time_zone": "Europe/Berlin"}
    closed = tenant.subscribe(received.url, sending_hours=hours, event_types=["closed"])
    tenant.subscribe(received.url, sending_hours={"windows": ["* * * * *"]}, event_types=["open"])
    kept, sent = tenant.post("closed"), tenant.post("open")
    received.wait_for(1)
    tenant.settled(sent, "delivered")
    assert tenant.deliveries(kept) == [("pending", None)]
    body = {"url": received.url, "sending_hours": None}
    assert tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{closed}", json=body)["sending_hours"] is None
    tenant.settled(kept, "delivered")


@pytest.mark.parametrize("absolute", [True, False])
def test_an_event_is_delivered_when_it_says(
    tenant: Tenant, received: Receiver, absolute: bool
) -> None:
    tenant.subscribe(received.url)
    now = tenant.post("marker")
    created = tenant.ask(200, "GET", f"/v1/events/{now}")["created"]
    begin = datetime.fromisoformat(created).timestamp()
    due = datetime.fromtimestamp(begin + 2, UTC).isoformat() if absolute else 2
    late = tenant.post("late", deliver_at=due)
    assert tenant.deliveries(late) == [("pending", None)]
    shown = tenant.ask(200, "GET", f"/v1/events/{late}")["deliver_at"]
    assert datetime.fromisoformat(shown).timestamp() >= begin + 2
    tenant.settled(late, "delivered")
    sent = {one.headers["webhook-id"]: one for one in received.requests}
    assert int(sent[late].headers["webhook-timestamp"]) >= math.floor(begin + 2)
    assert sent[late].at_s - sent[now].at_s > 1.5


def test_what_has_expired_is_not_sent_and_says_so(tenant: Tenant, received: Receiver) -> None:
    token = tenant.subscribe(received.url, deliver_before_s=1, paused=True)
    old = tenant.post()
    tenant.settled(old, "pending")
    begin = datetime.fromisoformat(tenant.ask(200, "GET", f"/v1/events/{old}")["created"])

    def later() -> bool:
        young = tenant.post()
        made = datetime.fromisoformat(tenant.ask(200, "GET", f"/v1/events/{young}")["created"])
        return (made - begin).total_seconds() > 1

    eventually(later, bool)
    body = {"url": received.url, "paused": False}
    tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{token}", json=body)
    assert tenant.settled(old, "failed") == [("failed", "expired")]
    assert tenant.ask(200, "GET", "/v1/diverted_events")["data"] == []
    assert old not in {one.headers["webhook-id"] for one in received.requests}


@pytest.mark.parametrize(
    "settings, path, status",
    [
        ({"rate_limit": {"count": 0}}, "rate_limit.count", 400),
        ({"rate_limit": {"count": 1, "burst": 0}}, "rate_limit.burst", 400),
        ({"breaker": {"failure_ratio": 2}}, "breaker.failure_ratio", 400),
        ({"breaker": {"open": 2}}, "breaker.open", 400),
        ({"sending_hours": {"windows": ["* 25 * * *"]}}, "sending_hours.windows[0]", 422),
        ({"sending_hours": {"windows": ["* * 31 2 *"]}}, "sending_hours.windows[0]", 422),
        (
            {"sending_hours": {"windows": ["* * * * *"], "time_zone": "Berlin"}},
            "sending_hours.time_zone",
            422,
        ),
        ({"priority": "urgent"}, "priority", 400),
        ({"deliver_before_s": 0}, "deliver_before_s", 400),
    ],
)
def test_settings_that_cannot_be_obeyed_are_refused_with_their_place(
    tenant: Tenant, settings: dict[str, Any], path: str, status: int
) -> None:
    body = {"url": "https://a.example/", **settings}
    assert tenant.refused(status, "POST", SUBSCRIPTIONS, json=body) == [path]


@pytest.mark.parametrize(
    "fields, path",
    [
        ({"deliver_at": "tomorrow"}, "deliver_at"),
        ({"deliver_at": -1}, "deliver_at"),
        ({"deliver_at": 1e9}, "deliver_at"),
        ({"deliver_at": "2999-01-01T00:00:00Z"}, "deliver_at"),
        ({"deliver_at": 5, "ordering_key": "k"}, "deliver_at"),
        ({"deliver_before": "2001-01-01T00:00:00Z"}, "deliver_before"),
        ({"deliver_before": "2001-01-01T00:00:00"}, "deliver_before"),
        ({"deliver_before": 5}, "deliver_before"),
    ],
)
def test_times_that_cannot_be_met_are_refused_with_their_place(
    tenant: Tenant, fields: dict[str, Any], path: str
) -> None:
    event = {"event_type": "a", "payload": 1, **fields}
    assert tenant.refused(400, "POST", "/v1/events", json=event) == [path]
    events = [{"event_type": "a", "payload": 1}, event]
    found = tenant.refused(422, "POST", "/v1/events/batch", json={"events": events})
    assert found == [f"events[1].{path}"]


def test_settings_are_shown_as_they_hold(tenant: Tenant) -> None:
    token = tenant.subscribe("https://a.example/", priority="high", breaker={"open_s": 5})
    shown = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")
    assert (shown["priority"], shown["rate_limit"], shown["sending_hours"]) == ("high", None, None)
    assert shown["breaker"] == {
        "enabled": True,
        "failure_ratio": 0.8,
        "min_requests": 20,
        "window_s": 30,
        "open_s": 5,
        "probes": 3,
        "disable_after": None,
    }
    assert "rate_limit" in shown["inherited"]
    assert "breaker" not in shown["inherited"]
