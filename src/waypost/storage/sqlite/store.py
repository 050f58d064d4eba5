"""The store on SQLite: one file, one writer, several readers.

Everything that writes goes through the committer. Readers have connections of their own, opened
read-only, in a small pool of threads; each read sees one snapshot.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection

from waypost.model.errors import Unavailable
from waypost.storage import projects
from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.sqlite.committer import Committer, Write
from waypost.storage.sqlite.connection import connect, raw
from waypost.storage.store import MAX_WAITING_READS, OWED_READERS, READERS, Counters

T = TypeVar("T")


class SqliteStore:
    """An open database: the store of a process that has its file alone."""

    shared: Final = False

    def __init__(self, path: Path, *, on_fatal: Callable[[Exception], None]) -> None:
        """Name the database file; `on_fatal` is called once if the disk can't be trusted."""
        self.path = path
        self.counters = Counters()
        self._on_fatal = on_fatal
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="waypost-reader")
        self._owed_readers = ThreadPoolExecutor(OWED_READERS, thread_name_prefix="waypost-owed")
        self._local = threading.local()
        self._opened: list[Connection] = []
        self._reading = 0
        self._committer: Committer | None = None

    @property
    def committer(self) -> Committer:
        """The committer of an open store."""
        if self._committer is None:
            raise Unavailable("the store is not open")
        return self._committer

    async def open(self) -> None:
        """Open the writer. The schema must be there."""
        connection = await asyncio.to_thread(connect, self.path)
        versions = await asyncio.to_thread(projects.routing_versions, connection)
        self._committer = Committer(connection, self.counters, on_fatal=self._on_fatal)
        self._committer.start(asyncio.get_running_loop(), versions)

    async def close(self) -> None:
        """Commit what was handed over, move the log into the database and close."""
        await asyncio.to_thread(self._readers.shutdown)
        await asyncio.to_thread(self._owed_readers.shutdown)
        for connection in self._opened:
            connection.close()
            connection.engine.dispose()
        if self._committer is not None:
            await self._committer.stop()
            self._committer = None

    def accept(self, acceptance: Acceptance) -> None:
        """Hand over the events of one request."""
        # Once an event: the property is asked only to raise, where the store is not open.
        (self._committer or self.committer).submit(acceptance)

    def settle(self, settlement: Settlement) -> None:
        """Hand over what became of a try."""
        # As in `accept`.
        (self._committer or self.committer).submit(settlement)

    def settle_along(self, settlement: Settlement) -> None:
        """Hand over what became of a try, to be written with what others hand over."""
        self.committer.submit_along(settlement)

    async def write(
        self, fn: Callable[[Connection], T], after: Callable[[T], None] | None = None
    ) -> T:
        """Run `fn` in the writer's thread, inside the next transaction, under a savepoint.

        `after` gets its result on the loop, right after the commit and before any later change is
        answered: what is kept in memory follows the database without a gap.

        Raises:
            Unavailable: the transaction could not be committed; nothing of it holds.
            Exception: what `fn` raised; nothing of it holds. What `after` raised; it holds.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(write: Write) -> None:
            if write.error is None and after is not None:
                try:
                    after(write.result)
                except Exception as error:  # noqa: BLE001 - raised again to whoever waits
                    write.error = error
            if future.cancelled():
                return
            if write.error is None:
                future.set_result(write.result)
            else:
                future.set_exception(write.error)

        self.committer.submit(Write(fn, done))
        return await future

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read-only connection, in one snapshot, in a thread.

        Raises:
            Unavailable: too many reads wait already.
        """
        if self._reading >= MAX_WAITING_READS:
            raise Unavailable
        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)
        finally:
            self._reading -= 1

    async def read_owed(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` as `read` does, for what is owed: it does not wait behind what people ask for.

        Whoever calls it bounds how many wait.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._owed_readers, self._read, fn)

    def _read(self, fn: Callable[[Connection], T]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self.path, read_only=True)
            self._opened.append(connection)
        inner = raw(connection)
        inner.execute("BEGIN")
        try:
            return fn(connection)
        finally:
            inner.execute("ROLLBACK")
