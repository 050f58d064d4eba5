"""Ownership on a simulated clock: what a worker claims, gives up, and loses."""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update
from structlog.testing import capture_logs

from tests.support import database
from tests.support.apart import DirectApart
from tests.support.database import Records
from tests.support.waiting import turned, until
from waypost.engine.ownership import Ownership, OwnershipConfig
from waypost.engine.shards import FOR_EVER, Shards
from waypost.model.errors import Unavailable
from waypost.model.ids import Id
from waypost.model.shards import SHARDS, Shard
from waypost.storage import cluster, workers
from waypost.storage.workers import Card, Load, Worker

LANE = (b"p" * 16, b"s" * 16)
LEASE_S = 5.0


@pytest.fixture
def records(tmp_path: Path) -> Records:
    made = database.make(tmp_path / "w.db")
    rows = [{"shard": shard, "epoch": 0} for shard in range(SHARDS)]
    made.connection.execute(insert(cluster.shards), rows)
    return made


@pytest.fixture(autouse=True)
def claims_on_sqlite(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Claim without the locks of the real statement: nobody else does anything meanwhile."""

    def claim(connection: Connection, me: Id, most: int) -> dict[Shard, int]:
        free = select(cluster.shards.c.shard).where(cluster.shards.c.owner.is_(None)).limit(most)
        changed = connection.execute(
            update(cluster.shards)
            .where(cluster.shards.c.shard.in_(free.scalar_subquery()))
            .values(owner=me, epoch=cluster.shards.c.epoch + 1)
            .returning(cluster.shards.c.shard, cluster.shards.c.epoch)
        )
        return {row.shard: row.epoch for row in changed}

    monkeypatch.setattr(workers, "claim", claim)
    with capture_logs():
        yield


class Lanes:
    """The dispatcher, as far as ownership knows it.

    Attributes:
        busy: shards of which something is in flight: they are not left before `land`.
    """

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self.left: Any = None
        self.busy: set[Shard] = set()
        self.leaving: set[Shard] = set()
        self.resumed: list[Sequence[tuple[Id, Id]]] = []
        self.lost: list[set[Shard]] = []
        self.delivered = 0
        self.in_flight_count = 0
        self.saved = 0

    @property
    def is_leaving(self) -> bool:
        return bool(self.leaving)

    def resume(self, lanes: Sequence[tuple[Id, Id]]) -> None:
        self.resumed.append(lanes)

    def give_up(self, shards: Collection[Shard]) -> None:
        for shard in shards:
            self._shards.epochs[shard] = 0
        self.leaving |= self.busy & set(shards)
        for shard in set(shards) - self.busy:
            self.left(shard)

    def lose(self, shards: Collection[Shard]) -> None:
        self.lost.append(set(shards))
        self.give_up(shards)

    def land(self) -> None:
        landed, self.leaving = self.leaving, set()
        self.busy.clear()
        for shard in landed:
            self.left(shard)

    async def save(self) -> None:
        self.saved += 1

    def lag_us(self, now_us: int) -> int:
        return 7_500


class Process:
    """One worker on the database that the test holds."""

    def __init__(self, records: Records, role: str = "all") -> None:
        self.clock = records.clock
        self.told = 0
        self.shards = Shards(lambda *_: None)
        self.shards.confirm(FOR_EVER)
        self.lanes = Lanes(self.shards)
        self.apart = DirectApart(records.connection)
        apart: Any = self.apart
        self.ownership = Ownership(
            apart,
            self.shards,
            self.lanes,
            records.clock,
            records.ids,
            OwnershipConfig(lease_s=LEASE_S, role=role, name="host:1", version="1.0"),
            self._look,
        )
        self.ownership.tell = self._tell
        self.lanes.left = self.ownership.left

    def _tell(self) -> None:
        self.told += 1

    async def _look(self) -> Sequence[tuple[Id, Id]]:
        return [LANE]

    @property
    def owned(self) -> int:
        return self.shards.count()

    async def beat(self, times: int = 1) -> None:
        """Do what its tasks do in turn."""
        for _ in range(times):
            await self.ownership.save_once()
            await self.ownership.beat()
            await self.ownership.look_once()


def seen(records: Records) -> list[Worker]:
    return workers.list_all(records.connection)


def join(records: Records, number: int, role: str = "all") -> Id:
    card = Card(bytes([number]) * 16, "other", role, "", "1.0")
    workers.join(records.connection, card, 60_000_000)
    return card.id


async def test_the_only_worker_claims_everything_and_looks_at_what_is_owed(
    records: Records,
) -> None:
    one = Process(records)
    await one.beat()
    assert one.owned == SHARDS
    assert one.lanes.resumed == [[LANE]]
    assert one.told == 1
    (worker,) = seen(records)
    assert (worker.card.name, worker.card.role, len(worker.shards)) == ("host:1", "all", SHARDS)
    await one.beat(3)
    assert (one.told, len(one.lanes.resumed)) == (1, 1)
    assert set(one.shards.epochs) == {1}


async def test_one_that_comes_gets_its_share_as_soon_as_it_is_quiet(records: Records) -> None:
    first, second = Process(records), Process(records)
    await first.beat()
    await second.beat()
    assert second.owned == 0
    first.lanes.busy = {255}
    await first.beat()
    assert first.owned == SHARDS // 2
    # What was given up is freed with the next heartbeat, but for what is in flight.
    await first.beat()
    assert first.lanes.saved == 1
    await second.beat()
    assert second.owned == SHARDS // 2 - 1
    first.lanes.land()
    await first.beat()
    await second.beat()
    assert (first.owned, second.owned) == (SHARDS // 2, SHARDS // 2)
    assert first.lanes.lost == second.lanes.lost == []
    assert {epoch for epoch in second.shards.epochs if epoch} == {2}


async def test_a_lease_counts_from_before_it_was_asked_for(records: Records) -> None:
    one = Process(records)
    asked = records.clock.monotonic()
    one.apart.before = lambda: records.clock.forward(0.5)
    await one.ownership.beat()
    assert one.shards.until == asked + 4.0
    one.apart.before = lambda: None
    records.clock.forward(2.9)
    one.ownership.check()
    assert one.lanes.lost == []
    records.clock.forward(0.1)
    one.ownership.check()
    assert one.lanes.lost == [set(range(SHARDS))]
    assert (one.owned, one.shards.until) == (0, 0)
    assert one.ownership.me is None


async def test_a_timer_that_goes_off_early_is_set_again(records: Records) -> None:
    one = Process(records)
    await one.beat()
    records.clock.forward(3.999)
    one.ownership.check()
    assert one.lanes.lost == []
    alarm = one.ownership._alarm
    assert alarm is not None
    assert not alarm.cancelled()
    records.clock.forward(0.001)
    await until(lambda: one.lanes.lost)


async def test_it_comes_back_as_another_worker_when_all_has_landed(records: Records) -> None:
    one = Process(records)
    await one.beat()
    former = one.ownership.me
    one.lanes.busy = {5}
    records.clock.forward(LEASE_S)
    one.ownership.check()
    await one.beat()
    assert one.ownership.me not in (None, former)
    assert one.owned == 0
    one.lanes.land()
    await one.beat()
    assert one.owned == SHARDS
    assert set(one.shards.epochs) == {2}
    assert [worker.card.id for worker in seen(records)] == [one.ownership.me]


async def test_who_was_buried_by_another_gives_everything_up(records: Records) -> None:
    one = Process(records)
    await one.beat()
    assert one.ownership.me is not None
    workers.leave(records.connection, one.ownership.me)
    await one.beat()
    assert one.lanes.lost == [set(range(SHARDS))]
    await one.beat()
    assert one.owned == SHARDS


async def test_an_answer_that_comes_after_the_lease_was_lost_counts_for_nothing(
    records: Records,
) -> None:
    one = Process(records)
    await one.beat()

    def suspended() -> None:
        records.clock.forward(LEASE_S)
        one.ownership.check()

    one.apart.before = suspended
    await one.beat()
    assert (one.owned, one.ownership.me) == (0, None)
    one.apart.before = lambda: None
    await one.beat()
    assert one.owned == SHARDS


async def test_while_the_database_is_away_what_is_quiet_is_remembered(records: Records) -> None:
    first, second = Process(records), Process(records)
    await first.beat()
    await second.beat()
    await first.beat()
    first.apart.is_away = True
    with pytest.raises(Unavailable):
        await first.beat()
    first.apart.is_away = False
    await first.beat()
    await second.beat()
    assert second.owned == SHARDS // 2


async def test_a_worker_that_may_have_come_unseen_is_taken_out(records: Records) -> None:
    one = Process(records)
    beat = one.apart.run

    async def lose_the_answer(fn: Any) -> Any:
        await beat(fn)
        raise Unavailable

    one.apart.run = lose_the_answer  # type: ignore[method-assign] # a stand-in
    with pytest.raises(Unavailable):
        await one.beat()
    assert len(seen(records)) == 1
    one.apart.run = beat  # type: ignore[method-assign] # a stand-in
    await one.beat()
    (worker,) = seen(records)
    assert worker.card.id == one.ownership.me
    assert one.owned == SHARDS


async def test_one_that_only_takes_requests_owns_nothing_and_counts_for_no_share(
    records: Records,
) -> None:
    api, one = Process(records, role="api"), Process(records)
    await api.beat(2)
    await one.beat()
    await api.beat()
    assert (api.owned, one.owned) == (0, SHARDS)
    assert [worker.card.role for worker in seen(records)] == ["api", "all"]


async def test_one_that_retires_leaves_its_share_to_the_others_at_once(records: Records) -> None:
    first, second = Process(records), Process(records)
    await first.beat()
    await second.beat()
    first.lanes.busy = {3}
    first.ownership.retire()
    assert first.owned == 0
    await first.beat()
    await second.beat()
    assert second.owned == SHARDS - 1
    assert next(w.card.role for w in seen(records) if w.card.id == first.ownership.me) == "stopping"
    first.lanes.land()
    await first.beat()
    await second.beat()
    assert second.owned == SHARDS
    told = first.told
    await first.ownership.leave()
    assert first.told == told + 1
    assert len(seen(records)) == 1
    assert first.apart.is_closed


async def test_it_owns_what_the_database_says_should_that_go_back_in_time(
    records: Records,
) -> None:
    one = Process(records)
    await one.beat()
    other = join(records, 9, role="api")
    shard = cluster.shards.c.shard
    change = update(cluster.shards)
    records.connection.execute(change.where(shard == 7).values(owner=other, epoch=1))
    records.connection.execute(change.where(shard == 8).values(epoch=9))
    await one.beat()
    assert one.lanes.lost == [{7, 8}]
    assert one.shards.epochs[7] == 0
    await one.beat(2)
    assert one.owned == SHARDS - 1
    assert one.shards.epochs[8] == 9


async def test_a_claim_whose_answer_was_lost_is_found_in_the_next_heartbeat(
    records: Records,
) -> None:
    one = Process(records)
    await one.beat()
    one.shards.epochs[5] = 0
    await one.beat()
    assert one.shards.epochs[5] == 1
    assert len(one.lanes.resumed) == 2


async def test_who_does_not_renew_is_buried_as_soon_as_its_lease_has_ended(
    records: Records,
) -> None:
    one = Process(records)
    join(records, 1)
    await one.beat()
    assert one.ownership._next_s == pytest.approx(LEASE_S / 3)
    soon = update(cluster.workers).where(cluster.workers.c.id == bytes([1]) * 16)
    until_us = cluster.workers.c.lease_until_us
    records.connection.execute(soon.values(lease_until_us=until_us - 59_500_000))
    await one.beat()
    assert one.ownership._next_s < 1.0
    records.connection.execute(soon.values(lease_until_us=1))
    await one.beat()
    assert one.owned == SHARDS


async def test_its_row_tells_how_it_fares(records: Records) -> None:
    one = Process(records)
    await one.beat()
    one.lanes.delivered, one.lanes.in_flight_count = 30, 4
    records.clock.forward(2)
    await one.beat()
    (worker,) = seen(records)
    assert worker.load == Load(delivered=30, rate=15.0, lag_ms=7, in_flight=4)


async def test_by_itself_it_beats_again_and_when_it_is_woken(records: Records) -> None:
    one = Process(records)
    one.ownership.start()
    await until(lambda: one.owned == SHARDS)
    beats: list[int] = []
    one.apart.before = lambda: beats.append(1)
    one.ownership.wake()
    await until(lambda: beats)
    one.apart.is_away = True
    one.ownership.wake()
    await until(lambda: len(beats) == 2)
    await turned()
    one.apart.is_away = False
    await one.ownership.leave()
    assert seen(records) == []


async def test_a_long_time_without_the_database_leaves_little_to_bury(records: Records) -> None:
    one = Process(records)
    await one.beat()
    former = one.ownership.me
    records.clock.forward(LEASE_S)
    one.ownership.check()
    one.apart.is_away = True
    for _ in range(100):
        with pytest.raises(Unavailable):
            await one.beat()
    assert len(one.ownership._former) == 2
    one.apart.is_away = False
    await one.beat()
    assert one.owned == SHARDS
    assert one.ownership.me != former
    assert one.ownership._former == []
    assert [worker.card.id for worker in seen(records)] == [one.ownership.me]


async def test_what_is_claimed_while_it_is_asked_to_retire_is_given_back(records: Records) -> None:
    one = Process(records)
    runs: list[int] = []

    def retire_at_the_claim() -> None:
        runs.append(1)
        if len(runs) == 2:
            one.ownership.retire()

    one.apart.before = retire_at_the_claim
    await one.beat()
    assert one.owned == 0
    await one.beat()
    assert all(worker.shards == () for worker in seen(records))


async def test_what_takes_its_time_does_not_hold_heartbeats_up(records: Records) -> None:
    first, second = Process(records), Process(records)
    stuck: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    first.ownership._look = lambda: stuck
    first.lanes.save = lambda: stuck  # type: ignore[assignment, method-assign, return-value] # a stand-in
    first.ownership.start()
    await until(lambda: first.owned == SHARDS)
    await second.beat()
    first.ownership.wake()
    await until(lambda: first.owned == SHARDS // 2)
    beats: list[int] = []
    first.apart.before = lambda: beats.append(1)
    for count in (1, 2, 3):
        first.ownership.wake()
        await until(lambda count=count: len(beats) >= count)  # type: ignore[misc] # a lambda with a default
    # But nothing is given away of which it is not saved how its receivers fare.
    await second.beat()
    assert second.owned == 0
    assert first.shards.unseen
    stuck.set_result([])
    await until(lambda: not first.shards.unseen)
    await until(lambda: not first.ownership._leaving)
    await first.ownership.leave()


async def test_shards_that_are_claimed_during_the_look_are_looked_at_again(
    records: Records,
) -> None:
    one = Process(records)
    join(records, 1)
    await one.beat()
    assert one.shards.unseen == set()
    look = one.ownership._look

    async def overtaken() -> Sequence[tuple[Id, Id]]:
        one.ownership._look = look
        workers.leave(records.connection, bytes([1]) * 16)
        await one.ownership.beat()
        return await look()

    one.ownership._look = overtaken
    one.shards.unseen.add(0)
    assert await one.ownership.look_once()
    assert len(one.shards.unseen) > SHARDS // 2
    assert not await one.ownership.look_once()
    assert not await one.ownership.look_once()
