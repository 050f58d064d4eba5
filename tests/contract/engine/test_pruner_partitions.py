"""On PostgreSQL the pruner makes partitions ahead, and drops those that nothing needs."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, delete, func, insert, select, text
from structlog.testing import capture_logs

from tests.support import partitioned
from tests.support.database import Records
from tests.support.direct import DirectStore
from tests.support.partitioned import opened
from waypost.engine.pruner import Pruner, PrunerConfig
from waypost.engine.sweep import Position, Step
from waypost.model.delivery import DeliveryState
from waypost.model.ids import Id
from waypost.storage import partitions, schema
from waypost.storage.partitions import AHEAD_US, DAY_US, Width

DAY_S = 86_400


@pytest.fixture
def url() -> Iterator[str]:
    with partitioned.fresh() as fresh:
        yield fresh


@pytest.fixture
def records(url: str) -> Iterator[Records]:
    with opened(url) as connection:
        yield Records(connection)


def pruner_of(records: Records, width: Width = Width.DAY, *, is_mine: bool = True) -> Pruner:
    config = PrunerConfig(retention_us=10 * DAY_US, width=width, share=1.0)
    store = DirectStore(records.connection)
    return Pruner(store, records.clock, config, is_mine=lambda: is_mine)


async def swept(pruner: Pruner) -> None:
    while await pruner.run_once():
        pass


def count(connection: Connection, table: str) -> int:
    query = select(func.count()).select_from(schema.metadata.tables[table])
    return int(connection.execute(query).scalar_one())


def oldest(records: Records) -> int:
    return partitions.list_all(records.connection)[0].begin_us


@pytest.mark.parametrize("is_mine", [True, False])
async def test_places_are_made_a_week_ahead_by_whoever_comes_first(
    records: Records, is_mine: bool
) -> None:
    pruner = pruner_of(records, is_mine=is_mine)
    for _ in range(3):
        records.clock.forward(DAY_S)
        await swept(pruner)
        found = partitions.list_all(records.connection)
        until_us = partitions.covered_until(found, records.clock.now_us())
        assert until_us >= records.clock.now_us() + AHEAD_US
    assert pruner.shortage() is None


async def test_a_server_that_was_away_for_long_makes_room_before_it_starts(
    records: Records,
) -> None:
    records.clock.forward(100 * DAY_S)
    await pruner_of(records, Width.WEEK).prepare()
    records.event()


async def test_a_shortage_is_told_a_day_before(records: Records) -> None:
    pruner = pruner_of(records)
    await pruner.prepare()
    assert pruner.shortage() is None
    records.clock.forward(5 * DAY_S)
    assert pruner.shortage() is None
    records.clock.forward(2 * DAY_S)
    assert "partitions only until 2027-01-23 00:00 UTC" in str(pruner.shortage())


async def test_what_has_had_its_time_is_dropped_whole(records: Records) -> None:
    subscription = records.subscription()
    for _ in range(3):
        records.ended(records.event(), subscription, DeliveryState.DELIVERED)
    receipt(records, records.event())
    records.connection.execute(text("ANALYZE"))
    pruner = pruner_of(records)
    first_us = oldest(records)
    records.clock.forward(10 * DAY_S)
    await swept(pruner)
    # Its last hours have not had their time.
    assert (pruner.dropped, count(records.connection, "events")) == (0, 4)
    records.clock.forward(DAY_S)
    with capture_logs() as logs:
        await swept(pruner)
    assert pruner.dropped == 1
    assert pruner.pruned == {"events": 4, "deliveries": 3, "receipts": 1}
    assert oldest(records) == first_us + DAY_US
    assert count(records.connection, "events") == count(records.connection, "receipts") == 0
    assert [log["partition"] for log in logs if log["event"] == "partition_dropped"] == [
        "20270115..20270115"
    ]


def receipt(records: Records, event_id: Id) -> None:
    row = {"project_id": records.project, "event_id": event_id, "id": records.ids.next()}
    records.connection.execute(insert(schema.receipts).values(**row, key_id=bytes(16), same_body=1))


async def test_a_partition_with_something_owed_loses_the_rest_and_goes_when_it_is_not(
    records: Records,
) -> None:
    subscription = records.subscription()
    owed = records.event()
    delivery_id = records.pending(owed, subscription)
    records.ended(records.event(), subscription, DeliveryState.DELIVERED)
    pruner = pruner_of(records)
    first_us = oldest(records)
    records.clock.forward(11 * DAY_S)
    with capture_logs() as logs:
        await swept(pruner)
    assert [log["reason"] for log in logs if log["event"] == "partition_kept"] == ["owed"]
    assert pruner.pruned == {"events": 1, "deliveries": 1}
    assert list(records.connection.execute(select(schema.events.c.id)).scalars()) == [owed]
    assert oldest(records) == first_us
    landed = delete(schema.queue).where(schema.queue.c.id == delivery_id)
    records.connection.execute(landed)
    records.clock.forward(3_600)
    await swept(pruner)
    assert (pruner.dropped, oldest(records)) == (1, first_us + DAY_US)


async def test_the_present_is_never_dropped(records: Records) -> None:
    pruner = pruner_of(records)
    now_us = records.clock.now_us()
    records.event()
    records.clock.forward(0.001)
    order = pruner.order(now_us + 1_000, None, dry=False)
    steps = await all_steps(pruner, order)
    assert not any(step.dropped for step in steps)
    # By rows, and to the very moment, where somebody names one.
    assert sum(step.rows.get("events", 0) for step in steps) == 1
    places = partitions.list_all(records.connection)
    assert partitions.covered_until(places, now_us) > now_us


async def all_steps(pruner: Pruner, order: object) -> list[Step]:
    steps: list[Step] = []
    position: Position | None = Position()
    while position is not None:
        step = await pruner.step(order, position)  # type: ignore[arg-type] # an order
        steps.append(step)
        position = step.position
    return steps


async def test_counting_drops_nothing(records: Records) -> None:
    records.event()
    records.clock.forward(30 * DAY_S)
    pruner = pruner_of(records)
    steps = await all_steps(pruner, pruner.order(None, None, dry=True))
    assert sum(step.rows.get("events", 0) for step in steps) == 1
    assert (pruner.dropped, count(records.connection, "events")) == (0, 1)


async def test_a_partition_in_use_is_left_alone_and_dropped_later(
    url: str, records: Records
) -> None:
    records.event()
    records.clock.forward(12 * DAY_S)
    pruner = pruner_of(records)
    with opened(url) as reader:
        reader.exec_driver_sql("BEGIN")
        reader.execute(select(schema.events.c.id)).all()
        with capture_logs() as logs:
            await swept(pruner)
        reader.exec_driver_sql("COMMIT")
    # Neither is another one tried, nor are its rows deleted one by one.
    assert [log["reason"] for log in logs if log["event"] == "partition_kept"] == ["busy"]
    assert (pruner.dropped, pruner.pruned) == (0, {})
    records.clock.forward(60)
    await swept(pruner)
    assert pruner.dropped == 2


async def test_a_long_sweep_does_not_keep_places_from_being_made(records: Records) -> None:
    pruner = pruner_of(records)
    assert await pruner.run_once()
    records.clock.forward(8 * DAY_S)
    assert await pruner.run_once()
    records.event()
