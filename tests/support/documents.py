"""Answers held against the documents that the server has of its surfaces."""

import re
from typing import Any, Final

import httpx
import jsonschema_rs

from tests.support.program import PATIENCE_S

BEFORE: Final = {405, 408, 431, 501}
"""Statuses of what is refused before an operation is found."""


class Document:
    """The document of one surface."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._schemas = {"components": document["components"]}
        self._paths = [
            (re.compile(re.sub(r"\\\{.*?\\\}", "[^/]+", re.escape(path))), methods)
            for path, methods in sorted(
                document["paths"].items(), key=lambda one: one[0].count("{")
            )
        ]
        self._known: dict[str, Any] = {}

    def check(self, method: str, path: str, status: int, body: bytes) -> None:
        """Hold an answer against it; what it knows no operation for has to be a refusal."""
        where = f"{method} {path}: {status} {body[:300]!r}"
        row = self._row(method, path)
        if row is None or status in BEFORE:
            return
        assert str(status) in row["responses"], where
        content = row["responses"][str(status)].get("content", {})
        if not content:
            assert body == b"", where
            return
        schema = next(iter(content.values()))["schema"]
        validator = self._known.get(repr(schema))
        if validator is None:
            validator = jsonschema_rs.validator_for({"allOf": [schema], **self._schemas})
            self._known[repr(schema)] = validator
        wrong = [
            (list(error.instance_path), error.message)
            for error in validator.iter_errors(httpx.Response(200, content=body).json())
        ]
        assert wrong == [], (where, wrong)

    def _row(self, method: str, path: str) -> Any:
        for pattern, methods in self._paths:
            if method.lower() in methods and pattern.fullmatch(path):
                return methods[method.lower()]
        return None


_documents: Final[dict[str, Document]] = {}


def hold(surface: str, response: httpx.Response) -> None:
    """Hold an answer against the document of a surface; all servers have the same."""
    request = response.request
    if surface not in _documents:
        where = "/openapi.json" if surface == "native" else f"/openapi/{surface}.json"
        found = httpx.get(request.url.copy_with(path=where, query=None), timeout=PATIENCE_S).json()
        if not found["paths"]:  # a server that only delivers
            return
        _documents[surface] = Document(found)
    _documents[surface].check(
        request.method, request.url.path, response.status_code, response.read()
    )
