"""Partitions in PostgreSQL are made beside the work, and dropped only where nothing needs them."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from tests.support import database, partitioned
from tests.support.database import Records
from tests.support.partitioned import NOW_US, opened
from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound
from waypost.model.ids import Id
from waypost.model.replay import Replay, ReplayKind
from waypost.model.subscription import Subscription
from waypost.storage import events, partitions, replays, schema
from waypost.storage.changes import Settlement
from waypost.storage.partitions import AHEAD_US, BEHIND_US, DAY_US, Busy, Kept, Partition, Width
from waypost.storage.postgres.connection import SERIALIZABLE

T = TypeVar("T")

PATIENCE_S = 30


@pytest.fixture
def url() -> Iterator[str]:
    with partitioned.fresh() as fresh:
        yield fresh


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with opened(url) as connection:
        yield connection


@pytest.fixture
def records(connection: Connection) -> Records:
    return Records(connection)


def written(connection: Connection, fn: Callable[[], T]) -> T:
    """Run `fn` as the store runs a write."""
    connection.exec_driver_sql(SERIALIZABLE)
    try:
        result = fn()
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")
    return result


def first(connection: Connection) -> Partition:
    return partitions.list_all(connection)[0]


def drop(connection: Connection) -> Kept | None:
    """Drop the oldest partition."""
    partition = first(connection)
    return written(connection, lambda: partitions.drop(connection, partition))


def wait_until_locked_out(connection: Connection) -> None:
    """Wait until somebody waits for a lock."""
    query = text(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE NOT granted AND datname = current_database()"
    )
    while not connection.execute(query).scalar_one():
        pass


class Beside:
    """Something done in a thread of its own."""

    def __init__(self, fn: Callable[[], object]) -> None:
        self._fn = fn
        self._found: list[object] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._found.append(self._fn())
        except Exception as error:  # noqa: BLE001 - the test looks at it
            self._found.append(error)

    @property
    def result(self) -> object:
        self._thread.join(PATIENCE_S)
        return self._found[0]


def test_a_migrated_database_has_places_for_a_week(connection: Connection) -> None:
    found = partitions.list_all(connection)
    assert found[0].begin_us <= NOW_US - BEHIND_US
    assert partitions.covered_until(found, NOW_US) >= NOW_US + AHEAD_US
    assert set(found[0].tables) == {table.name for table in schema.PARTITIONED}


def test_what_is_there_is_not_made_again(connection: Connection) -> None:
    before = partitions.list_all(connection)
    assert written(connection, lambda: partitions.make_ahead(connection, NOW_US, Width.WEEK)) == []
    assert partitions.list_all(connection) == before


def test_places_are_made_for_the_past_and_the_future(
    connection: Connection, records: Records
) -> None:
    day = [partitions.list_all(connection)[0].begin_us - 40 * DAY_US, NOW_US + 60 * DAY_US]
    with pytest.raises(DBAPIError) as refused:
        event_at(records, day[0])
    assert partitions.lacks_place(refused.value.orig or refused.value)
    written(connection, lambda: partitions.ensure(connection, day[0], day[1], Width.WEEK))
    found = partitions.list_all(connection)
    assert partitions.covered_until(found, day[0]) > day[1]
    event_at(records, day[0])
    event_at(records, day[1])


def event_at(records: Records, at_us: int, connection: Connection | None = None) -> Id:
    """Keep an event of that moment."""
    event_id = ids.make(at_us, 1)
    row = {"project_id": records.project, "id": event_id, "type": "a", "payload": b"{}"}
    (connection or records.connection).execute(
        insert(schema.events).values(**row, routing_version=1)
    )
    return event_id


def test_two_that_make_the_same_do_it_once(url: str, connection: Connection) -> None:
    with opened(url) as other:
        connection.exec_driver_sql(SERIALIZABLE)
        later_us = NOW_US + 30 * DAY_US
        assert partitions.make_ahead(connection, later_us, Width.DAY)
        beside = Beside(
            lambda: written(other, lambda: partitions.make_ahead(other, later_us, Width.DAY))
        )
        with opened(url) as third:
            wait_until_locked_out(third)
        connection.exec_driver_sql("COMMIT")
        assert beside.result == []


def test_places_are_made_while_others_write_and_read(url: str, records: Records) -> None:
    connection = records.connection
    connection.exec_driver_sql("BEGIN")
    records.event()
    connection.execute(select(func.count()).select_from(schema.attempts))
    with opened(url) as other:
        other.exec_driver_sql("SET lock_timeout = '1s'")
        later_us = NOW_US + 30 * DAY_US
        assert written(other, lambda: partitions.make_ahead(other, later_us, Width.DAY))
    connection.exec_driver_sql("COMMIT")


def owed(records: Records, event_id: Id, subscription: Subscription) -> None:
    records.pending(event_id, subscription)


def fanned_out(records: Records, event_id: Id, subscription: Subscription) -> None:
    row = {"project_id": records.project, "event_id": event_id, "position": 0}
    statement = insert(schema.fan_outs).values(**row, subscriptions=subscription.id)
    records.connection.execute(statement)


def boxed(records: Records, event_id: Id, subscription: Subscription) -> None:
    records.ended(event_id, subscription, DeliveryState.FAILED)


def replayed(records: Records, event_id: Id, subscription: Subscription) -> None:
    run(records, subscription, ReplayKind.MISSING, ids.moment(event_id))


def recovered(records: Records, event_id: Id, subscription: Subscription) -> None:
    run(records, subscription, ReplayKind.RECOVER, NOW_US + 300 * DAY_US)


def run(records: Records, subscription: Subscription, kind: ReplayKind, begin_us: int) -> None:
    """Keep a job that is running."""
    place = (records.project, records.ids.next())
    replays.insert(
        records.connection, Replay(*place, kind, subscription.id, begin_us, begin_us + 1)
    )


@pytest.mark.parametrize(
    "hold, reason",
    [
        (owed, Kept.OWED),
        (fanned_out, Kept.OWED),
        (boxed, Kept.DIVERTED),
        (replayed, Kept.REPLAYED),
        (recovered, Kept.REPLAYED),
    ],
)
def test_a_partition_that_is_referred_to_is_not_dropped(
    records: Records, hold: Callable[[Records, Id, Subscription], None], reason: Kept
) -> None:
    subscription = records.subscription()
    event_id = event_at(records, first(records.connection).begin_us)
    hold(records, event_id, subscription)
    assert drop(records.connection) is reason
    assert events.get(records.connection, records.project, event_id).id == event_id


def test_a_partition_goes_with_all_that_is_in_it_and_nothing_else(records: Records) -> None:
    connection = records.connection
    old, young = partitions.list_all(connection)[:2]
    subscription = records.subscription()
    event_at(records, old.end_us - 1)
    kept = event_at(records, old.end_us)
    records.pending(kept, subscription)
    run(records, subscription, ReplayKind.MISSING, old.end_us)
    assert drop(connection) is None
    assert first(connection) == young
    rows = connection.execute(select(schema.events.c.id))
    assert list(rows.scalars()) == [kept]


def test_a_drop_gives_up_where_the_tables_are_in_use(url: str, records: Records) -> None:
    records.connection.exec_driver_sql("BEGIN")
    records.event()
    with opened(url) as other:
        with pytest.raises(Busy):
            drop(other)
        records.connection.exec_driver_sql("COMMIT")
        assert drop(other) is None


def sent_again(records: Records, event_id: Id, subscription: Subscription) -> None:
    records.connection.execute(delete(schema.diverted_events))
    records.pending(event_id, subscription)


@pytest.mark.parametrize("hold", [owed, sent_again])
def test_what_is_referred_to_while_a_drop_waits_is_seen(
    url: str,
    records: Records,
    monkeypatch: pytest.MonkeyPatch,
    hold: Callable[[Records, Id, Subscription], None],
) -> None:
    monkeypatch.setattr(partitions, "_LOCK_TIMEOUT_MS", PATIENCE_S * 1_000)
    connection = records.connection
    subscription = records.subscription()
    event_id = event_at(records, first(connection).begin_us)
    if hold is sent_again:
        boxed(records, event_id, subscription)
    connection.exec_driver_sql(SERIALIZABLE)
    events.demand(connection, records.project, event_id)
    with opened(url) as other, opened(url) as third:
        beside = Beside(lambda: drop(other))
        wait_until_locked_out(third)
        hold(records, event_id, subscription)
        connection.exec_driver_sql("COMMIT")
        assert beside.result is Kept.OWED
    assert events.get(connection, records.project, event_id).id == event_id


def test_a_drop_that_meets_others_crosswise_gives_up(url: str, records: Records) -> None:
    connection = records.connection
    subscription = records.subscription()
    event_id = event_at(records, first(connection).begin_us)
    connection.exec_driver_sql("BEGIN")
    events.demand(connection, records.project, event_id)
    with opened(url) as other, opened(url) as third:
        beside = Beside(lambda: drop(other))
        wait_until_locked_out(third)
        # It holds the deliveries and wants the events: the other way round.
        boxed(records, event_id, subscription)
        connection.exec_driver_sql("COMMIT")
        assert isinstance(beside.result, Busy)
        assert drop(other) is Kept.DIVERTED


def test_whoever_comes_behind_a_drop_finds_the_event_gone(url: str, records: Records) -> None:
    connection = records.connection
    partition = first(connection)
    event_id = event_at(records, partition.begin_us)
    with opened(url) as other, opened(url) as third:
        connection.exec_driver_sql(SERIALIZABLE)
        assert partitions.drop(connection, partition) is None

        def demand() -> None:
            written(other, lambda: events.demand(other, records.project, event_id))

        beside = Beside(demand)
        wait_until_locked_out(third)
        connection.exec_driver_sql("COMMIT")
        assert isinstance(beside.result, NotFound)


def test_an_event_that_comes_while_a_drop_runs_is_accepted(url: str, records: Records) -> None:
    connection = records.connection
    partition = first(connection)
    with opened(url) as other, opened(url) as third:
        connection.exec_driver_sql(SERIALIZABLE)
        assert partitions.drop(connection, partition) is None
        beside = Beside(lambda: event_at(records, partition.end_us, other))
        wait_until_locked_out(third)
        connection.exec_driver_sql("COMMIT")
        assert isinstance(beside.result, bytes)


async def test_a_late_result_whose_partition_is_gone_is_told_and_counted(
    url: str, records: Records
) -> None:
    subscription = records.subscription()
    gone = ids.make(first(records.connection).begin_us - 1, 1)
    present = records.event()
    late = {event_id: records.ids.next() for event_id in (gone, present)}
    settled: asyncio.Queue[Settlement] = asyncio.Queue()
    with capture_logs() as logs:
        async with database.opened(url) as store:
            for event_id, delivery_id in late.items():
                store.settle(delivered(subscription, event_id, delivery_id, settled.put_nowait))
            found = [await settled.get() for _ in late]
    assert [one.late for one in found] == [True, True]
    assert store.counters.unplaced == 1
    told = [log["delivery"] for log in logs if log["event"] == "late_result_dropped"]
    assert told == [late[gone].hex()]
    recorded = records.connection.execute(select(schema.attempts.c.event_id)).scalars()
    assert list(recorded) == [present]


def delivered(
    subscription: Subscription, event_id: Id, delivery_id: Id, done: Callable[[Settlement], None]
) -> Settlement:
    """Return that the first try has delivered."""
    place = (subscription.project_id, event_id)
    attempt = (delivery_id, delivery_id, subscription.id, 1, 1, 200, b"", None, b"", 0)
    final = (delivery_id, subscription.id, DeliveryState.DELIVERED.value, 1, NOW_US, None)
    return Settlement(*place, delivery_id, 0, (*place, *attempt), done, delivery=(*place, *final))


def test_only_a_row_without_a_place_lacks_one(records: Records) -> None:
    event_id = records.event()
    row = {"project_id": records.project, "id": event_id, "type": "a", "payload": b"{}"}
    with pytest.raises(DBAPIError) as refused:
        records.connection.execute(insert(schema.events).values(**row, routing_version=1))
    assert not partitions.lacks_place(refused.value.orig or refused.value)
    assert not partitions.lacks_place(ValueError())
