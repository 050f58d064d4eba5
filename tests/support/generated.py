"""Requests made up from an API's own document, each answer held against it.

Half of the requests are as the document says, the others are not. Of made-up ids nearly all would
be of nothing, so most of them give way to ids that answers have told, and URLs to one of a port
where nobody listens.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.program import PATIENCE_S

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NOBODY: Final = "http://127.0.0.1:9/hook"
"""Where nobody listens."""
EVENT_TYPES: Final = ("card.created", "dispute.updated")
TENANT: Final = "tenantLocator"

_ORDER: Final = ("POST", "GET", "PUT", "PATCH", "DELETE")
"""First there is something, and last it goes."""
_PLACE: Final = re.compile(r"/([^/{}]+)/\{([^/{}]+)\}")
_IDS: Final = ("uid", "token", "locator", "id", "key", "eventLocator")
_TRANSFORM: Final = "function transform(payload) { return payload }"
_NAMES: Final = {"event_type", "eventType", "event", "eventName"}
_URLS: Final = {"url", "destinationUrl"}
_TEXTS: Final = {
    "function": _TRANSFORM,
    "javascript": _TRANSFORM,
    "tx_key": "key",
    "txKey": "key",
    "owner_id": "owner",
}
_LISTS: Final = {
    "event_types": ["card.created"],
    "eventTypes": ["card.created"],
    "addEventTypes": ["dispute.updated"],
    "permissions": ["events.read"],
}
_MINIMAL: Final = {"data", "payload", "endpoint_id", "tenants", *_NAMES, *_URLS, *_TEXTS, *_LISTS}
"""What stays of a body that is made as small as it may be, beside what it must have."""
_POOL: Final = 50
_CHOICES: Final = st.integers(0, 2**16)
_KEPT: Final = 4
"""One in so many of what was made up stays as it is."""


class Maker:
    """Makes requests up for one API.

    Attributes:
        sent: how many were.
        statuses: how often each was answered.
    """

    def __init__(
        self,
        url: str,
        document: dict[str, Any],
        headers: dict[str, str],
        known: dict[str, str],
        there: dict[str, list[Any]],
    ) -> None:
        """Take where the server is, the document, and a key.

        `known` are parameters of paths that are ever the same; `there` are ids of things, by the
        word before them in paths.
        """
        schema = schemathesis.openapi.from_dict(document)
        schema.config.update(base_url=url)
        # Keys are tried elsewhere; here every request is let in.
        schema.config.generation.update(with_security_parameters=False)
        found = (one.ok() for one in schema.get_all_operations() if isinstance(one, Ok))
        self.operations = sorted(found, key=_turn)
        self.sent = 0
        self.statuses: dict[int, int] = {}
        self._url = url
        self._session = requests.Session()
        self._session.headers.update(headers)
        self._known = known
        self._ids = there
        self._bodies = _bodies(document)

    def run(self, count: int, *, same: bool) -> None:
        """Send at least so many requests; `same`: those that it sends in every run."""
        self._look()
        each = -(-count // (2 * len(self.operations)))
        for operation in self.operations:
            before = self.sent
            # What takes nothing can't be asked in a wrong way.
            with suppress(Unsatisfiable):
                self._run(operation, GenerationMode.NEGATIVE, each, same=same)
            self._run(operation, GenerationMode.POSITIVE, 2 * each + before - self.sent, same=same)

    def ask(self, name: str, **parts: Any) -> Response:
        """Send one request, whose answer is held against the document as well."""
        by_name = {one.definition.raw["operationId"]: one for one in self.operations}
        case = by_name[name].Case(**parts)
        response = case.call(session=self._session, timeout=PATIENCE_S)
        case.validate_response(response, checks=CHECKS)
        return response

    def close(self) -> None:
        """Give the connection back."""
        self._session.close()

    def _look(self) -> None:
        """Learn what there is: ask all lists, as they are."""
        for operation in self.operations:
            names = {name for _, name in _PLACE.findall(operation.path)}
            if operation.method.upper() == "GET" and names <= self._known.keys():
                path = operation.path.format_map(self._known)
                answer = self._session.get(f"{self._url}{path}", timeout=PATIENCE_S)
                if answer.status_code == 200:
                    self._learn(operation.path, answer.json())

    def _run(
        self,
        operation: APIOperation[Any, Any, Any, Any],
        mode: GenerationMode,
        count: int,
        *,
        same: bool,
    ) -> None:
        @settings(
            max_examples=count,
            derandomize=same,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), choice=_CHOICES)
        def send(case: Case[Any], choice: int) -> None:
            self._send(case, choice, is_valid=mode.is_positive)

        send()

    def _send(self, case: Case[Any], choice: int, *, is_valid: bool) -> None:
        self._place(case, choice)
        if is_valid and choice % _KEPT:
            small = self._small(case) if choice % _KEPT > 1 else case.body
            case.body = self._probable(small, choice)
        response = case.call(session=self._session, timeout=PATIENCE_S)
        self.sent += 1
        self.statuses[response.status_code] = self.statuses.get(response.status_code, 0) + 1
        case.validate_response(response, checks=CHECKS)
        if response.status_code < 300 and response.content:
            self._learn(case.operation.path, response.json())

    def _place(self, case: Case[Any], choice: int) -> None:
        """Have the path name things that are there."""
        for kind, name in _PLACE.findall(case.operation.path):
            if name in self._known and not case.operation.path.endswith("/projects/{project_id}"):
                case.path_parameters[name] = self._known[name]
            elif choice % _KEPT and self._ids.get(kind):
                case.path_parameters[name] = _one(self._ids[kind], choice)

    def _small(self, case: Case[Any]) -> Any:
        """Return a body without most of what it need not have."""
        body = self._bodies.get((case.operation.method.lower(), case.operation.path))
        if not isinstance(case.body, dict) or body is None:
            return case.body
        kept = {*body.get("required", ()), *_MINIMAL}
        return {name: value for name, value in case.body.items() if name in kept}

    def _probable(self, node: Any, choice: int) -> Any:
        """Return a body with ids, URLs and event types of which something comes."""
        if isinstance(node, list):
            return [self._probable(one, choice) for one in node]
        if not isinstance(node, dict):
            return node
        return {
            name: self._likely(name, value, choice) or self._probable(value, choice)
            for name, value in node.items()
        }

    def _likely(self, name: str, value: Any, choice: int) -> Any:
        if isinstance(value, list):
            return [self._known[TENANT]] if name == "tenants" else _LISTS.get(name)
        if not isinstance(value, str):
            return None
        if name in _URLS:
            return NOBODY
        if name in _NAMES:
            return _one(EVENT_TYPES, choice)
        kind = "emit" if name == "key" else f"{name.removesuffix('_id')}s"
        if self._ids.get(kind):
            return _one(self._ids[kind], choice)
        return _TEXTS.get(name)

    def _learn(self, path: str, answer: Any) -> None:
        """Keep the ids in an answer, by the last word of the path that it was asked at."""
        words = [word for word in path.split("/") if word and "{" not in word and word != "list"]
        pool = self._ids.setdefault(words[-1], [])
        for one in _ids(answer):
            if one not in pool:
                pool.append(one)
        del pool[:-_POOL]


def _turn(operation: APIOperation[Any, Any, Any, Any]) -> tuple[int, int]:
    """Return when an operation has its turn: what others need comes first, and goes last."""
    return _ORDER.index(operation.method.upper()), operation.path.count("/")


def _bodies(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    """Return the schema of each body that is an object, by method and path."""
    found = {}
    for path, methods in document["paths"].items():
        for method, row in methods.items():
            for content in row.get("requestBody", {}).get("content", {}).values():
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                found[method, path] = document["components"]["schemas"].get(name)
    return found


def _one(some: Any, choice: int) -> Any:
    return some[choice % len(some)]


def _ids(answer: Any) -> Iterator[str]:
    """Yield the ids of the thing, or the things, that an answer shows."""
    if isinstance(answer, list):
        for one in answer:
            yield from _ids(one)
    elif isinstance(answer, dict):
        named = [answer[name] for name in _IDS if isinstance(answer.get(name), str)]
        if named:
            yield named[0]
        else:
            for name in ("data", "content", "items", "rows", "events"):
                yield from _ids(answer.get(name))
