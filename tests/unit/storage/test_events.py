"""Events come back byte for byte, to their own project alone."""

import pytest
from sqlalchemy import update

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event, Resource
from waypost.model.page import PageRequest
from waypost.storage import events, pages
from waypost.storage.schema import events as table

PAYLOAD = b'{"a": 1.10, "b": "\\u0000", "a": 2}'


def give_payload(records: Records, payload: bytes) -> None:
    """Let every event have this payload."""
    records.connection.execute(update(table).values(payload=payload))


def tokens(records: Records, request: PageRequest, types: tuple[str, ...] = ()) -> list[ids.Id]:
    page = events.list_page(records.connection, records.project, request, types=types)
    return [event.id for event in page.items]


def test_every_field_comes_back(records: Records) -> None:
    attributes = Attributes(
        idempotency_key="k", resource=Resource("card", "c"), targets=(records.ids.next(),)
    )
    event_id = records.event("a.b", attributes)
    give_payload(records, PAYLOAD)
    assert events.get(records.connection, records.project, event_id) == Event(
        records.project, event_id, "a.b", PAYLOAD, attributes, 1
    )


def test_without_attributes_it_has_none(records: Records) -> None:
    event = events.get(records.connection, records.project, records.event())
    assert event.attributes == NO_ATTRIBUTES


def test_another_project_does_not_find_it(records: Records) -> None:
    event_id = records.event()
    for find in (events.get, events.demand):
        find(records.connection, records.project, event_id)
        with pytest.raises(NotFound, match="event not found"):
            find(records.connection, records.other, event_id)


def test_the_list_is_of_one_project_and_of_the_types_that_are_asked_for(records: Records) -> None:
    a, b, c = records.event("a"), records.event("b"), records.event("c")
    records.event("a", project_id=records.other)
    assert tokens(records, PageRequest()) == [c, b, a]
    assert tokens(records, PageRequest(), ("a", "c", "x")) == [c, a]
    assert tokens(records, PageRequest(older_than=c)) == [b, a]


def test_payloads_are_left_out_on_request(records: Records) -> None:
    records.event()
    give_payload(records, PAYLOAD)
    for with_payload, payload in ((True, PAYLOAD), (False, b"{}")):
        page = events.list_page(
            records.connection, records.project, PageRequest(), with_payload=with_payload
        )
        assert [event.payload for event in page.items] == [payload]


def test_a_page_of_large_payloads_ends_early(records: Records) -> None:
    for _ in range(4):
        records.event()
    give_payload(records, b"1" * (pages.PAGE_BYTES // 2))
    page = events.list_page(records.connection, records.project, PageRequest())
    assert len(page.items) == 2
    assert page.has_more


@pytest.mark.parametrize("up", [False, True])
def test_several_types_are_one_list_found_by_their_index(records: Records, up: bool) -> None:
    every = []
    for number in range(12):
        records.clock.forward(1)
        every.append(records.event("abc"[number % 3]))
    wanted = [one for number, one in enumerate(every) if number % 3 != 2]
    newer = ids.FIRST if up else None
    request = PageRequest(size=3, newer_than=newer, begin_us=0, end_us=ids.moment(every[-1]))
    # The last one is of the third type.
    nearest = wanted[:3] if up else wanted[-3:]
    assert tokens(records, request, ("a", "b", "z")) == nearest[::-1]
    steps = plans_of(records.connection, lambda: tokens(records, request, ("a", "b")))
    assert walks(steps) == []
    if records.connection.dialect.name == "sqlite":
        assert sum("COVERING INDEX ix_events_type" in step for step in steps) == 2, steps
