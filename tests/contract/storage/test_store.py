"""The store, whichever database it is on: what it answers holds, and nobody waits for ever."""

import asyncio
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.support.changes import Told, acceptance, count, settlement
from tests.support.database import Place, Records, opened
from waypost.model.errors import NotFound, Unavailable
from waypost.storage import facts, projects
from waypost.storage.changes import Acceptance, Outcome
from waypost.storage.connection import Connection
from waypost.storage.store import MAX_WAITING_READS, READERS


async def test_what_is_answered_is_committed(records: Records, place: Place) -> None:
    told = Told()
    async with opened(place) as store:
        store.accept(acceptance(records, told))
        await told.reach(1)
        (answered,) = told.all
        assert answered.outcome is Outcome.COMMITTED
        assert await count(store, "events") == 1
        assert store.counters.written == 1


async def test_what_one_turn_of_the_loop_brings_is_one_commit(
    records: Records, place: Place
) -> None:
    told = Told()
    async with opened(place) as store:
        for _ in range(50):
            store.accept(acceptance(records, told))
        await told.reach(50)
        assert store.counters.commits == store.counters.syncs == 1


async def test_an_unknown_project_is_stale(records: Records, place: Place) -> None:
    told = Told()
    async with opened(place) as store:
        store.accept(acceptance(records, told, project=b"x" * 16))
        await told.reach(1)
        assert told.all[0].outcome is Outcome.STALE


async def test_a_reader_cannot_write(records: Records, place: Place) -> None:
    async with opened(place) as store:
        with pytest.raises(DBAPIError, match=r"readonly|read-only"):
            await store.read(lambda c: facts.record(c, "a", "b"))


async def test_a_read_sees_one_snapshot(records: Records, place: Place) -> None:
    loop = asyncio.get_running_loop()
    began, written = asyncio.Event(), threading.Event()

    def read(connection: Connection) -> tuple[str | None, str | None]:
        before = facts.find(connection, "a")
        loop.call_soon_threadsafe(began.set)
        written.wait(10)
        return before, facts.find(connection, "a")

    async with opened(place) as store:
        reading = asyncio.create_task(store.read(read))
        await began.wait()
        await store.write(lambda c: facts.record(c, "a", "b"))
        written.set()
        assert await reading == (None, None)
        assert await store.read(lambda c: facts.find(c, "a")) == "b"


async def test_readers_read_side_by_side(records: Records, place: Place) -> None:
    together = threading.Barrier(READERS)
    async with opened(place) as store:
        await asyncio.gather(*(store.read(lambda _: together.wait(10)) for _ in range(READERS)))


async def test_a_read_that_raises_frees_its_connection(records: Records, place: Place) -> None:
    def broken(_: Connection) -> None:
        raise ZeroDivisionError

    async with opened(place) as store:
        for _ in range(READERS + 1):
            with pytest.raises(ZeroDivisionError):
                await store.read(broken)
        assert await store.read(lambda _: 1) == 1


async def test_reads_that_wait_have_an_end(records: Records, place: Place) -> None:
    hold = threading.Event()
    async with opened(place) as store:
        waiting = [
            asyncio.create_task(store.read(lambda _: hold.wait(10)))
            for _ in range(MAX_WAITING_READS)
        ]
        await asyncio.wait(waiting, timeout=0)
        with pytest.raises(Unavailable):
            await store.read(lambda _: None)
        hold.set()
        assert all(await asyncio.gather(*waiting))
        await store.read(lambda _: None)


async def test_what_is_owed_is_read_however_much_people_ask_for(
    records: Records, place: Place
) -> None:
    hold = threading.Event()
    async with opened(place) as store:
        asked = [asyncio.create_task(store.read(lambda _: hold.wait(10))) for _ in range(100)]
        await asyncio.wait(asked, timeout=0)
        async with asyncio.timeout(5):
            assert await store.read_owed(lambda c: facts.find(c, "a")) is None
        hold.set()
        await asyncio.gather(*asked)


async def test_what_is_in_memory_follows_before_any_later_answer(
    records: Records, place: Place
) -> None:
    order: list[str] = []
    async with opened(place) as store:
        await asyncio.gather(
            store.write(lambda _: "a", order.append),
            store.write(lambda _: "b", order.append),
        )
        assert order == ["a", "b"]


async def test_what_follows_may_fail_and_nobody_waits_for_ever(
    records: Records, place: Place
) -> None:
    def broken(_: None) -> None:
        raise ZeroDivisionError

    async with opened(place) as store:
        with pytest.raises(ZeroDivisionError):
            await store.write(lambda c: facts.record(c, "a", "b"), broken)
        assert await store.read(lambda c: facts.find(c, "a")) == "b"


async def test_whoever_gives_up_waiting_does_not_undo_the_change(
    records: Records, place: Place
) -> None:
    followed: list[None] = []
    async with opened(place) as store:
        writing = asyncio.create_task(
            store.write(lambda c: facts.record(c, "a", "b"), followed.append)
        )
        await asyncio.wait({writing}, timeout=0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await store.write(lambda _: None)
        assert followed == [None]
        assert await store.read(lambda c: facts.find(c, "a")) == "b"


@pytest.mark.parametrize("bad", [object(), 1 << 70, "\ud800"])
async def test_a_bad_row_fails_alone(records: Records, place: Place, bad: object) -> None:
    told = Told()
    one = records.subscription()
    event_id = records.event()
    delivery_id = records.pending(event_id, one)
    async with opened(place) as store:
        store.accept(acceptance(records, told))
        store.accept(acceptance(records, told, kind=bad))
        store.accept(acceptance(records, told))
        store.settle(settlement(records, told, delivery_id, event_id))
        await told.reach(4)
        outcomes = [change.outcome for change in told.all if isinstance(change, Acceptance)]
        assert outcomes == [Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED]
        refused = next(c for c in told.all if getattr(c, "outcome", None) is Outcome.FAILED)
        assert isinstance(refused.error, Unavailable)
        assert await count(store, "events") == 3
        assert await count(store, "deliveries") == 1


async def test_a_change_that_raises_leaves_nothing_and_takes_nobody_with_it(
    records: Records, place: Place
) -> None:
    def broken(connection: Connection) -> None:
        facts.record(connection, "a", "b")
        projects.bump_routing(connection, records.project)
        raise NotFound("thing")

    told = Told()
    async with opened(place) as store:
        results = await asyncio.gather(
            store.write(lambda c: facts.record(c, "c", "d")),
            store.write(broken),
            return_exceptions=True,
        )
        assert isinstance(results[1], NotFound)
        assert await store.read(lambda c: (facts.find(c, "a"), facts.find(c, "c"))) == (None, "d")
        store.accept(acceptance(records, told))
        await told.reach(1)
        assert told.all[0].outcome is Outcome.COMMITTED, "the routing has not changed"


async def test_a_change_whose_statement_fails_is_told_so(records: Records, place: Place) -> None:
    async with opened(place) as store:
        with pytest.raises(DBAPIError, match="nonsense"):
            await store.write(lambda c: c.execute(text("SELECT * FROM nonsense")))
        assert await store.write(lambda _: 1) == 1


async def test_what_was_routed_before_a_change_is_stale(records: Records, place: Place) -> None:
    told = Told()
    async with opened(place) as store:
        assert await store.write(lambda c: projects.bump_routing(c, records.project)) == 2
        good = acceptance(records, told)
        good.routing_version = 2
        store.accept(acceptance(records, told))
        store.accept(good)
        await told.reach(2)
        assert {change.outcome for change in told.all} == {Outcome.STALE, Outcome.COMMITTED}
        assert good.outcome is Outcome.COMMITTED
        assert await count(store, "events") == 1


async def test_stopping_commits_what_waits(records: Records, place: Place) -> None:
    told = Told()
    async with opened(place) as store:
        for _ in range(20):
            store.accept(acceptance(records, told))
        await store.close()
        await told.reach(20)
    assert {change.outcome for change in told.all} == {Outcome.COMMITTED}
    async with opened(place) as store:
        assert await count(store, "events") == 20


async def test_everything_is_answered_however_it_arrives(records: Records, place: Place) -> None:
    """The thread falls asleep and is woken hundreds of times; no wake-up may be lost."""
    told = Told()
    async with opened(place) as store:
        for n in range(600):
            store.accept(acceptance(records, told))
            if n % 3 == 0:
                await told.reach(n + 1)
        await told.reach(600)


async def test_an_answer_that_raises_does_not_keep_the_others_from_theirs(
    records: Records, place: Place
) -> None:
    told = Told()

    def broken(_: object) -> None:
        raise ZeroDivisionError

    async with opened(place) as store:
        first = acceptance(records, told)
        first.done = broken
        store.accept(first)
        store.accept(acceptance(records, told))
        await told.reach(1)
