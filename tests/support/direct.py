"""A store that does everything at once, on the connection that the test has."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.store import Counters

T = TypeVar("T")


class DirectStore:
    """Runs each read and each write where it is asked for, on either database."""

    def __init__(self, connection: Connection) -> None:
        """Take the connection, which commits each statement by itself."""
        self._connection = connection
        self.counters = Counters()

    @property
    def shared(self) -> bool:
        """Whether it is a database for several processes."""
        return self._connection.dialect.name == "postgresql"

    async def open(self) -> None:
        """Do nothing: it is open."""

    async def close(self) -> None:
        """Do nothing: the test closes it."""

    def accept(self, acceptance: Acceptance) -> None:
        """Refuse: this is not for the hot path."""
        raise AssertionError(acceptance)

    def settle_along(self, settlement: Settlement) -> None:
        """Refuse: no test without a writer settles anything."""
        raise AssertionError(settlement)

    def settle(self, settlement: Settlement) -> None:
        """Refuse: this is not for the hot path."""
        raise AssertionError(settlement)

    async def write(
        self, fn: Callable[[Connection], T], after: Callable[[T], None] | None = None
    ) -> T:
        """Run `fn` in a transaction of its own."""
        run: Any = self._connection.exec_driver_sql
        run("BEGIN ISOLATION LEVEL SERIALIZABLE" if self.shared else "BEGIN")
        try:
            result = fn(self._connection)
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")
        if after is not None:
            after(result)
        return result

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in a transaction of its own."""
        self._connection.exec_driver_sql("BEGIN")
        try:
            return fn(self._connection)
        finally:
            self._connection.exec_driver_sql("ROLLBACK")

    async def read_owed(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` as `read` does."""
        return await self.read(fn)
