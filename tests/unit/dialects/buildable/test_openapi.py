"""Buildable's document has its six operations, each as it is served."""

from unittest.mock import MagicMock

from waypost.dialects.buildable.openapi import document
from waypost.dialects.buildable.routes import BuildableRoutes

UNUSED = MagicMock()
DOCUMENT = document(BuildableRoutes(UNUSED, UNUSED, UNUSED).dialect().operations)


def test_all_six_are_there() -> None:
    assert {path: list(methods) for path, methods in DOCUMENT["paths"].items()} == {
        path: ["post"]
        for path in ("/emit", "/query", "/update", "/init", "/transact", "/get-full-event-name")
    }


def test_a_claim_may_be_refused_as_another_has_it() -> None:
    assert {"404", "409"} <= DOCUMENT["paths"]["/init"]["post"]["responses"].keys()
    assert "409" not in DOCUMENT["paths"]["/query"]["post"]["responses"]


def test_an_answer_is_the_handlers() -> None:
    answer = DOCUMENT["paths"]["/query"]["post"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"]["$ref"].endswith("/PageOut")
    assert set(DOCUMENT["components"]["schemas"]["PageOut"]["required"]) == {
        "rows",
        "total",
        "page",
        "pageSize",
        "totalPages",
    }
