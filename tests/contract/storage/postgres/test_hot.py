"""The plans of the statements that run for every event, whatever the planner knows of the tables.

A session makes them once. So a plan that is made while the tables are empty has to do when they
hold millions of rows: each row of a batch is looked for by the whole key of an index.
"""

import re
from collections.abc import Callable, Iterator, Sequence

import pytest
from sqlalchemy import Connection

from tests.support.database import Records
from tests.support.plans import plans_of
from waypost.storage import queue
from waypost.storage.postgres import hot, lanes, late
from waypost.storage.postgres.arrays import ARRAY_OF, INT2, INT4, INT8, UUID, uuids
from waypost.storage.postgres.connection import BY_INDEXES, PostgresOptions, connect
from waypost.storage.postgres.session import Session, Statement
from waypost.storage.queue import LaneWanted

STATEMENTS = (
    hot.ACCEPT,
    hot.ACCEPT_KEYED,
    hot.ACCEPT_ORDERED,
    hot.ACCEPT_KEYED_ORDERED,
    hot.VERSIONS,
    hot.REPEATED,
    hot.DELIVERED,
    hot.OTHERS,
    late._FIND,
    late._RECORD,
)

WHOLE = {
    "projects_pkey": {"id"},
    "queue_pkey": {"project_id", "id"},
    "ix_queue_lane": {"subscription_id"},
    "idempotency_keys_pkey": {"project_id", "key"},
    "ordering_counters_pkey": {"project_id", "name"},
    "shards_pkey": {"shard"},
    "events_always_pkey": {"project_id", "id"},
    "deliveries_always_pkey": {"project_id", "event_id", "id"},
    "deliveries_always_subscription_id_id_idx": {"subscription_id", "id"},
    "attempts_always_subscription_id_id_idx": {"subscription_id", "id"},
    # The latest of an event are looked through, a hundred of them.
    "attempts_always_pkey": {"project_id", "event_id"},
}
"""By index, what has to be compared for it to lead to a few rows."""

_SIZES = {INT2: 2, INT4: 4, INT8: 8, UUID: 16}


def untouched(_: Records) -> None:
    """Leave the tables as they were made: nothing is known of them."""


def emptied(records: Records) -> None:
    """Have the planner know that they are empty."""
    records.connection.exec_driver_sql("VACUUM ANALYZE")


def filled(records: Records) -> None:
    """Have rows in them, and the planner know of it."""
    records.connection.exec_driver_sql(
        "INSERT INTO queue SELECT %s, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),"
        " n %% 3, n, 0 FROM generate_series(1, 5000) AS n",
        (records.project,),
    )
    emptied(records)


def filled_unnoticed(records: Records) -> None:
    """Have rows in them, and the planner believe that there are none."""
    emptied(records)
    records.connection.exec_driver_sql("ALTER TABLE queue SET (autovacuum_enabled = false)")
    records.connection.exec_driver_sql(
        "INSERT INTO queue SELECT %s, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),"
        " n %% 3, n, 0 FROM generate_series(1, 5000) AS n",
        (records.project,),
    )


@pytest.fixture(params=[untouched, emptied, filled, filled_unnoticed])
def known(request: pytest.FixtureRequest, records: Records) -> Records:
    """Return a database of which more or less is known."""
    request.param(records)
    return records


def steps_of(url: str, statement: Statement) -> list[str]:
    """Return the steps of the plan that a session makes of a statement."""
    session = Session(url, PostgresOptions(), "test")
    try:
        session.begin()
        session.run(statement, [_nothing(oid) for oid in statement.types])
        nulls = ", ".join(["NULL"] * len(statement.types))
        name = statement.name.decode()
        explain = Statement("explain", f"EXPLAIN (COSTS OFF) EXECUTE {name} ({nulls})", [])
        plan = session.run(explain, [])
        session.roll_back()
    finally:
        session.close()
    return [(plan.get_value(row, 0) or b"").decode().strip() for row in range(plan.ntuples)]


def _nothing(oid: int) -> bytes:
    """Return a value of a type: of an array an empty one."""
    if oid in ARRAY_OF.values():
        element = next(one for one, array in ARRAY_OF.items() if array == oid)
        empty = bytearray(uuids([]))
        empty[8:12] = element.to_bytes(4, "big")
        return bytes(empty)
    return bytes(_SIZES.get(oid, 0))


def partial_looks(steps: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the steps that look in a table, but not for a few of its rows by an index."""
    found: list[tuple[str, ...]] = []
    for step, condition in zip(steps, [*steps[1:], ""], strict=True):
        if re.search(r"Seq Scan on|Hash Join|Merge Join", step):
            found.append((step,))
        index = re.search(
            r"(?:Index (?:Only )?Scan(?: Backward)? using|Bitmap Index Scan on) (\S+)", step
        )
        if index is None:
            continue
        compared = set(re.findall(r"\((\w+) = ", condition))
        if not (condition.startswith("Index Cond") and WHOLE[index[1]] <= compared):
            found.append((step, condition))
    return found


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda one: one.name.decode())
def test_each_row_is_looked_for_by_a_whole_key(
    known: Records, url: str, statement: Statement
) -> None:
    steps = steps_of(url, statement)
    assert any("Scan" in step for step in steps)
    assert partial_looks(steps) == []


@pytest.fixture
def connection(known: Records, url: str) -> Iterator[Connection]:
    """Return a connection to it that reads what is owed."""
    opened = connect(url, PostgresOptions(), **BY_INDEXES)
    yield opened
    opened.close()
    opened.engine.dispose()


@pytest.mark.parametrize("look", ["heads", "lanes", "newest"])
def test_lanes_are_looked_for_by_their_index(
    known: Records, connection: Connection, look: str
) -> None:
    lane = LaneWanted(known.project, known.ids.next(), 10, (known.ids.next(),))
    acts: dict[str, Callable[[], object]] = {
        "heads": lambda: queue.read_heads(connection, [lane, lane], payload_max=10),
        "lanes": lambda: queue.list_lanes(connection),
        "newest": lambda: lanes.newest(connection),
    }
    steps = plans_of(connection, acts[look], as_it_is=True)
    used = [step for step in steps if "ix_queue_lane" in step or "queue_pkey" in step]
    assert used
    assert all("ix_queue_lane" in step for step in used), steps
    if look == "heads":
        assert partial_looks(steps) == []
        assert not any("Sort Key: queue.project_id" in step for step in steps)
