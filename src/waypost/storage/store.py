"""The store: one SQLite database, one writer, several readers.

Everything that writes goes through the committer. Readers have connections of their own, opened
read-only, in a small pool of threads; each read sees one snapshot.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, create_engine, select
from sqlalchemy.pool import StaticPool

from waypost.model.errors import Unavailable
from waypost.storage import schema
from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.committer import Committer, Write

T = TypeVar("T")

READERS: Final = 4
"""Reads at once for people, and for jobs."""

OWED_READERS: Final = 3
"""Reads at once of what is owed, which wait for nobody else's."""

_MAX_WAITING_READS: Final = 512
_CACHE_KIB: Final = 16_384
_READER_CACHE_KIB: Final = 4_096


def connect(path: Path, *, read_only: bool = False) -> Connection:
    """Open a connection as Waypost uses it: WAL, `synchronous=FULL`, no automatic checkpoints.

    Raises:
        sqlalchemy.exc.DBAPIError: the file can't be opened.
    """
    engine = create_engine(
        "sqlite://", creator=lambda: _open(path, read_only=read_only), poolclass=StaticPool
    )
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    raw = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        cached_statements=512,
        check_same_thread=False,
    )
    raw.execute("PRAGMA busy_timeout = 5000")
    if read_only:
        raw.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        raw.execute("PRAGMA query_only = ON")
        return raw
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    # On macOS a plain fsync stops at the disk's own cache; elsewhere this means nothing.
    raw.execute("PRAGMA fullfsync = ON")
    raw.execute("PRAGMA wal_autocheckpoint = 0")
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return raw


class Store:
    """An open database. Its methods are for the event loop's thread."""

    def __init__(self, path: Path, *, on_fatal: Callable[[Exception], None]) -> None:
        """Name the database file; `on_fatal` is called once if the disk can't be trusted."""
        self.path = path
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
        versions = await asyncio.to_thread(_routing_versions, connection)
        self._committer = Committer(connection, on_fatal=self._on_fatal)
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
        if self._reading >= _MAX_WAITING_READS:
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
        raw: Any = connection.connection.driver_connection
        raw.execute("BEGIN")
        try:
            return fn(connection)
        finally:
            raw.execute("ROLLBACK")


def _routing_versions(connection: Connection) -> dict[bytes, int]:
    rows = connection.execute(select(schema.projects.c.id, schema.projects.c.routing_version))
    return {row.id: row.routing_version for row in rows}
