"""Event types as Convoy tells them, and webhooks of OpenAPI documents."""

from typing import Any

import pytest

from waypost.dialects.convoy.event_types import EventTypeIn, id_of, read_webhooks
from waypost.model import ids
from waypost.model.errors import InvalidInput

OPERATION: dict[str, Any] = {
    "tags": ["Cards", "x"],
    "summary": "s",
    "description": "A card\nwas made.",
    "requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}},
}


def test_an_id_follows_from_project_and_name() -> None:
    assert id_of(ids.FIRST, "a") == id_of(ids.FIRST, "a")
    found = {id_of(ids.FIRST, "a"), id_of(ids.FIRST, "b"), id_of(ids.LAST, "a")}
    assert len(found) == 3
    assert ids.find_ulid(ids.spell_ulid(id_of(ids.FIRST, "a"))) == id_of(ids.FIRST, "a")


def test_webhooks_are_event_types() -> None:
    spec = {"webhooks": {"card.made": {"post": OPERATION}, "b": {"put": {"summary": "s"}}}}
    assert read_webhooks(spec) == [
        EventTypeIn("card.made", "Cards", "A card was made.", {"type": "object"}),
        EventTypeIn("b", "", "s", None),
    ]


@pytest.mark.parametrize(
    "spec, path",
    [
        ({}, "spec.webhooks"),
        ({"webhooks": {}}, "spec.webhooks"),
        ({"webhooks": []}, "spec.webhooks"),
        ({"webhooks": {"a": None}}, "spec.webhooks.a"),
        ({"webhooks": {"a": {"post": 1}}}, "spec.webhooks.a"),
        ({"webhooks": {"a b": {"post": {}}}}, "spec.webhooks.a b"),
        ({"webhooks": {"a": {"post": {"tags": ["x" * 257]}}}}, "spec.webhooks.a"),
    ],
)
def test_what_is_none_is_told(spec: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        read_webhooks(spec)
    assert [place for place, _ in refusal.value.details] == [path]


@pytest.mark.parametrize("body", ["", 1, [1], {"content": 1}, {"content": {"application/json": 1}}])
def test_odd_bodies_have_no_schema(body: Any) -> None:
    spec = {"webhooks": {"a": {"post": {"requestBody": body}}}}
    assert read_webhooks(spec) == [EventTypeIn("a", "", "", None)]
