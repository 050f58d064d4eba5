"""The store: one that writes, some that read, and both as they are set up."""

import asyncio
import threading
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tests.support.database import Records, opened
from waypost.model.errors import Unavailable
from waypost.storage import facts
from waypost.storage.connection import Connection
from waypost.storage.store import _MAX_WAITING_READS, READERS, Store


async def test_the_writer_survives_a_power_cut(records: Records, path: Path) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "fullfsync", "wal_autocheckpoint", "foreign_keys")
        return [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]

    async with opened(path) as store:
        assert await store.write(pragmas) == ["wal", 2, 1, 0, 1]


async def test_a_reader_cannot_write(records: Records, path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(OperationalError, match="readonly"):
            await store.read(lambda c: facts.record(c, "a", "b"))


async def test_a_read_sees_one_snapshot(records: Records, path: Path) -> None:
    loop = asyncio.get_running_loop()
    began, written = asyncio.Event(), threading.Event()

    def read(connection: Connection) -> tuple[str | None, str | None]:
        before = facts.find(connection, "a")
        loop.call_soon_threadsafe(began.set)
        written.wait(10)
        return before, facts.find(connection, "a")

    async with opened(path) as store:
        reading = asyncio.create_task(store.read(read))
        await began.wait()
        await store.write(lambda c: facts.record(c, "a", "b"))
        written.set()
        assert await reading == (None, None)
        assert await store.read(lambda c: facts.find(c, "a")) == "b"


async def test_readers_read_side_by_side(records: Records, path: Path) -> None:
    together = threading.Barrier(READERS)
    async with opened(path) as store:
        await asyncio.gather(*(store.read(lambda _: together.wait(10)) for _ in range(READERS)))


async def test_a_read_that_raises_frees_its_connection(records: Records, path: Path) -> None:
    def broken(_: Connection) -> None:
        raise ZeroDivisionError

    async with opened(path) as store:
        for _ in range(READERS + 1):
            with pytest.raises(ZeroDivisionError):
                await store.read(broken)
        assert await store.read(lambda _: 1) == 1


async def test_reads_that_wait_have_an_end(records: Records, path: Path) -> None:
    hold = threading.Event()
    async with opened(path) as store:
        waiting = [
            asyncio.create_task(store.read(lambda _: hold.wait(10)))
            for _ in range(_MAX_WAITING_READS)
        ]
        await asyncio.wait(waiting, timeout=0)
        with pytest.raises(Unavailable):
            await store.read(lambda _: None)
        hold.set()
        assert all(await asyncio.gather(*waiting))
        await store.read(lambda _: None)


async def test_what_is_owed_is_read_however_much_people_ask_for(
    records: Records, path: Path
) -> None:
    hold = threading.Event()
    async with opened(path) as store:
        asked = [asyncio.create_task(store.read(lambda _: hold.wait(10))) for _ in range(100)]
        await asyncio.wait(asked, timeout=0)
        async with asyncio.timeout(5):
            assert await store.read_owed(lambda c: facts.find(c, "a")) is None
        hold.set()
        await asyncio.gather(*asked)


async def test_what_is_in_memory_follows_before_any_later_answer(
    records: Records, path: Path
) -> None:
    order: list[str] = []
    async with opened(path) as store:
        await asyncio.gather(
            store.write(lambda _: "a", order.append),
            store.write(lambda _: "b", order.append),
        )
        assert order == ["a", "b"]


async def test_what_follows_may_fail_and_nobody_waits_for_ever(
    records: Records, path: Path
) -> None:
    def broken(_: None) -> None:
        raise ZeroDivisionError

    async with opened(path) as store:
        with pytest.raises(ZeroDivisionError):
            await store.write(lambda c: facts.record(c, "a", "b"), broken)
        assert await store.read(lambda c: facts.find(c, "a")) == "b"


async def test_whoever_gives_up_waiting_does_not_undo_the_change(
    records: Records, path: Path
) -> None:
    followed: list[None] = []
    async with opened(path) as store:
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


async def test_a_store_that_is_not_open_says_so(records: Records, path: Path) -> None:
    store = Store(path, on_fatal=lambda _: None)
    with pytest.raises(Unavailable):
        await store.write(lambda _: None)
    await store.close()
