"""The OpenAPI document of Socotra's operations."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from waypost.dialects.socotra import tokens
from waypost.dialects.socotra.routes import Nothing, Operation
from waypost.dialects.socotra.wire import ULID, TokenIn, TokenOut
from waypost.web import openapi
from waypost.web.openapi import Described, Surface, result_of, summary_of

ALWAYS: Final = (400, 401, 403, 429, 503)
"""The statuses of refusals that every operation has."""
WRITING: Final = (413, 415)
"""Those that every operation has beside them that may be sent a body."""


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    path: str
    message: str


class Error(msgspec.Struct, frozen=True, rename="camel"):
    """Every refusal; `errors` where fields are wrong."""

    http_status: int
    message: str
    request_id: str
    errors: list[Fault] | msgspec.UnsetType = msgspec.UNSET


SURFACE: Final = Surface(
    title="Waypost: Socotra's Event API",
    description="Webhooks, events, diverted events, and tokens.",
    error=Error,
    key={"type": "http", "scheme": "bearer"},
    places={
        "tenantLocator": {"format": "uuid"},
        "webhookLocator": ULID,
        "eventLocator": ULID,
        "locator": ULID,
    },
)
_TOKEN: Final = Described(
    method="POST",
    path=tokens.PATH,
    name="createToken",
    summary="Make a token, which is shown this once; with an administrator's key",
    tag="Tokens",
    answers={200: TokenOut},
    refusals=(*ALWAYS, *WRITING),
    body=TokenIn,
)


def document(operations: Sequence[Operation]) -> openapi.Schema:
    """Return the document: the operations of the table, and the one that makes tokens."""
    return openapi.document(SURFACE, [*map(_described, operations), _TOKEN])


def _described(row: Operation) -> Described:
    is_read = row.method == "GET"
    result: Any = None if row.status == 204 else result_of(row.handler)
    return Described(
        method=row.method,
        path=row.path,
        name=row.name,
        summary=summary_of(row.handler),
        tag="Diverted events" if "/diverted" in row.path else row.path.split("/")[3].capitalize(),
        answers={row.status: result},
        refusals=(*ALWAYS, *(() if is_read else WRITING), *row.errors),
        parameters=openapi.parameters(row.query),
        body=None if row.body is Nothing else row.body,
    )
