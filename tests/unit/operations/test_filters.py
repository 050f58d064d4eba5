"""A filter is tried out on an event that is thought of, or on one that there is."""

from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records
from waypost.model.errors import InvalidInput, InvalidSetting, NotFound
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.operations.filters import Filters, Sample

FILTER = '{"body":{"n":{"$gt":1}},"metadata":{"m":"x"}}'
GOOD = Sample("card.created", b'{"n":2}', Attributes(metadata={"m": "x"}))
BAD = Sample("card.created", b'{"n":1}', Attributes(metadata={"m": "x"}))


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


async def tried(
    records: Records, tmp_path: Path, text: str | None, event: Sample | bytes, *types: str
) -> str | None:
    async with database.opened(tmp_path / "w.db") as store:
        mismatch = await Filters(store).try_out(records.principal(), text, types, event)
    return None if mismatch is None else mismatch.reason


async def test_an_event_that_is_thought_of(records: Records, tmp_path: Path) -> None:
    assert await tried(records, tmp_path, FILTER, GOOD) is None
    assert await tried(records, tmp_path, FILTER, BAD) == "body.n is 1, not greater than 1"
    assert await tried(records, tmp_path, None, BAD) is None


async def test_an_event_that_there_is(records: Records, tmp_path: Path) -> None:
    good, bad = (
        records.event("card.created", one.attributes, payload=one.payload) for one in (GOOD, BAD)
    )
    bare = records.event()
    assert await tried(records, tmp_path, FILTER, good) is None
    assert await tried(records, tmp_path, FILTER, bad) == "body.n is 1, not greater than 1"
    assert await tried(records, tmp_path, '{"path":"/a"}', bare) == "path is absent"
    foreign = records.event(project_id=records.other)
    with pytest.raises(NotFound):
        await tried(records, tmp_path, FILTER, foreign)


async def test_types_come_before_the_filter(records: Records, tmp_path: Path) -> None:
    assert await tried(records, tmp_path, FILTER, GOOD, "card.*") is None
    assert await tried(records, tmp_path, FILTER, BAD, "book.*", "a") == (
        'event_type is "card.created", which is none of ["book.*", "a"]'
    )
    assert await tried(records, tmp_path, FILTER, Sample(None, *GOOD_PARTS)) is None
    with pytest.raises(InvalidInput) as refusal:
        await tried(records, tmp_path, FILTER, Sample(None, *GOOD_PARTS), "a")
    assert refusal.value.details[0][0] == "event.event_type"


GOOD_PARTS = (GOOD.payload, GOOD.attributes)


async def test_what_cannot_be_obeyed_is_refused(records: Records, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting):
        await tried(records, tmp_path, '{"body":{}', GOOD)
    deep = Sample(None, b"[" * 65 + b"]" * 65, NO_ATTRIBUTES)
    with pytest.raises(InvalidInput) as refusal:
        await tried(records, tmp_path, FILTER, deep)
    assert refusal.value.details[0][0] == "event.payload"
