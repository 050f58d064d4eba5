"""Receivers that fail, and what their failure handling does about it, over HTTP."""

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from tests.support.receiver import Receiver, receiver
from tests.support.site import Site, Tenant, eventually

SUBSCRIPTIONS = "/v1/event_subscriptions"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NO_RETRIES = {"strategy": "schedule", "schedule_s": []}


@pytest.fixture
def alerted() -> Iterator[Receiver]:
    """Have a receiver of alerts."""
    with receiver() as listening:
        yield listening


def failing(*done: str, **more: Any) -> dict[str, Any]:
    return {"retry": NO_RETRIES, "on_giving_up": list(done), **more}


def shown(tenant: Tenant, subscription: str) -> dict[str, Any]:
    return dict(tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{subscription}"))


def suspended(tenant: Tenant, subscription: str) -> dict[str, Any]:
    return eventually(lambda: shown(tenant, subscription), lambda found: found["suspended"])


def sent(received: Receiver) -> list[str]:
    return [request.headers["webhook-id"] for request in received.requests]


@pytest.mark.proves("native", "POST /v1/event_subscriptions/{event_subscription_token}/unsuspend")
def test_a_suspension_keeps_what_comes_and_goes_on_in_order(
    tenant: Tenant, received: Receiver
) -> None:
    received.status, received.body = 503, b"down for repairs"
    token = tenant.subscribe(received.url, failure_handling=failing("divert", "suspend"))
    first = tenant.post()
    assert tenant.settled(first, "failed") == [("failed", "retries_exhausted")]
    found = suspended(tenant, token)
    why = found["suspension"]
    assert (why["by"], why["event_token"]) == ("failure_handling", first)
    assert (why["trigger"], why["message"]) == ("503", "status 503: down for repairs")
    assert found["disabled"] is False
    kept = [tenant.post() for _ in range(20)]
    assert [tenant.deliveries(one) for one in kept] == [[("pending", None)]] * 20
    received.status, received.body = 204, b""
    goes_on = tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{token}/unsuspend")
    assert (goes_on["suspended"], goes_on["suspension"]) == (False, None)
    for one in kept:
        assert tenant.settled(one, "delivered") == [("delivered", None)]
    assert sent(received)[0] == first
    assert sent(received)[1] == kept[0], "the first goes alone"
    assert sorted(sent(received)[1:]) == kept


@pytest.mark.parametrize(
    "incoming, end, boxed",
    [
        ("divert", ("failed", "subscription_suspended"), 4),
        ("cancel", ("cancelled", "subscription_suspended"), 1),
    ],
)
def test_a_suspension_diverts_or_cancels_what_comes(
    tenant: Tenant, received: Receiver, incoming: str, end: tuple[str, str], boxed: int
) -> None:
    received.status = 500
    handling = failing("divert", "suspend", suspended={"incoming": incoming})
    token = tenant.subscribe(received.url, failure_handling=handling)
    tenant.settled(tenant.post(), "failed")
    suspended(tenant, token)
    for _ in range(3):
        assert tenant.settled(tenant.post(), end[0]) == [end]
    assert len(tenant.ask(200, "GET", "/v1/diverted_events")["data"]) == boxed
    received.status = 204
    tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{token}/unsuspend")
    tenant.settled(tenant.post(), "delivered")
    assert len(received.requests) == 2


def test_an_alert_is_signed_and_hidden_and_tells_what_has_failed(
    tenant: Tenant, received: Receiver, alerted: Receiver
) -> None:
    received.status, received.body = 404, b"no such hook"
    endpoint = {"url": alerted.url, "secret": SECRET, "headers": {"x-team": "ops"}}
    handling = failing("divert", "alert", triggers=["4xx"], alert_endpoints=[endpoint])
    token = tenant.subscribe(received.url, failure_handling=handling)
    event = tenant.post()
    (alert,) = alerted.wait_for(1)
    assert alert.headers["x-team"] == "ops"
    Webhook(SECRET).verify(alert.body, alert.headers)
    notice = msgspec.json.decode(alert.body)
    assert notice.pop("failure_timestamp").endswith("Z")
    assert notice == {
        "type": "delivery.failed",
        "subscription": token,
        "event": event,
        "failure_trigger": "4xx",
        "failure_message": "status 404: no such hook",
        "attempts": 1,
        "diverted": True,
        "suspended": False,
    }
    tenant.settled(event, "failed")
    events = tenant.ask(200, "GET", "/v1/events")["data"]
    assert [one["token"] for one in events] == [event]
    assert len(tenant.ask(200, "GET", "/v1/deliveries")["data"]) == 1
    assert [one["token"] for one in tenant.ask(200, "GET", SUBSCRIPTIONS)["data"]] == [token]
    assert SECRET not in tenant.http.get(f"{SUBSCRIPTIONS}/{token}").text


def test_an_alert_endpoint_that_fails_is_not_alerted_of(
    tenant: Tenant, received: Receiver, alerted: Receiver
) -> None:
    received.status = alerted.status = 500
    endpoint = {"url": alerted.url, "secret": SECRET}
    handling = failing("divert", "alert", alert_endpoints=[endpoint])
    tenant.subscribe(received.url, failure_handling=handling)
    events = [tenant.post() for _ in range(3)]
    assert len(alerted.wait_for(3)) == 3
    for event in events:
        tenant.settled(event, "failed")
    tokens = {msgspec.json.decode(request.body)["event"] for request in alerted.requests[:3]}
    assert tokens == set(events)
    assert len(tenant.ask(200, "GET", "/v1/diverted_events")["data"]) == 3


def test_a_projects_defaults_hold_for_its_subscriptions_at_once(
    site: Site, tenant: Tenant, received: Receiver, alerted: Receiver
) -> None:
    received.status = 500
    token = tenant.subscribe(received.url)
    assert shown(tenant, token)["retry_schedule"] == "standard"
    endpoint = {"url": alerted.url, "secret": SECRET}
    defaults = {
        "failure_handling": failing("suspend", "alert", alert_endpoints=[endpoint]),
        "timeout_s": 3,
    }
    path = f"/v1/projects/{tenant.project}"
    changed = site.admin.patch(path, json={"defaults": defaults})
    assert changed.status_code == 200, changed.text
    assert SECRET not in changed.text
    found = shown(tenant, token)
    assert (found["timeout_s"], found["retry_schedule"]) == (3, [])
    names = ["timeout_s", "concurrency", "retry_schedule", "failure_handling"]
    assert set(names) <= set(found["inherited"])
    event = tenant.post()
    assert tenant.settled(event, "failed") == [("failed", "retries_exhausted")]
    suspended(tenant, token)
    notice = msgspec.json.decode(alerted.wait_for(1)[0].body)
    assert (notice["event"], notice["diverted"], notice["suspended"]) == (event, False, True)
    reset = site.admin.patch(path, json={"defaults": {"failure_handling": None, "timeout_s": None}})
    assert set(reset.json()["defaults"].values()) == {None}
    assert shown(tenant, token)["retry_schedule"] == "standard"


def test_defaults_that_cannot_be_obeyed_are_refused(site: Site, tenant: Tenant) -> None:
    path = f"/v1/projects/{tenant.project}"
    retry = {"strategy": "constant", "interval_s": 1, "retries": 1}
    for status, defaults, place in (
        (400, {"timeout_s": 0}, "defaults.timeout_s"),
        (400, {"retry_schedule": "fast"}, "defaults.retry_schedule"),
        (400, {"unknown": 1}, "defaults"),
        (400, {"ordering": "topic"}, "defaults.ordering"),
        (400, {"on_order_failure": "wait"}, "defaults.on_order_failure"),
        (400, {"verification": "maybe"}, "defaults.verification"),
        (422, {"failure_handling": {"triggers": ["2xx"]}}, "defaults.failure_handling.triggers[0]"),
        (
            422,
            {"failure_handling": {"retry": retry}, "retry_schedule": [2]},
            "defaults.retry_schedule",
        ),
    ):
        refused = site.admin.patch(path, json={"defaults": defaults})
        assert refused.status_code == status, refused.text
        assert refused.json()["errors"][0]["path"].startswith(place), refused.text
