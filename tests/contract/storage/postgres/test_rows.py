"""Many rows of the queue at once."""

from sqlalchemy import insert

from tests.support.database import Records
from waypost.model.delivery import DeliveryState
from waypost.storage import schema
from waypost.storage.postgres import rows

SUBSCRIPTION, OTHER = b"s" * 16, b"o" * 16


def row(records: Records, number: int, subscription: bytes = SUBSCRIPTION) -> rows.Row:
    return (records.project, bytes([number]) * 16, b"e" * 16, subscription, 0, number, 2)


def held(records: Records, table: str) -> list[rows.Row]:
    query = f"SELECT * FROM {table} ORDER BY id"
    return [tuple(one) for one in records.connection.exec_driver_sql(query)]


def test_any_number_of_rows_is_put_into_the_queue(records: Records) -> None:
    rows.insert_queue(records.connection, [])
    # Every other one has a place in an order.
    given = [
        (*row(records, number), *(("key", number) if number % 2 else (None, None)))
        for number in range(1, 200)
    ]
    rows.insert_queue(records.connection, given)
    assert held(records, "queue") == [(*one[:7], None, *one[7:]) for one in given]


def test_rows_of_a_replay_name_it(records: Records) -> None:
    rows.insert_queue(records.connection, [row(records, 1)], b"r" * 16)
    assert held(records, "queue") == [(*row(records, 1), b"r" * 16, None, None)]


def test_what_is_ended_is_what_is_still_owed_to_the_subscription(records: Records) -> None:
    mine, theirs = row(records, 1), row(records, 2, OTHER)
    records.connection.execute(insert(schema.queue).values([mine, theirs]))
    ended = rows.end_untried(
        records.connection,
        records.project,
        SUBSCRIPTION,
        [mine[1], theirs[1], b"g" * 16],
        state=DeliveryState.FAILED,
        reason="x",
        divert=True,
        now_us=7,
    )
    assert ended == 1
    assert held(records, "queue") == [(*theirs, None, None, None)]
    assert [one[:8] for one in held(records, "deliveries")] == [
        (records.project, b"e" * 16, mine[1], SUBSCRIPTION, 2, 2, 7, "x")
    ]
    assert held(records, "diverted_events") == [
        (records.project, mine[1], b"e" * 16, SUBSCRIPTION, "x", 7, 2, 0)
    ]
