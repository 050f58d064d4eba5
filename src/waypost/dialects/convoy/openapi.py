"""The OpenAPI document of Convoy's operations; where senders post to sources is no part of it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from waypost.dialects.convoy import onboarding, refusals
from waypost.dialects.convoy.answers import NotOnboarded, OnboardedOut, Refused, RowsOut, Said
from waypost.dialects.convoy.drafts import Posted
from waypost.dialects.convoy.table import BASE, PROJECT_PATH, Operation
from waypost.web import openapi
from waypost.web.openapi import PATH_PARAMETER, Described, Surface, result_of, summary_of

ALWAYS: Final = (400, 401, 403, 404, 429, 503)
"""The statuses of refusals that every operation has: an administrator may name any project."""
WRITING: Final = (413, 415)
"""Those that every operation has beside them that may be sent a body."""

_ULID: Final[openapi.Schema] = {"pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"}

SURFACE: Final = Surface(
    title="Waypost: Convoy's API",
    description="Projects, endpoints, subscriptions, sources, events and their deliveries.",
    error=Refused,
    key={"type": "http", "scheme": "bearer"},
    places={
        f"{name}_id": _ULID
        for name in (
            "project",
            "endpoint",
            "subscription",
            "filter",
            "source",
            "event",
            "event_type",
            "delivery",
            "attempt",
            "meta",
        )
    },
)


def document(operations: Sequence[Operation]) -> openapi.Schema:
    """Return the document of the table."""
    rows = [
        _described(row, path) for row in operations for path in (f"{BASE}{row.path}", *row.also)
    ]
    made = openapi.document(SURFACE, rows)
    for shape in {row.shape for row in operations}:
        if shape is not None and issubclass(shape, Posted):
            _demand(shape, made["components"]["schemas"][shape.__name__])
    return made


def _demand(shape: type[Posted], schema: openapi.Schema) -> None:
    """Say of a body what it must hold, which msgspec lets it leave out."""
    schema["required"] = list(shape.DEMANDED)
    for name in shape.DEMANDED:
        if schema["properties"][name].pop("default", None) is not None:
            schema["properties"][name]["minLength"] = 1
    if shape.EITHER:
        said = {"type": "string", "minLength": 1}
        schema["anyOf"] = [
            {"required": [name], "properties": {name: said}} for name in shape.EITHER
        ]


def _described(row: Operation, path: str) -> Described:
    answers = _answers(row)
    refused = {*ALWAYS, *(() if row.reads else WRITING), *row.errors}
    return Described(
        method=row.method,
        path=path,
        name=_name(row.method, path),
        summary=summary_of(row.handler),
        tag=_tag(row.path),
        answers=answers,
        refusals=refused - set(answers),
        parameters=[one for form in row.query for one in openapi.parameters(form, exploded=True)],
        body=row.shape or (None if row.is_bodiless else row.body),
        body_optional=row.may_be_empty,
    )


def _answers(row: Operation) -> Mapping[int, Any]:
    if row.handler is refusals.portal:
        return {}
    if row.path == onboarding.PATH:
        return {200: Said[RowsOut], 202: Said[OnboardedOut], 400: NotOnboarded}
    said: Any = Said
    return {row.status: said[get_args(result_of(row.handler))[0]]}


def _name(method: str, path: str) -> str:
    words = PATH_PARAMETER.sub(r"\1", path.removeprefix(BASE)).replace("-", "_").split("/")
    return "_".join([method.lower(), *filter(None, words)])


def _tag(path: str) -> str:
    rest = path.removeprefix(PROJECT_PATH).strip("/").partition("/")[0]
    return (
        rest.replace("-", " ").capitalize()
        if path.startswith(PROJECT_PATH) and rest
        else "Projects"
    )
