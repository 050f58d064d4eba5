"""Pruning on demand: a part at a time, by the settings or up to a moment, and recorded."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.support import database
from tests.support.database import Records
from waypost.engine.pruner import Pruner, PrunerConfig
from waypost.model.delivery import DeliveryState
from waypost.model.errors import InvalidInput
from waypost.model.project import Scope
from waypost.operations.retention import PRUNED, Pruned, Retention
from waypost.storage.partitions import DAY_US
from waypost.storage.schema import audit
from waypost.storage.sqlite.store import SqliteStore

DAY_S = 86_400


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture
def filled(records: Records) -> Records:
    """Return records with four old events, one of them owed, one diverted."""
    subscription = records.subscription()
    records.ended(records.event(), subscription, DeliveryState.DELIVERED)
    theirs = records.subscription(project_id=records.other)
    records.ended(records.event(project_id=records.other), theirs, DeliveryState.DELIVERED)
    records.ended(records.event(), subscription, DeliveryState.FAILED)
    records.pending(records.event(), subscription)
    records.clock.forward(20 * DAY_S)
    return records


@pytest.fixture
async def store(filled: Records, tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with database.opened(tmp_path / "w.db") as opened:
        yield opened


def made(records: Records, store: SqliteStore, **settings: int | bool | None) -> Retention:
    config = PrunerConfig(**{"share": 1.0, **settings})  # type: ignore[arg-type] # by name
    pruner = Pruner(store, records.clock, config)
    return Retention(store, pruner, records.clock, records.ids)


async def pruned(
    retention: Retention,
    records: Records,
    before_us: int | None = None,
    diverted_before_us: int | None = None,
    *,
    dry: bool = False,
) -> dict[str, int]:
    principal = records.principal(Scope.ADMIN)
    rows: dict[str, int] = {}
    position: str | None = None
    while True:
        part = await retention.prune(
            principal, before_us, diverted_before_us, dry=dry, position=position
        )
        for name, count in part.rows.items():
            rows[name] = rows.get(name, 0) + count
        position = part.position
        if position is None:
            return rows


async def trail(store: SqliteStore) -> list[str]:
    query = select(audit.c.subject).where(audit.c.action == PRUNED)
    return await store.read(lambda c: list(c.execute(query).scalars()))


async def test_the_settings_say_what_has_had_its_time(filled: Records, store: SqliteStore) -> None:
    kept = made(filled, store, retention_us=30 * DAY_US)
    assert await pruned(kept, filled) == {}
    gone = made(filled, store, retention_us=10 * DAY_US)
    counted = await pruned(gone, filled, dry=True)
    assert await pruned(gone, filled) == counted == {"events": 2, "deliveries": 2}


async def test_somebody_may_say_so_instead(filled: Records, store: SqliteStore) -> None:
    retention = made(filled, store, retention_us=None)
    now_us = filled.clock.now_us()
    assert await pruned(retention, filled, now_us, now_us) == {
        "diverted_events": 1,
        "events": 3,
        "deliveries": 3,
    }


async def test_who_has_pruned_is_recorded_once_and_counting_is_not(
    filled: Records, store: SqliteStore
) -> None:
    retention = made(filled, store)
    await pruned(retention, filled, filled.clock.now_us(), dry=True)
    assert await trail(store) == []
    await pruned(retention, filled, filled.clock.now_us() - 1)
    assert await trail(store) == [
        "events before 2027-02-04T07:59:59.999999Z, diverted before 1970-01-01T00:00:00.000000Z"
    ]


async def test_a_call_that_takes_long_answers_where_it_stands(
    filled: Records, store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    retention = made(filled, store, retention_us=10 * DAY_US)
    ticks = iter(range(10**6))
    monkeypatch.setattr(filled.clock, "monotonic", lambda: float(next(ticks)))
    answers: list[Pruned] = []
    position: str | None = None
    while not answers or position is not None:
        answers.append(
            await retention.prune(
                filled.principal(Scope.ADMIN), None, None, dry=True, position=position
            )
        )
        position = answers[-1].position
    assert len(answers) > 8
    assert sum(answer.rows.get("events", 0) for answer in answers) == 2


@pytest.mark.parametrize("position", ["", "!", "a", "AAAA", "k6dub3doZXJlxABA", "é"])
async def test_a_position_that_is_none_is_refused(
    filled: Records, store: SqliteStore, position: str
) -> None:
    with pytest.raises(InvalidInput):
        await made(filled, store).prune(
            filled.principal(Scope.ADMIN), None, None, dry=True, position=position
        )
