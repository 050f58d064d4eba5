"""The pruner forgets idempotency keys by the clock, as many parts as it takes."""

from pathlib import Path

from sqlalchemy import func, insert, select

from tests.support import database
from waypost.engine.pruner import Pruner
from waypost.storage import idempotency, schema


async def test_it_goes_on_until_nothing_has_expired(tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    now_us = records.clock.now_us()
    keys = schema.idempotency_keys
    for n in range(idempotency.CHUNK + 3):
        records.connection.execute(
            insert(keys).values(
                project_id=records.project,
                key=str(n),
                event_id=bytes(16),
                fingerprint=bytes(16),
                expires_at_us=now_us + 1_000_000 * (n == 0),
            )
        )
    async with database.opened(tmp_path / "w.db") as store:
        pruner = Pruner(store, records.clock)
        assert await pruner.run_once()
        assert not await pruner.run_once()
        left = select(func.count()).select_from(keys)
        assert await store.read(lambda c: c.execute(left).scalar_one()) == 1
        records.clock.forward(1)
        assert not await pruner.run_once()
        assert await store.read(lambda c: c.execute(left).scalar_one()) == 0
