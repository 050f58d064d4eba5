"""Stedi's API on a real server, asked as its own client asks."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support.program import ADMIN_KEY
from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, eventually
from tests.support.stedi import VERSION, Client

CARD, DISPUTE = "card.created", "dispute.updated"
NOWHERE = "https://127.0.0.1:9/closed"
RESOURCE = {"id": "enr_1", "type": "enrollment"}
UNKNOWN = "01920000-0000-7000-8000-000000000000"
EVENTS, DESTINATIONS = "/events", "/destinations"


@pytest.fixture
def stedi(site: Site, tenant: Tenant) -> Iterator[Client]:
    """Have the vendor's client in a project."""
    made = Client(site.url, site.key(tenant.project, api="stedi"))
    yield made
    made.close()


def status(stedi: Client, event: str, wanted: str) -> Any:
    """Wait until an event has a status; return it."""
    return eventually(
        lambda: stedi.ask("GET", f"{EVENTS}/{event}"), lambda found: found["status"] == wanted
    )


def of(path: str, token: str) -> str:
    return f"{DESTINATIONS}/{token}{path}"


@pytest.mark.proves("stedi", "GET /events/{eventId}")
def test_an_event_is_thin_and_names_its_resource(stedi: Client, tenant: Tenant) -> None:
    related = [{"id": "doc_1", "type": "enrollment.document"}]
    event = tenant.post(
        "enrollment.activated", {"n": 1}, resource=RESOURCE, related_resources=related
    )
    found = stedi.ask("GET", f"{EVENTS}/{event}")
    uuid = tenant.project.removeprefix("prj_")
    created = tenant.ask(200, "GET", f"/v1/events/{event}")["created"]
    assert found == {
        "id": event,
        "createdAt": f"{created[:19]}Z",
        "eventType": "enrollment.activated",
        "status": "DELIVERED",
        "eventPayload": {
            "v1Event": {
                "account": uuid,
                "created": f"{created[:23]}Z",
                "environment": "TEST",
                "id": event,
                "object": "v1.event",
                "resource": RESOURCE,
                "relatedResources": related,
                "type": "enrollment.activated",
            }
        },
    }
    bare = stedi.ask("GET", f"{EVENTS}/{tenant.post()}")["eventPayload"]["v1Event"]
    assert bare["resource"] == {"id": bare["id"], "type": "event"}
    assert "relatedResources" not in bare


def test_the_version_may_be_left_out_and_the_key_stand_alone(site: Site, tenant: Tenant) -> None:
    event = tenant.post()
    for scheme in ("Key ", "key ", "", "Bearer "):
        for base in (VERSION, ""):
            by = Client(site.url, site.key(tenant.project, api="stedi"), scheme=scheme, base=base)
            assert by.ask("GET", f"{EVENTS}/{event}")["id"] == event
            assert by.ask("GET", DESTINATIONS) == {"items": []}
            by.close()


def test_an_admin_key_names_the_project(site: Site, stedi: Client, tenant: Tenant) -> None:
    made = stedi.create(NOWHERE)["id"]
    admin = Client(site.url, ADMIN_KEY)
    named = {"waypost-project": tenant.project}
    assert admin.ask("GET", of("", made), headers=named)["id"] == made
    assert admin.refused("GET", of("", made), 404)[0] == "NotFoundException"
    admin.close()


def test_live_and_test_are_two_accounts(site: Site, stedi: Client, tenant: Tenant) -> None:
    live = site.tenant(environment="production")
    other = Client(site.url, site.key(live.project, api="stedi"))
    event = live.post()
    shown = other.ask("GET", f"{EVENTS}/{event}")["eventPayload"]["v1Event"]
    assert (shown["environment"], shown["account"]) == ("PRODUCTION", live.project[4:])
    assert stedi.refused("GET", f"{EVENTS}/{event}", 404) == ("NotFoundException", [])
    token = other.create(NOWHERE)["id"]
    for path in ("", "/secret"):
        assert stedi.refused("GET", of(path, token), 404) == ("NotFoundException", [])
    assert stedi.refused("DELETE", of("", token), 404) == ("NotFoundException", [])
    assert stedi.ask("GET", DESTINATIONS) == {"items": []}
    other.close()


def test_a_destination_is_sent_what_the_event_says_and_how_often_it_was_tried(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    made = stedi.create(received.url, CARD)
    tenant.post(DISPUTE)
    event = tenant.post(CARD, {"secret": "payload"}, resource=RESOURCE)
    (request,) = received.wait_for(1)
    shown = status(stedi, event, "DELIVERED")
    assert json.loads(request.body) == shown["eventPayload"]["v1Event"]
    assert b"secret" not in request.body
    headers = request.headers
    assert headers["event-id"] == event
    assert headers["destination-id"] == made["id"]
    assert headers["webhook-id"] == f"msg_{event[4:]}"
    assert (headers["attempt-number"], headers["attempt-type"]) == ("1", "AUTOMATIC")
    created = datetime.fromisoformat(shown["eventPayload"]["v1Event"]["created"])
    assert int(headers["webhook-timestamp"]) == int(created.timestamp())
    Webhook(made["signingSecret"]).verify(request.body, headers)
    assert stedi.ask("GET", of("", made["id"]))["lastDeliveryTime"] >= made["createdAt"]
    (attempt,) = tenant.ask(200, "GET", f"/v1/events/{event}/attempts")["data"]
    seen = tenant.ask(200, "GET", f"/v1/events/{event}/attempts/{attempt['token']}")
    assert seen["request_headers"] == {**headers, "webhook-signature": "***"}
    native = f"/v1/events/{event}/event_subscriptions/ep_{made['id'][4:]}/resend"
    tenant.ask(202, "POST", native)
    again = received.wait_for(2)[1]
    assert (again.headers["attempt-number"], again.headers["attempt-type"]) == ("1", "MANUAL")
    assert again.headers["webhook-id"] == headers["webhook-id"]
    assert again.body == request.body


def test_the_timestamp_may_be_that_of_the_attempt(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    made = stedi.create(received.url)
    event = tenant.post()
    created = int(received.wait_for(1)[0].headers["webhook-timestamp"])
    native = f"/v1/event_subscriptions/ep_{made['id'][4:]}"
    url = {"url": received.url}
    tenant.ask(200, "PATCH", native, json={**url, "format": "stedi_attempt_time"})
    while time.time() < created + 1:
        tenant.ask(200, "GET", native)
    tenant.ask(202, "POST", f"/v1/events/{event}{native[3:]}/resend")
    again = received.wait_for(2)[1]
    assert int(again.headers["webhook-timestamp"]) > created
    Webhook(made["signingSecret"]).verify(again.body, again.headers)


@pytest.mark.proves("stedi", "GET /events/{eventId}")
def test_the_status_is_over_all_destinations(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    good = stedi.create(received.url)["id"]
    assert status(stedi, tenant.post(), "DELIVERED")
    bad = stedi.create(NOWHERE)["id"]
    event = tenant.post()
    assert stedi.ask("GET", f"{EVENTS}/{event}")["status"] == "PENDING"
    native = {"url": NOWHERE, "failure_handling": {}, "retry_schedule": []}
    tenant.ask(200, "PATCH", f"/v1/event_subscriptions/ep_{bad[4:]}", json=native)
    given_up = tenant.post()
    status(stedi, given_up, "FAILED")
    listed = stedi.ask("GET", EVENTS, params={"status": ["FAILED", "PENDING"]})["items"]
    assert [(one["id"], one["status"]) for one in listed] == [
        (given_up, "FAILED"),
        (event, "PENDING"),
    ]
    stedi.ask("POST", of("", bad), json={"status": "DISABLED"})
    status(stedi, event, "FAILED")
    assert [one["id"] for one in stedi.list_all(DESTINATIONS, status="ENABLED")] == [good]
    tenant.ask(200, "PATCH", f"/v1/event_subscriptions/ep_{bad[4:]}", json={"url": received.url})
    stedi.ask("POST", of("", bad), json={"status": "ENABLED"})
    tenant.ask(202, "POST", f"/v1/events/{given_up}/event_subscriptions/ep_{bad[4:]}/resend")
    status(stedi, given_up, "DELIVERED")


@pytest.mark.proves("stedi", "GET /events")
def test_events_are_listed_by_every_filter(stedi: Client, tenant: Tenant) -> None:
    tokens = [tenant.post(CARD if n % 2 else DISPUTE) for n in range(5)][::-1]
    moments = [tenant.ask(200, "GET", f"/v1/events/{token}")["created"] for token in tokens]

    def listed(**params: Any) -> list[str]:
        return [one["id"] for one in stedi.list_all(EVENTS, **params)]

    assert listed() == listed(pageSize=2) == listed(pageSize=1000) == tokens
    assert listed(eventType=CARD) == listed(eventType=CARD, pageSize=1) == tokens[1::2]
    assert listed(eventType="nothing.such") == listed(eventType="no type\0") == []
    assert listed(eventId=tokens[2]) == [tokens[2]]
    assert listed(eventId=f"evt_{UNKNOWN}") == listed(eventId=f"msg_{UNKNOWN}") == []
    assert listed(status="DELIVERED", eventType=DISPUTE) == tokens[::2]
    assert listed(status=["PENDING", "FAILED"]) == []
    assert listed(created=f"gt:{moments[2]}") == tokens[:2]
    assert listed(created=f"gte:{moments[2]}") == tokens[:3]
    assert listed(created=f"lt:{moments[2]}") == tokens[3:]
    assert listed(created=f"lte:{moments[2]}") == tokens[2:]
    between = [f"gt:{moments[3]}", f"lt:{moments[0]}"]
    assert listed(created=between) == listed(created=between, pageSize=1) == tokens[1:3]
    ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert listed(created=f"gt:{ahead}") == []
    summary = stedi.ask("GET", EVENTS)["items"][0]
    assert set(summary) == {"id", "createdAt", "eventType", "status"}


@pytest.mark.proves(
    "stedi",
    "POST /destinations",
    "GET /destinations/{destinationId}",
    "POST /destinations/{destinationId}",
    "DELETE /destinations/{destinationId}",
)
def test_a_destination_is_made_read_changed_and_deleted(stedi: Client) -> None:
    made = stedi.create(NOWHERE, CARD, DISPUTE, description="D", concurrencyLimit=7)
    secret = made.pop("signingSecret")
    assert stedi.ask("GET", of("", made["id"])) == made
    assert stedi.ask("GET", of("/secret", made["id"])) == {"signingSecret": secret}
    assert (made["status"], made["description"], made["concurrencyLimit"]) == ("ENABLED", "D", 7)
    assert "lastDeliveryTime" not in made
    assert stedi.ask("POST", of("", made["id"]), json={})["name"] == "Mine"
    assert stedi.ask("POST", of("", made["id"]))["name"] == "Mine"
    for change in (
        {"name": "Other"},
        {"description": ""},
        {"destinationUrl": f"{NOWHERE}/2"},
        {"eventTypes": [DISPUTE]},
        {"concurrencyLimit": 20},
        {"status": "DISABLED"},
    ):
        changed = stedi.ask("POST", of("", made["id"]), json=change)
        made |= {**change, "updatedAt": changed["updatedAt"]}
        assert changed == made == stedi.ask("GET", of("", made["id"]))
    bare = stedi.create(NOWHERE)
    assert (bare["description"], bare["concurrencyLimit"]) == ("", 5)
    for _ in range(2):
        assert stedi.ask("DELETE", of("", made["id"]), 204) is None
    for path in ("", "/secret"):
        stedi.refused("GET", of(path, made["id"]), 404)
    stedi.refused("POST", of("", made["id"]), 404, json={"name": "n"})
    assert [one["id"] for one in stedi.ask("GET", DESTINATIONS)["items"]] == [bare["id"]]


@pytest.mark.proves("stedi", "GET /destinations")
def test_destinations_are_listed_by_every_filter(stedi: Client, tenant: Tenant) -> None:
    tenant.subscribe(NOWHERE)
    tokens = [
        stedi.create(NOWHERE, *types, status=state)["id"]
        for types, state in (
            ((CARD,), "ENABLED"),
            ((CARD, DISPUTE), "DISABLED"),
            ((DISPUTE,), "ENABLED"),
        )
    ][::-1]

    def listed(**params: Any) -> list[str]:
        return [one["id"] for one in stedi.list_all(DESTINATIONS, **params)]

    assert listed() == listed(pageSize=1) == listed(pageSize=2) == tokens
    assert listed(status="ENABLED") == listed(status="ENABLED", pageSize=1) == tokens[::2]
    assert listed(eventType=CARD) == tokens[1:]
    assert listed(eventType=DISPUTE, status="DISABLED") == tokens[1:2]
    assert listed(eventType="x") == []


@pytest.mark.proves("stedi", "POST /destinations/{destinationId}")
def test_a_disabled_destination_is_sent_nothing_until_it_is_enabled(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    made = stedi.create(received.url, status="DISABLED")["id"]
    tenant.post()
    stedi.ask("POST", of("", made), json={"status": "ENABLED"})
    event = tenant.post()
    assert received.wait_for(1)[0].headers["event-id"] == event
    native = f"/v1/event_subscriptions/ep_{made[4:]}"
    tenant.ask(200, "POST", f"{native}/pause")
    assert stedi.ask("GET", of("", made))["status"] == "DISABLED"
    waiting = tenant.post()
    assert stedi.ask("POST", of("", made), json={"status": "ENABLED"})["status"] == "ENABLED"
    assert received.wait_for(2)[1].headers["event-id"] == waiting


def test_more_attempts_than_the_limit_are_never_open(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    received.gate.clear()
    stedi.create(received.url, concurrencyLimit=2)
    events = [tenant.post() for _ in range(4)]
    received.wait_for(2)
    for event in events:
        tenant.ask(200, "GET", f"/v1/events/{event}")
    assert len(received.requests) == 2
    received.gate.set()
    received.wait_for(4)


@pytest.mark.proves(
    "stedi",
    "GET /destinations/{destinationId}/secret",
    "POST /destinations/{destinationId}/secret/rotate",
)
def test_a_rotated_secret_is_good_beside_the_new_one(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    made = stedi.create(received.url)
    first = made["signingSecret"]
    asked = datetime.now(UTC)
    rotated = stedi.ask("POST", of("/secret/rotate", made["id"]))
    expires = datetime.fromisoformat(rotated["previousSecretExpiresAt"])
    assert abs(expires - asked - timedelta(hours=24)) < timedelta(minutes=2)
    assert rotated["signingSecret"] != first
    assert stedi.ask("GET", of("/secret", made["id"])) == rotated
    tenant.post()
    (request,) = received.wait_for(1)
    for secret in (first, rotated["signingSecret"]):
        Webhook(secret).verify(request.body, request.headers)
    name, _ = stedi.refused("POST", of("/secret/rotate", made["id"]), 409, json={})
    assert name == "ConflictException"
    assert stedi.ask("GET", of("/secret", made["id"])) == rotated


@pytest.mark.proves("stedi", "POST /destinations/{destinationId}/secret/rotate")
def test_a_secret_may_be_replaced_at_once(
    stedi: Client, tenant: Tenant, received: Receiver
) -> None:
    made = stedi.create(received.url)
    body = {"previousSecretExpiryHours": 0}
    for _ in range(2):
        rotated = stedi.ask("POST", of("/secret/rotate", made["id"]), json=body)
    held = stedi.ask("GET", of("/secret", made["id"]))
    assert held == {"signingSecret": rotated["signingSecret"]}
    tenant.post()
    (request,) = received.wait_for(1)
    Webhook(rotated["signingSecret"]).verify(request.body, request.headers)
    assert len(request.headers["webhook-signature"].split()) == 1
    body = {"previousSecretExpiryHours": 720}
    kept = stedi.ask("POST", of("/secret/rotate", made["id"]), json=body)
    assert kept["previousSecretExpiresAt"] > rotated["previousSecretExpiresAt"]


def test_the_same_request_under_a_key_is_answered_as_before(stedi: Client) -> None:
    made = stedi.create(NOWHERE, key="k1")
    assert stedi.create(NOWHERE, key="k1") == made
    assert len(stedi.ask("GET", DESTINATIONS)["items"]) == 1
    path, key = of("", made["id"]), {"idempotency-key": "k2"}
    changed = stedi.ask("POST", path, json={"name": "A"}, headers=key)
    stedi.ask("POST", path, json={"name": "B"})
    assert stedi.ask("POST", path, json={"name": "A"}, headers=key) == changed
    assert stedi.ask("GET", path)["name"] == "B"
    conflict: tuple[str, list[str]] = ("ConflictException", [])
    assert stedi.refused("POST", path, 409, json={"name": "C"}, headers=key) == conflict
    key = {"idempotency-key": "k3"}
    rotated = stedi.ask("POST", f"{path}/secret/rotate", headers=key)
    assert stedi.ask("POST", f"{path}/secret/rotate", headers=key) == rotated
    assert stedi.refused("POST", f"{path}/secret/rotate", 409) == conflict
    key = {"idempotency-key": "k4"}
    for _ in range(2):
        stedi.ask("DELETE", path, 204, headers=key)
    assert stedi.refused("DELETE", of("", f"dst_{UNKNOWN}"), 409, headers=key) == conflict


def test_of_many_under_one_key_one_is_done(site: Site, stedi: Client, tenant: Tenant) -> None:
    key = site.key(tenant.project, api="stedi")
    body = {"name": "n", "destinationUrl": NOWHERE, "eventTypes": [CARD]}

    def create(_: int) -> int:
        by = Client(site.url, key)
        headers = {"idempotency-key": "one"}
        answer = by.http.post(DESTINATIONS, json=body, headers=headers).status_code
        by.close()
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(create, range(16)))
    assert set(answers) <= {201, 409}
    assert 201 in answers
    assert len(stedi.ask("GET", DESTINATIONS)["items"]) == 1


@pytest.mark.proves("stedi", "POST /destinations")
def test_there_are_sixteen_destinations_at_most(stedi: Client, tenant: Tenant) -> None:
    tenant.subscribe(NOWHERE)
    tokens = [stedi.create(NOWHERE)["id"] for _ in range(16)]
    body = {"name": "n", "destinationUrl": NOWHERE, "eventTypes": [CARD]}
    name = "EventDestinationsLimitExceededException"
    assert stedi.refused("POST", DESTINATIONS, 403, json=body) == (name, [])
    assert len(stedi.ask("GET", DESTINATIONS)["items"]) == 16
    stedi.ask("DELETE", of("", tokens[0]), 204)
    stedi.create(NOWHERE)
