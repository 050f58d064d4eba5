"""How much is owed, on each database."""

import pytest

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.storage import depth


def test_what_is_owed_is_counted(records: Records) -> None:
    one, event_id = records.subscription(), records.event()
    assert depth.queue_depth(records.connection) == 0
    for _ in range(5):
        records.pending(event_id, one)
    assert depth.queue_depth(records.connection) == 5


def test_a_long_queue_is_counted_about(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    one, event_id = records.subscription(), records.event()
    for _ in range(5):
        records.pending(event_id, one)
    monkeypatch.setattr(depth, "AT_MOST", 3)
    monkeypatch.setattr(depth, "COUNTED", 3)
    if records.connection.dialect.name == "sqlite":
        assert depth.queue_depth(records.connection) == 3
    else:
        assert depth.queue_depth(records.connection) in {3, 5}, "statistics come late"
        records.connection.exec_driver_sql("ANALYZE queue")
        assert depth.queue_depth(records.connection) == 5


def test_it_is_counted_by_an_index(records: Records) -> None:
    steps = plans_of(records.connection, lambda: depth.queue_depth(records.connection))
    if records.connection.dialect.name == "sqlite":
        assert "SCAN queue" in steps, "the table is the index of its key"
    else:
        assert walks(steps) == []
