"""A document says what comes in as it may come, and what goes out as it always is."""

from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import httpx
import msgspec
import pytest
from msgspec import UNSET, Meta, UnsetType
from starlette.applications import Starlette

from waypost.policy.outcome import Outcome
from waypost.web.openapi import (
    Described,
    Surface,
    document,
    parameters,
    result_of,
    route,
    summary_of,
)

T = TypeVar("T")


class Inner(msgspec.Struct):
    """A part."""

    size: int = 1


class Thing(msgspec.Struct, rename="camel"):
    """A thing, in and out."""

    its_name: str
    inner: Inner
    note: str | None = None
    seen: int | UnsetType = UNSET


class Sparse(msgspec.Struct, omit_defaults=True):
    """What leaves out its defaults."""

    name: str
    more: list[Inner] = []


class Row(TypedDict):
    """A bare object."""

    sparse: Sparse
    extra: NotRequired[int]


class Page(TypedDict, Generic[T]):
    """A page."""

    items: list[T]


class Wrong(msgspec.Struct):
    """A refusal."""

    message: str


class Which(msgspec.Struct, kw_only=True):
    """A query."""

    kind: Literal["a", "b"]
    many: Annotated[tuple[str, ...], Meta(max_length=3)] | None = None
    size: Annotated[int, Meta(ge=1, description="How many.")] = 5


SURFACE = Surface(
    title="T",
    description="D.",
    error=Wrong,
    key={"type": "http", "scheme": "bearer"},
    places={"thing_id": {"pattern": "^t"}},
    refusal_headers={"x-kind": {"required": True, "schema": {"type": "string"}}},
)


def row(**more: Any) -> Described:
    fields = {
        "method": "POST",
        "path": "/things/{thing_id}/of/{whom}",
        "name": "keep",
        "summary": "Keep",
        "tag": "Things",
        "answers": {201: Thing, 202: None},
        "refusals": (400, 429),
        "body": Thing,
    }
    return Described(**{**fields, **more})


def made(*rows: Described) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document(SURFACE, rows)))
    return found


def test_an_answer_is_closed_and_whole_and_a_body_is_not() -> None:
    schemas = made(row())["components"]["schemas"]
    assert schemas["Thing"]["required"] == ["itsName", "inner", "note"]
    assert schemas["Thing"]["additionalProperties"] is False
    assert schemas["Inner"]["required"] == ["size"]
    assert schemas["ThingGiven"]["required"] == ["itsName", "inner"]
    assert schemas["ThingGiven"]["properties"]["inner"] == {
        "$ref": "#/components/schemas/InnerGiven"
    }
    assert "required" not in schemas["InnerGiven"] or schemas["InnerGiven"]["required"] == []


def test_bodies_and_answers_are_found_under_their_names() -> None:
    told = made(row())["paths"]["/things/{thing_id}/of/{whom}"]["post"]
    body = told["requestBody"]
    assert body["required"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/ThingGiven")
    answer = told["responses"]["201"]["content"]["application/json"]["schema"]
    assert answer == {"$ref": "#/components/schemas/Thing"}
    assert "content" not in told["responses"]["202"]
    assert told["security"] == [{"key": []}]


def test_what_may_be_left_out_of_an_answer_is_not_required() -> None:
    schemas = made(row(answers={200: list[Row]}, body=None))["components"]["schemas"]
    assert schemas["Row"]["required"] == ["sparse"]
    assert schemas["Row"]["additionalProperties"] is False
    assert schemas["Sparse"]["required"] == ["name"]


def test_a_shape_of_shapes_has_a_name_without_modules() -> None:
    schemas = made(row(answers={200: Page[Outcome]}, body=None))["components"]["schemas"]
    assert "Page_Outcome_" in schemas


def test_refusals_have_the_envelope_and_tell_when_to_come_again() -> None:
    responses = made(row())["paths"]["/things/{thing_id}/of/{whom}"]["post"]["responses"]
    assert set(responses) == {"201", "202", "400", "414", "429"}
    schema = responses["400"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Wrong"}
    assert set(responses["400"]["headers"]) == {"x-kind"}
    assert set(responses["429"]["headers"]) == {"x-kind", "retry-after"}


def test_parameters_of_the_path_have_their_schemas() -> None:
    told = made(row())["paths"]["/things/{thing_id}/of/{whom}"]["post"]["parameters"]
    assert [(one["name"], one["schema"]) for one in told] == [
        ("thing_id", {"type": "string", "pattern": "^t"}),
        ("whom", {"type": "string"}),
    ]


@pytest.mark.parametrize("exploded", [True, False])
def test_a_struct_is_parameters(exploded: bool) -> None:
    found = {one["name"]: one for one in parameters(Which, exploded=exploded)}
    assert found["kind"] == {
        "name": "kind",
        "in": "query",
        "required": True,
        "schema": {"enum": ["a", "b"]},
    }
    assert found["many"]["explode"] is exploded
    assert found["many"]["schema"]["maxItems"] == 3
    assert found["size"]["description"] == "How many."
    assert found["size"]["schema"] == {"type": "integer", "minimum": 1, "default": 5}
    assert parameters(None) == []
    assert {one["in"] for one in parameters(Which, "header")} == {"header"}


def test_a_handler_tells_what_it_does_and_answers() -> None:
    async def handler() -> Thing:
        """Keep a thing.

        For ever.
        """
        raise NotImplementedError

    async def silent() -> None: ...

    assert (summary_of(handler), result_of(handler)) == ("Keep a thing", Thing)
    assert (summary_of(silent), result_of(silent)) == ("", None)


async def test_a_document_is_made_once_when_it_is_asked_for() -> None:
    calls: list[int] = []

    def make() -> dict[str, Any]:
        calls.append(1)
        return {"openapi": "3.1.0"}

    transport = httpx.ASGITransport(Starlette(routes=[route("thing", make)]))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        assert calls == []
        for _ in range(2):
            response = await client.get("/openapi/thing.json")
            assert response.json() == {"openapi": "3.1.0"}
            assert response.headers["content-type"] == "application/json"
    assert calls == [1]
