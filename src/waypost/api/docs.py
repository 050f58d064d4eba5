"""The documentation page: one HTML file made of the OpenAPI document, without scripts."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from waypost.api.openapi import document
from waypost.api.operation import Operation

_FOLDER: Final = Path(__file__).parent


class Documentation:
    """Serves `/openapi.json` and `/docs`, both made once."""

    def __init__(self, table: Sequence[Operation]) -> None:
        """Make both of the table of operations."""
        described = document(table)
        style = (_FOLDER / "docs.css").read_text("utf-8")
        self._openapi = msgspec.json.encode(described)
        self._page = _render(described, style)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._policy = (
            f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none';"
            " form-action 'none'; frame-ancestors 'none'"
        )

    async def openapi(self, _request: Request) -> Response:
        """Answer with the OpenAPI document."""
        return Response(self._openapi, media_type="application/json")

    async def page(self, _request: Request) -> Response:
        """Answer with the page. Its policy lets nothing run or load but its own style."""
        headers = {"content-security-policy": self._policy, "referrer-policy": "no-referrer"}
        return Response(self._page, headers=headers, media_type="text/html")


def _render(described: Mapping[str, Any], style: str) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.trim_blocks = environment.lstrip_blocks = True
    template = environment.from_string((_FOLDER / "docs.html").read_text("utf-8"))
    schemas = described["components"]["schemas"]
    return template.render(
        info=described["info"],
        sections=_sections(described),
        schemas={name: list(_fields(schema)) for name, schema in schemas.items()},
        notes={name: schema.get("description", "") for name, schema in schemas.items()},
        style=style,
    )


def _sections(described: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the operations by tag, in the order of the table."""
    sections: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in described["tags"]}
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {})
            success = next(s for s in operation["responses"] if s.startswith("2"))
            answer = operation["responses"][success].get("content", {})
            sections[operation["tags"][0]].append(
                {
                    "id": operation["operationId"],
                    "method": method.upper(),
                    "path": path,
                    "summary": operation["summary"],
                    "description": operation.get("description", ""),
                    "parameters": [_parameter(one) for one in operation["parameters"]],
                    "media": list(body),
                    "body": _names(one["schema"] for one in body.values()),
                    "status": success,
                    "result": _names(one["schema"] for one in answer.values()),
                    "refusals": [s for s in operation["responses"] if s != success],
                }
            )
    return list(sections.items())


def _parameter(parameter: Mapping[str, Any]) -> dict[str, str]:
    return {
        "name": parameter["name"],
        "in": parameter["in"],
        "type": _type(parameter["schema"]),
        "description": parameter.get("description", ""),
    }


def _fields(schema: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        yield {
            "name": name,
            "type": _type(field),
            "required": name in required,
            "refers": sorted(set(_names([field]))),
            "description": field.get("description", ""),
        }


def _names(schemas: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the schemas that these refer to, each once."""
    found: dict[str, None] = {}
    for schema in schemas:
        if "$ref" in schema:
            found[schema["$ref"].rpartition("/")[2]] = None
        inner = [*schema.get("anyOf", ()), *filter(None, [schema.get("items")])]
        found |= dict.fromkeys(_names(one for one in inner if isinstance(one, Mapping)))
    return list(found)


def _type(schema: Mapping[str, Any]) -> str:
    """Say in a few words what a value may be."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    kind = str(schema.get("format") or schema.get("type") or "any JSON")
    if kind == "array":
        items = schema.get("items")
        kind = f"list of {_type(items)}" if isinstance(items, Mapping) else "list"
    bounds = [
        f"{word} {schema[name]}"
        for name, word in (("minimum", "≥"), ("maximum", "≤"), ("maxItems", "at most"))
        if name in schema
    ]
    if schema.get("default") not in (None, [], ""):
        bounds.append(f"default {msgspec.json.encode(schema['default']).decode()}")
    return ", ".join([kind, *bounds])
