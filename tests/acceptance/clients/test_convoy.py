"""Convoy's API on a real server: every operation, and what comes to the receivers."""

import json
from typing import Any

import pytest

from tests.support.convoy import Convoy
from tests.support.program import ADMIN_KEY
from tests.support.receiver import Receiver
from tests.support.signatures import good_secrets, signed
from tests.support.site import Tenant, eventually, send_raw

UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.proves(
    "convoy",
    "GET /api/v1/projects",
    "POST /api/v1/projects",
    "GET /api/v1/projects/{project_id}",
    "PUT /api/v1/projects/{project_id}",
    "DELETE /api/v1/projects/{project_id}",
)
def test_projects_are_made_shown_changed_and_deleted(convoy: Convoy) -> None:
    admin = convoy.administrator()
    made = admin.ask(201, "POST", "/projects", json={"name": "Mine", "type": "outgoing"})
    project, key = made["project"], made["api_key"]["key"]
    assert key.startswith("CO.")
    own = convoy.at(project["uid"], key)
    assert own.ask(200, "GET", "")["config"]["strategy"] == {
        "type": "linear",
        "duration": 100,
        "retry_count": 10,
    }
    change = {"name": "Yours", "config": {"SSL": {"enforce_secure_endpoints": True}}}
    changed = own.ask(202, "PUT", "", json=change)
    assert (changed["name"], changed["config"]["ssl"]) == (
        "Yours",
        {"enforce_secure_endpoints": True},
    )
    listed = admin.ask(200, "GET", "/projects")
    assert project["uid"] in [one["uid"] for one in listed]
    assert [one["uid"] for one in own.at_root().ask(200, "GET", "/projects")] == [project["uid"]]
    admin.ask(200, "DELETE", f"/projects/{project['uid']}")
    assert own.refused(401, "GET", "") == "authorization failed"


@pytest.mark.proves("convoy", "POST /endpoints", "POST /events")
def test_a_direct_event_comes_to_its_endpoint_alone(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    mine, theirs = convoy.endpoint(received.url), convoy.endpoint(other.url)
    convoy.subscribe(mine)
    convoy.subscribe(theirs)
    event = convoy.send(
        mine, "invoice.created", {"n": 1.50}, custom_headers={"X-Tag": "v"}, idempotency_key="k1"
    )
    (request,) = received.wait_for(1)
    assert request.body == b'{"n":1.5}'
    assert request.headers["x-tag"] == "v"
    assert request.headers["x-convoy-idempotency-key"] == "k1"
    assert good_secrets(request.headers, request.body, ["s3cret", "x"]) == ["s3cret"]
    (delivery,) = convoy.settled(1, eventId=event)
    assert (delivery["endpoint_id"], delivery["metadata"]["num_trials"]) == (mine, 1)
    shown = convoy.event(event)
    assert (shown["status"], shown["endpoints"], shown["data"]) == ("Success", [mine], {"n": 1.5})
    assert shown["endpoint_metadata"][0]["secrets"][0]["value"] == "***"
    assert other.requests == []


def test_an_event_is_taken_in_by_the_long_way_too(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url, owner_id="o")
    convoy.subscribe(endpoint)
    body = b'{"endpoint_id":"%b","event_type":"a","data":[1, 2]}' % endpoint.encode()
    path = f"/api/v1/projects/{convoy.project}/events"
    head = f"POST {path} HTTP/1.1\nHost: x\nAuthorization: {convoy.key}\nConnection: close\n"
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    status, answer = send_raw(convoy.origin, f"{head}Transfer-Encoding: chunked", chunked)
    assert (status, json.loads(answer)["message"]) == (201, "Event queued successfully")
    of_owner = {"app_id": "o", "event_type": "a", "data": {"deep": [[[[1]]]]}}
    convoy.ask(201, "POST", "/events", json=of_owner)
    admin = convoy.at(convoy.project, ADMIN_KEY)
    sent = {"endpoint_id": endpoint, "event_type": "a", "data": 1, "idempotency_key": "k"}
    first = admin.ask(201, "POST", "/events", json=sent)
    assert admin.ask(201, "POST", "/events", json={**sent, "data": 2}) == first
    nested = {**sent, "idempotency_key": "l", "data": json.loads("[" * 70 + "]" * 70)}
    assert convoy.refused(400, "POST", "/events", json=nested).startswith("data: ")
    large = {**sent, "idempotency_key": "m", "data": [[n] for n in range(9_000)]}
    convoy.ask(201, "POST", "/events", json=large)
    bodies = sorted((request.body for request in received.wait_for(4)), key=len)
    assert bodies[:3] == [b"1", b"[1,2]", b'{"deep":[[[[1]]]]}']


@pytest.mark.proves("convoy", "POST /subscriptions")
def test_a_subscription_must_match(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint, "invoice.created")
    event = convoy.event(convoy.send(endpoint, "invoice.paid"))
    assert (event["status"], event["failure_reason"]) == (
        "Failure",
        "no subscription matched this event",
    )
    convoy.send(endpoint, "invoice.created")
    received.wait_for(1)
    assert len(received.requests) == 1


def test_an_endpoint_without_subscription_takes_everything(
    convoy: Convoy, received: Receiver
) -> None:
    endpoint = convoy.endpoint(received.url)
    convoy.send(endpoint)
    received.wait_for(1)
    (made,) = convoy.ask(200, "GET", "/subscriptions", params={"endpointId": endpoint})["content"]
    assert made["filter_config"]["event_types"] == ["*"]


@pytest.mark.proves(
    "convoy",
    "POST /events/broadcast",
    "PUT /events/{event_id}/replay",
    "PUT /v1/projects/{project_id}/events/{event_id}/replay",
)
def test_replay_sends_again_to_whoever_subscribes_now(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    first, second = convoy.endpoint(received.url), convoy.endpoint(other.url)
    convoy.subscribe(first)
    sent = convoy.ask(201, "POST", "/events/broadcast", json={"event_type": "a", "data": 1})
    event = sent["uid"]
    received.wait_for(1)
    convoy.subscribe(second)
    answer = convoy.answer(200, "PUT", f"/events/{event}/replay", json={})
    assert answer["message"] == "Endpoint event replayed successfully"
    assert answer["data"]["uid"] == event
    assert answer["data"]["acknowledged_at"] > answer["data"]["created_at"]
    assert received.wait_for(2)[1].body == other.wait_for(1)[0].body == b"1"
    root = convoy.at_root("/v1")
    root.ask(200, "PUT", f"/projects/{convoy.project}/events/{event}/replay")
    received.wait_for(3)
    other.wait_for(2)
    assert len(convoy.settled(5, eventId=event)) == 5
    assert convoy.refused(400, "PUT", f"/events/{UNKNOWN}/replay") == "event not found"
    assert root.refused(400, "PUT", "/projects/x/events/y/replay") == "event not found"
    convoy.ask(200, "DELETE", f"/endpoints/{first}")
    convoy.ask(200, "PUT", f"/events/{event}/replay")
    other.wait_for(3)
    assert len(received.requests) == 3


@pytest.mark.proves("convoy", "POST /events/fanout")
def test_fan_out_reaches_the_endpoints_of_an_owner(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    convoy.subscribe(convoy.endpoint(received.url, owner_id="o1"))
    convoy.subscribe(convoy.endpoint(received.url + "2", owner_id="o1"))
    convoy.subscribe(convoy.endpoint(other.url, owner_id="o2"))
    body = {"owner_id": "o1", "event_type": "a", "data": {}, "idempotency_key": "k"}
    first = convoy.answer(201, "POST", "/events/fanout", json=body)
    assert first["message"] == "Endpoint fanout event queued successfully"
    assert sorted(one.target for one in received.wait_for(2)) == ["/hook", "/hook2"]
    again = convoy.answer(201, "POST", "/events/fanout", json={**body, "data": {"x": 1}})
    assert again["message"] == "Duplicate event received, but will not be sent"
    assert again["data"] == first["data"]
    listed = convoy.ask(200, "GET", "/events", params={"idempotencyKey": "k"})["content"]
    assert [one["is_duplicate_event"] for one in listed] == [True, False]
    repeat = convoy.event(listed[0]["uid"])
    assert (repeat["is_duplicate_event"], repeat["status"]) == (True, "Success")
    convoy.ask(200, "PUT", f"/events/{repeat['uid']}/replay")
    assert (len(received.requests), other.requests) == (2, [])
    message = convoy.refused(400, "POST", "/events/fanout", json={**body, "owner_id": "o9"})
    assert message == "no endpoint has this owner id"


@pytest.mark.proves("convoy", "POST /events/dynamic")
def test_dynamic_events_make_their_endpoint_once(convoy: Convoy, received: Receiver) -> None:
    body = {"url": received.url, "secret": "dyn", "event_type": "a", "data": {"n": 1}}
    convoy.ask(201, "POST", "/events/dynamic", json=body)
    convoy.ask(201, "POST", "/events/dynamic", json={**body, "event_types": ["a", "b"]})
    (request, _) = received.wait_for(2)
    assert good_secrets(request.headers, request.body, ["dyn"]) == ["dyn"]
    assert len(convoy.ask(200, "GET", "/endpoints")["content"]) == 1
    (made,) = convoy.ask(200, "GET", "/subscriptions")["content"]
    assert made["filter_config"]["event_types"] == ["a", "b"]
    convoy.ask(202, "PUT", "", json={"config": {"allow_unmatched_dynamic_urls": False}})
    elsewhere = {**body, "url": received.url + "/other"}
    assert convoy.refused(400, "POST", "/events/dynamic", json=elsewhere) == (
        "no endpoint has this url"
    )


@pytest.mark.proves("convoy", "PUT /api/v1/projects/{project_id}")
def test_signatures_follow_the_project_and_the_endpoint(convoy: Convoy, received: Receiver) -> None:
    versions = [{"hash": "SHA256", "encoding": "hex"}, {"hash": "SHA512", "encoding": "base64"}]
    signature = {"header": "X-Mine", "versions": versions}
    convoy.ask(202, "PUT", "", json={"config": {"signature": signature}})
    simple = convoy.endpoint(received.url, advanced_signatures=False)
    advanced = convoy.endpoint(received.url + "/2")
    sent = {"event_type": "a", "data": {"b": {}, "e": "1 2", "a": [1, 2]}}
    for endpoint in (simple, advanced):
        text = json.dumps({**sent, "endpoint_id": endpoint}, indent=2)
        convoy.ask(
            201, "POST", "/events", content=text, headers={"content-type": "application/json"}
        )
    one, two = sorted(received.wait_for(2), key=lambda request: request.target)
    assert one.body == two.body == b'{"b":{},"e":"1 2","a":[1,2]}'
    assert one.headers["x-mine"] == signed("s3cret", one.body, "SHA512", "base64")
    moment, first, second = two.headers["x-mine"].split(",")
    content = f"{moment[2:]},".encode() + two.body
    assert first == "v1=" + signed("s3cret", content)
    assert second == "v2=" + signed("s3cret", content, "SHA512", "base64")
    convoy.ask(202, "PUT", "", json={"config": {"replay_attacks_prevention_enabled": True}})
    convoy.send(simple)
    assert received.wait_for(3)[2].headers["x-mine"].startswith("t=")


@pytest.mark.proves("convoy", "PUT /endpoints/{endpoint_id}/expire_secret")
def test_a_secret_that_expires_signs_beside_the_new_one(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint)
    path = f"/endpoints/{endpoint}/expire_secret"
    shown = convoy.ask(200, "PUT", path, json={"secret": "new", "expiration": 2})
    assert [one["value"] for one in shown["secrets"]] == ["s3cret", "new"]
    assert [one["expires_at"] is None for one in shown["secrets"]] == [False, True]
    convoy.send(endpoint)
    (request,) = received.wait_for(1)
    assert good_secrets(request.headers, request.body, ["s3cret", "new"]) == ["s3cret", "new"]
    convoy.ask(200, "PUT", path, json={"secret": "newest", "expiration": 0})
    convoy.send(endpoint)
    request = received.wait_for(2)[1]
    known = ["s3cret", "new", "newest"]
    assert good_secrets(request.headers, request.body, known) == ["s3cret", "newest"]


@pytest.mark.proves(
    "convoy",
    "GET /eventdeliveries/{delivery_id}",
    "PUT /eventdeliveries/{delivery_id}/resend",
    "POST /eventdeliveries/forceresend",
    "GET /eventdeliveries/{delivery_id}/deliveryattempts",
    "GET /eventdeliveries/{delivery_id}/deliveryattempts/{attempt_id}",
)
def test_retries_follow_the_strategy_and_end(convoy: Convoy, received: Receiver) -> None:
    strategy = {"type": "linear", "duration": 0, "retry_count": 3}
    convoy.ask(202, "PUT", "", json={"config": {"strategy": strategy}})
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint)
    received.status = 500
    received.body = b"no"
    event = convoy.send(endpoint)
    (failed,) = convoy.settled(1, "Failure", eventId=event)
    assert failed["metadata"]["num_trials"] == failed["metadata"]["retry_limit"] == 3
    assert len(received.requests) == 3
    path = f"/eventdeliveries/{failed['uid']}"
    tried = convoy.ask(200, "GET", f"{path}/deliveryattempts")
    assert [one["http_status"] for one in tried] == ["500 Internal Server Error"] * 3
    assert all("status" not in one for one in tried)
    one = convoy.ask(200, "GET", f"{path}/deliveryattempts/{tried[0]['uid']}")
    assert (one["response_data"], one["method"]) == ("no", "POST")
    assert one["request_http_header"]["X-Convoy-Signature"] == "***"
    received.status = 204
    again = convoy.ask(200, "PUT", f"{path}/resend")
    assert (again["status"], again["event_id"]) in {("Scheduled", event), ("Processing", event)}
    (sent,) = convoy.settled(1, eventId=event)
    assert sent["uid"] == again["uid"] != failed["uid"]
    assert convoy.ask(200, "GET", f"/eventdeliveries/{sent['uid']}")["status"] == "Success"
    (attempt,) = convoy.ask(200, "GET", f"/eventdeliveries/{sent['uid']}/deliveryattempts")
    assert attempt["status"] is True
    ids = {"ids": [sent["uid"], failed["uid"], UNKNOWN]}
    answer = convoy.answer(200, "POST", "/eventdeliveries/forceresend", json=ids)
    assert answer["message"] == "1 successful, 2 failed"
    convoy.settled(2, eventId=event)


def test_at_most_once_is_not_tried_again(convoy: Convoy, received: Receiver) -> None:
    strategy = {"type": "linear", "duration": 0, "retry_count": 3}
    convoy.ask(202, "PUT", "", json={"config": {"strategy": strategy}})
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint, delivery_mode="at_most_once")
    received.status = 500
    convoy.settled(1, "Failure", eventId=convoy.send(endpoint))
    assert len(received.requests) == 1


@pytest.mark.proves(
    "convoy",
    "POST /events/batchreplay",
    "GET /events/countbatchreplayevents",
    "POST /eventdeliveries/batchretry",
    "GET /eventdeliveries/countbatchretryevents",
)
def test_batches_send_again_what_they_select(
    convoy: Convoy, received: Receiver, other: Receiver
) -> None:
    strategy = {"type": "linear", "duration": 0, "retry_count": 1}
    convoy.ask(202, "PUT", "", json={"config": {"strategy": strategy}})
    mine, theirs = convoy.endpoint(received.url), convoy.endpoint(other.url)
    received.status = 500
    events = [convoy.send(mine, data={"n": n}) for n in range(3)]
    convoy.send(theirs)
    other.wait_for(1)
    convoy.settled(3, "Failure", endpointId=mine)
    convoy.settled(4, "Failure", "Success")
    for query, number in (
        ({}, 4),
        ({"status": "Failure"}, 3),
        ({"status": ["Failure", "Success"]}, 4),
        ({"status": ["Failure", "Retry"]}, 3),
        ({"status": ["Scheduled", "Processing", "Retry"]}, 0),
        ({"endpointId": theirs}, 1),
        ({"endpointId": [mine, theirs], "status": "Failure"}, 3),
        ({"eventId": events[0]}, 1),
        ({"eventType": "a.b"}, 4),
        ({"eventType": "a.b", "status": "Failure"}, 3),
        ({"eventType": "a.c"}, 0),
        ({"startDate": "2020-01-01T00:00:00", "endDate": "2020-01-02T00:00:00"}, 0),
    ):
        path = "/eventdeliveries/countbatchretryevents"
        assert convoy.ask(200, "GET", path, params=query) == {"num": number}, query
    received.status = 204
    answer = convoy.answer(200, "POST", "/eventdeliveries/batchretry", params={"endpointId": mine})
    assert answer["message"] == "Batch retry processing"
    convoy.settled(3, endpointId=mine)
    assert convoy.ask(
        200, "GET", "/events/countbatchreplayevents", params={"endpointId": mine}
    ) == {"num": 3}
    replayed = convoy.answer(200, "POST", "/events/batchreplay", params={"endpointId": mine})
    assert replayed["message"] == "3 successful, 0 failed"
    convoy.settled(6, endpointId=mine)
    assert len(other.requests) == 1
    assert {one["event_id"] for one in convoy.settled(6, endpointId=mine)} == set(events)
    for search in ({"query": "x"}, {"body": "{}"}):
        message = convoy.refused(400, "POST", "/events/batchreplay", params=search)
        assert message == "batch replay does not support search filters"


@pytest.mark.proves("convoy", "GET /events", "GET /eventdeliveries")
def test_lists_are_paged_both_ways(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url)
    events = [convoy.send(endpoint, data={"n": n}) for n in range(5)]

    def walk(path: str, name: str, **query: Any) -> list[list[str]]:
        found, cursor = [], None
        while True:
            asked = {**query, "perPage": 2, **({"next_page_cursor": cursor} if cursor else {})}
            page = convoy.ask(200, "GET", path, params=asked)
            found.append([one[name] for one in page["content"]])
            pagination = page["pagination"]
            if not pagination["has_next_page"]:
                break
            cursor = pagination["next_page_cursor"]
        back = {**query, "perPage": 2, "direction": "prev"}
        back["prev_page_cursor"] = pagination["prev_page_cursor"]
        page = convoy.ask(200, "GET", path, params=back)
        assert [one[name] for one in page["content"]] == found[-2]
        return found

    down = events[::-1]
    assert walk("/events", "uid") == [down[:2], down[2:4], down[4:]]
    assert walk("/events", "uid", sort="ASC") == [events[:2], events[2:4], events[4:]]
    assert walk("/events", "uid", endpointId=endpoint) == [down[:2], down[2:4], down[4:]]
    assert walk("/eventdeliveries", "event_id") == [down[:2], down[2:4], down[4:]]
    first = {"next_page_cursor": "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "perPage": 1}
    page = convoy.ask(200, "GET", "/events", params=first)
    assert [one["uid"] for one in page["content"]] == down[:1]
    for query, found in (
        ({"body": '{"n": 3}'}, [events[3]]),
        ({"query": '"n":2'}, [events[2]]),
        ({"query": events[1][:24]}, None),
        ({"startDate": "2020-01-01T00:00:00", "endDate": "2020-01-02T00:00:00"}, []),
        ({"brokerMessageId": "x"}, []),
    ):
        content = convoy.ask(200, "GET", "/events", params=query)["content"]
        assert found is None or [one["uid"] for one in content] == found, query


@pytest.mark.refuses(
    "convoy",
    "GET /portal-links",
    "POST /portal-links",
    "GET /portal-links/{link_id}",
    "PUT /portal-links/{link_id}",
    "GET /portal-links/{link_id}/refresh_token",
    "PUT /portal-links/{link_id}/revoke",
    "PUT /subscriptions/{subscription_id}/toggle_status",
)
def test_what_is_not_there_yet_is_refused(convoy: Convoy, received: Receiver) -> None:
    one = "/portal-links/01ARZ3NDEKTSV4RRFFQ69G5FAV"
    asked = [("GET", "/portal-links"), ("GET", one), ("GET", f"{one}/refresh_token")]
    asked += [("POST", "/portal-links"), ("PUT", one), ("PUT", f"{one}/revoke")]
    for method, path in asked:
        assert convoy.refused(400, method, path) == "portal links are not supported yet"
    toggled = f"/subscriptions/{convoy.subscribe(convoy.endpoint(received.url))}/toggle_status"
    assert "no status of its own" in convoy.refused(400, "PUT", toggled)
    certificate = {"client_cert": "c", "client_key": "k"}
    endpoint = {"name": "e", "url": received.url, "mtls_client_cert": certificate}
    assert "not supported" in convoy.refused(400, "POST", "/endpoints", json=endpoint)


@pytest.mark.proves("convoy", "GET /events/{event_id}")
def test_events_of_other_apis_are_seen(convoy: Convoy, tenant: Tenant, received: Receiver) -> None:
    convoy.subscribe(convoy.endpoint(received.url))
    token = tenant.post("card.created", {"n": 1})
    (request,) = received.wait_for(1)
    assert good_secrets(request.headers, request.body, ["s3cret"])
    (event,) = convoy.ask(200, "GET", "/events")["content"]
    assert event["event_type"] == "card.created"
    assert convoy.event(event["uid"])["uid"] == event["uid"]
    (delivery,) = convoy.settled(1)
    assert delivery["event_id"] == event["uid"]
    tenant.subscribe(received.url)
    tenant.post("card.updated", {"n": 1})
    received.wait_for(3)
    theirs = [
        one["uid"] for one in convoy.settled(3) if one["subscription_id"] == one["endpoint_id"]
    ]
    assert convoy.ask(200, "GET", f"/eventdeliveries/{theirs[0]}")["uid"] == theirs[0]
    sent = convoy.ask(201, "POST", "/events/broadcast", json={"event_type": "a", "data": {}})
    page = tenant.ask(200, "GET", "/v1/events")["data"]
    assert [one["event_type"] for one in page] == ["a", "card.updated", "card.created"]
    assert page[2]["token"] == token
    assert sent["uid"] > event["uid"]


def test_an_open_breaker_is_shown(convoy: Convoy, received: Receiver) -> None:
    breaker = {"minimum_request_count": 1, "failure_threshold": 1, "error_timeout": 3600}
    convoy.ask(202, "PUT", "", json={"config": {"circuit_breaker": breaker}})
    endpoint = convoy.endpoint(received.url)
    path = f"/endpoints/{endpoint}"
    assert convoy.ask(200, "GET", path)["cb_state"] == "closed"
    received.status = 500
    convoy.send(endpoint)
    eventually(lambda: convoy.ask(200, "GET", path)["cb_state"], lambda state: state == "open")
