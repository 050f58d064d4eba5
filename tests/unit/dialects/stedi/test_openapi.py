"""Stedi's document has its nine operations, with the header that names each error."""

from unittest.mock import MagicMock

from waypost.dialects.stedi.openapi import document
from waypost.dialects.stedi.routes import StediRoutes

UNUSED = MagicMock()
DOCUMENT = document(StediRoutes(*[UNUSED] * 8).operations())


def test_all_nine_are_there() -> None:
    found = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert found == {
        ("/events", "get"),
        ("/events/{eventId}", "get"),
        ("/destinations", "get"),
        ("/destinations", "post"),
        ("/destinations/{destinationId}", "get"),
        ("/destinations/{destinationId}", "post"),
        ("/destinations/{destinationId}", "delete"),
        ("/destinations/{destinationId}/secret", "get"),
        ("/destinations/{destinationId}/secret/rotate", "post"),
    }


def test_every_refusal_names_its_error() -> None:
    for methods in DOCUMENT["paths"].values():
        for one in methods.values():
            refusals = [r for status, r in one["responses"].items() if status >= "400"]
            assert all(r["headers"]["x-amzn-errortype"]["required"] for r in refusals)


def test_changes_may_have_a_key() -> None:
    change, read = (DOCUMENT["paths"]["/destinations"][method] for method in ("post", "get"))
    assert [(one["name"], one["in"]) for one in change["parameters"]] == [
        ("idempotency-key", "header")
    ]
    assert all(one["in"] == "query" for one in read["parameters"])
