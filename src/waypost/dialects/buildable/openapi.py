"""The OpenAPI document of Buildable's six operations."""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from waypost.dialects.buildable import wire
from waypost.dialects.buildable.routes import EMIT_PATH
from waypost.dialects.surface import Operation
from waypost.web import openapi
from waypost.web.openapi import Described, Surface, result_of, summary_of

ALWAYS: Final = (400, 401, 403, 413, 415, 429, 503)
"""The statuses of refusals that every operation has."""

_TAG: Final = "Events"


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    path: str
    message: str


class Faults(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields that are wrong, where it is they."""

    errors: tuple[Fault, ...] = ()


class Error(msgspec.Struct, frozen=True):
    """Every refusal; `code` is the status."""

    status: Literal["error"]
    name: str
    message: str
    code: int
    data: Faults


class Emitted(msgspec.Struct, frozen=True):
    """The answer of `/emit`."""

    status: Literal["success"]
    key: str


SURFACE: Final = Surface(
    title="Waypost: Buildable's Event API",
    description="Emit events, find them, and take each of them once under a key.",
    error=Error,
    key={"type": "apiKey", "in": "header", "name": wire.HEADER},
)
_EMIT: Final = Described(
    method="POST",
    path=EMIT_PATH,
    name="emit",
    summary="Take in an event",
    tag=_TAG,
    answers={200: Emitted},
    refusals=(*ALWAYS, 507),
    body=wire.EmitIn,
)


def document(operations: Sequence[Operation]) -> openapi.Schema:
    """Return the document: `/emit`, and the operations of the table."""
    return openapi.document(SURFACE, [_EMIT, *map(_described, operations)])


def _described(row: Operation) -> Described:
    return Described(
        method=row.method,
        path=row.path,
        name=row.path.strip("/").replace("-", "_"),
        summary=summary_of(row.handler),
        tag=_TAG,
        answers={200: result_of(row.handler)},
        refusals=(*ALWAYS, *row.errors),
        body=row.body,
    )
