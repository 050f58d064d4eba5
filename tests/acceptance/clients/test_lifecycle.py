"""What becomes of what is owed, and of what comes, when something happens to a subscription."""

from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.site import Tenant, eventually, running

SUBSCRIPTIONS = "/v1/event_subscriptions"
DIVERTED = "/v1/diverted_events"
GONE = "receiver_gone"
DISABLED = "subscription_disabled"
DELETED = "subscription_deleted"


def change(tenant: Tenant, token: str, received: Receiver, **settings: Any) -> Any:
    body = {"url": received.url, **settings}
    return tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{token}", json=body)


def ids_of(received: Receiver) -> list[str]:
    return [request.headers["webhook-id"] for request in received.requests]


def diverted(tenant: Tenant, **query: Any) -> list[dict[str, Any]]:
    return list(tenant.ask(200, "GET", DIVERTED, params=query)["data"])


def all_settled(tenant: Tenant, tokens: list[str], state: str, reason: str | None) -> None:
    for token in tokens:
        assert tenant.settled(token, state) == [(state, reason)]


@pytest.mark.proves(
    "native",
    "POST /v1/event_subscriptions/{event_subscription_token}/pause",
    "POST /v1/event_subscriptions/{event_subscription_token}/resume",
    "GET /v1/events/{event_token}/deliveries",
)
def test_paused_what_is_owed_and_what_comes_is_kept_and_sent_when_it_goes_on(
    tenant: Tenant, received: Receiver
) -> None:
    received.gate.clear()
    subscription = tenant.subscribe(received.url, concurrency=1)
    before = [tenant.post() for _ in range(3)]
    received.wait_for(1)
    paused = tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{subscription}/pause")
    assert paused["paused"] is True
    received.gate.set()
    tenant.settled(before[0], "delivered")
    meanwhile = [tenant.post() for _ in range(3)]
    tenant.subscribe(received.url, event_types=["marker"])
    marker = tenant.post("marker")
    tenant.settled(marker, "delivered", "pending")
    for token in [*before[1:], *meanwhile]:
        assert tenant.deliveries(token) == [("pending", None)]
    assert ids_of(received) == [before[0], marker]
    assert tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{subscription}/resume")["paused"] is False
    all_settled(tenant, [*before, *meanwhile], "delivered", None)
    tenant.settled(marker, "delivered", "delivered")
    assert len(received.requests) == 8


def test_disabled_by_a_person_what_is_owed_is_cancelled_and_can_be_recovered(
    tenant: Tenant, received: Receiver
) -> None:
    received.status = 500
    subscription = tenant.subscribe(received.url, retry_schedule=[3600])
    owed = [tenant.post() for _ in range(3)]
    received.wait_for(3)
    disabled = change(tenant, subscription, received, disabled=True)
    assert (disabled["disabled"], disabled["disabled_reason"]) == (True, "person")
    all_settled(tenant, owed, "cancelled", DISABLED)
    meanwhile = tenant.post()
    assert tenant.deliveries(meanwhile) == [], "not owed"
    assert diverted(tenant) == []
    received.status = 204
    enabled = change(tenant, subscription, received, disabled=False)
    assert (enabled["disabled"], enabled["disabled_reason"]) == (False, None)
    tenant.ask(202, "POST", f"{SUBSCRIPTIONS}/{subscription}/recover")
    received.wait_for(6)
    assert sorted(ids_of(received)[3:]) == owed
    for token in owed:
        tenant.settled(token, "delivered", "cancelled")
    tenant.ask(202, "POST", f"{SUBSCRIPTIONS}/{subscription}/replay_missing")
    assert received.wait_for(7)[6].headers["webhook-id"] == meanwhile


def test_what_is_in_flight_when_it_is_disabled_settles_by_its_answer(
    tenant: Tenant, received: Receiver
) -> None:
    received.gate.clear()
    subscription = tenant.subscribe(received.url, concurrency=1)
    first, second = tenant.post(), tenant.post()
    received.wait_for(1)
    change(tenant, subscription, received, disabled=True)
    received.gate.set()
    all_settled(tenant, [first], "delivered", None)
    all_settled(tenant, [second], "cancelled", DISABLED)


def test_gone_disables_and_diverts_what_is_owed_and_what_comes(
    tenant: Tenant, received: Receiver
) -> None:
    received.status = 410
    received.gate.clear()
    subscription = tenant.subscribe(received.url, concurrency=1)
    tokens = [tenant.post() for _ in range(5)]
    received.wait_for(1)
    received.gate.set()
    all_settled(tenant, tokens, "failed", GONE)
    shown = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{subscription}")
    assert (shown["disabled"], shown["disabled_reason"]) == (True, "gone")
    tried = 1  # nothing is sent behind the answer
    meanwhile = tenant.post()
    all_settled(tenant, [meanwhile], "failed", GONE)
    assert {one["event_token"] for one in diverted(tenant)} == {*tokens, meanwhile}
    assert len(received.requests) == tried, "nothing more is sent"
    received.status = 204
    change(tenant, subscription, received, disabled=False)
    tenant.ask(202, "POST", f"{SUBSCRIPTIONS}/{subscription}/recover")
    received.wait_for(tried + 6)
    assert sorted(ids_of(received)[tried:]) == [*tokens, meanwhile]
    assert eventually(lambda: [diverted(tenant)], lambda found: found == [[]])


def test_deleted_what_is_owed_is_cancelled_and_nothing_more_is_owed(
    tenant: Tenant, received: Receiver
) -> None:
    received.status = 500
    received.gate.clear()
    subscription = tenant.subscribe(received.url, concurrency=1, retry_schedule=[3600])
    tokens = [tenant.post() for _ in range(3)]
    received.wait_for(1)
    tenant.ask(204, "DELETE", f"{SUBSCRIPTIONS}/{subscription}")
    received.gate.set()
    all_settled(tenant, tokens, "cancelled", DELETED)
    assert tenant.deliveries(tenant.post()) == []
    assert diverted(tenant) == []
    assert len(received.requests) == 1
    page = tenant.ask(200, "GET", "/v1/deliveries", params={"state": "cancelled"})["data"]
    assert {one["event_subscription_token"] for one in page} == {subscription}
    for ask in ("attempts", "secret"):
        tenant.refused(404, "GET", f"{SUBSCRIPTIONS}/{subscription}/{ask}")
    tenant.refused(404, "POST", f"/v1/events/{tokens[0]}/event_subscriptions/{subscription}/resend")


@pytest.fixture
def failed(tenant: Tenant, received: Receiver) -> tuple[str, list[str]]:
    """Have three events that were given up, the receiver being well again."""
    received.status, received.body = 500, b"out of order"
    subscription = tenant.subscribe(received.url, retry_schedule=[0])
    tokens = [tenant.post() for _ in range(3)]
    for token in tokens:
        tenant.settled(token, "failed")
    received.status, received.body = 204, b""
    return subscription, tokens


@pytest.mark.proves(
    "native",
    "GET /v1/diverted_events",
    "GET /v1/diverted_events/{diverted_event_token}",
)
def test_what_was_given_up_is_listed_and_read(
    tenant: Tenant, failed: tuple[str, list[str]]
) -> None:
    subscription, tokens = failed
    page = diverted(tenant, event_subscription_token=subscription)
    assert sorted(one["event_token"] for one in page) == tokens
    first = tenant.ask(200, "GET", DIVERTED, params={"page_size": 2})
    query = {"page_size": 2, "starting_after": first["data"][-1]["token"]}
    rest = tenant.ask(200, "GET", DIVERTED, params=query)
    assert (first["data"] + rest["data"], rest["has_more"]) == (page, False)
    one = tenant.ask(200, "GET", f"{DIVERTED}/{page[0]['token']}")
    assert one == page[0]
    assert (one["attempts"], one["reason"]) == (2, "retries_exhausted")
    assert (one["response"], one["response_status_code"]) == ("out of order", 500)


@pytest.mark.proves(
    "native",
    "GET /v1/deliveries",
    "POST /v1/diverted_events/{diverted_event_token}/resend",
)
def test_what_was_given_up_is_sent_again_and_leaves_the_box(
    tenant: Tenant, received: Receiver, failed: tuple[str, list[str]]
) -> None:
    one = diverted(tenant)[0]
    path = f"{DIVERTED}/{one['token']}"
    again = tenant.ask(202, "POST", f"{path}/resend")
    assert ids_of_last(received, 7) == one["event_token"]
    tenant.settled(one["event_token"], "delivered", "failed")
    tenant.refused(404, "GET", path)
    tenant.refused(404, "POST", f"{path}/resend")
    page = tenant.ask(200, "GET", "/v1/deliveries", params={"state": "delivered"})["data"]
    assert [delivery["token"] for delivery in page] == [again["delivery_token"]]
    assert len(diverted(tenant)) == 2


def ids_of_last(received: Receiver, count: int) -> str:
    return received.wait_for(count)[-1].headers["webhook-id"]


def test_what_fails_once_more_is_diverted_once_more(
    tenant: Tenant, received: Receiver, failed: tuple[str, list[str]]
) -> None:
    received.status = 500
    one = diverted(tenant)[0]
    again = tenant.ask(202, "POST", f"{DIVERTED}/{one['token']}/resend")
    tenant.settled(one["event_token"], "failed", "failed")
    assert again["delivery_token"] in {found["token"] for found in diverted(tenant)}
    assert len(diverted(tenant)) == 3


@pytest.mark.proves("native", "DELETE /v1/diverted_events/{diverted_event_token}")
def test_what_was_given_up_is_deleted_for_good(
    tenant: Tenant, received: Receiver, failed: tuple[str, list[str]]
) -> None:
    subscription, _ = failed
    one = diverted(tenant)[0]
    tenant.ask(204, "DELETE", f"{DIVERTED}/{one['token']}")
    tenant.refused(404, "DELETE", f"{DIVERTED}/{one['token']}")
    assert len(diverted(tenant)) == 2
    assert tenant.deliveries(one["event_token"]) == [("failed", "retries_exhausted")]
    change(tenant, subscription, received, disabled=True)
    kept = diverted(tenant)[0]["token"]
    tenant.refused(422, "POST", f"{DIVERTED}/{kept}/resend")


def test_a_changed_url_secret_and_format_hold_for_what_waits(
    tenant: Tenant, received: Receiver
) -> None:
    nowhere = "http://127.0.0.1:9/"
    subscription = tenant.subscribe(nowhere, paused=True)
    token = tenant.post(payload={"n": 1})
    settings = {"paused": False, "format": "envelope", "headers": {"x-mine": "yes"}}
    change(tenant, subscription, received, **settings)
    (request,) = received.wait_for(1)
    assert request.headers["x-mine"] == "yes"
    assert request.headers["webhook-id"] == token
    assert request.body.endswith(b'"data":{"n":1}}')


def test_what_happened_holds_after_a_restart(tmp_path: Any, received: Receiver) -> None:
    received.status = 500
    with running(tmp_path) as (_, site):
        tenant = site.tenant()
        paused = tenant.subscribe(received.url, event_types=["a"], paused=True)
        tenant.subscribe(received.url, event_types=["b"], retry_schedule=[1])
        gone = tenant.subscribe(received.url, event_types=["c"], retry_schedule=[])
        kept, retried, lost = (tenant.post(name) for name in "abc")
        tenant.settled(lost, "failed")
        received.wait_for(2)
    received.status = 204
    with running(tmp_path) as (_, site):
        tenant = site.at(tenant)
        tenant.settled(retried, "delivered")
        assert tenant.deliveries(kept) == [("pending", None)]
        assert [one["event_token"] for one in diverted(tenant)] == [lost]
        for token, path in ((paused, "resume"), (gone, "recover")):
            tenant.http.post(f"{SUBSCRIPTIONS}/{token}/{path}").raise_for_status()
        tenant.settled(kept, "delivered")
        tenant.settled(lost, "delivered", "failed")
    assert sorted(ids_of(received)[2:]) == [kept, retried, lost]
