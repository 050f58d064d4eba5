"""The OpenAPI document of Stedi's nine operations."""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from waypost.dialects.stedi.routes import EVENTS, Operation
from waypost.dialects.stedi.wire import DESTINATION, EVENT, UUID, Repeatable
from waypost.web import openapi
from waypost.web.openapi import Described, Surface, summary_of

ALWAYS: Final = (400, 401, 403, 404, 429, 503)
"""The statuses of refusals that every operation has: an administrator may name a project to all."""
WRITING: Final = (409, 413)
"""Those that every change has beside them."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one part of a request; `path` is a JSON pointer."""

    message: str
    path: str | UnsetType = UNSET


class Error(msgspec.Struct, frozen=True):
    """Every refusal; `errors` where parts of the request are wrong."""

    message: str
    errors: list[Fault] | UnsetType = UNSET


SURFACE: Final = Surface(
    title="Waypost: Stedi's event destinations API",
    description="Destinations, and the events that they are sent. All paths stand under"
    " `/2026-02-01` as well.",
    error=Error,
    key={
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Key <key>`, `Bearer <key>` or `<key>`",
    },
    places={
        "eventId": {"pattern": f"^{EVENT}_{UUID}$"},
        "destinationId": {"pattern": f"^{DESTINATION}_{UUID}$"},
    },
    refusal_headers={
        "x-amzn-errortype": {
            "description": "The name of the error.",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z]+Exception$"},
        },
        "stedi-request-id": {
            "description": "What the request is called in the log.",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        },
    },
)


def document(operations: Sequence[Operation]) -> openapi.Schema:
    """Return the document of the table."""
    return openapi.document(SURFACE, [_described(row) for row in operations])


def _described(row: Operation) -> Described:
    is_read = row.method == "GET"
    return Described(
        method=row.method,
        path=row.path,
        name=row.name,
        summary=summary_of(row.handler),
        tag="Events" if row.path.startswith(EVENTS) else "Destinations",
        answers={row.status: row.result},
        refusals=ALWAYS if is_read else (*ALWAYS, *WRITING),
        parameters=openapi.parameters(row.query)
        if is_read
        else openapi.parameters(Repeatable, "header"),
        body=row.body,
        body_optional=row.body_optional,
    )
