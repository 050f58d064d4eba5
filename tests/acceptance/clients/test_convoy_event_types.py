"""Convoy's event types on a real server, from the outside."""

import pytest

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver
from tests.support.site import Tenant

PATH = "/event-types"


@pytest.mark.proves(
    "convoy",
    "GET /event-types",
    "POST /event-types",
    "PUT /event-types/{event_type_id}",
    "POST /event-types/{event_type_id}/deprecate",
)
def test_types_are_made_listed_changed_and_deprecated(convoy: Convoy, tenant: Tenant) -> None:
    body = {"name": "a.b", "category": "c", "description": "d", "json_schema": {"type": "object"}}
    made = convoy.ask(201, "POST", PATH, json=body)
    assert made == body | {"uid": made["uid"], "deprecated_at": None}
    # It is one catalogue, whoever asks.
    assert tenant.ask(200, "GET", "/v1/event_types")["event_types"] == [
        {"name": "a.b", "description": "d", "example": None}
    ]
    one = f"{PATH}/{made['uid']}"
    changed = convoy.ask(202, "PUT", one, json={"category": "e"})
    assert changed == made | {"category": "e"}
    gone = convoy.ask(200, "POST", f"{one}/deprecate")
    assert gone["deprecated_at"] is not None
    assert convoy.ask(200, "POST", f"{one}/deprecate") == gone
    assert convoy.ask(200, "GET", PATH) == [gone]


@pytest.mark.proves("convoy", "POST /event-types/import")
def test_types_come_by_subscriptions_and_by_documents(convoy: Convoy, received: Receiver) -> None:
    endpoint = convoy.ask(201, "POST", "/endpoints", json={"url": received.url, "name": "e"})
    body = {
        "name": "s",
        "endpoint_id": endpoint["uid"],
        "filter_config": {"event_types": ["x.y", "*"]},
    }
    convoy.ask(201, "POST", "/subscriptions", json=body)
    spec = {"webhooks": {"card.made": {"post": {"summary": "s", "tags": ["t"]}}}}
    imported = convoy.ask(200, "POST", f"{PATH}/import", json={"spec": spec})
    assert [(one["name"], one["category"]) for one in imported] == [("card.made", "t")]
    listed = convoy.ask(200, "GET", PATH)
    assert [one["name"] for one in listed] == ["card.made", "x.y"]


def test_what_is_refused(convoy: Convoy) -> None:
    made = convoy.ask(201, "POST", PATH, json={"name": "a"})
    one = f"{PATH}/{made['uid']}"
    for method, path, body, status, told in (
        ("POST", PATH, {"name": "a"}, 400, "already exists"),
        ("POST", PATH, {"name": "a b"}, 400, "name"),
        ("POST", PATH, {}, 400, "name"),
        ("POST", PATH, {"name": "b", "json_schema": {"x": "y" * 70_000}}, 400, "json_schema"),
        ("PUT", one, {"name": "b"}, 400, "name"),
        ("PUT", f"{PATH}/{'0' * 26}", {}, 404, "event type does not exist"),
        ("POST", f"{PATH}/nonsense/deprecate", {}, 404, "event type does not exist"),
        ("POST", f"{PATH}/import", {"spec": {}}, 400, "spec.webhooks"),
    ):
        assert told in convoy.refused(status, method, path, json=body), (path, body)
    assert convoy.ask(200, "GET", PATH) == [made]
