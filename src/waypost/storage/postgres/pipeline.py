"""A pipeline: a thread with a session of its own, that writes what the loop hands over in batches.

While a batch is written, everything that arrives waits and makes up the next one, as on SQLite:
under load a statement carries many events, and with none a single event waits for nobody. Where
batches are written faster than events arrive they would be small, and most of what they cost is not
the events': so a batch begins only a few milliseconds behind the last one, unless it is large.

Where the connection is lost the thread makes a new one, again and again, until it has one.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Generic, TypeVar

import psycopg
import structlog
from psycopg.errors import ReadOnlySqlTransaction

from waypost.clock import SystemClock
from waypost.model.errors import ConfigInvalid
from waypost.storage.postgres.failures import Failure, shown
from waypost.storage.postgres.session import Session

_log = structlog.get_logger(__name__)
_monotonic = SystemClock().monotonic

C = TypeVar("C")

ENOUGH: Final = 64
"""So many changes wait no longer for others."""

_BACKOFF_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
"""Pauses between attempts to connect; the last one goes on."""

_LASTING: Final = frozenset({Failure.FULL, Failure.BUSY})
"""What fails one batch after the other for a while."""


class Batch(Generic[C]):
    """What is written together.

    Attributes:
        changes: what it is of.
        begun: when, on the clock of the loop.
        abandoned: the loop has answered for it already.
    """

    __slots__ = ("abandoned", "begun", "changes")

    def __init__(self, changes: list[C], begun: float) -> None:
        """Take what is to be written."""
        self.changes = changes
        self.begun = begun
        self.abandoned = False


class Pipeline(ABC, Generic[C]):
    """Gathers changes and writes them. `submit` and `stop` are for the loop's thread alone.

    Attributes:
        is_down: nothing can be written now; it is tried again in a moment.
        is_away: nor can the database be connected to.
        connecting_since: when the search for a new one began, on the clock of the loop.
        batch: what is being written.
    """

    def __init__(self, name: str, connect: Callable[[str], Session], *, apart_s: float) -> None:
        """Take what it works with.

        Args:
            name: of the pipeline.
            connect: makes a session.
            apart_s: how much later than the last one a batch begins, at least.
        """
        self._name = name
        self._connect = connect
        self._apart_s = apart_s
        self._next = 0.0
        self._inbox: deque[C] = deque()
        # Held, but for the moment when the thread is to wake.
        self._wake = threading.Lock()
        self._wake.acquire()
        self._sleeping = False
        self._gathering = False
        self._flush_due = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"waypost-{name}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._session: Session | None = None
        self._losses = 0
        self._failing: Failure | None = None
        self.is_down = False
        self.is_away = False
        self.connecting_since: float | None = None
        self.batch: Batch[C] | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of a pipeline that was started."""
        assert self._loop is not None  # noqa: S101 - started
        return self._loop

    def connect(self) -> None:
        """Make the first session; in any thread, before `start`.

        Raises:
            psycopg.Error: the database can't be reached.
            ConfigInvalid: it is too old.
        """
        self._session = self._connect(self._name)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the thread."""
        self._loop = loop
        self._thread.start()

    def submit(self, change: C) -> None:
        """Hand a change over."""
        self._inbox.append(change)
        if not self._flush_due:
            # At the end of this turn of the loop: what the turn brings goes into one batch.
            self._flush_due = True
            self.loop.call_soon(self._flush)

    async def stop(self) -> None:
        """Write what was handed over, as far as there is a connection, and end the thread."""
        self._stopping = True
        self._flush()
        self._rouse()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        self._drop_session()

    def post(self, call: Callable[[], None]) -> None:
        """Have something done on the loop."""
        try:
            self.loop.call_soon_threadsafe(call)
        except RuntimeError:
            # The loop is closed: nobody is left to be told. What was committed stays so.
            _log.info("answers_dropped", pipeline=self._name)

    def _flush(self) -> None:
        self._flush_due = False
        if self._sleeping or (self._gathering and len(self._inbox) >= ENOUGH):
            self._sleeping = self._gathering = False
            self._rouse()

    def _rouse(self) -> None:
        with suppress(RuntimeError):  # it is awake, or about to be
            self._wake.release()

    # Below: the pipeline's thread.

    def refused(self, failure: Failure, count: int, error: Exception) -> None:
        """Log that changes were refused; of what has one lasting cause, only the first time."""
        if failure is not self._failing:
            _log.error("batch_refused", pipeline=self._name, changes=count, error=shown(error))
        self._failing = failure if failure in _LASTING else None

    def succeeded(self) -> None:
        """Log that what had a lasting cause is over."""
        if self._failing is not None:
            self._failing = None
            _log.warning("batches_go_on", pipeline=self._name)

    def has_work(self) -> bool:
        """Tell whether something is to be written."""
        return bool(self._inbox)

    @abstractmethod
    def write(self, session: Session, batch: Batch[C]) -> None:
        """Write a batch, and answer for it. It may raise what the driver raises."""

    @abstractmethod
    def take(self, inbox: deque[C]) -> list[C]:
        """Take what waits, as much as one batch may hold."""

    @abstractmethod
    def failed(self, batch: Batch[C], error: Exception) -> None:
        """Answer for a batch whose connection was lost; whether it holds is not known."""

    @abstractmethod
    def went_down(self) -> None:
        """Take note that there is no connection: what waits may wait for long."""

    def _run(self) -> None:
        while self.has_work() or not self._stopping:
            # Without a session it looks for one before there is something to write.
            if self._session is not None and not self.has_work() and not self._stopping:
                self._sleeping = True
                if not self._inbox and not self._stopping:
                    self._wake.acquire()
                self._sleeping = False
            self._gather()
            session = self._live_session()
            if session is None:
                if self._stopping:
                    return
                continue
            changes = self.take(self._inbox)
            if changes:
                self._write(session, changes)
            if self._stopping and self._losses:
                return

    def _gather(self) -> None:
        """Wait until a batch may begin."""
        now = _monotonic()
        if now < self._next:
            self._gathering = True
            if len(self._inbox) < ENOUGH and not self._stopping:
                self._wake.acquire(timeout=self._next - now)
            self._gathering = False
            now = _monotonic()
        self._next = now + self._apart_s

    def _write(self, session: Session, changes: list[C]) -> None:
        batch = self.batch = Batch(changes, self.loop.time())
        try:
            self.write(session, batch)
        except psycopg.Error as error:
            if not self._losses:
                _log.info("connection_lost", pipeline=self._name, error=shown(error))
            self._lost(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on
            _log.exception("batch_failed", pipeline=self._name)
            self._lost(batch, error)
        else:
            self._losses = 0

    def _lost(self, batch: Batch[C], error: Exception) -> None:
        self._losses += 1
        self._drop_session()
        self.failed(batch, error)

    def _live_session(self) -> Session | None:
        """Return the session, a new one where it is lost; None after stopping without one."""
        if self._session is not None and self._session.is_alive():
            return self._session
        self._drop_session()
        self.connecting_since = self.loop.time()
        if self._losses > 1:
            # It can be connected to, and then it does not do: as a standby does.
            self.is_down = True
            self.went_down()
            self._wake.acquire(timeout=_pause(self._losses - 2))
        for attempt in range(1_000_000_000):
            try:
                self._session = self._connect(self._name)
            except (psycopg.Error, ConfigInvalid) as error:
                self.is_down = True
                # What takes no changes can be read all the same.
                self.is_away = not isinstance(error, ReadOnlySqlTransaction)
                self.went_down()
                if self._stopping:
                    return None
                self._wake.acquire(timeout=_pause(attempt))
            else:
                self.is_down = self.is_away = False
                self.connecting_since = None
                return self._session
        return None

    def _drop_session(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _pause(attempt: int) -> float:
    return _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
