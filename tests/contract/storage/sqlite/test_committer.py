"""The committer: what it answers is on disk, a bad change fails alone, nobody waits for ever."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from tests.support.changes import Told, acceptance, count, settlement
from tests.support.database import Records, opened
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound, StorageFull, Unavailable
from waypost.storage import facts, projects, schema
from waypost.storage.changes import Acceptance, Outcome
from waypost.storage.connection import Connection
from waypost.storage.sqlite import committer as subject
from waypost.storage.sqlite.committer import MAX_ROWS, Committer, Write
from waypost.storage.sqlite.store import SqliteStore


def failing(
    monkeypatch: pytest.MonkeyPatch, code: int, times: int, *, at: str = "_end"
) -> list[int]:
    """Let the end of the next transactions fail with an error code of SQLite's."""
    inner = getattr(Committer, at)
    left = [times]

    def patched(self: Committer, *args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            error = sqlite3.OperationalError("made to fail")
            error.sqlite_errorcode = code
            raise error
        return inner(self, *args)

    monkeypatch.setattr(Committer, at, patched)
    return left


async def test_everything_is_answered_however_it_arrives(records: Records, path: Path) -> None:
    """The writer falls asleep and is woken thousands of times; no wake-up may be lost."""
    told = Told()
    async with opened(path) as store:
        for n in range(1_500):
            store.committer.submit(Write(lambda _: None, told))
            if n % 3 == 0:
                await told.reach(n + 1)
        await told.reach(1_500)


async def test_a_transaction_has_an_end(records: Records, path: Path) -> None:
    told = Told()
    async with opened(path) as store:
        for _ in range(MAX_ROWS + 1):
            store.accept(acceptance(records, told))
        await told.reach(MAX_ROWS + 1)
        assert store.counters.commits == 2


async def test_what_nobody_waits_for_goes_along_with_what_comes_next(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "ALONG_S", 3600.0)
    along = Told()
    one = records.subscription()
    pairs = [(event_id, records.pending(event_id, one)) for event_id in (records.event(),) * 3]
    async with opened(path) as store:
        for event_id, delivery_id in pairs[:2]:
            store.settle_along(settlement(records, along, delivery_id, event_id))
        await store.write(lambda _: None)
        await along.reach(2)
        assert store.counters.commits == 1
        # And with the last of all: a store that closes has settled what it was told.
        event_id, delivery_id = pairs[2]
        store.settle_along(settlement(records, along, delivery_id, event_id))
    ended = records.connection.execute(select(schema.deliveries.c.state)).scalars()
    assert list(ended) == [DeliveryState.FAILED] * 3


async def test_what_nobody_waits_for_waits_for_nobody_for_long(
    records: Records, path: Path
) -> None:
    told = Told()
    event_id = records.event()
    delivery_id = records.pending(event_id, records.subscription())
    async with opened(path) as store:
        store.settle_along(settlement(records, told, delivery_id, event_id))
        await told.reach(1)
        assert store.counters.commits == 1


async def test_acceptances_go_before_other_changes_of_their_batch(
    records: Records, path: Path
) -> None:
    told = Told()
    async with opened(path) as store:
        change = store.write(lambda c: projects.bump_routing(c, records.project))
        task = asyncio.create_task(change)
        await asyncio.wait({task}, timeout=0)
        store.accept(acceptance(records, told))
        await told.reach(1)
        assert store.counters.commits == 1
        assert told.all[0].outcome is Outcome.COMMITTED
        assert await task == 2
        store.accept(acceptance(records, told))
        await told.reach(2)
        assert told.all[1].outcome is Outcome.STALE


@pytest.mark.parametrize("bad", [object(), 1 << 70, "\ud800"])
async def test_a_bad_row_fails_alone(records: Records, path: Path, bad: object) -> None:
    told = Told()
    event_id = records.event()
    async with opened(path) as store:
        store.accept(acceptance(records, told))
        store.accept(acceptance(records, told, kind=bad))
        store.accept(acceptance(records, told))
        store.settle(settlement(records, told, b"d" * 16, event_id))
        store.committer.submit(Write(lambda c: facts.record(c, "a", "b"), told))
        await told.reach(5)
        outcomes = [one.outcome for one in told.all if isinstance(one, Acceptance)]
        assert outcomes == [Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED]
        assert isinstance(told.all[1].error, Unavailable)
        assert await count(store, "events") == 3
        assert await count(store, "deliveries") == 1
        assert await store.read(lambda c: facts.find(c, "a")) == "b"


async def test_a_change_that_raises_leaves_nothing_and_takes_nobody_with_it(
    records: Records, path: Path
) -> None:
    def broken(connection: Connection) -> None:
        facts.record(connection, "a", "b")
        projects.bump_routing(connection, records.project)
        raise NotFound("thing")

    async with opened(path) as store:
        results = await asyncio.gather(
            store.write(lambda c: facts.record(c, "c", "d")),
            store.write(broken),
            return_exceptions=True,
        )
        assert isinstance(results[1], NotFound)
        assert await store.read(lambda c: (facts.find(c, "a"), facts.find(c, "c"))) == (None, "d")
        assert store.committer.versions[records.project] == 1


async def test_a_change_whose_statement_fails_is_told_so(records: Records, path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(OperationalError, match="no such table"):
            await store.write(lambda c: c.execute(text("SELECT * FROM nonsense")))
        assert await store.write(lambda _: 1) == 1


async def test_a_change_that_failed_with_its_batch_may_succeed_alone(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []

    def once(_: Connection) -> str:
        ran.append(1)
        if len(ran) == 1:
            raise NotFound("thing")
        return "done"

    failing(monkeypatch, sqlite3.SQLITE_BUSY, 1)
    async with opened(path) as store:
        assert await store.write(once) == "done"


async def test_a_full_disk_refuses_events_and_keeps_settlements(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_RETRY_S", 0.0)
    told, settled = Told(), Told()
    one = records.subscription()
    event_id = records.event()
    delivery_id = records.pending(event_id, one)
    left = failing(monkeypatch, sqlite3.SQLITE_FULL, 6)
    async with opened(path) as store:
        store.accept(acceptance(records, told))
        store.settle(settlement(records, settled, delivery_id, event_id))
        writing = asyncio.create_task(store.write(lambda _: None))
        await settled.reach(1)
        assert left == [0]
        assert isinstance(told.all[0].error, StorageFull)
        with pytest.raises(StorageFull):
            await writing
        assert not settled.all[0].late
        assert await count(store, "deliveries") == 1
        assert await count(store, "queue") == 0


async def test_a_full_disk_within_a_change_is_told_as_that(records: Records, path: Path) -> None:
    def fill(connection: Connection) -> None:
        # As large as the database may get.
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        for n in range(10):
            facts.record(connection, f"x{n}", "y" * 100_000)

    told = Told()
    async with opened(path) as store:
        store.accept(acceptance(records, told))
        with pytest.raises(StorageFull):
            await store.write(fill)
        await told.reach(1)
        assert told.all[0].outcome is Outcome.COMMITTED
        assert await count(store, "facts") == 0


@pytest.mark.parametrize(
    "code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB]
)
@pytest.mark.parametrize("good_first", [0, 1, 2])
async def test_after_a_fatal_error_everybody_is_told_and_nothing_is_written(
    records: Records,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    good_first: int,
) -> None:
    told, settled = Told(), Told()
    failures: list[Exception] = []
    store = SqliteStore(path, on_fatal=failures.append)
    await store.open()
    if good_first:  # the batch fails for another reason first, then one by one
        inner, calls = Committer._end, [0]

        def patched(self: Committer, cursor: sqlite3.Cursor) -> None:
            calls[0] += 1
            if calls[0] == 1 + good_first:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = code
                raise error
            if calls[0] == 1:
                raise sqlite3.OperationalError("for once")
            inner(self, cursor)

        monkeypatch.setattr(Committer, "_end", patched)
    else:
        failing(monkeypatch, code, 1)
    for _ in range(3):
        store.accept(acceptance(records, told))
    store.settle(settlement(records, settled, b"d" * 16, b"e" * 16))
    writing = asyncio.create_task(store.write(lambda _: None))
    await told.reach(3)
    with pytest.raises(Unavailable):
        await writing
    outcomes = [one.outcome for one in told.all]
    committed = max(good_first - 1, 0)
    assert outcomes == [Outcome.COMMITTED] * committed + [Outcome.FAILED] * (3 - committed)
    assert settled.all == []
    # What comes later is told too.
    store.accept(acceptance(records, told))
    await told.reach(4)
    with pytest.raises(Unavailable):
        await store.write(lambda _: None)
    await store.close()
    assert len(failures) == 1


async def test_a_disk_that_fails_within_a_change_is_fatal(records: Records, path: Path) -> None:
    failures: list[Exception] = []
    store = SqliteStore(path, on_fatal=failures.append)
    await store.open()

    def broken(_: Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_READ
        raise OperationalError("SELECT", {}, error)

    with pytest.raises(Unavailable):
        await store.write(broken)
    await store.close()
    assert len(failures) == 1


async def test_stopping_commits_what_waits(records: Records, path: Path) -> None:
    told = Told()
    blocked, release = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        blocked.set()
        release.wait(10)

    async with opened(path) as store:
        store.committer.submit(Write(hold, told))
        await asyncio.to_thread(blocked.wait, 10)
        for _ in range(20):
            store.accept(acceptance(records, told))
        stopping = asyncio.create_task(store.close())
        await asyncio.wait({stopping}, timeout=0)
        release.set()
        await stopping
        assert len(told.all) == 21
    async with opened(path) as store:
        assert await count(store, "events") == 20


async def test_after_the_end_changes_are_refused(records: Records, path: Path) -> None:
    told = Told()
    async with opened(path) as store:
        committer = store.committer
    committer.submit(acceptance(records, told))
    await told.reach(1)
    assert isinstance(told.all[0].error, Unavailable)
    with pytest.raises(Unavailable):
        store.accept(acceptance(records, told))


async def test_an_answer_that_raises_does_not_keep_the_others_from_theirs(
    records: Records, path: Path
) -> None:
    told = Told()

    def broken(_: object) -> None:
        raise ZeroDivisionError

    async with opened(path) as store:
        store.committer.submit(Write(lambda _: None, broken))
        store.committer.submit(Write(lambda _: None, told))
        await told.reach(1)


async def test_the_log_is_moved_when_it_has_grown_and_when_nothing_happens(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[str] = []
    done = threading.Event()
    inner = Committer._checkpoint

    def patched(self: Committer, mode: str) -> None:
        inner(self, mode)
        modes.append(mode)
        done.set()

    monkeypatch.setattr(Committer, "_checkpoint", patched)
    monkeypatch.setattr(subject, "_IDLE_S", 0.0)
    async with opened(path) as store:
        await store.write(lambda _: None)
        assert await asyncio.to_thread(done.wait, 10)
        assert modes[0] == "TRUNCATE"
        monkeypatch.setattr(subject, "_CHECKPOINT_PAGES", 1)
        await store.write(lambda _: None)
        await store.write(lambda _: None)
    assert "PASSIVE" in modes
    wal = path.with_name(path.name + "-wal")
    assert not wal.exists() or wal.stat().st_size == 0


async def test_a_commit_does_not_wait_for_a_checkpoint_that_waits_for_a_reader(
    records: Records, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_IDLE_S", 0.0)
    tried: list[float] = []
    loop, checkpointed = asyncio.get_running_loop(), asyncio.Event()
    inner = Committer._checkpoint

    def timed(self: Committer, mode: str) -> None:
        began = time.monotonic()
        inner(self, mode)
        tried.append(time.monotonic() - began)
        loop.call_soon_threadsafe(checkpointed.set)

    monkeypatch.setattr(Committer, "_checkpoint", timed)
    reading, hold = threading.Event(), threading.Event()

    def read(connection: Connection) -> None:
        facts.find(connection, "a")
        reading.set()
        hold.wait(10)

    async with opened(path) as store:
        await store.write(lambda c: facts.record(c, "a", "b"))
        await asyncio.wait_for(checkpointed.wait(), 10)
        long_read = asyncio.create_task(store.read(read))
        await asyncio.to_thread(reading.wait, 10)
        checkpointed.clear()
        await store.write(lambda c: facts.record(c, "c", "d"))
        await asyncio.wait_for(checkpointed.wait(), 10)
        assert await store.write(lambda c: c.execute(text("PRAGMA busy_timeout")).scalar()) == 5000
        hold.set()
        await long_read
    assert len(tried) > 1
    assert max(tried) < 2


def test_only_what_nobody_knows_the_end_of_is_fatal() -> None:
    fatal: Callable[[BaseException], bool] = subject._is_fatal
    error = sqlite3.OperationalError("x")
    assert not fatal(error)
    error.sqlite_errorcode = sqlite3.SQLITE_FULL
    assert not fatal(error)
    assert subject._is_full(error)
