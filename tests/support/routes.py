"""The operations that a running server says it has, and requests that are good for each."""

import re
from typing import Any, NamedTuple

import httpx

NOWHERE = "http://127.0.0.1:9/"
SUBSCRIPTION = {"url": NOWHERE}
EVENT = {"event_type": "a", "payload": {"n": 1}}

# What makes a request of each operation a good one, but for the ids in its path.
BODIES: dict[str, Any] = {
    "create_event": EVENT,
    "create_events": {"events": [EVENT]},
    "create_event_subscription": SUBSCRIPTION,
    "update_event_subscription": SUBSCRIPTION,
    "test_filter": {"filter": {"body": {"n": 1}}, "event": {"payload": {"n": 1}}},
    "test_transform": {"transform": {"template": "{{ payload }}"}, "payload": {"n": 1}},
    "create_replay": {"filter": {}},
    "resend_diverted_events": {"filter": {}},
    "delete_diverted_events": {"filter": {}},
    "replace_event_types": {"event_types": []},
    "create_project": {"name": "n", "environment": "test"},
    "update_project": {},
    "create_api_key": {"name": "n", "environment": "test"},
    "create_source": {"name": "n", "type": "rest_api"},
    "update_source": {},
    "create_event_of_source": EVENT,
    "create_transaction": {"tx_key": "t"},
    "heartbeat_transaction": {"claim": 1, "lease_s": 60},
    "finish_transaction": {"claim": 1},
    "fail_transaction": {"claim": 1},
    "release_blocked_key": {"ordering_key": "k"},
}

# The queries that have to be there.
QUERIES: dict[str, dict[str, str]] = {"list_unclaimed_events": {"tx_key": "t"}}


class Route(NamedTuple):
    """One operation, as the server's own description has it."""

    name: str
    method: str
    path: str
    open: bool

    @property
    def parameters(self) -> list[str]:
        """The names of the ids in the path."""
        return re.findall(r"\{(\w+)\}", self.path)

    def ask(self, by: httpx.Client, tokens: dict[str, str], **options: Any) -> httpx.Response:
        """Ask for it, with these ids in its path."""
        body = BODIES.get(self.name)
        if body is not None:
            options["json"] = body
        if self.name in QUERIES:
            options["params"] = QUERIES[self.name]
        return by.request(self.method, self.path.format(**tokens), **options)


def routes_of(by: httpx.Client) -> list[Route]:
    """Return all operations."""
    document = by.get("/openapi.json").json()
    return [
        Route(operation["operationId"], method.upper(), path, operation.get("security") == [])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
