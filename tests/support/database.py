"""A database, in a file or on a server, with what tests keep in it."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, overload

import msgspec
from sqlalchemy import Connection, insert

from tests.support.manual import ManualClock, SeededEntropy
from waypost.clock import IdSource
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed
from waypost.model.event import Attributes
from waypost.model.ids import Id, moved
from waypost.model.project import PROJECT_SCOPES, Environment, Principal, Project, Scope
from waypost.model.shards import SHARDS
from waypost.model.subscription import Subscription
from waypost.storage import cluster, projects, queue, schema, subscriptions
from waypost.storage.postgres import connection as postgres_connection
from waypost.storage.postgres.connection import PostgresOptions
from waypost.storage.postgres.store import PostgresStore
from waypost.storage.sqlite import connection as sqlite_connection
from waypost.storage.sqlite.store import SqliteStore
from waypost.storage.store import Store

URL = "https://receiver.example/hook"
MICROS = 1_000_000


class Records:
    """Makes rows, each with an id of its own, at the moment of its clock.

    Attributes:
        project: the project that everything belongs to, unless told.
        other: another project.
    """

    def __init__(self, connection: Connection) -> None:
        """Keep two projects in a database that has the tables."""
        self.connection = connection
        self.clock = ManualClock()
        self.ids = IdSource(self.clock, SeededEntropy())
        self.project = self._project()
        self.other = self._project()

    def _project(self) -> Id:
        project = Project(self.ids.next(), self.ids.next(), "Test", Environment.TEST)
        projects.insert(self.connection, project)
        return project.id

    def principal(self, *scopes: Scope, project_id: Id | None = None) -> Principal:
        """Return a caller; with every scope of a project, unless told."""
        return Principal(
            self.ids.next(),
            "test",
            project_id or self.project,
            frozenset(scopes) or PROJECT_SCOPES,
        )

    def subscription(self, **settings: Any) -> Subscription:
        """Keep a subscription."""
        made = Subscription(
            **{"project_id": self.project, "id": self.ids.next(), "url": URL} | settings
        )
        subscriptions.insert(self.connection, made)
        return made

    def event(
        self,
        kind: str = "card.created",
        attributes: Attributes | None = None,
        project_id: Id | None = None,
        payload: bytes = b"{}",
        sequence: int | None = None,
    ) -> Id:
        """Keep an event."""
        event_id = self.ids.next()
        self.connection.execute(
            insert(schema.events).values(
                project_id=project_id or self.project,
                id=event_id,
                type=kind,
                payload=payload,
                attributes=None if attributes is None else msgspec.msgpack.encode(attributes),
                routing_version=1,
                sequence=sequence,
            )
        )
        return event_id

    def pending(self, event_id: Id, subscription: Subscription) -> Id:
        """Owe an event to a subscription."""
        delivery_id, now_us = self.ids.next_at()
        owed = Owed(
            subscription.project_id,
            delivery_id,
            event_id,
            subscription.id,
            DeliveryClass.FRESH,
            now_us,
        )
        queue.insert(self.connection, [owed])
        return delivery_id

    def ended(
        self,
        event_id: Id,
        subscription: Subscription,
        state: DeliveryState,
        finished_us: int | None = None,
        due_us: int | None = None,
    ) -> Id:
        """Keep a final delivery; it ended now, unless told. A failed one is diverted.

        `due_us`: it was put off until then.
        """
        delivery_id, now_us = self.ids.next_at()
        if due_us is not None:
            delivery_id = moved(delivery_id, due_us)
        row = {
            "project_id": subscription.project_id,
            "event_id": event_id,
            "id": delivery_id,
            "subscription_id": subscription.id,
            "attempts": 1,
        }
        final = {"state": state.value, "finished_us": finished_us or now_us, "reason": None}
        self.connection.execute(insert(schema.deliveries).values(**row, **final))
        if state is DeliveryState.FAILED:
            box = {"diverted_us": now_us, "reason": "retries_exhausted"}
            self.connection.execute(insert(schema.diverted_events).values(**row, **box))
        return delivery_id


PATIENT = PostgresOptions(answer_s=20.0)
"""A machine that is busy with tests is no reason for an answer of 503."""

_opened_by_tests: list[Connection] = []

Place = Path | str
"""Where a database is: a file of SQLite's, or the URL of one of PostgreSQL's."""


def make(place: Place) -> Records:
    """Make a database; its connection may write as long as no store is open on it.

    On PostgreSQL the tables are there: `place` comes from the fixture of that name.
    """
    if not isinstance(place, str):
        place.write_bytes(_empty())
    return Records(connect(place))


@cache
def _empty() -> bytes:
    """Return a file of SQLite's with all tables: each of them made anew is a wait for the disk."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "empty.db"
        connection = sqlite_connection.connect(file)
        schema.metadata.create_all(connection)
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        connection.engine.dispose()
        return file.read_bytes()


def connect(place: Place) -> Connection:
    """Open one more connection to a database; at the test's end it is closed, if not before."""
    if isinstance(place, str):
        return adopt(postgres_connection.connect(place))
    return adopt(sqlite_connection.connect(place))


def adopt(connection: Connection) -> Connection:
    """See to it that a connection is closed at the test's end, and return it."""
    _opened_by_tests.append(connection)
    return connection


def close_all() -> None:
    """Close what `make` and `connect` have opened, or `adopt` has seen, and nobody has closed."""
    while _opened_by_tests:
        connection = _opened_by_tests.pop()
        if not connection.closed:
            # Closing it would roll back first, which one can't whose server has gone.
            connection.invalidate()
            connection.close()
        connection.engine.dispose()


def fill(url: str) -> None:
    """Make the tables in a database of PostgreSQL, each with one partition for all times."""
    connection = postgres_connection.connect(url)
    schema.metadata.create_all(connection)
    for table in schema.PARTITIONED:
        connection.exec_driver_sql(
            f"CREATE TABLE {table.name}_always PARTITION OF {table.name}"
            " FOR VALUES FROM (MINVALUE) TO (MAXVALUE)"
        )
    connection.execute(insert(cluster.shards), [{"shard": n, "epoch": 0} for n in range(SHARDS)])
    connection.execute(insert(cluster.config_version).values(id=1, version=0))
    connection.close()
    connection.engine.dispose()


@overload
def opened(place: Path) -> AbstractAsyncContextManager[SqliteStore]: ...


@overload
def opened(place: str) -> AbstractAsyncContextManager[PostgresStore]: ...


@overload
def opened(place: Place) -> AbstractAsyncContextManager[Store]: ...


def opened(place: Place) -> AbstractAsyncContextManager[Store]:
    """Open the store of a database that was made."""
    return _opened(place)


@asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[Store]:
    failures: list[Exception] = []
    store: Store
    if isinstance(place, str):
        store = PostgresStore(place, PATIENT)
    else:
        store = SqliteStore(place, on_fatal=failures.append)
    await store.open()
    try:
        yield store
    finally:
        await store.close()
    assert failures == []
