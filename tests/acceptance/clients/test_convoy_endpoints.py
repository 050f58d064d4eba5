"""Convoy's endpoints on a real server, from the outside."""

from typing import Any

import pytest

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver
from tests.support.signatures import good_secrets
from tests.support.site import eventually


@pytest.mark.proves("convoy", "PUT /endpoints/{endpoint_id}/pause")
def test_a_paused_endpoint_keeps_what_it_is_owed(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint)
    assert convoy.ask(202, "PUT", f"/endpoints/{endpoint}/pause")["status"] == "paused"
    event = convoy.send(endpoint)
    (waiting,) = convoy.settled(1, "Scheduled", eventId=event)
    assert convoy.ask(202, "PUT", f"/endpoints/{endpoint}/pause")["status"] == "active"
    received.wait_for(1)
    assert convoy.refused(400, "POST", f"/endpoints/{endpoint}/activate") == (
        "the endpoint is already active"
    )
    convoy.settled(1, eventId=event)
    message = convoy.refused(400, "PUT", f"/eventdeliveries/{waiting['uid']}/resend")
    assert message == "event already sent"


def test_an_endpoint_is_called_as_it_wants(convoy: Convoy, received: Receiver) -> None:
    api_key = {"type": "api_key", "api_key": {"header_name": "X-Key", "header_value": "v"}}
    basic = {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p:w"}}
    first = convoy.endpoint(received.url, authentication=api_key)
    second = convoy.endpoint(
        received.url, authentication=basic, content_type="application/x-www-form-urlencoded"
    )
    convoy.send(first)
    assert received.wait_for(1)[0].headers["x-key"] == "v"
    convoy.send(second, data={"a": "1 2", "b": [1, 2], "c": None})
    request = received.wait_for(2)[1]
    assert request.headers["authorization"] == "Basic dTpwOnc="
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.body == b"a=1+2&b=%5B1%2C2%5D&c="
    assert good_secrets(request.headers, request.body, ["s3cret"])


@pytest.mark.proves(
    "convoy",
    "GET /endpoints",
    "GET /endpoints/{endpoint_id}",
    "PUT /endpoints/{endpoint_id}",
    "DELETE /endpoints/{endpoint_id}",
    "GET /endpoints/period-failure-rates",
)
def test_endpoints_are_found_changed_and_counted(convoy: Convoy, received: Receiver) -> None:
    first = convoy.endpoint(received.url, name="Alpha", owner_id="o")
    convoy.endpoint(received.url, name="Beta")
    listed = convoy.ask(200, "GET", "/endpoints", params={"q": "alph"})["content"]
    assert [one["uid"] for one in listed] == [first]
    assert convoy.ask(200, "GET", "/endpoints", params={"ownerId": "o"})["content"] == listed
    body = {"name": "Gamma", "url": received.url, "rate_limit": 10, "rate_limit_duration": 1}
    changed = convoy.ask(202, "PUT", f"/endpoints/{first}", json=body)
    assert (changed["name"], changed["secrets"][0]["value"]) == ("Gamma", "s3cret")
    convoy.send(first)
    received.wait_for(1)
    shown = eventually(
        lambda: convoy.ask(200, "GET", f"/endpoints/{first}"), lambda one: one["success_count"] == 1
    )
    assert (shown["events"], shown["failure_rate"]) == (1, 0)
    received.status = 500
    convoy.send(first)
    received.wait_for(2)

    def rates(**query: str) -> Any:
        return convoy.ask(200, "GET", "/endpoints/period-failure-rates", params=query)[first]

    eventually(rates, lambda one: one == 50)
    assert rates(startDate="2020-01-01T00:00:00", endDate="2020-01-02T00:00:00") == 0
    convoy.ask(200, "DELETE", f"/endpoints/{first}")
    assert convoy.refused(404, "GET", f"/endpoints/{first}") == "Resource not found"


@pytest.mark.proves("convoy", "POST /endpoints/{endpoint_id}/activate")
def test_an_endpoint_that_is_gone_stays_so_until_it_is_activated(
    convoy: Convoy, received: Receiver
) -> None:
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint)
    received.status = 410
    convoy.settled(1, "Failure", eventId=convoy.send(endpoint))
    path = f"/endpoints/{endpoint}"
    eventually(lambda: convoy.ask(200, "GET", path)["status"], lambda one: one == "inactive")
    body = {"name": "still", "url": received.url}
    assert convoy.ask(202, "PUT", path, json=body)["status"] == "inactive"
    convoy.ask(202, "PUT", "", json={"config": {"add_event_id_trace_headers": True}})
    assert convoy.ask(200, "GET", path)["status"] == "inactive"
    assert "inactive" in convoy.refused(400, "PUT", f"{path}/pause")
    assert convoy.ask(202, "POST", f"{path}/activate")["status"] == "active"
    received.status = 204
    event = convoy.send(endpoint)
    request = received.wait_for(2)[1]
    assert request.headers["x-convoy-event-id"] == event


@pytest.mark.proves("convoy", "POST /onboard")
def test_many_endpoints_are_made_at_once(convoy: Convoy, received: Receiver) -> None:
    good = {"name": "a", "url": received.url, "event_type": "x"}
    bad = {"name": "", "url": "ftp://x"}
    answer = convoy.answer(400, "POST", "/onboard", json={"items": [good, bad]})
    assert (answer["status"], answer["data"]["valid_count"]) == (False, 1)
    assert {one["field"] for one in answer["data"]["errors"]} == {"name"}
    assert convoy.ask(200, "GET", "/endpoints")["content"] == []
    dry = convoy.ask(200, "POST", "/onboard?dry_run=true", json={"items": [good]})
    assert dry == {"total_rows": 1, "valid_count": 1, "errors": []}
    table = f"name,url,event_type,auth_username,auth_password\nb,{received.url},,u,p\n"
    convoy.ask(202, "POST", "/onboard", files={"file": ("e.csv", table, "text/csv")})
    convoy.ask(202, "POST", "/onboard", json={"items": [good]})
    made = convoy.ask(200, "GET", "/endpoints")["content"]
    assert [one["name"] for one in made] == ["a", "b"]
    assert made[1]["authentication"]["basic_auth"]["username"] == "u"
    convoy.ask(201, "POST", "/events/broadcast", json={"event_type": "x", "data": {}})
    received.wait_for(2)
