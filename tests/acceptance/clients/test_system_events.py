"""System events over HTTP: subscribed to, delivered, listed; and refused from producers."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from tests.support.receiver import Receiver, receiver
from tests.support.site import Tenant, eventually

SUBSCRIPTIONS = "/v1/event_subscriptions"
NO_RETRIES = {"strategy": "schedule", "schedule_s": []}
BREAKER = {"failure_ratio": 0.5, "min_requests": 2, "open_s": 1, "probes": 1}


@pytest.fixture
def told() -> Iterator[Receiver]:
    """Have a receiver of system events."""
    with receiver() as listening:
        yield listening


def news(told: Receiver, count: int) -> list[dict[str, Any]]:
    """Return what was told, as soon as there is so much of it."""
    return [msgspec.json.decode(one.body) for one in told.wait_for(count)]


def disable(tenant: Tenant, token: str) -> None:
    url = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["url"]
    tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{token}", json={"url": url, "disabled": True})


def listed(tenant: Tenant, types: str = "waypost.*") -> list[str]:
    events = tenant.ask(200, "GET", "/v1/events", params={"event_types": types})["data"]
    return [one["event_type"] for one in events]


def test_what_happens_to_a_subscription_is_told_and_listed(
    tenant: Tenant, received: Receiver, told: Receiver
) -> None:
    tenant.subscribe(told.url, event_types=["waypost.*"])
    received.status = 503
    handling = {"retry": NO_RETRIES, "on_giving_up": ["divert", "suspend"]}
    token = tenant.subscribe(
        received.url, event_types=["card.*"], failure_handling=handling, description="Cards"
    )
    event = tenant.post()
    tenant.settled(event, "failed")
    eventually(lambda: tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["suspended"])
    found = {one["type"]: one for one in news(told, 2)}
    assert found.keys() == {"waypost.subscription.suspended", "waypost.delivery.diverted"}
    suspended = found["waypost.subscription.suspended"]
    assert (suspended["subscription"], suspended["event"]) == (token, event)
    assert suspended["failure_trigger"] == "503"
    diverted = found["waypost.delivery.diverted"]
    assert (diverted["subscription"], diverted["diverted"]) == (token, 1)
    assert diverted["description"] == "Cards"
    tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{token}/unsuspend")
    tenant.ask(204, "POST", f"{SUBSCRIPTIONS}/{token}/secret/rotate")
    disable(tenant, token)
    types = [one["type"] for one in news(told, 5)]
    expected = ["subscription.recovered", "secret.rotated", "subscription.disabled"]
    assert sorted(types[2:]) == sorted(f"waypost.{name}" for name in expected)
    assert sorted(listed(tenant)) == sorted(types)
    one = tenant.ask(200, "GET", "/v1/events", params={"event_types": types[0]})["data"]
    assert [each["resource"] for each in one] == [{"type": "event_subscription", "id": token}]


def test_a_breaker_and_a_replay_are_told(
    tenant: Tenant, received: Receiver, told: Receiver
) -> None:
    tenant.subscribe(told.url, event_types=["waypost.breaker.*", "waypost.replay.finished"])
    received.status = 500
    token = tenant.subscribe(received.url, event_types=["card.*"], breaker=BREAKER)
    for _ in range(3):
        tenant.post()
    [opened] = news(told, 1)
    assert (opened["type"], opened["subscription"]) == ("waypost.breaker.opened", token)
    tenant.ask(202, "POST", f"{SUBSCRIPTIONS}/{token}/recover")
    finished = news(told, 2)[1]
    [replay] = tenant.ask(200, "GET", "/v1/replays")["data"]
    assert finished["type"] == "waypost.replay.finished"
    assert (finished["replay"], finished["state"]) == (replay["token"], "done")


def test_whoever_takes_everything_takes_none(
    tenant: Tenant, received: Receiver, told: Receiver
) -> None:
    for types in (None, ["*"]):
        tenant.subscribe(told.url, event_types=types)
    token = tenant.subscribe(received.url, event_types=["card.*"])
    disable(tenant, token)
    assert listed(tenant) == ["waypost.subscription.disabled"]
    tenant.post("other")
    assert [one.body for one in told.wait_for(2)] == [b'{"n":1}'] * 2
    assert [one["event_type"] for one in tenant.ask(200, "GET", "/v1/events")["data"]] == ["other"]
    assert listed(tenant, "waypost.subscription.*,other") == [
        "other",
        "waypost.subscription.disabled",
    ]
    assert listed(tenant, "waypost.breaker.*") == []
    [system] = [
        one["token"]
        for one in tenant.ask(200, "GET", "/v1/events", params={"event_types": "waypost.*"})["data"]
    ]
    assert tenant.deliveries(system) == []
    claimable = tenant.ask(200, "GET", "/v1/unclaimed_events", params={"tx_key": "k"})["data"]
    assert "waypost.subscription.disabled" not in [one["event_type"] for one in claimable]


def test_the_types_are_in_the_catalogue_with_schemas(tenant: Tenant) -> None:
    known = tenant.ask(200, "GET", "/v1/event_types")
    assert known["event_types"] == []
    names = [one["name"] for one in known["system_event_types"]]
    assert "waypost.backlog.high" in names
    for one in known["system_event_types"]:
        assert one["schema"]["properties"]["type"]["enum"] == [one["name"]]
        assert one["example"].keys() == one["schema"]["properties"].keys()


def test_an_example_is_that_of_the_catalogue(tenant: Tenant, told: Receiver) -> None:
    token = tenant.subscribe(told.url, event_types=["waypost.breaker.*"])
    tenant.ask(202, "POST", f"/v1/simulate/event_subscriptions/{token}/send_example")
    [example] = news(told, 1)
    assert example["type"] == "waypost.breaker.opened"


def test_nobody_sends_them_and_what_there_is_not_can_t_be_asked_for(
    tenant: Tenant, told: Receiver
) -> None:
    body = {"event_type": "waypost.breaker.opened", "payload": {}}
    assert tenant.refused(400, "POST", "/v1/events", json=body) == ["event_type"]
    batch = {"events": [{"event_type": "a", "payload": {}}, body]}
    assert tenant.refused(422, "POST", "/v1/events/batch", json=batch) == ["events[1].event_type"]
    catalogue = {"event_types": [{"name": "waypost.mine"}]}
    assert tenant.refused(400, "PUT", "/v1/event_types", json=catalogue) == ["event_types[0].name"]
    wanted = {"url": told.url, "event_types": ["a", "waypost.brakes.*"]}
    assert tenant.refused(400, "POST", SUBSCRIPTIONS, json=wanted) == ["event_types[1]"]


def test_a_strict_project_has_them_too(site: Any, told: Receiver) -> None:
    strict = site.tenant(strict_types=True)
    catalogue = {"event_types": [{"name": "card.created"}]}
    strict.ask(200, "PUT", "/v1/event_types", json=catalogue)
    strict.subscribe(told.url, event_types=["waypost.subscription.disabled"])
    token = strict.subscribe(told.url, event_types=["card.created"])
    disable(strict, token)
    [disabled] = news(told, 1)
    assert disabled["disabled_by"] == "person"
