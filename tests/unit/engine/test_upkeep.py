"""Upkeep: what is known of subscriptions is saved; what must end is ended, all of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import func, select
from structlog.testing import capture_logs

from tests.support import database
from tests.support.database import Records
from waypost.engine import upkeep
from waypost.engine.configuration import Configuration
from waypost.engine.receiver import Receiver
from waypost.engine.router import Router
from waypost.engine.sender import Address
from waypost.engine.shards import all_shards
from waypost.engine.upkeep import Upkeep
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed
from waypost.model.errors import Unavailable
from waypost.model.failure import Suspension
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy.lane import Lane
from waypost.storage import queue, schema, subscriptions
from waypost.storage.sqlite.store import SqliteStore


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(upkeep, "_RETRY_S", 0.0)
    with capture_logs():
        yield


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


class Desk:
    """An upkeep on a store, and what it has told of."""

    def __init__(self, records: Records, store: SqliteStore, *present: Subscription) -> None:
        self.store = store
        self.router = Router()
        self.router.load(store.committer.versions, present)
        self.told: list[Subscription] = []
        self.upkeep = Upkeep(
            Configuration(store),
            self.router,
            all_shards(),
            records.clock,
            self.told.append,
            records.ids,
        )

    async def finish(self) -> None:
        async with asyncio.timeout(10):
            while self.upkeep._tasks:
                await asyncio.wait(self.upkeep._tasks)

    async def saved(self, one: Subscription) -> Subscription | None:
        return await self.store.read(lambda c: subscriptions.find(c, one.project_id, one.id))

    async def count(self, table: str) -> int:
        chosen = select(func.count()).select_from(schema.metadata.tables[table])
        return int(await self.store.read(lambda c: c.execute(chosen).scalar_one()))


def receiver(subscription: Subscription) -> Receiver:
    return Receiver(subscription, Address(subscription, (), None), Lane(1, 1))


async def test_how_a_receiver_fares_is_saved_at_most_once_a_second(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        fares = receiver(one)
        for since_us, seconds, expected in ((5, 0, 5), (None, 0.5, 5), (None, 0.5, None)):
            fares.failing_since_us = since_us
            desk.upkeep.unsaved(fares)
            records.clock.forward(seconds)
            desk.upkeep.run_once()
            await desk.finish()
            saved = await desk.saved(one)
            assert saved is not None
            assert saved.failing_since_us == expected
            known = desk.router.find(one.project_id, one.id)
            assert known is not None
            assert known.failing_since_us == expected
        assert desk.router.routes(one.project_id).version == 1


async def test_what_could_not_be_saved_is_saved_later(records: Records, tmp_path: Path) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        fares = receiver(one)
        fares.failing_since_us = 5
        desk.upkeep.unsaved(fares)
        committer, store._committer = store._committer, None
        desk.upkeep.run_once()
        await desk.finish()
        store._committer = committer
        await desk.upkeep.stop()
        saved = await desk.saved(one)
        assert saved is not None
        assert saved.failing_since_us == 5


async def test_disabling_counts_as_a_change_of_the_routing(
    records: Records, tmp_path: Path
) -> None:
    one, person = records.subscription(), records.subscription(disabled_by=DisabledBy.PERSON)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one, person)
        assert await desk.upkeep.disable(one, DisabledBy.GONE)
        assert [told.disabled_by for told in desk.told] == [DisabledBy.GONE]
        assert desk.router.find(one.project_id, one.id) == desk.told[0]
        assert desk.router.routes(one.project_id).version == 2
        assert store.committer.versions[one.project_id] == 2
        assert await desk.upkeep.disable(person, DisabledBy.GONE)
        assert desk.told[1].disabled_by is DisabledBy.PERSON
        assert not await desk.upkeep.disable(replace(one, id=b"x" * 16), DisabledBy.GONE)
        assert len(desk.told) == 2


async def test_an_address_that_another_process_has_corrected_is_not_disabled(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        corrected = replace(one, url="https://new.example/")
        await store.write(lambda c: subscriptions.update(c, corrected))
        assert not await desk.upkeep.disable(one, DisabledBy.GONE)
        assert desk.told == []
        assert await desk.saved(one) == corrected
        assert desk.router.routes(one.project_id).version == 1


async def test_what_others_know_better_by_now_is_not_saved_later(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        fares = receiver(one)
        fares.failing_since_us = 5
        desk.upkeep.unsaved(fares)

        async def lost(_: object) -> None:
            desk.upkeep.forget_unsaved()
            raise Unavailable

        write, store.write = store.write, lost  # type: ignore[assignment, method-assign] # a stand-in
        await desk.upkeep.save()
        store.write = write  # type: ignore[method-assign] # a stand-in
        await desk.upkeep.stop()
        saved = await desk.saved(one)
        assert saved is not None
        assert saved.failing_since_us is None


async def test_clearing_goes_on_until_nothing_is_left_but_what_is_spared(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription(disabled_by=DisabledBy.FAILING)
    event_id = records.event()
    owed = [records.pending(event_id, one) for _ in range(1_203)]
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        desk.upkeep.clear(one.project_id, one.id, owed[:3])
        assert desk.upkeep.is_clearing(one.id)
        await desk.finish()
        assert not desk.upkeep.is_clearing(one.id)
        assert await desk.count("queue") == 3
        assert await desk.count("deliveries") == await desk.count("diverted_events") == 1_200


async def test_clearing_goes_by_what_the_database_says(records: Records, tmp_path: Path) -> None:
    """Enabled again in an earlier change of the same batch: nothing more is ended."""
    one = records.subscription(disabled_by=DisabledBy.PERSON)
    records.pending(records.event(), one)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        enabling = asyncio.create_task(
            store.write(lambda c: subscriptions.update(c, replace(one, disabled_by=None)))
        )
        desk.upkeep.clear(one.project_id, one.id, ())
        await enabling
        await desk.finish()
        assert await desk.count("queue") == 1


async def test_clearing_that_is_asked_for_during_its_last_part_goes_on(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription(disabled_by=DisabledBy.PERSON)
    event_id = records.event()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        write, late = store.write, [True]

        async def overtaken(fn: Any) -> Any:
            found = await write(fn)
            if late:
                late.clear()
                await write(lambda c: queue.insert(c, [owed]))
                desk.upkeep.clear(one.project_id, one.id, ())
            return found

        delivery_id, now_us = records.ids.next_at()
        owed = Owed(one.project_id, delivery_id, event_id, one.id, DeliveryClass.REPLAY, now_us)
        store.write = overtaken  # type: ignore[method-assign, assignment] # a stand-in
        desk.upkeep.clear(one.project_id, one.id, ())
        await desk.finish()
        store.write = write  # type: ignore[method-assign] # a stand-in
        assert await desk.count("queue") == 0


async def test_clearing_that_fails_is_tried_again(records: Records, tmp_path: Path) -> None:
    one = records.subscription(disabled_by=DisabledBy.PERSON)
    records.pending(records.event(), one)
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        write, failures = store.write, [2]

        async def failing(*args: object) -> object:
            if failures[0]:
                failures[0] -= 1
                raise OSError
            return await write(*args)  # type: ignore[arg-type] # a stand-in

        store.write = failing  # type: ignore[method-assign, assignment] # a stand-in
        desk.upkeep.clear(one.project_id, one.id, ())
        await desk.finish()
        store.write = write  # type: ignore[method-assign] # a stand-in
        rows = await store.read(lambda c: c.execute(select(schema.deliveries)).all())
        assert [row.state for row in rows] == [DeliveryState.CANCELLED]


async def test_one_that_is_deleted_has_all_of_it_cancelled(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    records.pending(records.event(), one)
    async with database.opened(tmp_path / "w.db") as store:
        await store.write(lambda c: subscriptions.delete(c, one.project_id, one.id, 1))
        desk = Desk(records, store)
        desk.upkeep.clear(one.project_id, one.id, ())
        await desk.finish()
        assert await desk.count("queue") == await desk.count("diverted_events") == 0


WHY = Suspension(5, b"e" * 16, "500", "status 500")


async def test_suspending_counts_as_a_change_of_the_routing_and_is_told(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        assert await desk.upkeep.suspend(one, WHY)
        assert desk.told == [replace(one, suspension=WHY)]
        assert await desk.saved(one) == desk.told[0]
        assert desk.router.find(one.project_id, one.id) == desk.told[0]
        assert desk.router.routes(one.project_id).version == 2
        await desk.upkeep.stop()


async def test_a_failure_of_an_address_that_was_changed_since_suspends_nothing(
    records: Records, tmp_path: Path
) -> None:
    one = records.subscription()
    async with database.opened(tmp_path / "w.db") as store:
        desk = Desk(records, store, one)
        assert not await desk.upkeep.suspend(replace(one, url="https://old.example/"), WHY)
        saved = await desk.saved(one)
        assert saved is not None
        assert (saved.suspension, desk.told) == (None, [])
        await desk.upkeep.stop()
