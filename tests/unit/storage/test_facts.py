"""A fact is kept under its name, and replaced by the next."""

from pathlib import Path

from tests.support import database
from waypost.storage import facts


def test_a_fact_is_found_until_it_is_replaced(tmp_path: Path) -> None:
    connection = database.make(tmp_path / "w.db").connection
    assert facts.find(connection, "a") is None
    facts.record(connection, "a", "1")
    facts.record(connection, "b", "2")
    facts.record(connection, "a", "3")
    assert (facts.find(connection, "a"), facts.find(connection, "b")) == ("3", "2")
