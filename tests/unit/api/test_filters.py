"""How a filter is tried out over HTTP."""

from typing import Any

import msgspec
import pytest

from waypost.api.filters import FilterRoutes, FilterTestIn
from waypost.api.operation import Call
from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.event import Attributes
from waypost.model.project import Principal
from waypost.operations.filters import Filters, Sample
from waypost.policy.conditions import Mismatch

CALLER = Principal(ids.FIRST, "app", ids.FIRST, frozenset())
EVENT = ids.make(1, 1)
INNER = Mismatch("body.b", "$eq", "2", None, "body.b is absent")
MISMATCH = Mismatch("body", "$or", "", None, "none holds", (INNER,))


class Fake(Filters):
    """What was asked for, and an answer."""

    def __init__(self, answer: Mismatch | None = None) -> None:
        self.answer = answer
        self.asked: list[object] = []

    async def try_out(
        self,
        principal: Principal,
        text: str | None,
        event_types: tuple[str, ...],
        event: Sample | ids.Id,
    ) -> Mismatch | None:
        self.asked = [principal, text, event_types, event]
        return self.answer


async def ask(fake: Fake, body: Any) -> Any:
    [operation] = FilterRoutes(fake).operations()
    read = msgspec.json.decode(msgspec.json.encode(body), type=FilterTestIn)
    assert operation.handler is not None
    answer = await operation.handler(Call(CALLER, {}, None, read))
    return msgspec.json.decode(msgspec.json.encode(answer))


async def test_an_event_is_handed_on_with_all_its_parts() -> None:
    fake = Fake()
    event = {
        "event_type": "a.b",
        "payload": {"n": 1},
        "headers": {"X-A": "b"},
        "query": {"q": ["1", "2"], "r": "3"},
        "path": "/p",
        "metadata": {"m": "n"},
    }
    body = {"filter": {"body": {"n": 1}}, "event": event, "event_types": ["a.*"]}
    assert await ask(fake, body) == {"match": True, "reason": None, "mismatch": None}
    attributes = Attributes(
        headers={"x-a": "b"}, query={"q": ["1", "2"], "r": "3"}, path="/p", metadata={"m": "n"}
    )
    sample = Sample("a.b", b'{"n":1}', attributes)
    assert fake.asked == [CALLER, '{"body":{"n":1}}', ("a.*",), sample]


async def test_what_is_left_out_is_not_there() -> None:
    fake = Fake()
    await ask(fake, {"filter": None, "event": {}})
    assert fake.asked == [CALLER, None, (), Sample(None, b"null", Attributes())]


async def test_an_event_may_be_named() -> None:
    fake = Fake()
    await ask(fake, {"filter": {}, "event": ids.spell(ids.EVENT, EVENT)})
    assert fake.asked[1:] == ["{}", (), EVENT]
    with pytest.raises(NotFound):
        await ask(fake, {"filter": {}, "event": "x"})


async def test_the_reason_is_answered() -> None:
    assert await ask(Fake(MISMATCH), {"filter": {}, "event": {}}) == {
        "match": False,
        "reason": "none holds",
        "mismatch": {
            "path": "body",
            "operator": "$or",
            "wanted": "",
            "reason": "none holds",
            "alternatives": [
                {"path": "body.b", "operator": "$eq", "wanted": "2", "reason": "body.b is absent"}
            ],
        },
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"filter": {}},
        {"event": {}},
        {"filter": {}, "event": 5},
        {"filter": {}, "event": {"colour": "red"}},
        {"filter": {}, "event": {"headers": {"a": 1}}},
        {"filter": {}, "event": {"query": {"a": [1]}}},
        {"filter": {}, "event": {}, "colour": "red"},
    ],
)
async def test_what_is_no_such_body_is_refused(body: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        await ask(Fake(), body)
