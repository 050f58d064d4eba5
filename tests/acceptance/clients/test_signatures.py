"""What is sent is signed so that independent verifiers accept it, through rotations as well."""

import base64
import sqlite3
from pathlib import Path

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from tests.support.receiver import Receiver, Request
from tests.support.site import Site, Tenant, running

EVENT_TYPE = "card.created"


def secret_of(tenant: Tenant, subscription: str) -> str:
    path = f"/v1/event_subscriptions/{subscription}/secret"
    return str(tenant.ask(200, "GET", path)["secret"])


def rotate(tenant: Tenant, subscription: str) -> None:
    tenant.ask(204, "POST", f"/v1/event_subscriptions/{subscription}/secret/rotate")


def verifies(secret: str, request: Request) -> bool:
    """Tell whether a holder of this secret alone accepts a request."""
    try:
        Webhook(secret).verify(request.body, request.headers)
    except WebhookVerificationError:
        return False
    return True


def signatures(request: Request) -> list[tuple[str, bytes]]:
    """Return the signatures of a request: version and bytes."""
    parts = (one.split(",", 1) for one in request.headers["webhook-signature"].split(" "))
    return [(version, base64.b64decode(text, validate=True)) for version, text in parts]


def jwk_bytes(key: dict[str, str]) -> bytes:
    assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA")
    return base64.urlsafe_b64decode(key["x"] + "=")


def accepts(public: bytes, request: Request) -> bool:
    """Tell whether a holder of this public key accepts a request; by Standard Webhooks 1.0.0."""
    head = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
    content = head.encode() + request.body
    for version, signature in signatures(request):
        if version == "v1a":
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(signature, content)
            except InvalidSignature:
                continue
            return True
    return False


@pytest.mark.proves(
    "lithic",
    "POST /v1/event_subscriptions/{event_subscription_token}/secret/rotate",
)
def test_a_holder_of_either_secret_verifies_all_through_a_rotation(
    tenant: Tenant, received: Receiver
) -> None:
    subscription = tenant.subscribe(received.url)
    old = secret_of(tenant, subscription)
    tenant.post()
    (before,) = received.wait_for(1)
    assert (verifies(old, before), len(signatures(before))) == (True, 1)
    rotate(tenant, subscription)
    new = secret_of(tenant, subscription)
    for _ in range(20):
        tenant.post()
    during = received.wait_for(21)[1:]
    assert all(verifies(old, one) for one in during)
    assert all(verifies(new, one) for one in during)
    assert {len(signatures(one)) for one in during} == {2}
    assert not verifies(new, before)
    stolen = Request(during[0].headers, during[0].body + b" ")
    assert not verifies(old, stolen)


def test_each_of_several_rotations_adds_a_signature(tenant: Tenant, received: Receiver) -> None:
    subscription = tenant.subscribe(received.url)
    secrets = [secret_of(tenant, subscription)]
    for _ in range(3):
        rotate(tenant, subscription)
        secrets.append(secret_of(tenant, subscription))
    tenant.post()
    (request,) = received.wait_for(1)
    assert all(verifies(secret, request) for secret in secrets)
    assert len(signatures(request)) == len(set(secrets)) == 4


def test_a_retry_is_signed_by_the_keys_of_its_own_moment(
    tenant: Tenant, received: Receiver
) -> None:
    received.status = 500
    received.gate.clear()
    subscription = tenant.subscribe(received.url, retry_schedule=[0])
    old = secret_of(tenant, subscription)
    tenant.post()
    received.wait_for(1)
    rotate(tenant, subscription)
    new = secret_of(tenant, subscription)
    received.gate.set()
    first, second = received.wait_for(2)
    assert (verifies(old, first), verifies(new, first)) == (True, False)
    assert (verifies(old, second), verifies(new, second)) == (True, True)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]


def let_old_secrets_expire(folder: Path) -> int:
    """Move the expiry of replaced secrets into the past, as if 24 hours had gone by."""
    connection = sqlite3.connect(folder / ".waypost" / "waypost.db")
    with connection:
        changed = connection.execute(
            "UPDATE signing_keys SET expires_at_us = expires_at_us - 24 * 3600 * 1000000"
            " WHERE expires_at_us IS NOT NULL"
        )
    connection.close()
    return changed.rowcount


def test_after_the_overlap_only_the_new_secret_is_good(tmp_path: Path, received: Receiver) -> None:
    with running(tmp_path) as (_, site):
        tenant = site.tenant()
        subscription = tenant.subscribe(received.url)
        old = secret_of(tenant, subscription)
        rotate(tenant, subscription)
        new = secret_of(tenant, subscription)
        tenant.post()
        (during,) = received.wait_for(1)
        assert (verifies(old, during), verifies(new, during)) == (True, True)
    assert let_old_secrets_expire(tmp_path) == 1
    with running(tmp_path) as (_, site):
        tenant = site.at(tenant)
        assert secret_of(tenant, subscription) == new
        tenant.post()
        after = received.wait_for(2)[1]
        assert (verifies(old, after), verifies(new, after)) == (False, True)
        assert len(signatures(after)) == 1
        # The old one counts no more against the limit of ten.
        for _ in range(10):
            rotate(tenant, subscription)
        tenant.refused(400, "POST", f"{path_of(subscription)}/secret/rotate")


def path_of(subscription: str) -> str:
    return f"/v1/event_subscriptions/{subscription}"


@pytest.mark.proves("native", "GET /v1/jwks.json")
def test_ed25519_is_verified_with_the_published_key(
    site: Site, tenant: Tenant, received: Receiver
) -> None:
    subscription = tenant.subscribe(received.url, signing="v1a")
    tenant.post()
    (request,) = received.wait_for(1)
    query = {"event_subscription_token": subscription}
    # Everybody may read it: no key goes along.
    (key,) = httpx.get(f"{site.url}/v1/jwks.json", params=query).json()["keys"]
    assert [version for version, _ in signatures(request)] == ["v1a"]
    assert accepts(jwk_bytes(key), request)
    assert not accepts(jwk_bytes(key), Request(request.headers, request.body + b" "))
    shown = secret_of(tenant, subscription)
    assert shown.removeprefix("whpk_") == base64.b64encode(jwk_bytes(key)).decode()
    rotate(tenant, subscription)
    tenant.post()
    during = received.wait_for(2)[1]
    both = tenant.ask(200, "GET", "/v1/jwks.json", params=query)["keys"]
    assert len({one["kid"] for one in both}) == 2
    assert all(accepts(jwk_bytes(one), during) for one in both)
    everything = site.admin.get("/v1/jwks.json").json()["keys"]
    assert [one for one in both if one not in everything] == []


def test_a_change_of_the_scheme_lets_holders_of_both_verify(
    tenant: Tenant, received: Receiver
) -> None:
    subscription = tenant.subscribe(received.url)
    old = secret_of(tenant, subscription)
    settings = {"url": received.url, "signing": "v1a"}
    tenant.ask(200, "PATCH", path_of(subscription), json=settings)
    tenant.post()
    (request,) = received.wait_for(1)
    public = base64.b64decode(secret_of(tenant, subscription).removeprefix("whpk_"))
    assert sorted(version for version, _ in signatures(request)) == ["v1", "v1a"]
    assert accepts(public, request)
    assert verifies(old, request)


@pytest.mark.parametrize("form", ["payload", "envelope", "cloudevents", "thin"])
def test_every_format_is_signed_over_the_bytes_that_are_sent(
    tenant: Tenant, received: Receiver, form: str
) -> None:
    subscription = tenant.subscribe(received.url, format=form)
    secret = secret_of(tenant, subscription)
    tenant.ask(202, "POST", "/v1/events", content=AWKWARD)
    (request,) = received.wait_for(1)
    # The library reads the body as JSON, in which a lone surrogate is well-formed.
    assert verifies(secret, request)


AWKWARD = (
    b'{"event_type":"%b","payload":{ "n" : 1.10, "n":"\\u0000\\ud800" }}' % EVENT_TYPE.encode()
)
