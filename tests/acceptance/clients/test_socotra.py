"""Socotra's API on a real server: receivers that fail, what is diverted, and who may do what."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority
from tests.support.receiver import Receiver, receiver
from tests.support.site import Tenant, eventually
from tests.support.socotra import Client
from waypost.model import ids

KIND = "card.created"
DEFAULT = {
    "alertEndpoint": None,
    "divert": False,
    "retryStrategy": None,
    "suspend": False,
    "triggers": ["4xx", "5xx", "timeout"],
}


def ulid_of(kind: str, token: str) -> str:
    return ids.spell_ulid(ids.read(kind, token))


def event_of(token: str) -> str:
    return ulid_of(ids.EVENT, token)


@pytest.fixture
def alerted() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


def diverted(socotra: Client, hook: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until so much is diverted of a webhook."""
    path = f"/webhooks/{hook}/diverted"
    found: list[dict[str, Any]] = eventually(
        lambda: socotra.ask("GET", path), lambda rows: len(rows) == count
    )
    return found


@pytest.mark.proves("socotra", "POST /webhooks", "GET /events/{locator}")
def test_a_webhook_gets_the_event_as_the_stream_shows_it(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    endpoint = {
        "headers": {"X-Team": ["ops", "dev"], "X-One": ["1"]},
        "hmacEnabled": True,
        "secret": "geheim",
        "tag": "v1",
    }
    made = socotra.webhook(received.url, endpoint=endpoint)
    assert made["endpoint"] == {"url": received.url, "secureSsl": True, **endpoint}
    assert made["failureHandling"] == DEFAULT
    token = tenant.post(payload={"n": 1.10}, user="u_1", request_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    (request,) = received.wait_for(1)
    shown = socotra.send("GET", f"/events/{event_of(token)}")
    assert request.body == shown.content
    assert shown.json()["data"] == {"n": 1.10}
    assert shown.json()["requestId"] == "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    signature = hmac.new(b"geheim", request.body, hashlib.sha256).hexdigest()
    assert request.headers["socotra-signature"] == signature
    assert (request.headers["x-team"], request.headers["x-one"]) == ("ops, dev", "1")
    assert socotra.ask("GET", f"/webhooks/{made['locator']}") == made


def test_without_hmac_nothing_is_signed_and_with_it_a_secret_is_made(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    made = socotra.webhook(received.url)
    assert made["endpoint"]["secret"] is None
    tenant.post()
    assert "socotra-signature" not in received.wait_for(1)[0].headers
    path = f"/webhooks/{made['locator']}"
    changed = socotra.ask("PATCH", path, json={"endpoint": {"hmacEnabled": True}})
    secret = changed["endpoint"]["secret"]
    tenant.post()
    request = received.wait_for(2)[1]
    signature = hmac.new(secret.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["socotra-signature"] == signature
    again = socotra.ask("PATCH", path, json={"endpoint": {"secret": "other", "tag": "t2"}})
    assert (again["endpoint"]["secret"], again["endpoint"]["tag"]) == ("other", "t2")
    tenant.post()
    request = received.wait_for(3)[2]
    signature = hmac.new(b"other", request.body, hashlib.sha256).hexdigest()
    assert request.headers["socotra-signature"] == signature


@pytest.mark.proves(
    "socotra",
    "GET /webhooks/{webhookLocator}/diverted",
    "GET /webhooks/{webhookLocator}/diverted/{eventLocator}",
    "POST /webhooks/{webhookLocator}/diverted/{eventLocator}/resend",
    "DELETE /webhooks/{webhookLocator}/diverted/{eventLocator}",
)
def test_what_fails_is_diverted_resent_and_deleted(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    received.status, received.body = 503, b"down"
    hook = socotra.webhook(received.url, failureHandling={"divert": True})["locator"]
    events = [event_of(tenant.post()) for _ in range(3)]
    rows = diverted(socotra, hook, 3)
    assert sorted(row["eventLocator"] for row in rows) == sorted(events)
    assert [row["failureTimestamp"] for row in rows] == sorted(
        row["failureTimestamp"] for row in rows
    )
    path = f"/webhooks/{hook}/diverted"
    one = socotra.ask("GET", f"{path}/{events[0]}")
    assert one["requestLocator"] == one["eventLocator"] == events[0]
    assert (one["failureTrigger"], one["failureMessage"]) == ("5xx", "status 503: down")
    assert socotra.ask("GET", path, params={"offset": 1, "count": 1}) == rows[1:2]
    assert socotra.ask("GET", path, params={"offset": 3}) == []
    # It fails again: the same record with its new failure.
    assert socotra.ask("POST", f"{path}/{events[0]}/resend") == {}
    again = eventually(
        lambda: [row for row in socotra.ask("GET", path) if row["eventLocator"] == events[0]]
    )
    assert again[0]["failureTimestamp"] > one["failureTimestamp"]
    received.status = 200
    assert socotra.ask("POST", f"{path}/{events[0]}/resend") == {}
    assert json.loads(received.wait_for(5)[4].body)["locator"] == events[0]
    assert socotra.ask("DELETE", f"{path}/{events[1]}") == {}
    assert [row["eventLocator"] for row in diverted(socotra, hook, 1)] == [events[2]]
    for method, place in (
        ("GET", events[1]),
        ("DELETE", events[1]),
        ("POST", f"{events[0]}/resend"),
    ):
        assert socotra.refused(404, method, f"{path}/{place}") == []


def test_only_triggers_count(socotra: Client, tenant: Tenant, received: Receiver) -> None:
    handling = {"divert": True, "triggers": ["404", "4xx"]}
    hook = socotra.webhook(received.url, failureHandling=handling)["locator"]
    found = {}
    for status in (404, 418, 500):
        received.status = status
        token = tenant.post()
        found[event_of(token)] = status
        tenant.settled(token, "failed")
    rows = diverted(socotra, hook, 2)
    assert {found[row["eventLocator"]]: row["failureTrigger"] for row in rows} == {
        404: "404",
        418: "4xx",
    }


def test_a_receiver_that_is_away_is_a_timeout(socotra: Client, tenant: Tenant) -> None:
    hook = socotra.webhook("http://127.0.0.1:9/", failureHandling={"divert": True})["locator"]
    tenant.post()
    (row,) = diverted(socotra, hook)
    assert row["failureTrigger"] == "timeout"
    assert "could not connect" in row["failureMessage"]


def test_any_certificate_will_do_without_secure_ssl(
    socotra: Client, tenant: Tenant, tmp_path: Path
) -> None:
    with receiver(Authority(tmp_path).serve("other.example.com", own=True)) as secure:
        made = socotra.webhook(secure.url, failureHandling={"divert": True})
        missed = event_of(tenant.post())
        (row,) = diverted(socotra, made["locator"])
        assert row["failureTrigger"] == "timeout"
        assert "certificate is not accepted" in row["failureMessage"]
        path = f"/webhooks/{made['locator']}"
        changed = socotra.ask("PATCH", path, json={"endpoint": {"secureSsl": False}})
        assert not changed["endpoint"]["secureSsl"]
        socotra.ask("POST", f"{path}/diverted/{missed}/resend")
        assert json.loads(secure.wait_for(1)[0].body)["locator"] == missed


def test_a_gone_receiver_is_a_failure_like_others(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    received.status = 410
    made = socotra.webhook(received.url, failureHandling={"divert": True})
    tenant.post()
    assert diverted(socotra, made["locator"])[0]["failureTrigger"] == "4xx"
    assert socotra.ask("GET", f"/webhooks/{made['locator']}")["enabled"]


def test_retries_grow_and_then_it_is_given_up(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    received.status = 500
    hooks = []
    for growth in ("linear", "exponential"):
        retry = {"type": growth, "interval": 1, "attempts": 1 if growth == "linear" else 2}
        handling = {"divert": True, "retryStrategy": retry}
        endpoint = {"url": f"{received.url}/{growth}"}
        made = socotra.webhook(received.url, endpoint=endpoint, failureHandling=handling)
        assert made["failureHandling"]["retryStrategy"] == retry
        hooks.append(made["locator"])
    tenant.post()
    for hook in hooks:
        diverted(socotra, hook)
    came = [one.at_s for one in received.requests if one.target.endswith("exponential")]
    assert len(received.requests) == 2 + 3
    assert came[1] - came[0] > 0.9
    assert came[2] - came[1] > 1.9


@pytest.mark.proves("socotra", "PATCH /webhooks/{webhookLocator}/unsuspend")
def test_a_suspended_webhook_diverts_until_it_is_unsuspended(
    socotra: Client, tenant: Tenant, received: Receiver, alerted: Receiver
) -> None:
    received.status = 500
    handling = {
        "divert": True,
        "suspend": True,
        "alertEndpoint": {
            "url": alerted.url,
            "hmacEnabled": True,
            "secret": "s",
            "headers": {"x-team": ["ops"]},
        },
    }
    made = socotra.webhook(received.url, failureHandling=handling)
    hook, path = made["locator"], f"/webhooks/{made['locator']}"
    first = event_of(tenant.post())
    (alert,) = alerted.wait_for(1)
    body = json.loads(alert.body)
    assert alert.headers["socotra-signature"] == (
        hmac.new(b"s", alert.body, hashlib.sha256).hexdigest()
    )
    assert alert.headers["x-team"] == "ops"
    assert (body["type"], body["userLocator"]) == ("delivery.failed", socotra.tenant)
    assert (body["data"]["webhookLocator"], body["data"]["eventLocator"]) == (hook, first)
    assert (body["data"]["diverted"], body["data"]["suspended"]) == (True, True)
    shown = eventually(lambda: socotra.ask("GET", path), lambda one: one["suspended"])
    assert shown["suspendedAt"] is not None
    second = event_of(tenant.post())
    rows = diverted(socotra, hook, 2)
    assert {row["eventLocator"]: row["failureTrigger"] for row in rows} == {
        first: "5xx",
        second: "suspended",
    }
    received.status = 200
    # Whoever asks for it while it is suspended gets it when it is not any more.
    assert socotra.ask("POST", f"{path}/diverted/{first}/resend") == {}
    assert [row["eventLocator"] for row in diverted(socotra, hook, 1)] == [second]
    for active, expected in ((True, []), (False, [hook])):
        listed = socotra.ask("GET", "/webhooks/list", params={"active": active})
        assert [one["locator"] for one in listed["items"]] == expected
    socotra.ask("PATCH", f"{path}/unsuspend")
    assert not socotra.ask("GET", path)["suspended"]
    assert json.loads(received.wait_for(2)[1].body)["locator"] == first
    assert len(diverted(socotra, hook, 1)) == 1, "what was diverted stays until it is resent"
    socotra.ask("POST", f"{path}/diverted/{second}/resend")
    assert json.loads(received.wait_for(3)[2].body)["locator"] == second
    tenant.post()
    received.wait_for(4)


def test_a_suspended_webhook_that_does_not_divert_skips(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    received.status = 500
    made = socotra.webhook(received.url, failureHandling={"suspend": True})
    path = f"/webhooks/{made['locator']}"
    tenant.settled(tenant.post(), "failed")
    eventually(lambda: socotra.ask("GET", path), lambda one: one["suspended"])
    tenant.settled(tenant.post(), "cancelled")
    assert diverted(socotra, made["locator"], 0) == []
