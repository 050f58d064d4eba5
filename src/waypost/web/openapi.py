"""OpenAPI 3.1 documents, made of what a surface says of its operations.

Shapes are msgspec's types. What comes in may leave out what has a default. What goes out is exact:
all fields are there but those that may be unset, and no others.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import Any, Final, get_type_hints

import msgspec
from msgspec import NODEFAULT, inspect
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost import __version__

PATH_PARAMETER: Final = re.compile(r"\{([A-Za-z_]+)\}")
JSON: Final = "application/json"
RETRY_AFTER: Final = {
    "retry-after": {
        "description": "After how many seconds it is worth to ask again.",
        "schema": {"type": "integer", "minimum": 1},
    }
}

_REF: Final = "#/components/schemas/"
_MODULE: Final = re.compile(r"waypost\.[a-z_.]+\.")
_SECURITY: Final = "key"
_AGAIN: Final = frozenset({429, 503})
"""The statuses of refusals that tell when to come again."""

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """One operation, as a document tells of it.

    Attributes:
        path: with parameters in braces.
        name: unique: the operationId.
        parameters: those beside the path's; see `parameters`.
        body: what msgspec makes of the body; None where it takes none.
        body_optional: no body at all stands for one of defaults.
        media: the content types that the body may have.
        answers: the shape of each answer that is no refusal; None for an empty one.
        answered: the content type of answers.
        refusals: the statuses of its errors.
        is_open: it takes no key.
        more: what else is told of it.
    """

    method: str
    path: str
    name: str
    summary: str
    tag: str
    answers: Mapping[int, Any]
    refusals: Collection[int]
    parameters: Sequence[Schema] = ()
    body: Any = None
    body_optional: bool = False
    media: tuple[str, ...] = (JSON,)
    answered: str = JSON
    is_open: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What all operations of a surface have in common.

    Attributes:
        error: the shape of its refusals.
        key: the security scheme of its keys.
        places: the schemas of parameters of paths, by name; others are any text.
        answer_headers: what stands in the header of every answer to a key.
        refusal_headers: what stands in the header of every refusal.
    """

    title: str
    description: str
    error: Any
    key: Schema
    places: Mapping[str, Schema] = field(default_factory=dict)
    answer_headers: Mapping[str, Schema] = field(default_factory=dict)
    refusal_headers: Mapping[str, Schema] = field(default_factory=dict)


def route(name: str, make: Callable[[], Schema]) -> Route:
    """Return the route of a document, `/openapi/{name}.json`; it is made when first asked for."""
    encoded = cache(lambda: msgspec.json.encode(make()))

    async def serve(_request: Request) -> Response:
        return Response(encoded(), media_type=JSON)

    return Route(f"/openapi/{name}.json", serve, methods=["GET"])


def summary_of(handler: Callable[..., Any]) -> str:
    """Return what a handler does: the first line of its docstring, without the full stop."""
    return (handler.__doc__ or "").partition("\n")[0].rstrip(".")


def result_of(handler: Callable[..., Any]) -> Any:
    """Return the shape that a handler answers with; None for nothing."""
    result = get_type_hints(handler)["return"]
    return None if result is type(None) else result


def parameters(
    form: type[msgspec.Struct] | None, where: str = "query", *, exploded: bool = False
) -> list[Schema]:
    """Return the parameters of an operation.

    Args:
        form: a struct of them; None for none.
        where: they stand, query or header.
        exploded: a list is a parameter again and again; else it is joined by commas.
    """
    if form is None:
        return []
    refs, schemas = _components([form])
    schema = schemas[refs[repr(form)]["$ref"].removeprefix(_REF)]
    made = []
    for name, given in schema["properties"].items():
        bare = _inlined(_without_null(given), schemas)
        description = bare.pop("description", None)
        if bare.get("format") == "date-time":
            # Read as microseconds, so to msgspec it is a number; on the wire it is text.
            bare["type"] = "string"
        required = name in schema.get("required", ())
        parameter = {"name": name, "in": where, "required": required, "schema": bare}
        if bare.get("type") == "array":
            parameter |= {"style": "form", "explode": exploded}
        made.append(parameter | ({"description": description} if description else {}))
    return made


def whole(shape: Any) -> Schema:
    """Return the schema of a shape in one piece: of what comes in as any object, and is read by it.

    The shape may not hold itself.
    """
    refs, schemas = _components([shape])

    def inlined(node: Any) -> Any:
        if isinstance(node, list):
            return [inlined(one) for one in node]
        if not isinstance(node, dict):
            return node
        named = schemas[node["$ref"].removeprefix(_REF)] if "$ref" in node else {}
        return {name: inlined(one) for name, one in (named | node).items() if name != "$ref"}

    made: Schema = inlined(refs[repr(shape)])
    return made


def document(surface: Surface, table: Sequence[Described]) -> Schema:
    """Return the document of all operations of a surface."""
    shapes = _Shapes(surface, table)
    paths: dict[str, Schema] = {}
    for row in table:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(surface, row, shapes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": surface.title,
            "version": __version__,
            "description": surface.description,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name} for name in dict.fromkeys(row.tag for row in table)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(shapes.schemas.items())),
            "securitySchemes": {_SECURITY: surface.key},
        },
    }


class _Shapes:
    """The schemas of a document, and where each shape has its own."""

    def __init__(self, surface: Surface, table: Iterable[Described]) -> None:
        """Make the schemas of all that the operations take and answer."""
        coming = _unique(row.body for row in table)
        going = _unique([surface.error, *(one for row in table for one in row.answers.values())])
        self._going, self.schemas = _components(going)
        _close(going, self.schemas)
        self._coming, taken = _components(coming)
        self._add(taken)

    def coming(self, shape: Any) -> Schema:
        """Return the schema of a body that is sent."""
        return self._coming[repr(shape)]

    def going(self, shape: Any) -> Schema:
        """Return the schema of an answer."""
        return self._going[repr(shape)]

    def _add(self, taken: Mapping[str, Schema]) -> None:
        """Add the schemas of bodies; where an answer has the same name, they are told apart."""
        renamed = {
            f"{_REF}{name}": f"{_REF}{name}Given"
            for name, schema in taken.items()
            if self.schemas.get(name, schema) != schema
        }
        for name, schema in taken.items():
            given = renamed.get(f"{_REF}{name}", f"{_REF}{name}").removeprefix(_REF)
            self.schemas[given] = _renamed(schema, renamed)
        self._coming = {key: _renamed(ref, renamed) for key, ref in self._coming.items()}


def _unique(shapes: Iterable[Any]) -> list[Any]:
    return list({repr(shape): shape for shape in shapes if shape is not None}.values())


def _components(shapes: Sequence[Any]) -> tuple[dict[str, Schema], dict[str, Schema]]:
    refs, schemas = msgspec.json.schema_components(shapes, ref_template=f"{_REF}{{name}}")
    short = {name: _MODULE.sub("", name) for name in schemas}
    counts = Counter(short.values())
    names = {name: bare if counts[bare] == 1 else name for name, bare in short.items()}
    moved = {f"{_REF}{name}": f"{_REF}{bare}" for name, bare in names.items()}
    found = zip(shapes, _renamed(list(refs), moved), strict=True)
    named = {names[name]: _renamed(schema, moved) for name, schema in schemas.items()}
    return {repr(shape): ref for shape, ref in found}, named


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: names.get(value, value) if key == "$ref" else _renamed(value, names)
            for key, value in node.items()
        }
    return [_renamed(one, names) for one in node] if isinstance(node, list) else node


def _close(shapes: Sequence[Any], schemas: dict[str, Schema]) -> None:
    """Have the schemas of answers name all that is there, and allow nothing else."""
    kinds: dict[Any, inspect.StructType | inspect.TypedDictType] = {}
    for shape in inspect.multi_type_info(shapes):
        _collect(shape, kinds)
    refs, _ = _components(list(kinds))
    for kind, info in kinds.items():
        schema = schemas[refs[repr(kind)]["$ref"].removeprefix(_REF)]
        there = {one.encode_name for one in info.fields if _is_always_there(info, one)}
        required = there | set(schema.get("required", ()))
        schema["required"] = [name for name in schema["properties"] if name in required]
        schema["additionalProperties"] = False
        for one in schema["properties"].values():
            one.pop("default", None)


def _is_always_there(info: inspect.StructType | inspect.TypedDictType, one: inspect.Field) -> bool:
    if one.required:
        return True
    if isinstance(info, inspect.TypedDictType) or info.cls.__struct_config__.omit_defaults:
        return False
    # One whose default is UNSET has none here.
    return one.default is not NODEFAULT or one.default_factory is not NODEFAULT


def _collect(
    shape: inspect.Type, kinds: dict[Any, inspect.StructType | inspect.TypedDictType]
) -> None:
    match shape:
        case inspect.StructType() | inspect.TypedDictType():
            if shape.cls not in kinds:
                kinds[shape.cls] = shape
                for one in shape.fields:
                    _collect(one.type, kinds)
        case inspect.Metadata():
            _collect(shape.type, kinds)
        case inspect.UnionType():
            for each in shape.types:
                _collect(each, kinds)
        case inspect.CollectionType():
            _collect(shape.item_type, kinds)
        case inspect.DictType():
            _collect(shape.value_type, kinds)


def _operation(surface: Surface, row: Described, shapes: _Shapes) -> Schema:
    parameters = [
        *(_place(surface, name) for name in PATH_PARAMETER.findall(row.path)),
        *row.parameters,
    ]
    # What may hold much text may be too long altogether.
    refusals = {*row.refusals, *((414,) if parameters else ())}
    made: Schema = {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.tag],
        "parameters": parameters,
        "responses": {
            str(status): _answer(surface, row, status, shapes) for status in sorted(row.answers)
        }
        | {str(status): _refusal(surface, status, shapes) for status in sorted(refusals)},
        "security": [] if row.is_open else [{_SECURITY: []}],
        **row.more,
    }
    if row.body is not None:
        schema = {"schema": shapes.coming(row.body)}
        made["requestBody"] = {
            "required": not row.body_optional,
            "content": dict.fromkeys(row.media, schema),
        }
    return made


def _answer(surface: Surface, row: Described, status: int, shapes: _Shapes) -> Schema:
    answer: Schema = {"description": HTTPStatus(status).phrase}
    if surface.answer_headers and not row.is_open:
        answer["headers"] = dict(surface.answer_headers)
    shape = row.answers[status]
    if shape is not None:
        answer["content"] = {row.answered: {"schema": shapes.going(shape)}}
    return answer


def _refusal(surface: Surface, status: int, shapes: _Shapes) -> Schema:
    headers = dict(surface.refusal_headers) | (RETRY_AFTER if status in _AGAIN else {})
    return {
        "description": HTTPStatus(status).phrase,
        **({"headers": headers} if headers else {}),
        "content": {JSON: {"schema": shapes.going(surface.error)}},
    }


def _place(surface: Surface, name: str) -> Schema:
    schema = {"type": "string"} | surface.places.get(name, {})
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _without_null(given: Schema) -> Schema:
    """Return a parameter's schema: it is absent or there, never null."""
    bare = {name: value for name, value in given.items() if value is not None}
    options = [one for one in bare.pop("anyOf", ()) if one.get("type") != "null"]
    return bare | options[0] if options else bare


def _inlined(schema: Schema, schemas: Mapping[str, Schema]) -> Schema:
    """Return a parameter's schema without references: what it names is an enumeration."""
    if "$ref" in schema:
        own = {name: value for name, value in schema.items() if name != "$ref"}
        named = schemas[schema["$ref"].removeprefix(_REF)]
        return {"enum": named["enum"], **own}
    if isinstance(schema.get("items"), dict):
        return schema | {"items": _inlined(schema["items"], schemas)}
    return schema
