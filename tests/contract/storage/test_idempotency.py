"""Idempotency keys that have had their time are forgotten, a part at a time."""

from sqlalchemy import insert, select

from tests.support.database import Records
from waypost.storage import idempotency, schema


def keep(records: Records, count: int, expires_at_us: int) -> None:
    keys = schema.idempotency_keys
    for n in range(count):
        records.connection.execute(
            insert(keys).values(
                project_id=records.project if n % 2 else records.other,
                key=f"{expires_at_us}-{n}",
                event_id=bytes(16),
                fingerprint=bytes(16),
                expires_at_us=expires_at_us,
            )
        )


def left(records: Records) -> list[int]:
    column = schema.idempotency_keys.c.expires_at_us
    return sorted(records.connection.execute(select(column)).scalars())


def test_only_what_has_expired_is_forgotten(records: Records) -> None:
    for at_us in (99, 100, 101):
        keep(records, 2, at_us)
    assert idempotency.count_expired(records.connection, 100) == 4
    assert idempotency.prune(records.connection, 100, 10) == 4
    assert idempotency.count_expired(records.connection, 100) == 0
    assert left(records) == [101, 101]


def test_it_is_done_in_parts_the_oldest_first(records: Records) -> None:
    keep(records, 3, 2)
    keep(records, 5, 1)
    assert idempotency.prune(records.connection, 10, 5) == 5
    assert left(records) == [2, 2, 2]
    assert idempotency.prune(records.connection, 10, 5) == 3
    assert idempotency.prune(records.connection, 10, 5) == 0
