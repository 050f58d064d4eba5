"""Events are found in the order of their acceptance, and by the request that has brought them."""

import pytest

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.event import Attributes
from waypost.policy.stream import LATE_US, Position
from waypost.storage import pages, streams

REQUEST = ids.make(1_700_000_000_000_000, 5)
START = Position(ids.FIRST)


def read(
    records: Records,
    position: Position = START,
    until: ids.Id | None = None,
    kind: str | None = None,
    size: int = 10,
) -> tuple[list[ids.Id], Position]:
    now_us = records.clock.now_us()
    place = (records.connection, records.project)
    found, position = streams.read_on_from(*place, position, until, kind, size, now_us)
    return [one.id for one in found], position


def test_events_are_read_on_oldest_first(records: Records) -> None:
    made = [records.event("a" if n % 2 else "b") for n in range(5)]
    records.event(project_id=records.other)
    assert read(records)[0] == made
    found, position = read(records, size=3)
    assert found == made[:3]
    assert read(records, position)[0] == made[3:]
    assert read(records, kind="a")[0] == [made[1], made[3]]
    assert read(records, until=made[2])[0] == made[:2]
    records.clock.forward(2 * LATE_US / 1_000_000)
    assert read(records, position, size=1) == ([made[3]], Position(made[3]))


def test_a_page_that_weighs_too_much_ends_early(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [records.event(payload=b'"xxxx"') for _ in range(5)]
    monkeypatch.setattr(pages, "PAGE_BYTES", 10)
    found, position = read(records)
    assert found == made[:2]
    assert read(records, position)[0] == made[2:4]


def of_request(records: Records, request_id: ids.Id = REQUEST) -> list[ids.Id]:
    found = streams.list_of_request(records.connection, records.project, request_id)
    return [one.id for one in found]


def test_the_events_of_a_request_are_found_however_it_is_spelled(records: Records) -> None:
    made = [
        records.event(attributes=Attributes(request_id=spelled, owner="o", metadata={"a": "b"}))
        for spelled in ids.spellings(REQUEST)
    ]
    uuid = ids.spell_uuid(REQUEST)
    for other in (
        Attributes(request_id=uuid[:-1] + "0"),
        Attributes(request_id=f"{uuid}0"),
        Attributes(request_id="x"),
        Attributes(metadata={"request_id": uuid}),
        Attributes(owner=uuid),
    ):
        records.event(attributes=other)
    named = Attributes(request_id=uuid)
    records.event(attributes=named, project_id=records.other)
    assert of_request(records) == made
    # An event that names none is one of its own.
    alone = records.event()
    assert of_request(records, alone) == [alone]
    assert of_request(records, made[0]) == []


def test_so_many_events_of_a_request_are_found_and_no_more(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "OF_REQUEST_MAX", 3)
    named = Attributes(request_id=ids.spell_ulid(REQUEST))
    made = [records.event(attributes=named) for _ in range(5)]
    assert of_request(records) == made[:3]


def test_the_index_leads_to_them(records: Records) -> None:
    plans = plans_of(records.connection, lambda: of_request(records))
    assert walks(plans) == []
    if records.connection.dialect.name == "sqlite":
        assert sum("ix_events_request" in step for step in plans) == len(ids.spellings(REQUEST))
