"""Replays, the dead-letter box and explanations over HTTP, each within its project."""

from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.site import Tenant, eventually

REPLAYS = "/v1/replays"
BOX = "/v1/diverted_events"


def boxed(tenant: Tenant, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tenant.ask(200, "GET", BOX, params=query)["data"]
    return found


def fill_box(tenant: Tenant, received: Receiver) -> tuple[str, list[str]]:
    """Have two events of each of two types given up; return the subscription and the events."""
    received.status = 500
    to = tenant.subscribe(received.url, retry_schedule=[])
    posted = [
        tenant.post(kind, owner=owner)
        for kind, owner in (("card.a", "o"), ("card.b", "p"), ("book.a", "o"), ("book.b", "p"))
    ]
    eventually(lambda: len(boxed(tenant)), lambda count: count == 4)
    received.status = 204
    return to, posted


def test_the_box_is_listed_by_what_is_asked_for(tenant: Tenant, received: Receiver) -> None:
    to, posted = fill_box(tenant, received)

    def events(**query: Any) -> list[int]:
        return sorted(posted.index(one["event_token"]) for one in boxed(tenant, **query))

    assert events(event_types="card.*") == [0, 1]
    assert events(event_types="card.a,book.a") == [0, 2]
    assert events(owner="o") == [0, 2]
    assert events(event_subscription_token=to, reason="retries_exhausted") == [0, 1, 2, 3]
    assert events(reason="receiver_gone") == []
    assert events(end="2020-01-01T00:00:00Z") == []
    assert tenant.refused(400, "GET", BOX, params={"event_types": "a b"}) == ["event_types[0]"]
    assert tenant.refused(400, "GET", BOX, params={"reason": "x"}) == ["reason"]


@pytest.mark.proves("native", "POST /v1/diverted_events/resend")
def test_the_box_is_sent_again_by_what_is_asked_for(
    tenant: Tenant, stranger: Tenant, received: Receiver
) -> None:
    _, posted = fill_box(tenant, received)
    body = {"filter": {"event_types": ["card.*"]}, "idempotency_key": "k"}
    assert stranger.ask(202, "POST", f"{BOX}/resend", json=body)["replay"]["owed"] == 0
    dry = tenant.ask(202, "POST", f"{BOX}/resend", json={**body, "dry_run": True})["dry_run"]
    assert (dry["deliveries"], dry["complete"]) == (2, True)
    made = tenant.ask(202, "POST", f"{BOX}/resend", json=body)["replay"]
    assert made["kind"] == "resend_diverted"
    assert tenant.ask(202, "POST", f"{BOX}/resend", json=body)["replay"]["token"] == made["token"]
    other = {**body, "rate": 5}
    assert "idempotency" in tenant.ask(422, "POST", f"{BOX}/resend", json=other)["message"]
    done = eventually(
        lambda: tenant.ask(200, "GET", f"{REPLAYS}/{made['token']}"),
        lambda one: one["state"] == "done",
    )
    assert (done["owed"], done["filter"]) == (2, {"event_types": ["card.*"]})
    again = received.wait_for(6)[4:]
    assert {one.headers["webhook-id"] for one in again} == set(posted[:2])
    assert {one.headers["webhook-replay-id"] for one in again} == {made["token"]}
    assert sorted(posted.index(one["event_token"]) for one in boxed(tenant)) == [2, 3]


@pytest.mark.proves("native", "POST /v1/diverted_events/delete")
def test_the_box_is_emptied_by_what_is_asked_for(
    tenant: Tenant, stranger: Tenant, received: Receiver
) -> None:
    _, posted = fill_box(tenant, received)
    body = {"filter": {"owner": "o"}}
    nothing = {"deleted": 0, "has_more": False}
    assert stranger.ask(200, "POST", f"{BOX}/delete", json=body) == nothing
    found = tenant.ask(200, "POST", f"{BOX}/delete", json=body)
    assert found == {"deleted": 2, "has_more": False}
    assert sorted(posted.index(one["event_token"]) for one in boxed(tenant)) == [1, 3]
    assert tenant.deliveries(posted[0]) == [("failed", "retries_exhausted")]
    assert tenant.refused(400, "POST", f"{BOX}/delete", json={}) == ["filter"]


@pytest.mark.parametrize(
    "status, body, path",
    [
        (400, {}, "filter"),
        (400, {"filter": {"types": []}}, "filter.types"),
        (400, {"filter": {"begin": "2026-01-01"}}, "filter.begin"),
        (
            400,
            {"filter": {"begin": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}},
            "filter.end",
        ),
        (400, {"filter": {"event_types": ["a b"]}}, "filter.event_types[0]"),
        (400, {"filter": {"state": "pending"}}, "filter.state"),
        (
            400,
            {"filter": {"event_subscription_token": "ep_1"}},
            "filter.event_subscription_token",
        ),
        (422, {"filter": {"content": {"body": {"a": {"$x": 1}}}}}, "filter.content.body.a.$x"),
        (400, {"filter": {}, "route": "elsewhere"}, "route"),
        (400, {"filter": {}, "route": "to_subscription"}, "to"),
        (400, {"filter": {}, "to": "ep_01920000-0000-7000-8000-000000000001"}, "to"),
        (400, {"filter": {}, "rate": 0}, "rate"),
        (400, {"filter": {}, "rate": 1e9}, "rate"),
        (400, {"filter": {}, "order": "any"}, "order"),
        (400, {"filter": {}, "idempotency_key": ""}, "idempotency_key"),
    ],
)
def test_a_replay_that_makes_no_sense_is_refused(
    tenant: Tenant, status: int, body: dict[str, Any], path: str
) -> None:
    for more in ({}, {"dry_run": True}):
        assert tenant.refused(status, "POST", REPLAYS, json={**body, **more}) == [path]
    assert tenant.ask(200, "GET", REPLAYS)["data"] == []


def test_a_replay_is_the_project_s_own(
    tenant: Tenant, stranger: Tenant, received: Receiver
) -> None:
    to = tenant.subscribe(received.url, event_types=["never"])
    theirs = stranger.subscribe(received.url, event_types=["never"])
    tenant.post()
    stranger.post()
    body = {"filter": {}, "route": "to_subscription", "to": to}
    assert "not found" in stranger.ask(404, "POST", REPLAYS, json=body)["message"]
    made = tenant.ask(202, "POST", REPLAYS, json=body)["replay"]["token"]
    for method, verb in (("GET", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/cancel")):
        stranger.ask(404, method, f"{REPLAYS}/{made}{verb}")
    done = eventually(
        lambda: tenant.ask(200, "GET", f"{REPLAYS}/{made}"), lambda one: one["state"] == "done"
    )
    assert (done["owed"], done["event_subscription_token"]) == (1, to)
    assert theirs != to
    assert len(received.wait_for(1)) == 1


def test_newest_first_is_obeyed(tenant: Tenant, received: Receiver) -> None:
    to = tenant.subscribe(received.url, event_types=["never"], concurrency=1)
    posted = [tenant.post() for _ in range(5)]
    body = {"filter": {}, "route": "to_subscription", "to": to, "order": "newest_first"}
    tenant.ask(202, "POST", REPLAYS, json=body)
    assert [one.headers["webhook-id"] for one in received.wait_for(5)] == posted[::-1]


@pytest.mark.proves("native", "GET /v1/events/{event_token}/explain")
def test_an_event_is_explained(tenant: Tenant, stranger: Tenant, received: Receiver) -> None:
    taken = tenant.subscribe(received.url)
    other = tenant.subscribe(received.url, filter={"body": {"n": {"$gt": 5}}})
    paused = tenant.subscribe(received.url, paused=True)
    event = tenant.post(payload={"n": 1})
    tenant.settled(event, "delivered", "pending")
    tenant.ask(
        200, "PATCH", f"/v1/event_subscriptions/{other}", json={"url": received.url, "filter": None}
    )
    path = f"/v1/events/{event}/explain"
    found = tenant.ask(200, "GET", path)
    by_token = {one["event_subscription_token"]: one for one in found["event_subscriptions"]}
    assert list(by_token) == [paused, other, taken]
    assert by_token[taken]["summary"] == "delivered at attempt 1"
    [attempt] = by_token[taken]["deliveries"][0]["attempts"]
    assert attempt["cause"].startswith("the receiver took it: 204 No Content")
    failed = by_token[other]["failed"]
    assert (failed["condition"], failed["reason"]) == ("filter", "body.n is 1, not greater than 5")
    [wait] = by_token[paused]["deliveries"][0]["waits"]
    assert wait["kind"] == "paused"
    only = tenant.ask(200, "GET", path, params={"event_subscription_token": other})
    assert [one["event_subscription_token"] for one in only["event_subscriptions"]] == [other]
    page = tenant.ask(200, "GET", path, params={"page_size": 1, "starting_after": paused})
    assert [one["event_subscription_token"] for one in page["event_subscriptions"]] == [other]
    assert page["has_more"]
    stranger.ask(404, "GET", path)
    assert tenant.refused(400, "GET", path, params={"page_size": 1000}) == ["page_size"]


@pytest.mark.proves("native", "GET /v1/event_subscriptions/{event_subscription_token}/health")
def test_health_tells_of_the_last_error(
    tenant: Tenant, stranger: Tenant, received: Receiver
) -> None:
    to = tenant.subscribe(received.url, retry_schedule=[0.0, 60.0])
    path = f"/v1/event_subscriptions/{to}/health"
    assert tenant.ask(200, "GET", path)["success_ratio"] is None
    tenant.settled(tenant.post(), "delivered")
    received.status = 503
    event = tenant.post()
    received.wait_for(3)
    found = eventually(lambda: tenant.ask(200, "GET", path), lambda one: one["attempts"] == 3)
    assert found["success_ratio"] == pytest.approx(1 / 3)
    assert found["backlog"]["size"] == 1
    assert found["backlog"]["oldest_age_s"] > 0
    assert found["last_error"]["event_token"] == event
    assert found["last_error"]["response_status_code"] == 503
    assert found["latency_ms"]["p50"] <= found["latency_ms"]["p99"]
    assert found["lane"]["concurrency"] == 64
    assert found["failing_since"] is None or found["failing_since"] > "2020"
    stranger.ask(404, "GET", path)
