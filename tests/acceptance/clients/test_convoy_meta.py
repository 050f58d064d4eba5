"""Convoy's meta events, and what channels of Slack and Teams are told, at real receivers."""

import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver, Request, receiver
from tests.support.site import eventually

SECRET = "meta-s3cret"
ALL = [
    "endpoint.created",
    "endpoint.updated",
    "endpoint.deleted",
    "eventdelivery.updated",
    "eventdelivery.success",
    "eventdelivery.failed",
    "project.updated",
]
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def enable(convoy: Convoy, url: str, *types: str, **config: Any) -> None:
    """Have meta events sent, tried again at once."""
    meta = {"is_enabled": True, "url": url, "secret": SECRET, "event_type": list(types)}
    strategy = {"type": "linear", "duration": 0, "retry_count": 2}
    wanted = {"meta_event": meta, "strategy": strategy, **config}
    convoy.ask(202, "PUT", "", json={"config": wanted})


def said(requests: list[Request]) -> list[tuple[str, Any]]:
    """Return types and data of meta events, whose signatures must be good."""
    found = []
    for request in requests:
        signed = hmac.new(SECRET.encode(), request.body, hashlib.sha256).hexdigest()
        assert request.headers["x-convoy-signature"] == signed
        body = json.loads(request.body)
        assert set(body) == {"event_type", "data"}
        found.append((body["event_type"], body["data"]))
    return found


def types(requests: list[Request]) -> list[str]:
    return sorted(kind for kind, _ in said(requests))


def test_meta_events_tell_of_endpoints_deliveries_and_the_project(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    enable(convoy, other.url, *ALL)
    assert convoy.ask(200, "GET", "")["config"]["meta_event"]["secret"] == "***"
    endpoint = convoy.endpoint(received.url, name="Shop")
    event = convoy.send(endpoint, "invoice.paid", idempotency_key="k1")
    expected = ["endpoint.created", "eventdelivery.success", "project.updated"]
    first = said(other.wait_for(3))
    assert sorted(kind for kind, _ in first) == expected
    told = dict(first)
    assert told["project.updated"]["uid"] == convoy.project
    assert (told["endpoint.created"]["uid"], told["endpoint.created"]["name"]) == (endpoint, "Shop")
    assert told["endpoint.created"]["secrets"][0]["value"] == "***"
    (delivery,) = convoy.settled(1, eventId=event)
    success = told["eventdelivery.success"]
    for name in ("uid", "event_id", "endpoint_id", "subscription_id", "event_type", "status"):
        assert success[name] == delivery[name], name
    assert (success["idempotency_key"], success["metadata"]["num_trials"]) == ("k1", 1)
    assert (success["attempt"]["http_status"], success["attempt"]["status"]) == (
        "204 No Content",
        True,
    )
    received.status, received.body = 500, b"down"
    failing = convoy.send(endpoint)
    (failed,) = convoy.settled(1, "Failure", eventId=failing)
    told = dict(said(other.wait_for(5))[3:])
    assert set(told) == {"eventdelivery.updated", "eventdelivery.failed"}
    last = told["eventdelivery.failed"]
    assert (last["uid"], last["status"], last["description"]) == (
        failed["uid"],
        "Failure",
        "retries exhausted",
    )
    assert last["attempt"]["http_status"] == "500 Internal Server Error"
    assert last["attempt"]["response_data"] == "down"
    assert told["eventdelivery.updated"]["metadata"]["next_send_time"] is not None
    convoy.ask(202, "PUT", f"/endpoints/{endpoint}/pause")
    convoy.ask(200, "DELETE", f"/endpoints/{endpoint}")
    assert types(other.wait_for(7)[5:]) == ["endpoint.deleted", "endpoint.updated"]
    # What becomes of meta events makes no meta events, and they are in no other list.
    eventually(lambda: listed(convoy), lambda found: [one["status"] for one in found] == GOOD)
    assert len(other.requests) == len(listed(convoy)) == 7
    found = convoy.ask(200, "GET", "/events")["content"]
    assert {one["uid"] for one in found} == {event, failing}
    assert len(convoy.deliveries()) == 2


GOOD = ["Success"] * 7


def listed(convoy: Convoy, **query: Any) -> list[Any]:
    found: list[Any] = convoy.ask(200, "GET", "/meta-events", params=query)["content"]
    return found


@pytest.mark.proves("convoy", "GET /meta-events")
@pytest.mark.proves("convoy", "GET /meta-events/{meta_id}")
@pytest.mark.proves("convoy", "PUT /meta-events/{meta_id}/resend")
def test_meta_events_are_listed_retried_and_sent_again(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    other.status, other.body = 503, b"busy"
    enable(convoy, other.url, "endpoint.created")
    for number in range(3):
        convoy.endpoint(f"{received.url}/{number}")
    other.wait_for(6)
    failed = eventually(
        lambda: listed(convoy), lambda found: [one["status"] for one in found] == ["Failure"] * 3
    )
    page = convoy.ask(200, "GET", "/meta-events", params={"perPage": 2})
    assert [one["uid"] for one in page["content"]] == [one["uid"] for one in failed[:2]]
    assert page["pagination"]["has_next_page"] is True
    cursor = page["pagination"]["next_page_cursor"]
    (third,) = listed(convoy, perPage=2, next_page_cursor=cursor)
    assert third["uid"] == failed[2]["uid"]
    assert third["event_type"] == "endpoint.created"
    assert (third["metadata"]["num_trials"], third["metadata"]["retry_limit"]) == (2, 2)
    assert third["metadata"]["data"] == json.loads(third["metadata"]["raw"])
    assert third["attempt"]["response_data"] == "busy"
    path = f"/meta-events/{third['uid']}"
    assert convoy.ask(200, "GET", path)["attempt"]["request_http_header"]["host"]
    other.status = 204
    answer = convoy.answer(200, "PUT", f"{path}/resend")
    assert answer["message"] == "Meta event processed for retry successfully"
    again = other.wait_for(7)[6]
    assert json.loads(again.body) == third["metadata"]["data"]
    assert again.headers["x-convoy-idempotency-key"] == third["uid"]
    eventually(
        lambda: convoy.ask(200, "GET", path), lambda found: bool(found["status"] == "Success")
    )
    convoy.ask(200, "PUT", f"{path}/resend", json={})
    other.wait_for(8)
    assert listed(convoy, startDate="2020-01-01T00:00:00", endDate="2020-01-02T00:00:00") == []
    for method, where in (("GET", f"/meta-events/{UNKNOWN}"), ("PUT", "/meta-events/x/resend")):
        assert convoy.refused(404, method, where) == "meta event not found"


def test_meta_events_go_by_the_configuration(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    enable(convoy, other.url, "endpoint.created")
    endpoint = convoy.endpoint(received.url)
    other.wait_for(1)
    convoy.send(endpoint)
    received.wait_for(1)
    (made,) = eventually(lambda: listed(convoy))
    eventually(lambda: listed(convoy)[0]["status"], lambda status: bool(status == "Success"))
    # The secret is masked where it is shown, and kept where it comes back masked, or not at all.
    shown = convoy.ask(200, "GET", "")["config"]["meta_event"]
    with receiver() as elsewhere:
        moved = {**shown, "url": elsewhere.url}
        convoy.ask(202, "PUT", "", json={"config": {"meta_event": moved}})
        convoy.endpoint(f"{received.url}/2")
        assert types(elsewhere.wait_for(1)) == ["endpoint.created"]
        moved["is_enabled"] = False
        convoy.ask(202, "PUT", "", json={"config": {"meta_event": moved}})
        convoy.endpoint(f"{received.url}/3")
        path = f"/meta-events/{made['uid']}/resend"
        assert convoy.refused(400, "PUT", path) == "meta events are not enabled"
        assert len(listed(convoy)) == 2
        unsigned = {**moved, "is_enabled": True, "secret": ""}
        convoy.ask(202, "PUT", "", json={"config": {"meta_event": unsigned}})
        convoy.endpoint(f"{received.url}/4")
        assert "x-convoy-signature" not in elsewhere.wait_for(2)[1].headers
        assert len(elsewhere.requests) == 2
    assert len(other.requests) == 1
    admin = convoy.administrator()
    meta = {"is_enabled": True, "url": "https://10.0.0.1/", "event_type": ["project.updated"]}
    body = {"name": "p", "type": "outgoing", "config": {"meta_event": meta}}
    assert admin.refused(400, "POST", "/projects", json=body).startswith("config.meta_event.url: ")
    meta["url"] = other.url
    own = admin.ask(201, "POST", "/projects", json=body)["project"]["uid"]
    admin.ask(202, "PUT", f"/projects/{own}", json={"name": "q"})
    assert json.loads(other.wait_for(2)[1].body)["data"]["name"] == "q"
    admin.ask(200, "DELETE", f"/projects/{own}")


def test_channels_are_told_when_an_endpoint_stops_and_goes_on(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    strategy = {"type": "linear", "duration": 0, "retry_count": 1}
    config = {"strategy": strategy, "disable_endpoint": True}
    convoy.ask(202, "PUT", "", json={"config": config})
    received.status = 500
    with receiver() as teams:
        hooks = {"slack_webhook_url": other.url, "teams_webhook_url": teams.url}
        endpoint = convoy.endpoint(received.url, name="A & B", **hooks)
        assert convoy.ask(200, "GET", f"/endpoints/{endpoint}")["slack_webhook_url"] == other.url
        convoy.send(endpoint)
        text = json.loads(other.wait_for(1)[0].body)["text"]
        assert text.startswith(f"Endpoint A &amp; B ({received.url}) is inactive since ")
        message = json.loads(teams.wait_for(1)[0].body)
        card = message["attachments"][0]["content"]
        assert card["body"][0]["text"].startswith(f"Endpoint A & B ({received.url}) is inactive")
        path = f"/endpoints/{endpoint}"
        convoy.ask(202, "POST", f"{path}/activate")
        assert "is sent to again since" in json.loads(other.wait_for(2)[1].body)["text"]
        teams.wait_for(2)
        # Who is not named any more is not told any more.
        change = {"name": "e", "url": received.url, "teams_webhook_url": teams.url}
        convoy.ask(202, "PUT", path, json=change)
        convoy.send(endpoint)
        teams.wait_for(3)
        assert len(other.requests) == 2
        convoy.ask(200, "DELETE", path)
    assert convoy.ask(200, "GET", "/events")["content"] != []


def test_a_channel_that_fails_is_tried_again_and_tells_nobody(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    strategy = {"type": "linear", "duration": 0, "retry_count": 1}
    config = {"strategy": strategy, "disable_endpoint": True}
    enable(convoy, other.url, "eventdelivery.failed", **config)
    received.status = 500
    endpoint = convoy.endpoint(received.url, slack_webhook_url=f"{received.url}/slack")
    convoy.send(endpoint)
    came = [one for one in received.wait_for(2) if one.target == "/hook/slack"]
    assert len(came) == 1
    assert types(other.wait_for(1)) == ["eventdelivery.failed"]
    assert [one["event_type"] for one in listed(convoy)] == ["eventdelivery.failed"]


def test_formats_of_notices_are_nobodys_to_ask_for(convoy: Convoy, received: Receiver) -> None:
    for name in ("convoy.meta", "convoy.slack", "convoy.teams"):
        body = {"url": received.url, "format": name}
        assert convoy.tenant.refused(400, "POST", "/v1/event_subscriptions", json=body) == [
            "format"
        ]
