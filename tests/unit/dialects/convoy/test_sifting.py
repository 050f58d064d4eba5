"""Which events are looked for."""

from typing import Any

import pytest
from starlette.datastructures import QueryParams

from waypost.dialects.convoy.sifting import Sieve, contains
from waypost.dialects.convoy.table import Call
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.event import Attributes, Event
from waypost.operations.events import Seen

PROJECT, EVENT, ENDPOINT, SOURCE = (ids.make(n, n) for n in range(1, 5))
KNOWN = Attributes(idempotency_key="k", owner="o", endpoints=(ENDPOINT,), source=SOURCE)
SEEN = Seen(EVENT, Event(PROJECT, EVENT, "a.b", b'{"n":1,"list":[1,{"x":2}]}', KNOWN))


def sieve(**query: str) -> Sieve:
    nothing: Any = None
    call = Call(nothing, {}, QueryParams(query), None, nothing)
    text = query.get("endpointId")
    endpoints = {ids.find_ulid(text) or b""} if text else set()
    return Sieve(call, endpoints, set(), {SOURCE: "github"})


@pytest.mark.parametrize(
    "query, kept",
    [
        ({}, True),
        ({"idempotencyKey": "k"}, True),
        ({"idempotencyKey": "l"}, False),
        ({"ownerId": "o"}, True),
        ({"ownerId": "p"}, False),
        ({"sourceId": ids.spell_ulid(SOURCE)}, True),
        ({"sourceId": ids.spell_ulid(EVENT)}, False),
        ({"endpointId": ids.spell_ulid(ENDPOINT)}, True),
        ({"endpointId": ids.spell_ulid(EVENT)}, False),
        ({"brokerMessageId": "x"}, False),
        ({"query": "a.b"}, True),
        ({"query": "github"}, True),
        ({"query": ids.spell_ulid(EVENT)[:10].lower()}, True),
        ({"query": '"x":2'}, True),
        ({"query": "none"}, False),
        ({"body": '{"list":[{"x":2}]}'}, True),
        ({"body": '{"n":2}'}, False),
    ],
)
def test_what_is_asked_for_is_kept(query: dict[str, str], kept: bool) -> None:
    found = sieve(**query)
    assert found.is_open is not bool(query)
    assert found.keeps(SEEN) is kept


def test_what_is_no_question_is_refused() -> None:
    with pytest.raises(InvalidInput, match="body"):
        sieve(body="{")
    with pytest.raises(NotFound, match="source"):
        sieve(sourceId="x")


@pytest.mark.parametrize(
    "value, wanted, expected",
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1, 2], [2], True),
        ([1, 2], [3], False),
        (1, True, False),
        ("x", "x", True),
        ({"a": 1}, [], False),
    ],
)
def test_json_contains_json(value: Any, wanted: Any, expected: bool) -> None:
    assert contains(value, wanted) is expected
