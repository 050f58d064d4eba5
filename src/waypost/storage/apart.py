"""A connection apart: for what must not wait behind the store's own reads and writes."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from waypost.model.errors import Unavailable

T = TypeVar("T")


@contextmanager
def together(connection: Connection) -> Iterator[None]:
    """Let the statements inside be one transaction, each of which sees what others have committed.

    Where it raises, the connection is to be given up.
    """
    connection.exec_driver_sql("BEGIN")
    yield
    connection.exec_driver_sql("COMMIT")


class Apart:
    """One connection with a thread of its own, made when it is needed and made anew when lost.

    Each statement is committed by itself, but for those inside `together` and of `snapshot`.
    """

    def __init__(self, connect: Callable[[], Connection], snapshot: str = "BEGIN") -> None:
        """Take what connects, in autocommit mode, and what begins a transaction that only reads."""
        self._connect = connect
        self._snapshot = snapshot
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="waypost-apart")
        self._connection: Connection | None = None

    async def run(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` in the thread, each statement by itself.

        Raises:
            Unavailable: the database does not answer; nobody knows what holds.
            Exception: what `fn` raised.
        """
        return await self._submit(fn, None)

    async def snapshot(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn`, which only reads, on one state of the database.

        Raises:
            Unavailable: the database does not answer.
            Exception: what `fn` raised.
        """
        return await self._submit(fn, self._snapshot)

    async def close(self) -> None:
        """Close the connection, when what runs has ended."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    async def _submit(self, fn: Callable[[Connection], T], begin: str | None) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, fn, begin)

    # Below: the thread.

    def _run(self, fn: Callable[[Connection], T], begin: str | None) -> T:
        try:
            if self._connection is None:
                self._connection = self._connect()
            if begin is None:
                return fn(self._connection)
            self._connection.exec_driver_sql(begin)
            result = fn(self._connection)
            self._connection.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            self._drop()
            raise Unavailable("the database does not answer") from error
        except BaseException:
            # Whatever was begun is not: the next one finds a new connection.
            self._drop()
            raise
        else:
            return result

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
            connection.engine.dispose()
