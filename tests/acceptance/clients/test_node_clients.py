"""Clients under Node: npm's lithic does all that it can, npm's standardwebhooks verifies."""

import json
from collections.abc import Callable, Iterable

import pytest

from tests.support.node import Node, node
from tests.support.receiver import Receiver, Request
from tests.support.relay import relay
from tests.support.site import Tenant


@pytest.fixture(scope="module")
def clients(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Have a Node with the clients."""
    return node(pytestconfig, tmp_path_factory.mktemp("node"))


@pytest.mark.proves(
    "lithic",
    "GET /v1/events",
    "GET /v1/events/{event_token}",
    "GET /v1/events/{event_token}/attempts",
    "GET /v1/event_subscriptions",
    "POST /v1/event_subscriptions",
    "GET /v1/event_subscriptions/{event_subscription_token}",
    "PATCH /v1/event_subscriptions/{event_subscription_token}",
    "DELETE /v1/event_subscriptions/{event_subscription_token}",
    "GET /v1/event_subscriptions/{event_subscription_token}/attempts",
    "GET /v1/event_subscriptions/{event_subscription_token}/secret",
    "POST /v1/event_subscriptions/{event_subscription_token}/secret/rotate",
    "POST /v1/events/{event_token}/event_subscriptions/{event_subscription_token}/resend",
    "POST /v1/event_subscriptions/{event_subscription_token}/recover",
    "POST /v1/event_subscriptions/{event_subscription_token}/replay_missing",
    "POST /v1/simulate/event_subscriptions/{event_subscription_token}/send_example",
)
def test_lithics_client_does_everything(
    tenant: Tenant, clients: Node, record_property: Callable[[str, object], None]
) -> None:
    with relay(tenant.url) as url:
        said = clients.run("lithic_client.cjs", url, tenant.key)
    record_property("npm's lithic", said.strip())


def verdicts(clients: Node, cases: Iterable[tuple[str, Request]]) -> list[bool]:
    """Tell of each request whether a holder of this secret alone accepts it."""
    sent = [
        {"secret": secret, "headers": request.headers, "body": request.body.decode()}
        for secret, request in cases
    ]
    found: list[bool] = json.loads(clients.run("verify.cjs", sent=json.dumps(sent)))
    assert len(found) == len(sent)
    return found


def test_standardwebhooks_verifies_through_a_rotation(
    tenant: Tenant, received: Receiver, clients: Node
) -> None:
    subscription = tenant.subscribe(received.url)
    path = f"/v1/event_subscriptions/{subscription}/secret"
    old = tenant.ask(200, "GET", path)["secret"]
    tenant.post(payload={"text": "größer", "n": 1})
    (before,) = received.wait_for(1)
    tenant.ask(204, "POST", f"{path}/rotate")
    new = tenant.ask(200, "GET", path)["secret"]
    tenant.post()
    during = received.wait_for(2)[1]
    body = Request(during.headers, during.body.replace(b"1", b"2"))
    moment = Request({**during.headers, "webhook-timestamp": "1"}, during.body)
    name = Request({**during.headers, "webhook-id": before.headers["webhook-id"]}, during.body)
    cases = [
        (old, before, True),
        (new, before, False),
        (old, during, True),
        (new, during, True),
        *((secret, one, False) for one in (body, moment, name) for secret in (old, new)),
    ]
    found = verdicts(clients, [(secret, request) for secret, request, _ in cases])
    assert found == [wanted for *_, wanted in cases]
