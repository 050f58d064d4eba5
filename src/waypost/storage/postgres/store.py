"""The store on PostgreSQL: two pipelines for what runs for every event, and threads for the rest.

Acceptances and settlements are written side by side, each on a connection of its own. Everything
else that writes has one thread and one connection, so that in this process what is kept in memory
is told of changes in the order of their commits; readers have several.
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, Final, TypeVar

import psycopg
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from waypost.model.errors import InvalidInput, Unavailable
from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.postgres.accepting import Acceptor
from waypost.storage.postgres.connection import (
    BY_INDEXES,
    DEFAULTS,
    SERIALIZABLE,
    SNAPSHOT,
    PostgresOptions,
    connect,
    is_alive,
    raw,
)
from waypost.storage.postgres.failures import Failure, answer, is_no_text, judge, shown
from waypost.storage.postgres.presence import Presence
from waypost.storage.postgres.session import Session
from waypost.storage.postgres.settling import Settler
from waypost.storage.store import MAX_WAITING_READS, OWED_READERS, READERS, Counters

_log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_WAITING_WRITES: Final = 512
"""Writes that run or wait; one more is refused."""

_TRIES: Final = 12
"""How often a write is run, where other processes get in its way."""

_PAUSE_S: Final = 0.002
"""Before a write is run again: so long, doubled each time, a little different in each thread."""

_READ_ONLY: Final = "25006"
_OF_OWED: Final = {**BY_INDEXES, "default_transaction_read_only": "on"}


class PostgresStore:
    """An open database: the store of one process of many."""

    shared: Final = True

    def __init__(
        self,
        conninfo: str,
        options: PostgresOptions = DEFAULTS,
        *,
        readers: int = READERS,
        presence: Presence | None = None,
    ) -> None:
        """Name the database.

        Args:
            conninfo: a URL, or what libpq takes else.
            options: how connections are made.
            readers: how many read at once.
            presence: told whether the database is found.
        """
        self._presence = presence or Presence()
        self._conninfo = conninfo
        self._options = options
        self._accepting, self._settling, self._others = Counters(), Counters(), Counters()
        self._acceptor = Acceptor(self._session, self._accepting, options.answer_s)
        self._settler = Settler(self._session, self._settling)
        self._writer = _Threads(self, 1, "write")
        self._readers = _Threads(self, readers, "read")
        self._owed_readers = _Threads(self, OWED_READERS, "owed", _OF_OWED)
        self._sessions: list[Session] = []
        self._reading = 0
        self._writing = 0
        self._open = False

    @property
    def counters(self) -> Counters:
        """What was done so far."""
        total = Counters()
        for part in (self._accepting, self._settling, self._others):
            total.commits += part.commits
            total.syncs += part.syncs
            total.written += part.written
            total.unplaced += part.unplaced
        total.statements = self._others.statements + sum(s.statements for s in self._sessions)
        return total

    @property
    def is_away(self) -> bool:
        """The database is known to be away: a pipeline looks for it."""
        return self._acceptor.is_away or self._settler.is_away

    async def open(self) -> None:
        """Open the connections of the pipelines. The schema must be there.

        Raises:
            Unavailable: the database can't be reached.
            ConfigInvalid: the server is too old.
        """
        try:
            await asyncio.to_thread(self._acceptor.connect)
            await asyncio.to_thread(self._settler.connect)
        except psycopg.Error as error:
            raise Unavailable(f"the database can't be reached: {shown(error)}") from error
        loop = asyncio.get_running_loop()
        self._acceptor.start(loop)
        self._settler.start(loop)
        self._open = True

    async def close(self) -> None:
        """Commit what was handed over, as far as the database is there, and close."""
        if self._open:
            self._open = False
            await self._acceptor.stop()
            await self._settler.stop()
        for threads in (self._writer, self._readers, self._owed_readers):
            await asyncio.to_thread(threads.close)

    def accept(self, acceptance: Acceptance) -> None:
        """Hand over the events of one request."""
        self._acceptor.submit(acceptance)

    def settle(self, settlement: Settlement) -> None:
        """Hand over what became of a try."""
        self._settler.submit(settlement)

    def settle_along(self, settlement: Settlement) -> None:
        """Hand over what became of a try: settlements wait for each other here in any case."""
        self._settler.submit(settlement)

    async def write(
        self, fn: Callable[[Connection], T], after: Callable[[T], None] | None = None
    ) -> T:
        """Run `fn` in a thread, in a serializable transaction, again where it met another one.

        Raises:
            Unavailable: too many writes wait already, the database does not answer, or others
                get in its way again and again.
            StorageFull: the server's disk is full.
            Exception: what `fn` raised; nothing of it holds. What `after` raised; it holds.
        """
        if self._writing >= MAX_WAITING_WRITES:
            raise Unavailable
        self._writing += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def done(result: T | None, error: BaseException | None) -> None:
            self._writing -= 1
            if error is None and after is not None:
                try:
                    after(result)  # type: ignore[arg-type] # there is one where nothing was raised
                except Exception as raised:  # noqa: BLE001 - raised again to whoever waits
                    error = raised
            if future.cancelled():
                return
            if error is None:
                future.set_result(result)  # type: ignore[arg-type] # the same
            else:
                future.set_exception(error)

        self._writer.submit(self._write, fn, _told_on(loop, done))
        return await future

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a connection that only reads, in one snapshot, in a thread.

        Raises:
            Unavailable: too many reads wait already, or the database does not answer.
        """
        if self._reading >= MAX_WAITING_READS:
            raise Unavailable
        self._reading += 1
        try:
            return await self._readers.run(self._read, fn)
        finally:
            self._reading -= 1

    async def read_owed(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn`, each statement by itself, for what is owed: it waits for no other reads.

        Whoever calls it bounds how many wait.
        """
        return await self._owed_readers.run(self._read_apart, fn)

    # Below: other threads.

    def _session(self, name: str) -> Session:
        with self._presence.noted(name):
            session = Session(self._conninfo, self._options, name)
        self._sessions.append(session)
        return session

    def open_connection(self, name: str, settings: Mapping[str, str]) -> Connection:
        """Open a connection for the storage modules."""
        return connect(self._conninfo, self._options, name=name, **settings)

    def _write(
        self,
        threads: "_Threads",
        fn: Callable[[Connection], T],
        done: Callable[[T | None, BaseException | None], None],
    ) -> None:
        try:
            result = self._write_tries(threads, fn)
        except BaseException as error:  # noqa: BLE001 - raised again to whoever waits
            done(None, error)
        else:
            done(result, None)

    def _write_tries(self, threads: "_Threads", fn: Callable[[Connection], T]) -> T:
        for attempt in range(_TRIES):
            try:
                result = threads.transact(SERIALIZABLE, fn)
            except _Failed as failed:
                if failed.failure is not Failure.CLASH:
                    raise failed.answer from failed.error
                threads.pause(_PAUSE_S * 2**attempt)
            else:
                self._others.commits += 1
                self._others.syncs += 1
                return result
        raise Unavailable

    def _read(self, threads: "_Threads", fn: Callable[[Connection], T]) -> T:
        try:
            return threads.transact(SNAPSHOT, fn)
        except _Failed as failed:
            raise failed.answer from failed.error

    def _read_apart(self, threads: "_Threads", fn: Callable[[Connection], T]) -> T:
        try:
            return threads.transact(None, fn)
        except _Failed as failed:
            raise failed.answer from failed.error

    def count(self, statements: int) -> None:
        """Count statements of writes and reads."""
        self._others.statements += statements


class _Failed(Exception):
    """A transaction failed for a reason of the database's."""

    def __init__(self, failure: Failure, error: Exception) -> None:
        super().__init__()
        self.failure = failure
        self.error = error

    @property
    def answer(self) -> Exception:
        """What whoever waits is told."""
        if is_no_text(self.error):
            return InvalidInput("a text holds the character U+0000, which can't be kept")
        if self.failure in {Failure.DATA, Failure.BUG}:
            return self.error
        return answer(self.failure)


class _Threads:
    """Some threads, each with a connection of its own, which is made anew where it is lost."""

    def __init__(
        self,
        store: PostgresStore,
        count: int,
        name: str,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._store = store
        self._settings = settings
        self._name = name
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=f"waypost-{name}")
        self._local = threading.local()
        self._opened: set[Connection] = set()
        self._closing = threading.Event()

    def submit(self, fn: Callable[..., None], *args: Any) -> None:
        self._pool.submit(fn, self, *args)

    async def run(self, fn: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, fn, self, *args)

    def pause(self, seconds: float) -> None:
        """Wait a little, less than `seconds`, unless it is time to close."""
        self._closing.wait(seconds * (0.5 + (threading.get_ident() >> 8) % 64 / 128))

    def transact(self, begin: str | None, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction; without `begin` each of its statements has one of its own.

        Raises:
            _Failed: for a reason of the database's; it holds nothing, unless the failure is LOST.
            Exception: what `fn` raised.
        """
        try:
            connection = self._connection()
            inner = raw(connection)
            if begin is None:
                self._store.count(1)
                return fn(connection)
            self._store.count(2)
            inner.execute(begin)
            try:
                result = fn(connection)
            except BaseException:
                self._roll_back(inner)
                raise
            inner.execute("COMMIT")
        except (DBAPIError, psycopg.Error) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            failure = judge(cause or error)
            if begin is not SERIALIZABLE and getattr(cause, "sqlstate", None) == _READ_ONLY:
                failure = Failure.BUG  # of whoever wants to write where only is read
            if failure is Failure.LOST or getattr(cause, "sqlstate", None) is None:
                self._drop()
            raise _Failed(failure, error) from error
        else:
            return result

    def close(self) -> None:
        self._closing.set()
        self._pool.shutdown()
        for connection in self._opened:
            connection.close()
            connection.engine.dispose()

    def _connection(self) -> Connection:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            if not connection.invalidated and is_alive(raw(connection)):
                return connection
            self._drop()
        if self._store.is_away:
            raise psycopg.OperationalError("the database is away")
        connection = self._store.open_connection(self._name, self._settings)
        self._local.connection = connection
        self._opened.add(connection)
        return connection

    def _roll_back(self, inner: psycopg.Connection[Any]) -> None:
        try:
            inner.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def _drop(self) -> None:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            self._opened.discard(connection)
            if not connection.invalidated:
                # Closing it would roll back first, which a lost connection can't.
                connection.invalidate()
            connection.close()
            connection.engine.dispose()


def _told_on(
    loop: asyncio.AbstractEventLoop, done: Callable[[Any, BaseException | None], None]
) -> Callable[[Any, BaseException | None], None]:
    """Return what has `done` called on the loop."""

    def tell(result: Any, error: BaseException | None) -> None:
        try:
            loop.call_soon_threadsafe(done, result, error)
        except RuntimeError:
            # The loop is closed: nobody is left to be told. What was committed stays so.
            _log.info("answers_dropped", pipeline="write")

    return tell
