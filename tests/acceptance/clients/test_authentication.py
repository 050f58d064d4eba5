"""Receivers that want more than a signature, on a real server."""

from urllib.parse import parse_qs

import pytest

from tests.support.receiver import Receiver, receiver
from tests.support.site import Tenant, eventually

SUBSCRIPTIONS = "/v1/event_subscriptions"


@pytest.mark.parametrize(
    "given, header, value",
    [
        (
            {"type": "api_key", "header_name": "X-Key", "header_value": "k"},
            "x-key",
            "k",
        ),
        (
            {"type": "basic_auth", "username": "Aladdin", "password": "open sesame"},
            "authorization",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ),
    ],
)
def test_a_fixed_header_is_sent(
    tenant: Tenant, received: Receiver, given: dict[str, str], header: str, value: str
) -> None:
    token = tenant.subscribe(received.url, authentication=given)
    tenant.post()
    assert received.wait_for(1)[0].headers[header] == value
    shown = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["authentication"]
    assert shown["type"] == given["type"]
    assert "***" in shown.values()
    body = {"url": received.url, "authentication": None}
    assert tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{token}", json=body)["authentication"] is None
    tenant.post()
    assert header not in received.wait_for(2)[1].headers


def test_a_token_is_fetched_used_and_renewed(tenant: Tenant, received: Receiver) -> None:
    with receiver() as issuer:
        issuer.status, issuer.body = 200, b'{"access_token":"t1","expires_in":3600}'
        oauth = {
            "type": "oauth2",
            "url": issuer.url,
            "client_id": "c",
            "client_secret": "s",
            "scope": "hooks",
        }
        token = tenant.subscribe(received.url, authentication=oauth, retry_schedule=[0.05, 0.05])
        tenant.settled(tenant.post(), "delivered")
        tenant.settled(tenant.post(), "delivered")
        assert [one.headers["authorization"] for one in received.requests] == ["Bearer t1"] * 2
        (asked,) = issuer.requests
        assert parse_qs(asked.body.decode()) == {
            "grant_type": ["client_credentials"],
            "client_id": ["c"],
            "client_secret": ["s"],
            "scope": ["hooks"],
        }
        # The receiver takes it no more: the next try has another one.
        issuer.body, received.status = b'{"access_token":"t2"}', 401
        event = tenant.post()
        received.wait_for(3)
        received.status = 204
        tenant.settled(event, "delivered")
        assert received.requests[-1].headers["authorization"] == "Bearer t2"
        # Without a token nothing is sent, and it is said why.
        issuer.status, issuer.body = 400, b'{"error":"invalid_scope"}'
        body = {"url": received.url, "authentication": {**oauth, "scope": "others"}}
        tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{token}", json=body)
        sent = len(received.requests)
        event = tenant.post()
        tenant.settled(event, "failed")
        assert len(received.requests) == sent
        attempts = eventually(
            lambda: tenant.ask(200, "GET", f"/v1/events/{event}/attempts")["data"],
            lambda found: len(found) == 3,
        )
        told = "no token: its endpoint answered with status 400 (invalid_scope)"
        assert {one["response"] for one in attempts} == {told}


@pytest.mark.parametrize(
    "given, path",
    [
        ({"type": "api_key", "header_name": "host", "header_value": "k"}, "header_name"),
        ({"type": "basic_auth", "username": "a:b", "password": "p"}, "username"),
        (
            {"type": "oauth2", "url": "http://10.0.0.1/", "client_id": "c", "client_secret": "s"},
            "url",
        ),
        ({"type": "oauth2", "url": "https://id.example/", "client_id": "c"}, "client_secret"),
    ],
)
def test_what_can_not_be_is_refused_when_it_is_set(
    tenant: Tenant, received: Receiver, given: dict[str, str], path: str
) -> None:
    body = {"url": received.url, "authentication": given}
    assert tenant.refused(400, "POST", SUBSCRIPTIONS, json=body) == [f"authentication.{path}"]


def test_a_header_is_set_in_one_way(tenant: Tenant, received: Receiver) -> None:
    basic = {"type": "basic_auth", "username": "a", "password": "p"}
    body = {"url": received.url, "authentication": basic, "headers": {"AUTHORIZATION": "x"}}
    assert tenant.refused(422, "POST", SUBSCRIPTIONS, json=body) == ["headers.Authorization"]
