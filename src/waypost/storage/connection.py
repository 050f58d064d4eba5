"""The name under which operations know what a function of the store is handed.

They are typed by it and pass it on to the storage modules; only those know what it can do.
"""

from collections.abc import Callable, Iterable

from sqlalchemy import Connection

__all__ = ["Connection", "PlainWrite", "Write", "write_all"]

Follow = Callable[[], None]

PlainWrite = Callable[[Connection], None]
"""Something to be written in a transaction of somebody else's."""

Write = Callable[[Connection], Follow | None]
"""The same; what it returns, if anything, is to be called on the loop after the commit."""


def write_all(connection: Connection, writes: Iterable[Write]) -> Follow:
    """Write some things; return what is to be called on the loop after the commit."""
    follows = [follow for write in writes if (follow := write(connection)) is not None]

    def follow_all() -> None:
        for follow in follows:
            follow()

    return follow_all
