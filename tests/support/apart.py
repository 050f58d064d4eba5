"""A connection apart that does everything at once, on the connection that the test has."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from waypost.model.errors import Unavailable

T = TypeVar("T")


class DirectApart:
    """Runs what it is given where it is given it.

    Attributes:
        is_away: the database does not answer.
        before: called before anything is run.
    """

    def __init__(self, connection: Connection) -> None:
        """Take the connection, which commits each statement by itself."""
        self.connection = connection
        self.is_away = False
        self.is_closed = False
        self.before: Callable[[], Any] = lambda: None

    async def run(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn`."""
        self.before()
        if self.is_away:
            raise Unavailable
        return fn(self.connection)

    async def snapshot(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn`."""
        return await self.run(fn)

    async def close(self) -> None:
        """Note that it was closed; the connection is the test's."""
        self.is_closed = True
