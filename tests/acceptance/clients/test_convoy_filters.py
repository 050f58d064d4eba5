"""What Convoy's subscriptions take: types, filters, functions."""

from typing import Any

import pytest

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver
from tests.support.signatures import good_secrets

FILTERS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"body": {"amount": {"$gt": 5}}}, {"body": {"amount": 6}}, True),
    ({"body": {"amount": {"$gt": 5}}}, {"body": {"amount": 4}}, False),
    ({"body": {"items.$.price": 2}}, {"body": {"items": [{"price": 1}, {"price": 2}]}}, True),
    ({"headers": {"x-tag": {"$in": ["a"]}}}, {"header": {"X-Tag": "a"}}, True),
    ({"query": {"q": "1"}}, {"query": {"q": "2"}}, False),
    ({"path": {"path": "/x"}}, {"path": {"path": "/x"}}, True),
    ({"path": {"$or": [{"path": "/x"}, {"path": "/y"}]}}, {"path": "/z"}, False),
    ({"body": {"$or": [{"a": 1}, {"b": {"$exist": False}}]}}, {"body": {"c": 1}}, True),
]


@pytest.mark.proves("convoy", "POST /subscriptions/test_filter")
def test_filters_are_tried_out(convoy: Convoy) -> None:
    for schema, request, matches in FILTERS:
        body = {"schema": schema, "request": request}
        answer = convoy.answer(200, "POST", "/subscriptions/test_filter", json=body)
        assert answer["message"] == "Filter validated successfully"
        assert answer["data"] is matches, body


@pytest.mark.proves(
    "convoy",
    "GET /subscriptions/{subscription_id}/filters",
    "POST /subscriptions/{subscription_id}/filters",
    "POST /subscriptions/{subscription_id}/filters/bulk",
    "POST /subscriptions/{subscription_id}/filters/bulk_update",
    "PUT /subscriptions/{subscription_id}/filters/bulk_update",
    "POST /subscriptions/{subscription_id}/filters/test/{event_type}",
    "GET /subscriptions/{subscription_id}/filters/{filter_id}",
    "PUT /subscriptions/{subscription_id}/filters/{filter_id}",
    "DELETE /subscriptions/{subscription_id}/filters/{filter_id}",
)
def test_filters_decide_what_comes(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url)
    config = {"event_types": ["a", "b", "c"], "filter": {"body": {"n": {"$gte": 1}}}}
    subscription = convoy.subscribe(endpoint, filter_config=config)
    path = f"/subscriptions/{subscription}/filters"
    made = convoy.ask(201, "POST", path, json={"event_type": "a", "body": {"x": 1}})
    (rest,) = convoy.ask(
        201, "POST", f"{path}/bulk", json=[{"event_type": "*", "headers": {"h": "1"}}]
    )
    assert convoy.refused(400, "POST", path, json={"event_type": "a"}) == (
        "filter with this event type already exists"
    )
    assert (
        convoy.refused(404, "POST", path, json={"event_type": "z"}) == "event type does not exist"
    )
    assert [one["event_type"] for one in convoy.ask(200, "GET", path)] == ["a", "*"]
    passing = [
        ("a", {"n": 1, "x": 1}, {}, True),
        ("a", {"n": 1, "x": 2}, {}, False),
        ("a", {"n": 0, "x": 1}, {}, False),
        ("b", {"n": 1}, {"h": "1"}, True),
        ("b", {"n": 1}, {}, False),
        ("d", {"n": 1}, {"h": "1"}, False),
    ]
    for kind, data, headers, passes in passing:
        tried = convoy.ask(
            200,
            "POST",
            f"{path}/test/{kind}",
            json={"payload": data, "request": {"headers": headers}},
        )
        assert tried == {"is_match": passes}, (kind, data)
        event = convoy.event(convoy.send(endpoint, kind, data, custom_headers=headers))
        assert event["status"] == ("Success" if passes else "Failure"), (kind, data)
    change = [{"uid": made["uid"], "body": {"x": 2}}, {"uid": rest["uid"], "enabled_at": None}]
    for method in ("POST", "PUT"):
        convoy.ask(200, method, f"{path}/bulk_update", json=change)
    assert convoy.event(convoy.send(endpoint, "a", {"n": 1, "x": 2}))["status"] == "Success"
    assert convoy.event(convoy.send(endpoint, "b", {"n": 1}))["status"] == "Success"
    assert convoy.ask(200, "PUT", f"{path}/{rest['uid']}", json={"is_enabled": True})["enabled_at"]
    convoy.ask(200, "DELETE", f"{path}/{made['uid']}")
    assert convoy.ask(200, "GET", f"{path}/{rest['uid']}")["headers"] == {"h": "1"}
    assert convoy.event(convoy.send(endpoint, "a", {"n": 1}))["status"] == "Failure"


@pytest.mark.proves("convoy", "POST /subscriptions/test_function")
def test_functions_change_what_comes(convoy: Convoy, received: Receiver) -> None:
    code = "function transform(payload) { console.log('hi'); return {twice: payload.n * 2}; }"
    body = {"payload": {"n": 2}, "function": code, "type": "body"}
    tried = convoy.ask(200, "POST", "/subscriptions/test_function", json=body)
    assert tried == {"payload": {"twice": 4}, "log": ["hi"]}
    endpoint = convoy.endpoint(received.url)
    convoy.subscribe(endpoint, function=code)
    convoy.send(endpoint, data={"n": 21})
    (request,) = received.wait_for(1)
    assert request.body == b'{"twice":42}'
    assert good_secrets(request.headers, request.body, ["s3cret"])
    assert "function" in convoy.refused(
        400, "POST", "/subscriptions/test_function", json={**body, "function": "function ("}
    )


@pytest.mark.proves(
    "convoy",
    "GET /subscriptions",
    "GET /subscriptions/{subscription_id}",
    "PUT /subscriptions/{subscription_id}",
    "DELETE /subscriptions/{subscription_id}",
)
def test_subscriptions_are_shown_changed_and_deleted(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.endpoint(received.url)
    subscription = convoy.subscribe(endpoint, "a")
    path = f"/subscriptions/{subscription}"
    second = {"name": "t", "endpoint_id": endpoint}
    assert convoy.refused(400, "POST", "/subscriptions", json=second) == (
        "a subscription for this endpoint already exists"
    )
    convoy.ask(202, "PUT", "", json={"config": {"multiple_endpoint_subscriptions": True}})
    convoy.ask(201, "POST", "/subscriptions", json=second)
    change = {
        "name": "n",
        "retry_config": {"type": "exponential", "duration": "1m", "retry_count": 4},
    }
    changed = convoy.ask(202, "PUT", path, json=change)
    assert changed["retry_config"] == {"type": "exponential", "duration": 60, "retry_count": 4}
    assert convoy.ask(200, "GET", path)["name"] == "n"
    listed = convoy.ask(200, "GET", "/subscriptions", params={"name": "N"})["content"]
    assert [one["uid"] for one in listed] == [subscription]
    assert listed[0]["endpoint_metadata"]["uid"] == endpoint
    event = convoy.send(endpoint, "a")
    assert len(convoy.settled(2, eventId=event)) == 2
    convoy.ask(200, "DELETE", path)
    assert convoy.refused(404, "GET", path) == "failed to find subscription"
