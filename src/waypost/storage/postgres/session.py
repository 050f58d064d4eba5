"""A session of the hot path: prepared statements, with nothing between them and libpq."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import errors
from psycopg.pq import ConnStatus, ExecStatus, Format
from psycopg.pq.abc import PGresult

from waypost.storage.postgres.connection import (
    BY_INDEXES,
    PostgresOptions,
    is_alive,
    open_raw,
    takes_changes,
)

_GOOD: Final = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})


class Statement:
    """A statement with the types of its parameters, which are given in binary."""

    __slots__ = ("name", "sql", "types")

    def __init__(self, name: str, sql: str, types: Sequence[int]) -> None:
        """Name it: sessions prepare it under that name."""
        self.name = name.encode()
        self.sql = sql.encode()
        self.types = list(types)


class Session:
    """A connection that runs the statements of the hot path. For one thread.

    Attributes:
        statements: how many were sent.
    """

    def __init__(self, conninfo: str, options: PostgresOptions, name: str) -> None:
        """Connect.

        Raises:
            psycopg.Error: it can't be, or nothing can be written there.
        """
        self._connection = open_raw(conninfo, options, name=name, **BY_INDEXES)
        if not takes_changes(self._connection):
            self._connection.close()
            raise errors.ReadOnlySqlTransaction("the server takes no changes")
        self._wire: Any = self._connection.pgconn
        # A batch is sent and its result awaited in one call, without the interpreter's lock.
        self._wire.nonblocking = 0
        self._prepare = options.prepare
        self._prepared: set[bytes] = set()
        self.statements = 0

    def is_alive(self) -> bool:
        """Tell whether the server has closed the connection, as far as is known here."""
        return is_alive(self._connection)

    def run(self, statement: Statement, values: Sequence[bytes | None]) -> PGresult:
        """Run a statement, in a transaction of its own unless one is begun.

        Raises:
            psycopg.Error: it failed.
        """
        formats = [Format.BINARY] * len(values)
        self.statements += 1
        if self._prepare:
            if statement.name not in self._prepared:
                self._check(self._wire.prepare(statement.name, statement.sql, statement.types))
                self._prepared.add(statement.name)
            result = self._wire.exec_prepared(statement.name, values, formats, Format.BINARY)
        else:
            result = self._wire.exec_params(
                statement.sql, values, statement.types, formats, Format.BINARY
            )
        return self._check(result)

    def begin(self) -> None:
        """Begin a transaction, for several statements."""
        self._command(b"BEGIN")

    def commit(self) -> None:
        """End it: what it did holds."""
        self._command(b"COMMIT")

    def roll_back(self) -> None:
        """End it: nothing of it holds."""
        self._command(b"ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _command(self, sql: bytes) -> None:
        self.statements += 1
        self._check(self._wire.exec_(sql))

    def _check(self, result: PGresult) -> PGresult:
        if result.status in _GOOD:
            return result
        if self._wire.status != ConnStatus.OK:
            raise errors.OperationalError("the connection was lost")
        raise errors.error_from_result(result)
