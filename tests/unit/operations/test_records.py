"""Records of other surfaces, as surfaces ask for them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records as Known
from tests.support.manual import SeededEntropy
from waypost.engine.configuration import Configuration
from waypost.model.errors import Conflict, NotFound
from waypost.model.page import PageRequest
from waypost.model.record import Record
from waypost.operations.records import Records
from waypost.storage.vault import Vault

KIND = "x.thing"


@pytest.fixture
def known(tmp_path: Path) -> Known:
    return database.make(tmp_path / "w.db")


@pytest.fixture
async def records(known: Known, tmp_path: Path) -> AsyncIterator[Records]:
    async with database.opened(tmp_path / "w.db") as store:
        vault = Vault(bytes(range(32)), SeededEntropy())
        yield Records(Configuration(store), vault, known.ids)


async def test_they_are_kept_found_and_listed(records: Records, known: Known) -> None:
    caller = known.principal()
    one = records.new(caller, KIND, b"1")
    part = records.new(caller, KIND, b"2", one.id)
    await records.save(one, part)
    assert await records.get(caller, KIND, one.id) == one
    assert await records.find(caller, KIND, known.project) is None
    assert await records.some(caller, KIND, [part.id]) == {part.id: part}
    assert await records.parts(caller, KIND, one.id) == [part]
    assert await records.all(caller, KIND) == [one, part]
    assert await records.ids_of(caller, KIND) == [one.id, part.id]
    page = await records.list_page(caller, KIND, PageRequest(1))
    assert (page.items, page.has_more) == ([part], True)
    stranger = known.principal(project_id=known.other)
    with pytest.raises(NotFound):
        await records.get(stranger, KIND, one.id)


async def test_a_change_is_all_or_nothing(records: Records, known: Known) -> None:
    caller = known.principal()
    one = records.new(caller, KIND, b"1")
    await records.save(one)

    def refuse(_: Record) -> bytes:
        raise Conflict("no")

    with pytest.raises(Conflict):
        await records.change(caller, KIND, one.id, refuse)
    changed = await records.change(caller, KIND, one.id, lambda record: record.body + b"2")
    assert changed.body == b"12"
    assert changed.changed_us > one.changed_us
    other = records.new(caller, KIND, b"3", record_id=known.other)
    missing = records.new(caller, KIND, b"4")
    with pytest.raises(NotFound):
        await records.write(records.saving(other), records.deleting(missing))
    assert await records.find(caller, KIND, known.other) is None
    await records.write(records.saving(other), records.deleting(changed))
    assert [one.id for one in await records.all(caller, KIND)] == [known.other]
    await records.write(records.forgetting(changed))
    assert await records.find(caller, KIND, one.id) is None
