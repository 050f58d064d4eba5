"""The OpenAPI 3.1 document, made of the table of operations."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from waypost.api.operation import Operation
from waypost.web import openapi
from waypost.web.openapi import Described, Surface

ALWAYS: Final = (400, 401, 403, 404, 429, 503)
"""The statuses of refusals that every operation with a key has: a project may be named to all."""
WRITING: Final = (413, 415)
"""Those that every operation has beside them that may be sent a body."""

LITHIC: Final = frozenset(
    {
        "list_events",
        "get_event",
        "list_attempts_of_event",
        "resend_event",
        "list_event_subscriptions",
        "create_event_subscription",
        "get_event_subscription",
        "update_event_subscription",
        "delete_event_subscription",
        "list_attempts_of_event_subscription",
        "recover_event_subscription",
        "replay_missing_event_subscription",
        "get_event_subscription_secret",
        "rotate_event_subscription_secret",
        "send_event_subscription_example",
    }
)
"""The names of the operations that Lithic has as well."""

_PLACES: Final = {
    "event_token": "evt_",
    "event_subscription_token": "ep_",
    "attempt_token": "atmpt_",
    "diverted_event_token": "dlv_",
    "replay_token": "rpl_",
    "project_token": "prj_",
    "api_key_token": "key_",
    "transaction_token": "txn_",
    "source_token": "src_",
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


SURFACE: Final = Surface(
    title="Waypost",
    description="Events in, kept, signed and delivered; what failed is kept as well.",
    error=Error,
    key={
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`<key>` or `Bearer <key>`",
    },
    places={
        name: {"pattern": f"^{prefix}", "examples": [f"{prefix}…"]}
        for name, prefix in _PLACES.items()
    },
    answer_headers={
        "x-requests-remaining": {
            "description": "How many requests the key may make at once now.",
            "schema": {"type": "integer"},
        }
    },
)


def document(table: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of all operations."""
    return openapi.document(SURFACE, [_described(row) for row in table])


def lithic_document(table: Sequence[Operation]) -> dict[str, Any]:
    """Return the document of those operations that Lithic has as well."""
    surface = replace(SURFACE, title="Waypost: Lithic's Events API")
    return openapi.document(surface, [_described(row) for row in table if row.name in LITHIC])


def _described(row: Operation) -> Described:
    always = () if row.scope is None else ALWAYS
    writing = () if row.reads else WRITING
    more: dict[str, Any] = {}
    if row.scope is not None:
        more["description"] = f"{row.description}\n\nScope: `{row.scope.value}`.".lstrip()
        more["x-scope"] = row.scope.value
    elif row.description:
        more["description"] = row.description
    return Described(
        method=row.method,
        path=row.path,
        name=row.name,
        summary=row.summary,
        tag=row.tag,
        answers={row.status: row.result},
        refusals={*always, *writing, *row.errors},
        parameters=openapi.parameters(row.query),
        body=row.body,
        body_optional=row.body_optional,
        media=row.media,
        is_open=row.scope is None,
        more=more,
    )
