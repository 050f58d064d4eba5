"""The unparker: small transactions, few of them, and nothing that is parked is forgotten."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support import database
from tests.support.database import Records
from tests.support.direct import DirectStore
from tests.support.waiting import turned
from waypost.engine import unparker
from waypost.engine.router import Router
from waypost.engine.shards import Shards, all_shards
from waypost.engine.unparker import Unparker
from waypost.model.errors import Unavailable
from waypost.model.subscription import Ordering, Subscription
from waypost.storage import chains, subscriptions


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


class Counting(DirectStore):
    """A store that counts what is asked of it.

    Attributes:
        writes: how many subscriptions each write was about.
        before: called before each write; what it raises is raised.
        behind: called when each was committed; the same.
    """

    def __init__(self, records: Records) -> None:
        super().__init__(records.connection)
        self.reads = 0
        self.writes: list[int] = []
        self.before: Callable[[], None] = lambda: None
        self.behind: Callable[[], None] = lambda: None

    async def read(self, fn: Callable[..., Any]) -> Any:
        self.reads += 1
        await turned()
        return await super().read(fn)

    async def write(self, fn: Any, after: Callable[[Any], None] | None = None) -> Any:
        self.writes.append(len(fn.keywords["places"]))
        self.before()
        result = await super().write(fn, after)
        self.behind()
        return result


class Site:
    """An unparker, and what it works on."""

    def __init__(self, records: Records, shards: Shards | None = None) -> None:
        self.records = records
        self.store = Counting(records)
        self.router = Router()
        self.tasks: list[asyncio.Task[None]] = []
        self.told: list[Subscription] = []
        store: Any = self.store
        self.unparker = Unparker(store, self.router, shards or all_shards(), self.spawn)

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(coroutine))

    def add(self, *some: Subscription) -> None:
        for one in some:
            self.unparker.add(one.project_id, one.id, lambda one=one: self.told.append(one))  # type: ignore[misc] # a lambda with a default

    async def end(self) -> None:
        for task in self.tasks:
            await task

    def parked(self, count: int, *, unparking: bool = True) -> Subscription:
        """Return a subscription of which so much is parked by an order that it has no more."""
        one = self.records.subscription(ordering=Ordering.STRICT)
        place = (one.project_id, one.id)
        waiting = [self.records.pending(self.records.event(sequence=1), one) for _ in range(count)]
        chains.park(self.records.connection, *place, waiting, 5)
        self.records.connection.exec_driver_sql(
            "UPDATE subscriptions SET ordering = 'none', unparking = ? WHERE id = ?",
            (int(unparking), one.id),
        )
        found = subscriptions.get(self.records.connection, *place)
        self.router.apply(1, found)
        return found

    def classes(self, one: Subscription) -> list[int]:
        return [
            row[0]
            for row in self.records.connection.exec_driver_sql(
                "SELECT class FROM queue WHERE subscription_id = ?", (one.id,)
            )
        ]

    def is_marked(self, one: Subscription) -> list[bool]:
        """Tell whether it is, in the database and in memory."""
        here = self.router.find(one.project_id, one.id)
        assert here is not None
        kept = subscriptions.get(self.records.connection, one.project_id, one.id)
        return [kept.unparking, here.unparking]


async def test_of_many_few_are_written_and_the_others_read_together(records: Records) -> None:
    site = Site(records)
    idle = [records.subscription() for _ in range(20)]
    marked = [site.parked(2) for _ in range(unparker._WRITTEN + 1)]
    site.add(*idle, *marked)
    await site.end()
    assert (site.store.reads, site.store.writes) == (1, [unparker._WRITTEN, 1])
    assert site.told == sorted(marked, key=lambda one: one.id)
    assert [site.classes(one) for one in marked] == [[0, 0]] * len(marked)
    assert [site.is_marked(one) for one in marked] == [[False, False]] * len(marked)


async def test_what_is_too_much_for_one_transaction_is_left_for_the_next(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unparker, "_CHUNK", 4)
    site = Site(records)
    first, second = site.parked(9), site.parked(3)
    site.add(first, second)
    await site.end()
    assert len(site.store.writes) > 3
    assert (site.classes(first), site.classes(second)) == ([0] * 9, [0] * 3)
    assert site.is_marked(first) == site.is_marked(second) == [False, False]


async def test_what_is_added_while_it_is_looked_at_is_looked_at_again(records: Records) -> None:
    site = Site(records)
    one = site.parked(1)

    def again() -> None:
        site.store.behind = lambda: None
        site.records.connection.exec_driver_sql("UPDATE subscriptions SET unparking = 1")
        site.add(one)

    site.store.behind = again
    site.add(one)
    await site.end()
    assert len(site.store.writes) == 2
    assert site.is_marked(one) == [False, False]


@pytest.mark.parametrize("when", ["before", "behind"])
async def test_where_it_can_not_be_written_it_is_done_later_and_told_of(
    records: Records, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(unparker, "_RETRY_S", 0.0)
    site = Site(records)
    one = site.parked(1)

    def fail() -> None:
        setattr(site.store, when, lambda: None)
        raise Unavailable

    setattr(site.store, when, fail)
    site.add(one)
    await site.end()
    assert site.classes(one) == [0]
    assert one in site.told, "it may have been committed, whatever the answer was"
    assert not site.is_marked(one)[0]


async def test_what_another_process_sends_to_is_left_to_it(records: Records) -> None:
    site = Site(records, Shards(lambda *_: None))
    one = site.parked(1)
    site.add(one)
    await site.end()
    assert (site.store.writes, site.told, site.is_marked(one)) == ([], [], [True, True])
