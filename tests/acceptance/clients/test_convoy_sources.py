"""Convoy's sources and endpoint authentication on a real server, from the outside."""

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver, receiver
from tests.support.site import Site, Tenant

BODY = b'{"action": "opened"}'
SECRET = "It's a Secret to Everybody"
PUB_SUB: dict[str, dict[str, Any]] = {
    "sqs": {
        "access_key_id": "a",
        "secret_key": "s",
        "default_region": "eu-west-1",
        "queue_name": "q",
    },
    "google": {"subscription_id": "s", "service_account": "e30=", "project_id": "p"},
    "kafka": {
        "brokers": ["k:9092"],
        "topic_name": "t",
        "auth": {"type": "scram", "hash": "SHA256", "username": "u", "password": "p", "tls": True},
    },
    "amqp": {
        "schema": "amqps",
        "host": "h",
        "port": "5672",
        "queue": "q",
        "auth": {"user": "u", "password": "p"},
        "bindExchange": {"exchange": "e"},
        "deadLetterExchange": "d",
    },
}


def created(convoy: Convoy, **settings: Any) -> dict[str, Any]:
    body = {"name": "s", "type": "http", **settings}
    source: dict[str, Any] = convoy.ask(201, "POST", "/sources", json=body)
    return source


def send(source: dict[str, Any], body: bytes = BODY, **headers: Any) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.post(source["url"], content=body, headers=named)


def subscribed(convoy: Convoy, url: str, **more: Any) -> str:
    """Make an endpoint, and a subscription of it; return the endpoint's id."""
    endpoint = convoy.ask(201, "POST", "/endpoints", json={"url": url, "name": "e"})
    body = {"name": "s", "endpoint_id": endpoint["uid"], **more}
    convoy.ask(201, "POST", "/subscriptions", json=body)
    return str(endpoint["uid"])


@pytest.mark.proves("convoy", "POST /sources", "GET /sources/{source_id}")
def test_a_source_is_made_and_shown(convoy: Convoy) -> None:
    verifier = {"type": "hmac", "hmac": {"header": "X-Sig", "hash": "SHA512", "secret": "s"}}
    made = created(convoy, verifier=verifier, custom_response={"body": "ok"})
    assert made | {"uid": "", "mask_id": "", "url": "", "created_at": "", "updated_at": ""} == {
        "uid": "",
        "project_id": convoy.project,
        "mask_id": "",
        "name": "s",
        "url": "",
        "type": "http",
        "provider": "",
        "is_disabled": False,
        "verifier": {
            "type": "hmac",
            "hmac": {"header": "X-Sig", "hash": "SHA512", "secret": "s", "encoding": "hex"},
            "basic_auth": None,
            "api_key": None,
        },
        "custom_response": {"body": "ok", "content_type": "text/plain"},
        "provider_config": None,
        "forward_headers": None,
        "pub_sub": None,
        "idempotency_keys": None,
        "event_type_location": "",
        "body_function": None,
        "header_function": None,
        "created_at": "",
        "updated_at": "",
        "deleted_at": None,
    }
    assert made["url"].endswith(f"/ingest/{made['mask_id']}")
    assert convoy.ask(200, "GET", f"/sources/{made['uid']}") == made


@pytest.mark.proves("convoy", "GET /sources")
def test_sources_are_listed(convoy: Convoy) -> None:
    created(convoy)
    created(convoy, name="other", type="rest_api")
    for query, names in (
        ({}, ["other", "s"]),
        ({"type": "rest_api"}, ["other"]),
        ({"q": "S"}, ["s"]),
        ({"provider": "github"}, []),
        ({"perPage": "1", "sort": "ASC"}, ["s"]),
    ):
        found = convoy.ask(200, "GET", "/sources", params=query)["content"]
        assert [one["name"] for one in found] == names
    assert convoy.ask(200, "GET", "")["statistics"]["sources_exist"] is True


@pytest.mark.proves("convoy", "PUT /sources/{source_id}", "DELETE /sources/{source_id}")
def test_a_source_is_changed_and_deleted(convoy: Convoy) -> None:
    made = created(convoy, custom_response={"body": "ok"})
    path = f"/sources/{made['uid']}"
    assert convoy.ask(200, "GET", path) == made
    changed = convoy.ask(202, "PUT", path, json={"name": "t", "type": "http", "is_disabled": True})
    # What is left out stays.
    assert changed == made | {
        "name": "t",
        "is_disabled": True,
        "updated_at": changed["updated_at"],
    }
    basic = {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p"}}
    body = {"name": "t", "type": "http", "verifier": basic, "custom_response": {"body": ""}}
    changed = convoy.ask(202, "PUT", path, json=body)
    assert changed["verifier"]["basic_auth"] == {"username": "u", "password": "p"}
    assert changed["custom_response"] == {"body": "", "content_type": ""}
    convoy.ask(200, "DELETE", path)
    for method in ("GET", "PUT", "DELETE"):
        given = {"json": body} if method == "PUT" else {}
        assert convoy.refused(404, method, path, **given) == "Resource not found"
    assert send(made).status_code == 404


@pytest.mark.proves("convoy", "POST /ingest/{mask}")
@pytest.mark.parametrize("provider", ["github", "shopify", "twitter"])
def test_webhooks_of_providers_come_in(convoy: Convoy, received: Receiver, provider: str) -> None:
    verifier = {"type": "hmac", "hmac": {"secret": SECRET}}
    source = created(convoy, provider=provider, verifier=verifier)
    assert source["provider"] == provider
    shown = source["verifier"]["hmac"]
    assert (shown["hash"], shown["secret"]) == ("SHA256", SECRET)
    other = created(convoy)
    subscribed(convoy, received.url, source_id=source["uid"])
    digest = hmac.digest(SECRET.encode(), BODY, hashlib.sha256)
    spelled = base64.b64encode(digest).decode() if provider != "github" else digest.hex()
    value = spelled if provider == "shopify" else f"sha256={spelled}"
    assert send(other).status_code == 200
    answer = send(source, BODY, x_event="push", **{shown["header"]: value})
    assert answer.json() == {"status": True, "message": "Event received", "data": len(BODY)}
    # Only what came in by the source is sent, with the headers that it came with.
    (request,) = received.wait_for(1)
    assert json.loads(request.body) == json.loads(BODY)
    assert request.headers["x-event"] == "push"
    assert request.headers["x-convoy-signature"]
    assert send(source, BODY, **{shown["header"]: value[:-1]}).json() == {
        "status": False,
        "message": "Request verification failed",
    }
    events = convoy.ask(200, "GET", "/events", params={"sourceId": source["uid"]})["content"]
    assert [one["source_id"] for one in events] == [source["uid"]]
    assert events[0]["source_metadata"]["name"] == "s"


@pytest.mark.proves("convoy", "GET /ingest/{mask}")
def test_a_challenge_is_answered_and_noted(convoy: Convoy) -> None:
    verifier = {"type": "hmac", "hmac": {"secret": "Convoy"}}
    source = created(convoy, provider="twitter", verifier=verifier)
    assert source["provider_config"] == {"twitter": {"crc_verified_at": None}}
    answer = httpx.get(source["url"], params={"crc_token": "uzwcfYtzr9"})
    wanted = "sha256=HXvxTdsfShG6k2zC9NVANwFquJBdOugRYHax2vNiiOo="
    assert answer.json() == {"response_token": wanted}
    found = convoy.ask(200, "GET", f"/sources/{source['uid']}")
    assert found["provider_config"]["twitter"]["crc_verified_at"] is not None


def test_the_project_says_how_long_a_body_may_be(convoy: Convoy) -> None:
    source = created(convoy)
    assert send(source, b'"%b"' % (b"x" * 51_198)).status_code == 200
    assert send(source, b'"%b"' % (b"x" * 51_199)).status_code == 413
    convoy.ask(202, "PUT", "", json={"name": "p", "config": {"max_payload_read_size": 20}})
    assert send(source, b'"%b"' % (b"x" * 18)).status_code == 200
    assert send(source, b'"%b"' % (b"x" * 19)).status_code == 413


def test_a_repetition_is_shown_as_an_event(convoy: Convoy) -> None:
    source = created(convoy, idempotency_keys=["request.body.id"])
    answers = [send(source, b'{"id":1,"n":%d}' % n).json()["message"] for n in range(2)]
    assert answers == ["Event received", "Duplicate event received, but will not be sent"]
    events = convoy.ask(200, "GET", "/events")["content"]
    assert sorted(one["is_duplicate_event"] for one in events) == [False, True]


@pytest.mark.proves("convoy", "POST /sources/{source_id}/events")
def test_events_are_posted_under_a_source(convoy: Convoy, received: Receiver) -> None:
    source = created(convoy, type="rest_api")
    subscribed(convoy, received.url, source_id=source["uid"])
    path = f"/sources/{source['uid']}/events"
    body = {"event_type": "a.b", "data": {"n": 1}, "idempotency_key": "k"}
    first = convoy.ask(201, "POST", path, json=body)
    again = convoy.ask(201, "POST", path, json=body | {"data": 2})
    assert again["uid"] == first["uid"]
    assert json.loads(received.wait_for(1)[0].body) == {"n": 1}
    assert convoy.ask(200, "GET", f"/events/{first['uid']}")["source_id"] == source["uid"]
    assert convoy.refused(400, "POST", path, json={"data": 1}) == "please provide an event type"
    http = created(convoy)
    assert "rest_api" in convoy.refused(400, "POST", f"/sources/{http['uid']}/events", json=body)
    assert send(source).json()["message"] == "Source type needs to be HTTP"


def test_brokers_are_read_whole_and_refused(convoy: Convoy) -> None:
    for kind in PUB_SUB:
        check_broker(convoy, kind)


def check_broker(convoy: Convoy, kind: str) -> None:
    body: dict[str, Any] = {"name": "s", "type": "pub_sub"}
    body["pub_sub"] = {"type": kind, "workers": 1}
    assert "is required" in convoy.refused(400, "POST", "/sources", json=body)
    body["pub_sub"] = {"type": kind, "workers": 1, kind: PUB_SUB[kind]}
    told = convoy.refused(400, "POST", "/sources", json=body)
    assert told == "sources of type pub_sub are not supported yet"
    body["pub_sub"] = {"type": kind, kind: PUB_SUB[kind] | {"x": 1}}
    assert "pub_sub" in convoy.refused(400, "POST", "/sources", json=body)
    assert convoy.ask(200, "GET", "/sources")["content"] == []


HMAC = {"type": "hmac", "hmac": {"header": "X-Sig", "hash": "SHA256", "secret": "s"}}


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "type"),
    ({"type": "http", "name": ""}, "name"),
    ({"type": "ftp"}, "type"),
    ({"type": "db_change_stream"}, "sources of type db_change_stream are not supported yet"),
    ({"type": "http", "x": 1}, "x"),
    ({"type": "http", "provider": "gitlab"}, "provider"),
    ({"type": "rest_api", "provider": "github"}, "provider"),
    ({"type": "http", "provider": "github"}, "hmac secret is required for github source"),
    ({"type": "http", "verifier": {"type": "hmac"}}, "invalid verifier config for hmac"),
    ({"type": "http", "verifier": {"type": "x"}}, "verifier.type"),
    ({"type": "http", "verifier": {**HMAC, "type": "noop"}}, "verifier.hmac"),
    ({"type": "http", "verifier": {"type": "hmac", "hmac": {"header": "h"}}}, "secret"),
    ({"type": "http", "provider": "github", "verifier": HMAC}, "verifier.hmac.header"),
    ({"type": "rest_api", "verifier": HMAC}, "verifier"),
    ({"type": "http", "pub_sub": {"type": "sqs"}}, "pub_sub"),
    ({"type": "http", "idempotency_keys": ["a.b"]}, "idempotency_keys[0]"),
    ({"type": "http", "event_type_location": "x"}, "event_type_location"),
    (
        {"type": "http", "verifier": HMAC, "event_type_location": "req.header.x"},
        "event_type_location",
    ),
    ({"type": "http", "body_function": "x"}, "functions of sources are not supported yet"),
    ({"type": "http", "forward_headers": ["Cookie"]}, "forward_headers[0]"),
    ({"type": "http", "custom_response": {"content_type": "text/html"}}, "custom_response"),
]


def test_what_can_not_be_is_refused(convoy: Convoy) -> None:
    for body, told in REFUSED:
        assert told in convoy.refused(400, "POST", "/sources", json={"name": "s", **body}), body
    assert convoy.ask(200, "GET", "/sources")["content"] == []


def test_another_project_s_source_is_not_there(
    site: Site, convoy: Convoy, stranger: Tenant
) -> None:
    source = created(convoy)
    other = Convoy(site, stranger)
    try:
        assert other.refused(404, "GET", f"/sources/{source['uid']}") == "Resource not found"
        assert other.ask(200, "GET", "/sources")["content"] == []
    finally:
        other.close()


def test_an_endpoint_is_called_as_it_wants(convoy: Convoy, received: Receiver) -> None:
    with receiver() as issuer:
        issuer.status, issuer.body = 200, b'{"tok":"t1","ttl":60}'
        oauth = {
            "url": issuer.url,
            "client_id": "c",
            "grant_type": "client_credentials",
            "authentication_type": "shared_secret",
            "client_secret": "s",
            "field_mapping": {"access_token": "tok", "expires_in": "ttl"},
            "expiry_time_unit": "minutes",
        }
        cases = (
            ({"type": "api_key", "api_key": {"header_name": "X-K", "header_value": "v"}}, "v"),
            (
                {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p"}},
                "Basic dTpw",
            ),
            ({"type": "oauth2", "oauth2": oauth}, "Bearer t1"),
        )
        endpoint = subscribed(convoy, received.url)
        body = {"url": received.url, "name": "e"}
        event = {"endpoint_id": endpoint, "event_type": "a", "data": {}}
        for number, (given, value) in enumerate(cases, 1):
            changed = convoy.ask(
                202, "PUT", f"/endpoints/{endpoint}", json=body | {"authentication": given}
            )
            assert changed["authentication"]["type"] == given["type"]
            convoy.ask(201, "POST", "/events", json=event)
            headers = received.wait_for(number)[-1].headers
            name = "x-k" if given["type"] == "api_key" else "authorization"
            assert headers[name] == value
        assert len(issuer.requests) == 1


NOT_CALLED: list[tuple[dict[str, Any], str]] = [
    ({"type": "mtls"}, "type"),
    ({"type": "api_key"}, "api_key"),
    ({"type": "api_key", "api_key": {"header_name": "host", "header_value": "v"}}, "reserved"),
    (
        {"type": "api_key", "api_key": {"header_name": "x"}, "basic_auth": {"username": "u"}},
        "basic_auth",
    ),
    ({"api_key": {"header_name": "x", "header_value": "v"}}, "needs a type"),
    ({"type": "oauth2", "oauth2": {"url": "http://10.0.0.1", "client_id": "c"}}, "url"),
    ({"type": "oauth2", "oauth2": {"url": "https://id.example/", "client_id": "c"}}, "secret"),
    (
        {
            "type": "oauth2",
            "oauth2": {
                "url": "https://id.example/",
                "client_id": "c",
                "client_secret": "s",
                "issuer": "i",
            },
        },
        "issuer",
    ),
    (
        {"type": "oauth2", "oauth2": {"authentication_type": "client_assertion"}},
        "signing_key",
    ),
]


def test_an_authentication_that_can_not_be_is_refused(convoy: Convoy, received: Receiver) -> None:
    for given, told in NOT_CALLED:
        body = {"url": received.url, "name": "e", "authentication": given}
        assert told in convoy.refused(400, "POST", "/endpoints", json=body), given
    assert convoy.ask(200, "GET", "/endpoints")["content"] == []


@pytest.mark.proves("convoy", "POST /endpoints/oauth2/test")
def test_a_token_is_tried_out(convoy: Convoy) -> None:
    path = "/endpoints/oauth2/test"
    with receiver() as issuer:
        issuer.status, issuer.body = 200, b'{"access_token":"t1","expires_in":60}'
        oauth = {"url": issuer.url, "client_id": "c", "client_secret": "s"}
        found = convoy.ask(200, "POST", path, json={"oauth2": oauth})
        assert (found["success"], found["token_type"]) == (True, "Bearer")
        assert found["access_token"] == "***"
        issuer.status, issuer.body = 401, b'{"error":"invalid_client"}'
        found = convoy.ask(200, "POST", path, json={"oauth2": oauth})
        told = "no token: its endpoint answered with status 401 (invalid_client)"
        assert (found["success"], found["error"]) == (False, told)
    for body, told in (
        ({}, "oauth2"),
        ({"oauth2": {"client_id": "c"}}, "url"),
        ({"oauth2": oauth | {"url": "http://10.0.0.1/"}}, "url"),
    ):
        assert told in convoy.refused(400, "POST", path, json=body)


@pytest.mark.proves("convoy", "POST /sources/test_function")
def test_functions_of_sources_are_tried_and_refused(convoy: Convoy) -> None:
    function = "function transform(payload) { return { n: payload.n + 1 }; }"
    body = {"payload": {"n": 1}, "function": function, "type": "body"}
    assert convoy.ask(200, "POST", "/sources/test_function", json=body)["payload"] == {"n": 2}
    source = {"name": "s", "type": "http", "body_function": function}
    assert "not supported yet" in convoy.refused(400, "POST", "/sources", json=source)
