"""The OpenAPI document says of each operation what the table says."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from waypost.api.openapi import ALWAYS, WRITING, document
from waypost.api.operation import Operation
from waypost.api.shapes import PageOf, Range
from waypost.model.project import Scope


class Things(Range, frozen=True, kw_only=True):
    """Which things."""

    kinds: Annotated[tuple[str, ...], Meta(max_length=10, description="Of these kinds.")] = ()


class Thing(msgspec.Struct, frozen=True):
    """A thing."""

    name: str
    data: msgspec.Raw


TABLE = [
    Operation(
        method="GET",
        path="/v1/things",
        name="list_things",
        summary="List things",
        tag="Things",
        scope=Scope.EVENTS_READ,
        query=Things,
        result=PageOf[Thing],
        handler=None,
    ),
    Operation(
        method="PUT",
        path="/v1/events/{event_token}/things/{thing}",
        name="put_thing",
        summary="Keep a thing",
        description="As it is.",
        tag="Things",
        scope=Scope.EVENTS_WRITE,
        body=Thing,
        media=("application/json", "application/x-thing+json"),
        status=204,
        errors=(422,),
        handler=None,
    ),
    Operation(
        method="GET",
        path="/v1/open",
        name="get_open",
        summary="See it",
        tag="Others",
        scope=None,
        result=Thing,
        handler=None,
    ),
]
DOCUMENT: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(TABLE)))
LIST = DOCUMENT["paths"]["/v1/things"]["get"]
PUT = DOCUMENT["paths"]["/v1/events/{event_token}/things/{thing}"]["put"]
OPEN = DOCUMENT["paths"]["/v1/open"]["get"]


def test_every_operation_is_there_under_its_name_and_tag() -> None:
    found = [one for path in DOCUMENT["paths"].values() for one in path.values()]
    assert [(one["operationId"], one["tags"]) for one in found] == [
        (row.name, [row.tag]) for row in TABLE
    ]
    assert [tag["name"] for tag in DOCUMENT["tags"]] == ["Things", "Others"]


def test_the_query_is_parameters() -> None:
    by_name = {one["name"]: one for one in LIST["parameters"]}
    assert set(by_name) == {
        "page_size",
        "starting_after",
        "ending_before",
        "begin",
        "end",
        "kinds",
    }
    assert by_name["page_size"]["schema"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 50,
    }
    assert by_name["begin"]["schema"] == {"type": "string", "format": "date-time"}
    assert by_name["kinds"]["explode"] is False
    assert by_name["kinds"]["description"] == "Of these kinds."
    assert all(one["in"] == "query" and not one["required"] for one in by_name.values())
    assert "Things" not in DOCUMENT["components"]["schemas"]


def test_parameters_of_the_path_are_required() -> None:
    assert [(one["name"], one["in"], one["required"]) for one in PUT["parameters"]] == [
        ("event_token", "path", True),
        ("thing", "path", True),
    ]
    assert PUT["parameters"][0]["schema"]["pattern"] == "^evt_"


def test_a_body_is_of_each_of_its_types() -> None:
    assert PUT["requestBody"]["required"]
    assert set(PUT["requestBody"]["content"]) == {"application/json", "application/x-thing+json"}
    assert "requestBody" not in LIST


def test_answers_and_refusals() -> None:
    assert set(LIST["responses"]) == {"200", "414", *map(str, ALWAYS)}
    assert set(PUT["responses"]) == {"204", "414", "422", *map(str, (*ALWAYS, *WRITING))}
    assert set(OPEN["responses"]) == {"200"}
    assert "content" not in PUT["responses"]["204"]
    error = LIST["responses"]["400"]["content"]["application/json"]["schema"]
    assert error == {"$ref": "#/components/schemas/Error"}


def test_scopes_are_told_for_programs_and_for_people() -> None:
    assert (LIST["x-scope"], LIST["security"]) == ("events.read", [{"key": []}])
    assert PUT["description"] == "As it is.\n\nScope: `events.write`."
    assert ("x-scope" in OPEN, OPEN["security"]) == (False, [])


def test_every_reference_leads_somewhere() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    missing = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node and node["$ref"].rpartition("/")[2] not in schemas:
                missing.append(node["$ref"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(DOCUMENT)
    assert missing == []
    assert schemas["Thing"]["properties"]["data"] == {}
