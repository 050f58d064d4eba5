"""Socotra's API on a real server: what is asked, how it is answered, and what is refused."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, eventually
from tests.support.socotra import Client, create_token
from waypost.model import ids

URL = "https://hook.example/in"
NOWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
STRANGE = "00000000-0000-7000-8000-000000000000"
DEFAULT = {
    "alertEndpoint": None,
    "divert": False,
    "retryStrategy": None,
    "suspend": False,
    "triggers": ["4xx", "5xx", "timeout"],
}


def event_of(token: str) -> str:
    return ids.spell_ulid(ids.read(ids.EVENT, token))


def hook_of(token: str) -> str:
    return ids.spell_ulid(ids.read(ids.SUBSCRIPTION, token))


@pytest.mark.proves("socotra", "GET /webhooks/{webhookLocator}", "PATCH /webhooks/{webhookLocator}")
def test_a_change_removes_first_and_adds_then(socotra: Client) -> None:
    made = socotra.webhook(
        URL,
        eventTypes=["a", "b"],
        endpoint={"headers": {"x-a": ["1"], "x-b": ["2", "3"]}},
        failureHandling={"triggers": ["404", "5xx"], "divert": True},
    )
    path = f"/webhooks/{made['locator']}"
    assert socotra.ask("PATCH", path, json={}) == made
    changed = socotra.ask(
        "PATCH",
        path,
        json={
            "name": "another",
            "enabled": False,
            "removeEventTypes": ["a", "c"],
            "addEventTypes": ["c", "b"],
            "endpoint": {
                "removeHeaders": ["X-A"],
                "addHeaders": {"X-B": ["4"], "x-c": ["5"]},
                "secureSsl": False,
            },
            "failureHandling": {
                "removeTriggers": ["404", "timeout"],
                "addTriggers": ["timeout", "5xx"],
                "retryStrategy": {"type": "linear", "interval": 60},
                "alertEndpoint": {"url": "https://alert.example/", "secret": "s", "tag": "one"},
                "suspend": True,
            },
        },
    )
    alert = {
        "url": "https://alert.example/",
        "headers": {},
        "secureSsl": True,
        "hmacEnabled": False,
        "secret": "s",
        "tag": "one",
    }
    assert changed == {
        **made,
        "name": "another",
        "enabled": False,
        "eventTypes": ["b", "c"],
        "endpoint": {
            **made["endpoint"],
            "headers": {"X-B": ["4"], "x-c": ["5"]},
            "secureSsl": False,
        },
        "failureHandling": {
            "alertEndpoint": alert,
            "divert": True,
            "retryStrategy": {"type": "linear", "interval": 60, "attempts": 3},
            "suspend": True,
            "triggers": ["5xx", "timeout"],
        },
    }
    assert socotra.ask("GET", path) == changed


def test_a_change_of_failure_handling_is_made_of_what_it_is(socotra: Client) -> None:
    alert = {"url": "https://alert.example/", "secret": "s", "tag": "one"}
    retry = {"type": "linear", "interval": 60}
    handling = {"alertEndpoint": alert, "retryStrategy": retry, "divert": True, "suspend": True}
    made = socotra.webhook(URL, failureHandling=handling)
    path, shown = f"/webhooks/{made['locator']}", made["failureHandling"]["alertEndpoint"]
    moved = {"url": "https://alert.example/new", "hmacEnabled": True}
    again = socotra.ask(
        "PATCH",
        path,
        json={
            "failureHandling": {
                "alertEndpoint": moved,
                "retryStrategy": {"attempts": 9},
                "divert": False,
            }
        },
    )
    handling = again["failureHandling"]
    assert handling["alertEndpoint"] == {**shown, **moved}, "its secret goes along"
    assert handling["retryStrategy"]["attempts"] == 9
    assert (handling["divert"], handling["suspend"]) == (False, True)
    flags = {"removeAlertEndpoint": True, "removeRetryStrategy": True}
    bare = socotra.ask("PATCH", path, json={"failureHandling": flags})["failureHandling"]
    assert (bare["alertEndpoint"], bare["retryStrategy"], bare["suspend"]) == (None, None, True)
    both = {"removeFailureHandling": True, "failureHandling": {"divert": True}}
    reset = socotra.ask("PATCH", path, json=both)["failureHandling"]
    assert reset == {**DEFAULT, "divert": True}
    reset = socotra.ask("PATCH", path, json={"removeFailureHandling": True})["failureHandling"]
    assert reset == DEFAULT


@pytest.mark.proves("socotra", "DELETE /webhooks/{webhookLocator}")
def test_a_webhook_that_is_off_gets_nothing_and_a_deleted_one_is_gone(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    made = socotra.webhook(received.url, enabled=False)
    path = f"/webhooks/{made['locator']}"
    assert tenant.deliveries(tenant.post()) == []
    socotra.ask("PATCH", path, json={"enabled": True})
    tenant.settled(tenant.post(), "delivered")
    socotra.ask("DELETE", path)
    for method, place in (("GET", path), ("DELETE", path), ("PATCH", f"{path}/unsuspend")):
        assert socotra.refused(404, method, place) == []
    assert tenant.deliveries(tenant.post()) == []
    assert len(received.requests) == 1


@pytest.mark.proves("socotra", "GET /webhooks/list")
def test_the_list_is_of_webhooks_by_all_they_can_be_told_by(
    socotra: Client, tenant: Tenant
) -> None:
    a = socotra.webhook(URL, name="a", eventTypes=["a.b", "c"])
    b = socotra.webhook(URL, name="b", eventTypes=["c"], enabled=False)
    c = socotra.webhook(URL, name="a", eventTypes=["a_b"])
    native = tenant.subscribe(URL)

    def listed(**query: Any) -> tuple[list[Any], bool]:
        answer = socotra.ask("GET", "/webhooks/list", params=query)
        return answer["items"], answer["listCompleted"]

    for query, expected in (
        ({}, ([a, b, c], True)),
        ({"count": 2}, ([a, b], False)),
        ({"offset": 2, "count": 1}, ([c], True)),
        ({"offset": 3}, ([], True)),
        ({"name": "a"}, ([a, c], True)),
        ({"enabled": "false"}, ([b], True)),
        ({"suspended": "true"}, ([], True)),
        ({"suspended": "false", "name": "a", "count": 1}, ([a], False)),
        ({"active": "true"}, ([a, c], True)),
        ({"active": "false"}, ([b], True)),
        ({"eventTypes": ["c", "x"]}, ([a, b], True)),
        ({"eventTypes": "a_b"}, ([c], True)),
        ({"eventTypes": "b"}, ([], True)),
    ):
        assert listed(**query) == expected, query
    # What was made by another API is not in the list, and is found by its locator.
    shown = socotra.ask("GET", f"/webhooks/{hook_of(native)}")
    assert (shown["name"], shown["failureHandling"]["divert"]) == ("", True)
    (own,) = tenant.ask(200, "GET", "/v1/event_subscriptions", params={"page_size": 1})["data"]
    assert own["token"] == native


@pytest.mark.proves("socotra", "GET /webhooks/list")
def test_extended_tells_how_each_fares(socotra: Client, tenant: Tenant, received: Receiver) -> None:
    socotra.webhook(received.url, failureHandling={"divert": True})
    tenant.settled(tenant.post(), "delivered")
    received.status = 500
    failed = tenant.post()
    tenant.settled(failed, "failed")
    (one,) = socotra.ask("GET", "/webhooks/list", params={"extended": "true"})["items"]
    assert one["deliveries"] == {"delivered": 1, "failed": 1, "cancelled": 0, "diverted": 1}
    assert one["lastFailure"]["eventLocator"] == event_of(failed)
    assert one["lastFailure"]["failureMessage"] == "status 500"
    assert one["backlog"] == {"size": 0, "exact": True, "oldestTimestamp": None}
    plain = socotra.ask("GET", "/webhooks/list")["items"][0]
    assert set(one) - set(plain) == {"deliveries", "lastFailure", "backlog"}


@pytest.mark.proves("socotra", "GET /events/request/{locator}")
def test_events_are_found_by_their_request(socotra: Client, tenant: Tenant) -> None:
    uuid = "0190f0a0-0000-7000-8000-000000000001"
    locator = ids.spell_ulid(bytes.fromhex(uuid.replace("-", "")))
    named = [
        tenant.post(request_id=spelled)
        for spelled in (uuid, uuid.upper(), uuid.replace("-", ""), locator, locator.lower())
    ]
    tenant.post(request_id="something else")
    tenant.post(request_id=f"{uuid}0", metadata={"request_id": uuid})
    found = socotra.ask("GET", f"/events/request/{locator}")
    assert [one["locator"] for one in found] == [event_of(token) for token in named]
    assert {one["requestId"] for one in found} == {locator}
    assert socotra.ask("GET", f"/events/request/{NOWHERE}") == []
    # Its own id stands for a request that it does not name.
    alone = event_of(tenant.post())
    (one,) = socotra.ask("GET", f"/events/request/{alone}")
    assert (one["locator"], one["requestId"]) == (alone, alone)
    assert socotra.ask("GET", f"/events/request/{event_of(named[0])}") == []


@pytest.mark.proves("socotra", "GET /events/list")
def test_the_stream_is_read_on_and_on(socotra: Client, tenant: Tenant) -> None:
    events = [event_of(tenant.post("a" if n % 2 else "b")) for n in range(7)]

    def read(**query: Any) -> tuple[list[str], str]:
        page = socotra.ask("GET", "/events/list", params=query)
        return [one["locator"] for one in page["events"]], page["pagingToken"]

    found, token = read(pageSize=3)
    assert found == events[:3]
    found, token = read(pagingToken=token)
    assert found == events[3:6]
    found, token = read(pagingToken=token)
    assert found == events[6:]
    assert read(pagingToken=token)[0] == []
    later = event_of(tenant.post("b"))
    assert read(pagingToken=token)[0] == [later]
    found, token = read(type="a", pageSize=2)
    assert found == [events[1], events[3]]
    assert read(pagingToken=token)[0] == [events[5]], "what was asked for stays so"
    shown = [socotra.ask("GET", f"/events/{one}") for one in events]
    times = [one["timestamp"] for one in shown]
    assert times == sorted(times)
    assert read(startTimestamp=times[2], endTimestamp=times[4])[0] == events[2:4]
    assert read(endTimestamp=times[0])[0] == []


def test_users_and_payloads_of_all_kinds_have_their_place(socotra: Client, tenant: Tenant) -> None:
    def shown(**event: Any) -> Any:
        return socotra.ask("GET", f"/events/{event_of(tenant.post(**event))}")

    assert shown()["userLocator"] == socotra.tenant
    assert shown(user=STRANGE)["userLocator"] == STRANGE
    made = shown(user="u_1")["userLocator"]
    assert made == shown(user="u_1")["userLocator"] != shown(user="u_2")["userLocator"]
    assert shown(payload=[1, 2])["data"] == {"value": [1, 2]}
    headers = {
        "ce-id": "1",
        "ce-source": "/s",
        "ce-specversion": "1.0",
        "ce-type": "t",
        "content-type": "text/plain",
    }
    token = tenant.ask(202, "POST", "/v1/events", content=b"text", headers=headers)["token"]
    data = socotra.ask("GET", f"/events/{event_of(token)}")["data"]
    assert data == {"base64": "dGV4dA=="}


@pytest.mark.proves("socotra", "POST /auth/users/tokens")
def test_a_token_holds_its_tenants_and_permissions_until_it_expires(
    site: Site, tenant: Tenant, stranger: Tenant
) -> None:
    tenants = [one.project.removeprefix("prj_") for one in (tenant, stranger)]
    expires = (datetime.now(UTC) + timedelta(seconds=2)).isoformat().replace("+00:00", "Z")
    asked: dict[str, Any] = {
        "name": "robot",
        "expiresAt": expires,
        "permissions": ["events.read", "events.list"],
        "tenants": tenants,
    }
    made = create_token(site, **asked)
    assert made.status_code == 200, made.text
    answer = made.json()
    token = answer.pop("token")
    assert answer == asked
    held = tenant.post(), stranger.post()
    clients = [Client(site.url, token, one) for one in tenants]
    for own, other in itertools.permutations((0, 1)):
        found = clients[own].ask("GET", "/events/list")["events"]
        assert [one["locator"] for one in found] == [event_of(held[own])]
        clients[own].refused(404, "GET", f"/events/{event_of(held[other])}")
        clients[own].refused(403, "GET", f"/webhooks/{NOWHERE}")
    third = Client(site.url, token, site.tenant().project.removeprefix("prj_"))
    third.refused(403, "GET", "/events/list")
    assert tenant.http.get("/v1/events", headers={"authorization": token}).status_code == 403
    eventually(lambda: clients[0].send("GET", "/events/list").status_code, lambda one: one == 401)
    for one in (*clients, third):
        one.close()
