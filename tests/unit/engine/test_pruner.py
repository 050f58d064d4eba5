"""The pruner sweeps by the clock, and by its settings."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import MICROS, Records
from waypost.engine.pruner import AUDIT_US, Pruner, PrunerConfig
from waypost.engine.sweep import PARTS, Position
from waypost.model.delivery import DeliveryState
from waypost.storage import schema
from waypost.storage.partitions import AHEAD_US, DAY_US
from waypost.storage.sqlite.store import SqliteStore

DAY_S = 86_400
BRISK = PrunerConfig(retention_us=10 * DAY_US, share=1.0)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture
async def store(tmp_path: Path, records: Records) -> AsyncIterator[SqliteStore]:
    async with database.opened(tmp_path / "w.db") as opened:
        yield opened


async def swept(pruner: Pruner) -> None:
    while await pruner.run_once():
        pass


async def count(store: SqliteStore, table: str) -> int:
    query = select(func.count()).select_from(schema.metadata.tables[table])
    return int(await store.read(lambda c: c.execute(query).scalar_one()))


def key(records: Records, name: str, expires_at_us: int) -> None:
    row = {"project_id": records.project, "key": name, "expires_at_us": expires_at_us}
    values = {**row, "event_id": bytes(16), "fingerprint": bytes(16)}
    records.connection.execute(insert(schema.idempotency_keys).values(**values))


async def test_keys_are_forgotten_however_many(tmp_path: Path, records: Records) -> None:
    now_us = records.clock.now_us()
    for n in range(450):
        key(records, str(n), now_us + MICROS * (n == 0))
    async with database.opened(tmp_path / "w.db") as store:
        pruner = Pruner(store, records.clock, BRISK)
        await swept(pruner)
        assert await count(store, "idempotency_keys") == 1
        records.clock.forward(1)
        await swept(pruner)
        assert await count(store, "idempotency_keys") == 0
        assert pruner.pruned == {"idempotency_keys": 450}


async def test_events_are_kept_for_the_retention(tmp_path: Path, records: Records) -> None:
    subscription = records.subscription()
    records.ended(records.event(), subscription, DeliveryState.DELIVERED)
    records.ended(records.event(), subscription, DeliveryState.FAILED)
    async with database.opened(tmp_path / "w.db") as store:
        pruner = Pruner(store, records.clock, BRISK)
        records.clock.forward(10 * DAY_S)
        await swept(pruner)
        assert pruner.pruned == {}
        records.clock.forward(1)
        with capture_logs() as logs:
            await swept(pruner)
        assert pruner.pruned == {"events": 1, "deliveries": 1}
        assert [entry["rows"] for entry in logs if entry["event"] == "pruned"] == [
            {"events": 1, "deliveries": 1}
        ]
        assert await count(store, "events") == await count(store, "diverted_events") == 1


async def test_between_full_sweeps_only_what_is_new_is_looked_at(
    tmp_path: Path, records: Records
) -> None:
    subscription = records.subscription()
    boxed = records.ended(records.event(), subscription, DeliveryState.FAILED)
    async with database.opened(tmp_path / "w.db") as store:
        pruner = Pruner(store, records.clock, BRISK)
        records.clock.forward(10 * DAY_S + 1)
        await swept(pruner)
        box = schema.diverted_events
        await store.write(lambda c: c.execute(box.delete().where(box.c.id == boxed)).rowcount)
        records.clock.forward(60)
        await swept(pruner)
        assert await count(store, "events") == 1
        records.clock.forward(3_600)
        await swept(pruner)
        assert await count(store, "events") == await count(store, "deliveries") == 0


async def test_without_retention_only_keys_are_forgotten(tmp_path: Path, records: Records) -> None:
    records.ended(records.event(), records.subscription(), DeliveryState.FAILED)
    key(records, "a", records.clock.now_us())
    async with database.opened(tmp_path / "w.db") as store:
        pruner = Pruner(store, records.clock, PrunerConfig(retention_us=None, share=1.0))
        records.clock.forward(10_000 * DAY_S)
        await swept(pruner)
        assert pruner.pruned == {"idempotency_keys": 1}


async def test_what_is_owed_stays_unless_the_settings_give_it_up(
    tmp_path: Path, records: Records
) -> None:
    records.pending(records.event(), records.subscription())
    async with database.opened(tmp_path / "w.db") as store:
        records.clock.forward(100 * DAY_S)
        pruner = Pruner(store, records.clock, BRISK)
        await swept(pruner)
        assert (pruner.given_up, pruner.pruned) == (0, {})
        giving_up = PrunerConfig(
            retention_us=10 * DAY_US,
            diverted_retention_us=DAY_US,
            prune_owed=True,
            share=1.0,
        )
        pruner = Pruner(store, records.clock, giving_up)
        await swept(pruner)
        assert (pruner.given_up, pruner.pruned) == (1, {})
        assert await count(store, "diverted_events") == await count(store, "events") == 1
        records.clock.forward(DAY_S + 1)
        await swept(pruner)
        assert pruner.pruned == {"diverted_events": 1, "events": 1, "deliveries": 1}


async def test_a_process_that_is_not_in_charge_leaves_it(
    store: SqliteStore, records: Records
) -> None:
    pruner = Pruner(store, records.clock, BRISK, is_mine=lambda: False)
    assert not await pruner.run_once()
    assert pruner.pruned == {}


async def test_an_order_of_somebody_goes_by_their_times_and_the_settings_else(
    store: SqliteStore, records: Records
) -> None:
    pruner = Pruner(store, records.clock, BRISK)
    now_us = records.clock.now_us()
    usual = pruner.order(None, None, dry=True).cuts
    assert (usual.events_us, usual.diverted_us, usual.ahead) == (now_us - 10 * DAY_US, 0, True)
    assert usual.audit_us == now_us - AUDIT_US
    theirs = pruner.order(now_us - 5, now_us + 5, dry=False)
    assert (theirs.cuts.events_us, theirs.cuts.diverted_us) == (now_us - 5, now_us)
    assert not theirs.dry


async def test_resting_leaves_others_their_share(
    store: SqliteStore, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    now_us = records.clock.now_us()
    key_of = {"project_id": records.project, "event_id": bytes(16), "fingerprint": bytes(16)}
    row = {**key_of, "key": "a", "expires_at_us": now_us}
    await store.write(lambda c: c.execute(insert(schema.idempotency_keys).values(**row)).rowcount)
    pruner = Pruner(store, records.clock, PrunerConfig(share=0.2))
    monkeypatch.setattr("asyncio.sleep", rest)
    ticks = iter(range(1_000))
    monkeypatch.setattr(records.clock, "monotonic", lambda: float(next(ticks)))
    await swept(pruner)
    # Three seconds passed until the commit was known: a fifth of fifteen.
    assert rests[-1] == pytest.approx(12.0)
    await pruner.step(pruner.order(None, None, dry=False), Position(PARTS[-1]), share=0.5)
    assert rests[-1] == pytest.approx(3.0)


async def test_a_sweep_that_takes_long_takes_more_of_the_time(
    store: SqliteStore, records: Records
) -> None:
    pruner = Pruner(store, records.clock, PrunerConfig(share=0.02))
    order = pruner.order(None, None, dry=False)
    shares = []
    for _ in range(6):
        shares.append(pruner._share_of(order))
        records.clock.forward(600)
    assert shares == [0.02, 0.04, 0.08, 0.16, 0.2, 0.2]


async def test_sqlite_lacks_no_partitions(store: SqliteStore, records: Records) -> None:
    pruner = Pruner(store, records.clock, BRISK)
    await pruner.prepare()
    records.clock.forward(AHEAD_US)
    assert pruner.shortage() is None
