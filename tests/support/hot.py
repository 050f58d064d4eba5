"""The hot statements of each database, one batch at a time, in the test's own thread."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, text

from tests.support import database
from tests.support.database import Place
from waypost.model import ids
from waypost.storage.changes import Acceptance, Outcome, Settlement
from waypost.storage.postgres import rows as postgres_rows
from waypost.storage.postgres.accepting import Acceptor
from waypost.storage.postgres.connection import DEFAULTS
from waypost.storage.postgres.pipeline import Batch
from waypost.storage.postgres.session import Session
from waypost.storage.postgres.settling import Settler
from waypost.storage.sqlite import hot as sqlite_hot
from waypost.storage.sqlite.connection import raw
from waypost.storage.store import Counters

PROJECT = b"p" * 16
SUBSCRIPTION = b"s" * 16


class Hot(ABC):
    """Writes batches as the store does."""

    def __init__(self, connection: Connection) -> None:
        """Look into the tables by this connection."""
        self.connection = connection

    def rows(self, table: str, columns: str = "*", order: str = "id") -> list[tuple[Any, ...]]:
        """Return what a table holds."""
        found = self.connection.execute(text(f"SELECT {columns} FROM {table} ORDER BY {order}"))
        return [tuple(row) for row in found]

    def forget(self, *tables: str) -> None:
        """Empty some tables."""
        for table in tables:
            self.connection.execute(text(f"DELETE FROM {table}"))

    def owe(self, numbers: Sequence[int], attempts: int = 0, project: bytes = PROJECT) -> None:
        """Put numbered deliveries into the queue."""
        self.insert_queue(
            [(project, delivery(n), event(n), SUBSCRIPTION, 0, n, attempts) for n in numbers]
        )

    @abstractmethod
    def insert_queue(self, rows: list[tuple[Any, ...]]) -> None:
        """Put rows into the queue."""

    @abstractmethod
    def accept(self, taken: Sequence[Acceptance], versions: Mapping[bytes, int]) -> int:
        """Write acceptances where projects have these routing versions; return how many events."""

    @abstractmethod
    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Write settlements."""


class _SqliteHot(Hot):
    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        sqlite_hot.prepare(raw(connection).cursor())

    def insert_queue(self, rows: list[tuple[Any, ...]]) -> None:
        sqlite_hot.INSERT_QUEUE.run(raw(self.connection).cursor(), rows)

    def accept(self, taken: Sequence[Acceptance], versions: Mapping[bytes, int]) -> int:
        return sqlite_hot.accept(raw(self.connection).cursor(), taken, dict(versions))

    def settle(self, settlements: Sequence[Settlement]) -> None:
        sqlite_hot.settle(raw(self.connection).cursor(), settlements)


class AtOnce:
    """Stands in for the loop of a pipeline: what is posted is done at once."""

    def call_soon_threadsafe(self, call: Callable[[], None]) -> None:
        """Do it."""
        call()

    def call_later(self, _: float, call: Callable[..., None], *args: Any) -> None:
        """Do it."""
        call(*args)

    def time(self) -> float:
        """Return a moment."""
        return 0.0


class _PostgresHot(Hot):
    def __init__(self, connection: Connection, session: Session) -> None:
        super().__init__(connection)
        self._session = session
        self._counters = Counters()
        self._acceptor = Acceptor(lambda _: session, self._counters, 60.0)
        self._settler = Settler(lambda _: session, self._counters)
        self._acceptor._loop = self._settler._loop = AtOnce()  # type: ignore[assignment] # a stand-in

    def insert_queue(self, rows: list[tuple[Any, ...]]) -> None:
        postgres_rows.insert_queue(self.connection, rows)

    def accept(self, taken: Sequence[Acceptance], versions: Mapping[bytes, int]) -> int:
        self.connection.execute(text("DELETE FROM projects"))
        for project_id, version in versions.items():
            self.connection.execute(
                text(
                    "INSERT INTO projects (id, account_id, name, environment, routing_version)"
                    " VALUES (:id, :id, '', 'test', :version)"
                ),
                {"id": project_id, "version": version},
            )
        before = self._counters.written
        changes = list(taken)
        for change in changes:
            change.outcome = None
        while changes:
            self._acceptor.write(self._session, Batch(changes, 0.0))
            changes = self._acceptor.take(self._acceptor._inbox)
        assert Outcome.FAILED not in {one.outcome for one in taken}
        return self._counters.written - before

    def settle(self, settlements: Sequence[Settlement]) -> None:
        self._settler.write(self._session, Batch(list(settlements), 0.0))


@contextmanager
def hot_of(place: Place) -> Iterator[Hot]:
    """Have the hot statements of a database that is made here."""
    connection = database.make(place).connection
    connection.execute(text("DELETE FROM projects"))
    session = Session(place, DEFAULTS, "test") if isinstance(place, str) else None
    try:
        yield _SqliteHot(connection) if session is None else _PostgresHot(connection, session)
    finally:
        if session is not None:
            session.close()
        connection.close()
        connection.engine.dispose()


def event(number: int) -> bytes:
    """Return the id of a numbered event."""
    return ids.make(1_000_000 + number, number)


def delivery(number: int) -> bytes:
    """Return the id of a numbered delivery."""
    return ids.make(9_000_000 + number, number)
