"""The OpenAPI 3.1 document, made of the table of operations."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from waypost import __version__
from waypost.api.operation import Operation

ALWAYS: Final = (400, 401, 403, 404, 429, 503)
"""The statuses of refusals that every operation with a key has: a project may be named to all."""
WRITING: Final = (413, 415)
"""Those that every operation has beside them that may be sent a body."""

_REF: Final = "#/components/schemas/{name}"
_PATH_PARAMETERS: Final = {
    "event_token": "evt_",
    "event_subscription_token": "ep_",
    "attempt_token": "atmpt_",
    "diverted_event_token": "dlv_",
    "replay_token": "rpl_",
    "project_token": "prj_",
    "api_key_token": "key_",
}


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    path: str
    message: str


class Error(msgspec.Struct, frozen=True, omit_defaults=True):
    """Every refusal; `errors` where fields are wrong."""

    message: str
    debugging_request_id: str
    errors: list[FieldError] | None = None


def document(table: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of all operations."""
    forms = [form for row in table for form in (row.query, row.body, row.result)]
    unique = list({repr(form): form for form in [*forms, Error] if form is not None}.values())
    refs, schemas = msgspec.json.schema_components(unique, ref_template=_REF)
    ref_of = {repr(form): ref for form, ref in zip(unique, refs, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        paths.setdefault(row.path, {})[row.method.lower()] = _operation(row, ref_of, schemas)
    queries = {ref_of[repr(row.query)]["$ref"].rpartition("/")[2] for row in table if row.query}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Waypost",
            "version": __version__,
            "description": "Events in, kept, signed and delivered; what failed is kept as well.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name} for name in dict.fromkeys(row.tag for row in table)],
        "paths": paths,
        "components": {
            "schemas": {name: schemas[name] for name in sorted(schemas.keys() - queries)},
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`<key>` or `Bearer <key>`",
                }
            },
        },
    }


def _operation(
    row: Operation, ref_of: dict[str, dict[str, Any]], schemas: dict[str, Any]
) -> dict[str, Any]:
    error = {"application/json": {"schema": ref_of[repr(Error)]}}
    always = () if row.scope is None else ALWAYS
    writing = () if row.reads else WRITING
    made: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        "tags": [row.tag],
        "parameters": [_path_parameter(name) for name in row.parameters],
        "responses": {str(row.status): _answer(row, ref_of)}
        | {
            str(status): {"description": HTTPStatus(status).phrase, "content": error}
            for status in sorted({*always, *writing, *row.errors})
        },
        "security": [] if row.scope is None else [{"key": []}],
    }
    if row.scope is not None:
        made["description"] = f"{row.description}\n\nScope: `{row.scope.value}`.".lstrip()
        made["x-scope"] = row.scope.value
    elif row.description:
        made["description"] = row.description
    if row.query is not None:
        name = ref_of[repr(row.query)]["$ref"].rpartition("/")[2]
        made["parameters"] += _query_parameters(schemas[name])
    if row.body is not None:
        schema = {"schema": ref_of[repr(row.body)]}
        made["requestBody"] = {
            "required": not row.body_optional,
            "content": dict.fromkeys(row.media, schema),
        }
    return made


def _answer(row: Operation, ref_of: dict[str, dict[str, Any]]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(row.status).phrase,
    }
    if row.scope is not None:
        answer["headers"] = {
            "x-requests-remaining": {
                "description": "How many requests the key may make at once now.",
                "schema": {"type": "integer"},
            }
        }
    if row.result is not None:
        answer["content"] = {"application/json": {"schema": ref_of[repr(row.result)]}}
    return answer


def _path_parameter(name: str) -> dict[str, Any]:
    prefix = _PATH_PARAMETERS.get(name)
    pattern = {} if prefix is None else {"pattern": f"^{prefix}", "examples": [f"{prefix}…"]}
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"} | pattern}


def _query_parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    parameters = []
    for name, field in schema["properties"].items():
        bare = _without_null(field)
        description = bare.pop("description", None)
        if bare.get("format") == "date-time":
            # Read as microseconds, so to msgspec it is a number; on the wire it is text.
            bare["type"] = "string"
        parameter = {"name": name, "in": "query", "required": False, "schema": bare}
        if bare.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter | ({"description": description} if description else {}))
    return parameters


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return a parameter's schema: it is absent or there, never null."""
    bare = {name: value for name, value in field.items() if value is not None}
    options = [one for one in bare.pop("anyOf", ()) if one.get("type") != "null"]
    return bare | options[0] if options else bare
