"""CloudEvents 1.0 go in by each mode, and their attributes come out again."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.receiver import Receiver
from tests.support.site import Tenant

EVENTS = "/v1/events"
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCHED = {"content-type": "application/cloudevents-batch+json"}
CONTEXT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "a-1",
    "source": "/cards",
    "type": "card.created",
    "subject": "Größe €",
    "time": "2026-01-02T03:04:05.678901Z",
    "dataschema": "https://example.com/schema",
    "count": 7,
    "live": True,
}
DATA = b'{ "n": 1.10, "n": "\\u0000" }'


def structured(**changes: Any) -> bytes:
    """Return an event as JSON, with its data as the very bytes."""
    members = {name: value for name, value in (CONTEXT | changes).items() if value is not None}
    return json.dumps(members)[:-1].encode() + b', "data": ' + DATA + b"}"


def binary(**changes: str) -> dict[str, str]:
    """Return an event's attributes as headers, all of them spelled as strings."""
    spelled = {name: quote(str(value), safe="/:") for name, value in CONTEXT.items()}
    spelled["live"] = "true"
    headers = {f"ce-{name}": value for name, value in (spelled | changes).items()}
    return {"content-type": "application/json", **headers}


def test_a_structured_event_comes_out_in_binary_and_in_structured_mode(
    tenant: Tenant, received: Receiver
) -> None:
    tenant.subscribe(received.url)
    token = tenant.ask(202, "POST", EVENTS, content=structured(), headers=STRUCTURED)["token"]
    (request,) = received.wait_for(1)
    assert request.body == DATA
    assert request.headers["webhook-id"] == token
    for name, value in CONTEXT.items():
        spelled = "true" if value is True else str(value)
        assert request.headers[f"ce-{name}"] == quote(spelled, safe="/:"), name
    assert request.headers["content-type"] == "application/json"
    shown = tenant.ask(200, "GET", f"{EVENTS}/{token}")
    assert shown["cloudevent"] == CONTEXT
    assert shown["occurred_at"] == CONTEXT["time"]


def test_a_structured_event_comes_out_structured(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, format="cloudevents")
    tenant.ask(202, "POST", EVENTS, content=structured(), headers=STRUCTURED)
    (request,) = received.wait_for(1)
    assert request.headers["content-type"].startswith("application/cloudevents+json")
    assert request.body.endswith(b'"data":' + DATA + b"}")
    whole = json.loads(request.body)
    del whole["data"]
    assert whole == CONTEXT


@pytest.mark.parametrize("form", ["payload", "cloudevents"])
def test_a_binary_event_keeps_its_attributes(tenant: Tenant, received: Receiver, form: str) -> None:
    tenant.subscribe(received.url, format=form)
    tenant.ask(202, "POST", EVENTS, content=DATA, headers=binary())
    (request,) = received.wait_for(1)
    if form == "payload":
        sent = {name: value for name, value in request.headers.items() if name.startswith("ce-")}
        given = binary()
        del given["content-type"]
        assert (sent, request.body) == (given, DATA)
    else:
        whole = json.loads(request.body)
        assert request.body.endswith(b'"data":' + DATA + b"}")
        assert whole["subject"] == CONTEXT["subject"]
        assert (whole["count"], whole["live"]) == ("7", "true"), "a header has no types"
        assert whole["datacontenttype"] == "application/json"


def test_data_that_is_no_json_goes_through_every_mode(tenant: Tenant, received: Receiver) -> None:
    data = bytes(range(256))
    tenant.subscribe(received.url)
    tenant.subscribe(received.url, format="cloudevents")
    headers = binary() | {"content-type": "image/png"}
    answer = tenant.ask(202, "POST", EVENTS, content=data, headers=headers)
    assert base64.b64decode(answer["payload"]) == data
    assert answer["payload_encoding"] == "base64"
    by_type = {one.headers["content-type"]: one.body for one in received.wait_for(2)}
    assert by_type.pop("image/png") == data
    ((_, whole),) = by_type.items()
    assert base64.b64decode(json.loads(whole)["data_base64"]) == data
    again = {**CONTEXT, "id": "a-2", "datacontenttype": "image/png"}
    encoded = {**again, "data_base64": base64.b64encode(data).decode()}
    tenant.ask(202, "POST", EVENTS, content=json.dumps(encoded), headers=STRUCTURED)
    assert data in [one.body for one in received.wait_for(4)[2:]]


def test_a_batch_of_them_is_taken_whole_or_not_at_all(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url)
    events = [structured(id=f"b-{n}") for n in range(5)]
    path = f"{EVENTS}/batch"
    bad = b"[" + b",".join([*events, structured(id="b-5", source=None)]) + b"]"
    assert tenant.refused(422, "POST", path, content=bad, headers=BATCHED) == ["[5].source"]
    assert tenant.ask(200, "GET", EVENTS)["data"] == []
    good = b"[" + b",".join(events) + b"]"
    made = tenant.ask(202, "POST", path, content=good, headers=BATCHED)["data"]
    assert [one["duplicate"] for one in made] == [False] * 5
    requests = received.wait_for(5)
    assert sorted(one.headers["ce-id"] for one in requests) == [f"b-{n}" for n in range(5)]
    assert tenant.ask(202, "POST", path, content=b"[]", headers=BATCHED) == {"data": []}


def test_source_and_id_are_the_idempotency_key_in_every_mode(tenant: Tenant) -> None:
    first = tenant.ask(202, "POST", EVENTS, content=structured(), headers=STRUCTURED)
    again = tenant.ask(202, "POST", EVENTS, content=structured(), headers=STRUCTURED)
    assert again == {**first, "duplicate": True}
    other = tenant.ask(202, "POST", EVENTS, content=structured(source="/x"), headers=STRUCTURED)
    assert (other["duplicate"], other["token"] != first["token"]) == (False, True)
    changed = structured(subject="else")
    tenant.refused(422, "POST", EVENTS, content=changed, headers=STRUCTURED)
    keyed = {**STRUCTURED, "idempotency-key": "k"}
    tenant.refused(400, "POST", EVENTS, content=structured(id="z"), headers=keyed)


@pytest.mark.parametrize(
    "changes,path",
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "id"),
        ({"source": "a b"}, "source"),
        ({"type": "a\nb"}, "type"),
        ({"time": "now"}, "time"),
        ({"subject": "a\r\nx-evil: 1"}, "subject"),
        ({"Upper": "a"}, "Upper"),
        ({"ext": 1.5}, "ext"),
        ({"ext": {"a": 1}}, "ext"),
        ({"count": 2**31}, "count"),
        ({"datacontenttype": "text/plain\r\nx-evil: 1"}, "datacontenttype"),
    ],
)
def test_a_structured_event_that_breaks_the_rules_is_refused(
    tenant: Tenant, changes: dict[str, Any], path: str
) -> None:
    body = structured(**changes)
    (blamed,) = tenant.refused(400, "POST", EVENTS, content=body, headers=STRUCTURED)
    assert blamed.startswith(path)


def test_a_mode_goes_to_its_route_and_unknown_formats_are_refused(tenant: Tenant) -> None:
    one, many = structured(), b"[" + structured() + b"]"
    tenant.refused(415, "POST", f"{EVENTS}/batch", content=one, headers=STRUCTURED)
    tenant.refused(415, "POST", EVENTS, content=many, headers=BATCHED)
    xml = {"content-type": "application/cloudevents+xml"}
    tenant.refused(400, "POST", EVENTS, content=b"<event/>", headers=xml)
    evil = binary(subject="a%0D%0Ax-evil:%201")
    assert tenant.refused(400, "POST", EVENTS, content=DATA, headers=evil) == ["ce-subject"]
    assert tenant.ask(200, "GET", EVENTS)["data"] == []
