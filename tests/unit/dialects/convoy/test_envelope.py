"""Convoy's envelope."""

import json

import pytest

from waypost.dialects.convoy import envelope
from waypost.dialects.convoy.envelope import Answer
from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.web.errors import Problem


def test_an_answer_is_in_the_envelope() -> None:
    assert json.loads(Answer("done").encoded()) == {"status": True, "message": "done", "data": None}
    refused = json.loads(Answer("no", [1], 400).encoded())
    assert refused == {"status": False, "message": "no", "data": [1]}


@pytest.mark.parametrize(
    "problem, status, message",
    [
        (Problem(422, "conflict", "no", "r"), 400, "no"),
        (Problem(409, "conflict", "no", "r"), 400, "no"),
        (Problem(401, "not_authenticated", "no", "r"), 401, "no"),
        (Problem(404, "not_found", "endpoint not found", "r"), 404, "Resource not found"),
        (Problem(404, "not_found", "event not found", "r"), 404, "event not found"),
        (
            Problem(404, "not_found", "subscription not found", "r"),
            404,
            "failed to find subscription",
        ),
        (Problem(503, "unavailable", "later", "r"), 503, "later"),
    ],
)
def test_an_error_is_in_the_envelope(problem: Problem, status: int, message: str) -> None:
    rendered = envelope.render(problem)
    assert rendered.status == status
    assert json.loads(rendered.body) == {"status": False, "message": message}


def test_ids_and_times_are_spelled() -> None:
    identifier = ids.make(1_000_001, 7)
    text = ids.spell_ulid(identifier)
    assert envelope.read_id("event", text) == envelope.read_id("event", text.lower()) == identifier
    for wrong in ("", "x", text[:-1], "8" + text[1:], text[:-1] + "U"):
        with pytest.raises(NotFound, match="event"):
            envelope.read_id("event", wrong)
    assert envelope.born(identifier) == "1970-01-01T00:00:01.000001Z"
    assert envelope.spelled(None) is None
