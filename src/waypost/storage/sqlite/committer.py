"""The committer: one thread that alone writes, and gathers what waits into one transaction.

While a commit runs, everything that arrives waits and makes up the next one: under load a commit
carries many events, and with none a single event waits for nobody. There are no timers. The order
within a transaction is: acceptances, settlements, then everything else, each of the last under a
savepoint of its own, so that its failure is its own.

What nobody waits for does not begin a transaction, behind which something else would have to wait:
it goes along with the next one. Only where none comes for a few milliseconds it has its own.

What the loop hands over is answered on the loop, after the commit that holds it.
"""

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from waypost.model.errors import StorageFull, Unavailable
from waypost.storage.changes import Acceptance, Outcome, Settlement
from waypost.storage.sqlite import hot
from waypost.storage.sqlite.connection import raw
from waypost.storage.store import Counters

_log = structlog.get_logger(__name__)

MAX_ROWS: Final = 5_000
"""Rows in one transaction, about: what is over it waits for the next."""

_CHECKPOINT_PAGES: Final = 2_000
_PAGES_OF_A_COMMIT: Final = 12
_BYTES_OF_A_PAGE: Final = 3_000
_IDLE_S: Final = 1.0
_RETRY_S: Final = 0.5

ALONG_S: Final = 0.01
"""So long does what nobody waits for wait for others, seconds."""


class Write:
    """Any other change: a function of the connection, under a savepoint."""

    __slots__ = ("done", "error", "fn", "result", "versions")

    def __init__(self, fn: Callable[[Connection], Any], done: Callable[["Write"], None]) -> None:
        """Keep what is to be run."""
        self.fn = fn
        self.done = done
        self.result: Any = None
        self.error: BaseException | None = None
        self.versions: dict[bytes, int] = {}


Change = Acceptance | Settlement | Write


class Committer:
    """Owns the one connection that writes. `submit` is for the loop's thread alone.

    Attributes:
        versions: the routing version of each project, as it was committed last.
    """

    def __init__(
        self,
        connection: Connection,
        counters: Counters,
        *,
        on_fatal: Callable[[Exception], None],
    ) -> None:
        """Take the writing connection over; `on_fatal` is called once if it can't go on."""
        self._connection = connection
        self._cursor = raw(connection).cursor()
        hot.prepare(self._cursor)
        self._counters = counters
        self._on_fatal = on_fatal
        self._inbox: deque[Change] = deque()
        self._outgoing: deque[Change] = deque()
        self._along: list[Change] = []
        self._along_due: asyncio.TimerHandle | None = None
        self._flush_due = False
        self._sleeping = False
        self._wake = threading.Lock()
        self._wake.acquire()
        self._stopping = False
        self._ended: Unavailable | None = None
        self._thread = threading.Thread(target=self._run, name="waypost-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pages = 0
        self.versions: dict[bytes, int] = {}

    def start(self, loop: asyncio.AbstractEventLoop, versions: dict[bytes, int]) -> None:
        """Start the thread. `versions` are the routing versions of all projects."""
        self._loop = loop
        self.versions = dict(versions)
        self._thread.start()

    def submit(self, change: Change) -> None:
        """Hand a change over; its `done` is called on the loop after the commit.

        Once the committer has ended it is refused; a settlement has no answer then.
        """
        self._inbox.append(change)
        if not self._flush_due:
            # At the end of this turn of the loop: what the turn brings goes into one commit.
            self._flush_due = True
            assert self._loop is not None  # noqa: S101 - started
            self._loop.call_soon(self._flush)
        if self._ended is not None:
            self._refuse_all(self._ended)

    def submit_along(self, change: Settlement) -> None:
        """Hand over what goes along with the next change that is submitted, or goes soon."""
        self._along.append(change)
        if self._along_due is None:
            assert self._loop is not None  # noqa: S101 - started
            self._along_due = self._loop.call_later(ALONG_S, self._flush)

    async def stop(self) -> None:
        """Commit everything that was handed over, then end the thread and close the connection."""
        self._flush()  # what was to go along goes now
        self._stopping = True
        self._flush()
        await asyncio.to_thread(self._thread.join)

    def _flush(self) -> None:
        self._flush_due = False
        if self._along_due is not None:
            self._along_due.cancel()
            self._along_due = None
            self._inbox.extend(self._along)
            self._along.clear()
        if self._sleeping:
            self._sleeping = False
            # Open already: the thread woke up by itself and has not gone back to sleep.
            if self._wake.locked():
                self._wake.release()

    # Below: the writer's thread.

    def _run(self) -> None:
        batch: list[Change] = []
        try:
            while not (self._stopping and not self._inbox):
                batch = self._take()
                if batch:
                    self._commit(batch)
                    self._maybe_checkpoint()
        except Exception as error:  # noqa: BLE001 - the end of the thread is told of in any case
            _log.exception("committer_failed")
            self._end_with(Unavailable("the database failed"), batch)
            self._on_fatal(error)
        else:
            self._checkpoint("TRUNCATE")
            self._end_with(Unavailable("the database is closed"), [])
        self._connection.close()
        self._connection.engine.dispose()

    def _end_with(self, error: Unavailable, unanswered: list[Change]) -> None:
        """Commit nothing any more: whoever waits, or comes later, is told so."""
        self._fail(unanswered, error)
        self._ended = error
        self._refuse_all(error)

    def _refuse_all(self, error: Unavailable) -> None:
        while self._inbox:
            try:
                change = self._inbox.popleft()
            except IndexError:  # the other thread was faster
                return
            self._fail([change], error)

    def _take(self) -> list[Change]:
        """Return everything that waits, up to the row limit; sleep where nothing does."""
        inbox = self._inbox
        if not inbox and not self._stopping:
            self._sleeping = True
            if inbox or self._stopping:
                self._sleeping = False
            elif not self._wake.acquire(timeout=_IDLE_S if self._pages else -1):
                self._sleeping = False
                self._checkpoint("TRUNCATE")
        batch: list[Change] = []
        rows = 0
        while inbox and rows < MAX_ROWS:
            change = inbox.popleft()
            batch.append(change)
            rows += (
                sum(1 + len(e.owed) for e in change.entries) if type(change) is Acceptance else 1
            )
        return batch

    def _commit(self, batch: list[Change]) -> None:
        try:
            self._transaction(batch)
        except Exception as error:  # whatever it is: a value may be refused before it is written
            self._roll_back()
            if _is_fatal(error):
                raise
            _log.warning("commit_failed", changes=len(batch), error=str(error))
            self._commit_one_by_one(batch)
        else:
            self._answer(batch)

    def _commit_one_by_one(self, batch: list[Change]) -> None:
        """After a failure: each change in its own transaction, so that a bad one fails alone.

        What is answered is taken out of the batch.
        """
        while batch:
            change = batch[0]
            try:
                self._transaction([change])
            except Exception as error:
                self._roll_back()
                if _is_fatal(error):
                    raise
                self._refuse(change, error)
            else:
                self._answer([change])
            del batch[0]

    def _transaction(self, batch: list[Change]) -> None:
        cursor = self._cursor
        acceptances = [change for change in batch if type(change) is Acceptance]
        settlements = [change for change in batch if type(change) is Settlement]
        cursor.execute("BEGIN IMMEDIATE")
        written = hot.accept(cursor, acceptances, self.versions) if acceptances else 0
        if settlements:
            hot.settle(cursor, settlements)
        for change in batch:
            if type(change) is Write:
                self._run_write(change)
        self._end(cursor)
        self._counters.written += written
        self._pages += _PAGES_OF_A_COMMIT + _bytes_of(acceptances) // _BYTES_OF_A_PAGE

    def _end(self, cursor: sqlite3.Cursor) -> None:
        """Commit: from here on what was written survives a power cut (`synchronous=FULL`)."""
        # Unlike a statement it gives the interpreter's lock away but once.
        cursor.connection.commit()
        self._counters.commits += 1
        self._counters.syncs += 1

    def _run_write(self, write: Write) -> None:
        cursor = self._cursor
        routing = self._connection.info.setdefault("routing", {})
        routing.clear()
        write.error = None
        cursor.execute("SAVEPOINT change")
        try:
            write.result = write.fn(self._connection)
        except Exception as error:
            cause = getattr(error, "orig", None) or error
            if _is_full(cause) or _is_fatal(cause):
                raise cause from error
            cursor.execute("ROLLBACK TO change")
            write.error = error
        else:
            write.versions = dict(routing)
        cursor.execute("RELEASE change")

    def _answer(self, batch: list[Change]) -> None:
        for change in batch:
            if type(change) is Write and change.error is None:
                self.versions.update(change.versions)
        self._post(batch)

    def _post(self, batch: list[Change]) -> None:
        assert self._loop is not None  # noqa: S101 - started
        try:
            self._loop.call_soon_threadsafe(self._deliver, batch)
        except RuntimeError:
            # The loop is closed: nobody is left to be told. What was committed stays so.
            _log.info("answers_dropped", changes=len(batch))

    def _refuse(self, change: Change, error: Exception) -> None:
        _log.error("change_refused", error=str(error), change=type(change).__name__)
        if type(change) is Settlement:
            # Owed until it is settled: tried again, however long it takes.
            assert self._loop is not None  # noqa: S101 - started
            self._loop.call_soon_threadsafe(self._loop.call_later, _RETRY_S, self.submit, change)
            return
        self._fail([change], StorageFull() if _is_full(error) else Unavailable())

    def _fail(self, batch: list[Change], error: Exception) -> None:
        answered: list[Change] = []
        for change in batch:
            if type(change) is Acceptance:
                change.outcome = Outcome.FAILED
                change.error = error
                answered.append(change)
            elif type(change) is Write:
                change.error = error
                answered.append(change)
        self._post(answered)

    def _roll_back(self) -> None:
        if self._cursor.connection.in_transaction:
            self._cursor.execute("ROLLBACK")

    def _maybe_checkpoint(self) -> None:
        if self._pages >= _CHECKPOINT_PAGES:
            self._checkpoint("PASSIVE")

    def _checkpoint(self, mode: str) -> None:
        """Move the log into the database. Only this connection ever does.

        It waits for nobody: behind a long read, or a backup, every commit would wait as well.
        """
        cursor = self._cursor
        try:
            patience_ms = cursor.execute("PRAGMA busy_timeout").fetchone()[0]
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
            cursor.execute(f"PRAGMA busy_timeout = {patience_ms}")
            self._pages = 0
        except sqlite3.Error as error:
            _log.warning("checkpoint_failed", mode=mode, error=str(error))

    # Below: the loop's thread.

    def _deliver(self, batch: list[Change]) -> None:
        for change in batch:
            try:
                change.done(change)  # type: ignore[arg-type] # each record has its own kind of done
            except Exception:  # noqa: BLE001 - the others' answers must get through
                _log.exception("completion_failed", change=type(change).__name__)


def _bytes_of(acceptances: list[Acceptance]) -> int:
    return sum(len(e.row[3]) + 600 for a in acceptances for e in a.entries)


def _is_full(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def _is_fatal(error: BaseException) -> bool:
    """After a failed write or sync nobody knows what the disk holds: only a restart can tell."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
