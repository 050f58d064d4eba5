"""Transforms over HTTP: set, tried, and run on what real receivers get."""

import json
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support.receiver import Receiver
from tests.support.site import Tenant, eventually

SUBSCRIPTIONS = "/v1/event_subscriptions"
TEST = "/v1/transforms/test"
URL = "http://127.0.0.1:9/"

ENRICH = """\
function transform(payload, event) {
  if (payload.amount < 100) return { skip: true };
  return {
    payload: { text: `${payload.name} paid ${payload.amount}`, type: event.event_type },
    headers: { "x-priority": payload.amount > 1000 ? "high" : "low" },
  };
}
"""
FILLED = {
    "payload": {
        "text": "{{ payload.name }} paid {{ payload.amount }}",
        "type": "{{ event.event_type }}",
    },
    "headers": {"x-priority": "{{ payload.amount > `1000` && 'high' || 'low' }}"},
    "skip": "{{ payload.amount < `100` }}",
}


def tried(tenant: Tenant, transform: dict[str, Any], **fields: Any) -> Any:
    return tenant.ask(200, "POST", TEST, json={"transform": transform, **fields})


@pytest.mark.parametrize("transform", [{"javascript": ENRICH}, {"template": FILLED}])
def test_what_arrives_is_transformed_and_signed(
    tenant: Tenant, received: Receiver, transform: dict[str, Any]
) -> None:
    plain = tenant.subscribe(received.url, event_types=["plain"])
    one = tenant.subscribe(received.url, event_types=["bill.paid"], transform=transform)
    secret = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{one}/secret")["secret"]
    small = tenant.post("bill.paid", {"name": "Ada", "amount": 99})
    event = tenant.post("bill.paid", {"name": "Ada", "amount": 2000})
    (request,) = received.wait_for(1)
    assert json.loads(request.body) == {"text": "Ada paid 2000", "type": "bill.paid"}
    assert request.headers["x-priority"] == "high"
    assert request.headers["webhook-id"] == event
    assert Webhook(secret).verify(request.body, request.headers)
    assert tenant.settled(event, "delivered") == [("delivered", None)]
    assert tenant.settled(small, "cancelled") == [("cancelled", "skipped_by_transform")]
    assert tenant.ask(200, "GET", f"/v1/events/{small}/attempts")["data"] == []
    # What it was posted as, it stays.
    kept = tenant.ask(200, "GET", f"/v1/events/{event}")
    assert kept["payload"] == {"name": "Ada", "amount": 2000}
    assert tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{plain}")["transform"] is None


def test_an_untouched_payload_arrives_as_the_very_bytes(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, transform={"javascript": "const transform = p => p"})
    tenant.subscribe(received.url, transform={"template": {"headers": {"x-n": "{{ payload.n }}"}}})
    body = b'{"event_type": "a", "payload": { "n": 1.10,  "big": 12345678901234567890 }}'
    tenant.ask(
        202, "POST", "/v1/events", content=body, headers={"content-type": "application/json"}
    )
    assert [one.body for one in received.wait_for(2)] == [
        b'{ "n": 1.10,  "big": 12345678901234567890 }'
    ] * 2


def test_a_transform_is_shown_changed_and_removed(tenant: Tenant, received: Receiver) -> None:
    made = tenant.ask(
        201, "POST", SUBSCRIPTIONS, json={"url": URL, "transform": {"javascript": ENRICH}}
    )
    assert made["transform"] == {"javascript": ENRICH}
    path = f"{SUBSCRIPTIONS}/{made['token']}"
    changed = tenant.ask(200, "PATCH", path, json={"url": URL, "transform": {"template": FILLED}})
    assert changed["transform"] == {"template": FILLED}
    kept = tenant.ask(200, "PATCH", path, json={"url": received.url})
    assert kept["transform"] == {"template": FILLED}
    assert tenant.ask(200, "GET", SUBSCRIPTIONS)["data"][0]["transform"] == {"template": FILLED}
    gone = tenant.ask(200, "PATCH", path, json={"url": received.url, "transform": None})
    assert gone["transform"] is None
    tenant.post(payload={"name": "Ada", "amount": 1})
    assert json.loads(received.wait_for(1)[0].body) == {"name": "Ada", "amount": 1}


def test_one_that_fails_is_tried_again_and_says_why(tenant: Tenant, received: Receiver) -> None:
    broken = {"javascript": "function transform(p) {\n  return p.none.name\n}"}
    tenant.subscribe(received.url, transform=broken)
    event = tenant.post()

    def attempts() -> list[dict[str, Any]]:
        page = tenant.ask(200, "GET", f"/v1/events/{event}/attempts")
        return [one for one in page["data"] if one["status"] == "FAILED"]

    failed = eventually(attempts)[0]
    assert failed["response_status_code"] == 0
    reason = "TypeError: cannot read property 'name' of undefined"
    assert failed["response"] == f"the transform failed: line 2: {reason}"
    assert tenant.deliveries(event) == [("pending", None)]
    assert received.requests == []


GOOD = {"javascript": "function transform(payload) { return payload }"}
BAD_TRANSFORMS: list[tuple[Any, int, str]] = [
    ("x", 400, "transform"),
    ([], 400, "transform"),
    (True, 400, "transform"),
    ({"javascript": 5}, 400, "transform.javascript"),
    ({"javascript": None}, 400, "transform.javascript"),
    ({"javascript": "x", "language": "js"}, 400, "transform.language"),
    ({}, 422, "transform"),
    ({"template": None}, 422, "transform"),
    ({**GOOD, "template": {}}, 422, "transform"),
    ({"javascript": ""}, 422, "transform.javascript"),
    ({"javascript": "x" * 65_537}, 422, "transform.javascript"),
    ({"javascript": "function transform( {"}, 422, "transform.javascript"),
    ({"javascript": "const transform = 5"}, 422, "transform.javascript"),
    ({"javascript": "async function transform() {}"}, 422, "transform.javascript"),
    ({"javascript": "function* transform() {}"}, 422, "transform.javascript"),
    ({"javascript": "while (true) {}"}, 422, "transform.javascript"),
    ({"javascript": "new Array(2 ** 29).join('')"}, 422, "transform.javascript"),
    ({"javascript": "require('fs'); function transform() {}"}, 422, "transform.javascript"),
    ({"template": "{{ payload. }}"}, 422, "transform.template"),
    ({"template": {"a": [{"b": "{{"}]}}, 422, "transform.template.a[0].b"),
    ({"template": {"skip": "maybe"}}, 422, "transform.template.skip"),
    ({"template": "x" * 65_537}, 422, "transform.template"),
    ({"template": ["{{ a }}"] * 501}, 422, "transform.template[500]"),
]


@pytest.mark.parametrize("transform, status, path", BAD_TRANSFORMS)
def test_a_bad_transform_is_refused_when_it_is_set(
    tenant: Tenant, transform: Any, status: int, path: str
) -> None:
    body = {"url": URL, "transform": transform}
    blamed = [path] if path else []
    assert tenant.refused(status, "POST", SUBSCRIPTIONS, json=body) == blamed
    made = tenant.subscribe(URL, transform=GOOD)
    one = f"{SUBSCRIPTIONS}/{made}"
    assert tenant.refused(status, "PATCH", one, json=body) == blamed
    assert tenant.ask(200, "GET", one)["transform"] == GOOD
    tried_body = {"transform": transform, "payload": {}}
    assert tenant.refused(status, "POST", TEST, json=tried_body) == blamed


@pytest.mark.parametrize(
    "fields, path",
    [
        ({}, []),
        ({"payload": 1, "event_token": "evt_x"}, []),
        ({"event_token": 5}, ["event_token"]),
        ({"payload": 1, "event": {"event_type": "a b"}}, ["event.event_type"]),
        ({"payload": 1, "event": {"surplus": 1}}, ["event.surplus"]),
        ({"payload": 1, "event": {"payload": 1}}, ["event.payload"]),
        ({"payload": 1, "event": {"metadata": {"a": 1}}}, ["event.metadata"]),
        ({"payload": 1, "surplus": 1}, ["surplus"]),
    ],
)
def test_a_bad_trial_is_refused(tenant: Tenant, fields: dict[str, Any], path: list[str]) -> None:
    blamed = tenant.refused(400, "POST", TEST, json={"transform": GOOD, **fields})
    assert [one for one in blamed if one] == path


@pytest.mark.proves("native", "POST /v1/transforms/test")
def test_a_trial_shows_what_would_be_sent(tenant: Tenant) -> None:
    text = "console.log('amount', payload.amount); return {payload: [event.owner], headers: {a: 1}}"
    program = {"javascript": f"function transform(payload, event) {{ {text} }}"}
    event = {"event_type": "bill.paid", "owner": "acme"}
    assert tried(tenant, program, payload={"amount": 5}, event=event) == {
        "payload": ["acme"],
        "headers": {"a": "1"},
        "skip": False,
        "log": ["amount 5"],
        "error": None,
    }
    posted = tenant.post("bill.paid", {"amount": 7}, owner="o")
    again = tried(tenant, program, event_token=posted)
    assert (again["payload"], again["log"]) == (["o"], ["amount 7"])
    assert tried(tenant, {"template": {"skip": True}}, payload=1)["skip"] is True


@pytest.mark.parametrize(
    "text, error",
    [
        ("return payload.a.b", {"kind": "exception", "line": 1}),
        ("\n\nthrow new Error('x')", {"kind": "exception", "line": 3, "message": "Error: x"}),
        ("while (true) {}", {"kind": "timeout"}),
        ("return new Array(2 ** 29).join('')", {"kind": "timeout"}),
        ("return 'x'.repeat(2 ** 28)", {"kind": "memory", "line": 1}),
        ("return Promise.resolve(payload)", {"kind": "result"}),
        ("return {headers: {host: 'x'}}", {"kind": "result"}),
        ("return {headers: {'x-a': 'b\\r\\nc: d'}}", {"kind": "result"}),
        ("return 'x'.repeat(2e6)", {"kind": "result"}),
    ],
)
def test_a_trial_tells_what_went_wrong(tenant: Tenant, text: str, error: dict[str, Any]) -> None:
    program = {"javascript": f"function transform(payload) {{ console.log('x'); {text} }}"}
    shown = tried(tenant, program, payload={})
    assert (shown["payload"], shown["headers"], shown["skip"]) == (None, {}, False)
    assert {name: shown["error"][name] for name in error} == error
    assert shown["log"] in (["x"], [])


def test_events_are_not_read_by_a_trial_of_somebody_else(tenant: Tenant, stranger: Tenant) -> None:
    event = tenant.post()
    body = {"transform": GOOD, "event_token": event}
    stranger.ask(404, "POST", TEST, json=body)
