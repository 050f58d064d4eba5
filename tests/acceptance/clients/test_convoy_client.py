"""Convoy's own client for Python, pointed at a server."""

from collections.abc import Iterator
from typing import Any

import pytest
from convoy import Convoy as Sdk  # type: ignore[import-untyped] # it has no types

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver
from tests.support.relay import relay
from tests.support.signatures import signed


@pytest.fixture
def sdk(convoy: Convoy) -> Iterator[Any]:
    """Have the vendor's client; `uri` stands for the whole base, with the project in it."""
    with relay(convoy.origin) as url:
        whole = convoy.url.replace(convoy.origin, url)
        yield Sdk({"api_key": convoy.key, "project_id": convoy.project, "uri": whole})


@pytest.mark.proves(
    "convoy",
    "POST /endpoints",
    "POST /subscriptions",
    "GET /subscriptions/{subscription_id}",
    "POST /events",
    "PUT /events/{event_id}/replay",
    "GET /events/{event_id}",
    "GET /events",
    "GET /eventdeliveries",
    "GET /eventdeliveries/{delivery_id}",
    "GET /eventdeliveries/{delivery_id}/deliveryattempts",
    "GET /eventdeliveries/{delivery_id}/deliveryattempts/{attempt_id}",
    "PUT /endpoints/{endpoint_id}",
    "GET /endpoints",
    "GET /subscriptions",
)
def test_the_client_goes_the_whole_way(convoy: Convoy, sdk: Any, received: Receiver) -> None:
    endpoint = {"url": received.url, "name": "e", "secret": "s", "advanced_signatures": False}
    answer, status = sdk.endpoint.create({}, endpoint)
    assert (status, answer["status"]) == (201, True)
    endpoint_id = answer["data"]["uid"]
    subscription = {
        "name": "s",
        "endpoint_id": endpoint_id,
        "alert_config": {"count": 0, "threshold": ""},
        "retry_config": {"duration": "", "retry_count": 0, "type": ""},
        "filter_config": {"event_types": ["payment.failed"]},
        "source_id": "",
    }
    answer, status = sdk.subscription.create({}, subscription)
    assert status == 201
    found, _ = sdk.subscription.find(answer["data"]["uid"], {})
    assert found["data"]["endpoint_metadata"]["uid"] == endpoint_id
    data = {"endpoint_id": endpoint_id, "event_type": "payment.failed", "data": {"n": 1}}
    answer, status = sdk.event.create({}, data)
    assert status == 201
    event_id = answer["data"]["uid"]
    (request,) = received.wait_for(1)
    signature = request.headers["x-convoy-signature"]
    assert signature == signed("s", request.body)
    sdk.webhook.secret = "s"
    assert sdk.webhook.verify_signature(request.body.decode(), signature) is True
    # It has no method for it.
    answer, status = sdk.event.client.http_put(f"/events/{event_id}/replay", {}, {})
    assert (status, answer["message"]) == (200, "Endpoint event replayed successfully")
    received.wait_for(2)
    delivery = convoy.settled(2, eventId=event_id)[0]["uid"]
    assert sdk.event.find(event_id, {})[0]["data"]["uid"] == event_id
    assert len(sdk.event.all({"perPage": 10})[0]["data"]["content"]) == 1
    assert len(sdk.event_delivery.all({"eventId": event_id})[0]["data"]["content"]) == 2
    assert sdk.event_delivery.find(delivery, {})[0]["data"]["status"] == "Success"
    assert sdk.event_delivery.resend(delivery, {})[1] == 400
    (attempt,) = sdk.delivery_attempt.all(delivery, {})[0]["data"]
    found, status = sdk.delivery_attempt.find(delivery, attempt["uid"], {})
    assert (status, found["data"]["http_status"]) == (200, "204 No Content")
    change = {**endpoint, "description": "d"}
    assert sdk.endpoint.update(endpoint_id, {}, change)[1] == 202
    assert len(sdk.endpoint.all({})[0]["data"]["content"]) == 1
    assert len(sdk.subscription.all({})[0]["data"]["content"]) == 1
    assert sdk.endpoint.delete(endpoint_id, {}, {})[1] == 200


def test_the_client_is_told_what_is_wrong(convoy: Convoy, sdk: Any) -> None:
    stranger = Sdk({"api_key": "CO.x.y", "project_id": "p", "uri": convoy.url})
    assert stranger.event.all({})[:2] == (
        {"status": False, "message": "authorization failed"},
        401,
    )
    answer, status = sdk.event.create({}, {"event_type": "a", "data": 1})
    assert (answer["message"], status) == ("please provide an endpoint ID", 400)
