"""What both databases tell of a row."""

import pytest
from sqlalchemy import select

from tests.support.database import Records
from waypost.model.event import Attributes
from waypost.policy.routing import takes_type
from waypost.storage.matching import is_of_types, may_be_of_owner
from waypost.storage.schema import events

TYPES = ("card", "card.created", "card.a.b", "Card.created", "cardigan.x", "book.created", "c%rd.x")


@pytest.mark.parametrize(
    "patterns",
    [("card.*",), ("card.created", "book.*"), ("*",), ("x", "*"), ("c%rd.*",), ("card",)],
)
def test_types_are_taken_as_the_router_takes_them(
    records: Records, patterns: tuple[str, ...]
) -> None:
    for name in TYPES:
        records.event(name)
    found = records.connection.execute(select(events.c.type).where(is_of_types(patterns)))
    assert set(found.scalars()) == {name for name in TYPES if takes_type(patterns, name)}


def test_no_event_of_an_owner_is_left_out(records: Records) -> None:
    for owner in ("o", "", "a" * 40, "é" * 200, "x" * 70_000):
        event_id = records.event(attributes=Attributes(owner=owner, metadata={"a": "b"}))
        found = records.connection.execute(select(events.c.id).where(may_be_of_owner(owner)))
        assert event_id in set(found.scalars()), owner
    for owner in ("p", "oo"):
        found = records.connection.execute(select(events.c.id).where(may_be_of_owner(owner)))
        assert found.scalars().all() == []
