"""Inspections: reading a whole database to see that its pages hang together."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from waypost.model.errors import ConfigInvalid

_INTERRUPT_S: Final = 0.05


@contextmanager
def read_only(database: Path) -> Iterator[sqlite3.Connection]:
    """Have a database open for reading, outside the store.

    Raises:
        ConfigInvalid: it can't be opened.
    """
    try:
        connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False
        )
    except sqlite3.OperationalError as error:
        raise ConfigInvalid(f"{database} can't be opened: {error}") from error
    with closing(connection):
        yield connection


def check(connection: sqlite3.Connection) -> str | None:
    """Look through a database; return what is wrong with it, or None where it is sound."""
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if found == "ok" else str(found)


class Inspection:
    """Looks through a database in a thread, while it is in use, and can be broken off."""

    def __init__(self, database: Path, done: Callable[[str | None], None]) -> None:
        """Take what is looked at; `done` hears, in the thread, what `check` returns."""
        self._database = database
        self._done = done
        self._connection: sqlite3.Connection | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="waypost-inspection", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Break off, if it was begun and is not over; `done` is not called any more."""
        self._stopped = True
        while self._thread.is_alive():
            # Again and again: an interrupt that comes before the statement has begun is lost.
            connection = self._connection
            with suppress(sqlite3.ProgrammingError):
                if connection is not None:
                    connection.interrupt()
            self._thread.join(_INTERRUPT_S)

    def _run(self) -> None:
        with read_only(self._database) as connection:
            self._connection = connection
            wrong = check(connection)
            self._connection = None
        if not self._stopped:
            self._done(wrong)
