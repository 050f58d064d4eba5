"""Sources on a real server: webhooks of others come in, are verified, kept and delivered."""

import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant

SOURCES = "/v1/sources"
SIGNED = {"type": "hmac", "header": "X-Sig", "secret": "s"}


def made(tenant: Tenant, **settings: Any) -> dict[str, Any]:
    body = {"name": "s", **settings}
    source: dict[str, Any] = tenant.ask(201, "POST", SOURCES, json=body)
    return source


def send(source: dict[str, Any], body: bytes = b'{"a": 1.10}', **options: Any) -> httpx.Response:
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    return httpx.post(source["url"], content=body, headers=headers, **options)


def latest(tenant: Tenant) -> dict[str, Any]:
    event: dict[str, Any] = tenant.ask(200, "GET", "/v1/events")["data"][0]
    return event


def test_what_comes_in_is_verified_kept_and_delivered(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, filter={"headers": {"x-event": "push"}})
    source = made(tenant, verifier=SIGNED)
    body = b'{"a": 1.10}'
    signature = hmac.new(b"s", body, hashlib.sha256).hexdigest()
    answer = send(source, body, headers={"X-Sig": signature, "X-Event": "push", "Cookie": "c"})
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": True, "message": "Event received", "data": len(body)},
    )
    assert received.wait_for(1)[0].body == body
    event = latest(tenant)
    mask = source["url"].rpartition("/")[2]
    assert (event["event_type"], event["source"]) == (mask, source["token"])
    assert event["headers"]["x-event"] == "push"
    assert "cookie" not in event["headers"]
    # What is not signed, or not so, leaves no trace.
    for headers in ({}, {"X-Sig": signature[:-1] + "x"}):
        refused = send(source, body, headers=headers)
        assert (refused.status_code, refused.json()) == (
            400,
            {"status": False, "message": "Request verification failed"},
        )
    assert latest(tenant) == event


def test_a_repeated_key_is_taken_in_once(tenant: Tenant) -> None:
    places = ["request.body.id", "request.header.x-part", "request.query.v"]
    source = made(tenant, idempotency_keys=places)
    answers = [
        send(source, b'{"id":1,"at":%d}' % n, headers={"x-part": "a"}, params={"v": "2"}).json()
        for n in range(2)
    ]
    assert [answer["message"] for answer in answers] == [
        "Event received",
        "Duplicate event received, but will not be sent",
    ]
    assert len(tenant.ask(200, "GET", "/v1/events")["data"]) == 1
    details = tenant.ask(200, "GET", f"/v1/events/{latest(tenant)['token']}")
    assert len(details["receipts"]) == 1
    assert "request.query.v" in send(source, b"{}").json()["message"]


def test_it_answers_in_its_own_words(tenant: Tenant) -> None:
    source = made(tenant, custom_response={"body": "<b>ok</b>", "content_type": "text/html"})
    answer = send(source)
    assert (answer.status_code, answer.text) == (200, "<b>ok</b>")
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_a_challenge_is_answered(tenant: Tenant) -> None:
    source = made(tenant, verifier={"type": "twitter", "secret": "Convoy"})
    answer = httpx.get(source["url"], params={"crc_token": "uzwcfYtzr9"})
    assert answer.json() == {
        "response_token": "sha256=HXvxTdsfShG6k2zC9NVANwFquJBdOugRYHax2vNiiOo="
    }
    assert tenant.ask(200, "GET", f"{SOURCES}/{source['token']}")["challenged"] is not None
    for query in ({}, {"crc_token": "{}"}):
        assert httpx.get(source["url"], params=query).status_code == 400


def test_what_is_refused(site: Site, tenant: Tenant) -> None:
    source = made(tenant, max_bytes=20)
    form = {"content-type": "application/x-www-form-urlencoded"}

    def chunked() -> Any:
        yield b'{"a": "'
        yield b"x" * 30 + b'"}'

    nowhere = {"url": f"{site.url}/ingest/{'0' * 32}"}
    cases = [
        (send(source, b"{"), 400, "body"),
        (send(source, b"a=%ff", headers=form), 400, "body"),
        (send(source, b'{"a":"%b"}' % (b"x" * 20)), 413, "larger than 20 bytes"),
        (httpx.post(source["url"], content=chunked()), 413, "larger than 20 bytes"),
        (send(source, headers={"content-encoding": "gzip"}), 415, "Content-Encoding"),
        (send(nowhere), 404, "Resource not found"),
        (httpx.get(source["url"], params={"crc_token": "a"}), 400, "no challenge"),
        (httpx.put(source["url"]), 405, ""),
    ]
    for answer, status, message in cases:
        assert answer.status_code == status, answer.text
        assert answer.json()["status"] is False
        assert message in answer.json()["message"]
    tenant.ask(200, "PATCH", f"{SOURCES}/{source['token']}", json={"disabled": True})
    assert send(source).json()["message"] == "Source is disabled"
    tenant.ask(204, "DELETE", f"{SOURCES}/{source['token']}")
    assert send(source).status_code == 404
    assert tenant.ask(200, "GET", "/v1/events")["data"] == []


@pytest.mark.proves("native", "POST /v1/sources/{source_token}/events")
def test_events_are_posted_under_a_source_with_a_key(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url)
    source = made(tenant, type="rest_api")
    path = httpx.URL(source["url"]).path
    body = {"event_type": "a.b", "payload": {"n": 1}, "idempotency_key": "k"}
    first = tenant.ask(202, "POST", path, json=body)
    again = tenant.ask(202, "POST", path, json=body)
    assert (again["token"], again["duplicate"]) == (first["token"], True)
    assert json.loads(received.wait_for(1)[0].body) == {"n": 1}
    assert latest(tenant)["source"] == source["token"]
    assert tenant.refused(400, "POST", path, json={"event_type": "a b", "payload": 1}) == [
        "event_type"
    ]
    http = made(tenant)
    assert tenant.refused(422, "POST", f"{SOURCES}/{http['token']}/events", json=body) == []
    mask = {"url": f"{tenant.url}/ingest/{'f' * 32}"}
    assert send(mask).status_code == 404


@pytest.mark.parametrize(
    "settings, path",
    [
        ({"verifier": {**SIGNED, "secret": ""}}, "verifier.secret"),
        ({"event_type_location": "x"}, "event_type_location"),
        ({"idempotency_keys": ["request.body"]}, "idempotency_keys[0]"),
    ],
)
def test_what_can_not_be_obeyed_is_refused_when_it_is_set(
    tenant: Tenant, settings: dict[str, Any], path: str
) -> None:
    assert tenant.refused(422, "POST", SOURCES, json={"name": "s", **settings}) == [path]
    source = made(tenant)
    one = f"{SOURCES}/{source['token']}"
    assert tenant.refused(422, "PATCH", one, json=settings) == [path]
    assert tenant.ask(200, "GET", one) == source


def test_secrets_are_shown_to_those_who_may_set_them(site: Site, tenant: Tenant) -> None:
    source = made(tenant, verifier=SIGNED)
    assert source["verifier"]["secret"] == "s"
    key = site.key(tenant.project, scopes=["sources.read"])
    headers = {"authorization": key}
    url = f"{site.url}{SOURCES}/{source['token']}"
    assert httpx.get(url, headers=headers).json()["verifier"]["secret"] == "***"
    assert httpx.delete(url, headers=headers).status_code == 403
