"""Counters that nobody has used for long are forgotten, and no number is given twice for it."""

from sqlalchemy import insert, select

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.storage import counters, schema
from waypost.storage.counters import Name

FIRST: Name = (bytes(16), "")


def use(records: Records, name: str, last: int, *, other: bool = False) -> Name:
    key = (records.other if other else records.project, name)
    values = {"project_id": key[0], "name": name, "last": last}
    records.connection.execute(insert(schema.ordering_counters).values(**values))
    return key


def test_those_that_are_idle_are_found_page_by_page_and_forgotten(records: Records) -> None:
    old = [use(records, name, 9) for name in ("", "a", "c")]
    old.append(use(records, "a", 9, other=True))
    fresh = [use(records, "b", 10), use(records, "b", 11, other=True)]
    found: list[Name] = []
    after: Name | None = FIRST
    while after is not None:
        idle, after = counters.find_idle(records.connection, after, 10, 2)
        found += [(after[0], name) for name in idle] if after else []
    assert sorted(found) == sorted(old)
    forgotten = [
        counters.forget(records.connection, project_id, ["", "a", "b", "c"], 10)
        for project_id in (records.project, records.other)
    ]
    assert forgotten == [3, 1]
    left = records.connection.execute(
        select(schema.ordering_counters.c.project_id, schema.ordering_counters.c.name)
    )
    assert sorted((row[0], row[1]) for row in left) == sorted(fresh)


def test_they_are_found_by_their_key(records: Records) -> None:
    use(records, "a", 1)
    plans = plans_of(
        records.connection, lambda: counters.find_idle(records.connection, FIRST, 9, 9)
    )
    assert plans
    assert walks(plans) == []
