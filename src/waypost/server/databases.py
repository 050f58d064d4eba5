"""The database as a server holds it: what differs between a file and a PostgreSQL server."""

import os
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog

from waypost.clock import AlignedClock, Clock, SystemClock, SystemEntropy
from waypost.config import Config
from waypost.engine.sharing import Links
from waypost.storage.location import PostgresUrl, SqliteFile
from waypost.storage.sqlite.inspection import Inspection
from waypost.storage.sqlite.preparation import prepare
from waypost.storage.sqlite.store import SqliteStore
from waypost.storage.store import Store
from waypost.web.listener import LONGEST_SOCKET_PATH

if TYPE_CHECKING:
    from waypost.storage.postgres.connection import PostgresOptions

_log = structlog.get_logger(__name__)

Fail = Callable[[Exception], None]
"""Ends the server, from any thread."""


class DatabaseDamaged(Exception):
    """The database's pages do not hang together: restore a backup."""


class Holding(Protocol):
    """A database that this process may open.

    Attributes:
        secret_key: what its secrets are encrypted by.
        clock: the time that everything in it is judged by.
        disk: the file whose disk may become full; None: that is another machine's matter.
        socket_path: where the process that serves it is administered; None: it is not, others can
            open the database too.
    """

    secret_key: bytes
    clock: Clock
    disk: Path | None
    socket_path: Path | None

    def store(self, fail: Fail) -> Store:
        """Return a store on it, not open yet."""

    def links(self) -> Links | None:
        """Return the other ways to it; None where no other process has it."""

    def explained(self) -> AbstractContextManager[None]:
        """Return a context that turns what the driver raises into what a person can act on."""

    def look_through(self, fail: Fail) -> None:
        """Look through it in the background, if the last process did not close it."""

    def break_off(self) -> None:
        """Look no further."""

    def release(self) -> None:
        """Let others have it."""


def hold(config: Config) -> Holding:
    """Make sure that the database can be opened.

    Raises:
        DatabaseInUse: another process has the file.
        ConfigInvalid: it can't be used; says why.
    """
    if isinstance(config.database, SqliteFile):
        return FileHolding(config, config.database.path)
    return ServerHolding(config, config.database)


class FileHolding:
    """A SQLite file, which is this process's alone."""

    def __init__(self, config: Config, file: Path) -> None:
        """Take the lock; the file is made where there is none, and migrated."""
        self._file = file
        self.socket_path: Path | None = place_socket(file)
        self._prepared = prepare(file, self.socket_path, config.secret_key, SystemEntropy())
        self._inspection: Inspection | None = None
        self.secret_key = self._prepared.secret_key
        self.clock: Clock = SystemClock()
        self.disk: Path | None = file

    def store(self, fail: Fail) -> Store:
        """Return a store on it, not open yet."""
        return SqliteStore(self._file, on_fatal=fail)

    def links(self) -> Links | None:
        """Return none: no other process has it."""
        return None

    def explained(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing: the file was opened already."""
        return nullcontext()

    def look_through(self, fail: Fail) -> None:
        """Look through it in the background, if the last process did not close it."""

        def looked(wrong: str | None) -> None:
            if wrong is None:
                _log.info("database_sound", reason="looked through after an unclean stop")
            else:
                fail(DatabaseDamaged(wrong))

        if self._prepared.unclean:
            self._inspection = Inspection(self._file, looked)
            self._inspection.start()

    def break_off(self) -> None:
        """Look no further."""
        if self._inspection is not None:
            self._inspection.stop()

    def release(self) -> None:
        """Let another process have it."""
        if self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)
            if self.socket_path.parent != self._file.absolute().parent:
                self.socket_path.parent.rmdir()
        self._prepared.lock.release()


class ServerHolding:
    """A PostgreSQL database, which others may have open too."""

    def __init__(self, config: Config, url: PostgresUrl) -> None:
        """Look whether it can be used."""
        # The driver takes a while to import, and who keeps a file needs none.
        from waypost.storage.postgres import preparation  # noqa: PLC0415 - slow to load
        from waypost.storage.postgres.presence import Presence  # noqa: PLC0415 - slow to load

        self._presence = Presence()
        self._preparation = preparation
        self._url = url
        self._options = postgres_options(config)
        self._aligned = AlignedClock(SystemClock())
        self._config = config
        self.clock: Clock = self._aligned
        self.secret_key = preparation.prepare(url, config.secret_key, self._aligned, self._options)
        self.disk: Path | None = None
        self.socket_path: Path | None = None

    def store(self, fail: Fail) -> Store:  # noqa: ARG002 - a file's disk may fail it
        """Return a store on it, not open yet. It fails no server: what is away may come back."""
        from waypost.storage.postgres.store import PostgresStore  # noqa: PLC0415 - as above

        return PostgresStore(
            self._url.conninfo,
            self._options,
            readers=self._config.database_readers,
            presence=self._presence,
        )

    def links(self) -> Links | None:
        """Return the other ways to it."""
        from waypost.storage.postgres import links  # noqa: PLC0415 - as above

        return links.Links(self._url.conninfo, self._options, self._presence)

    def explained(self) -> AbstractContextManager[None]:
        """Return a context that turns what the driver raises into one line."""
        return self._preparation.explained(self._url)

    def look_through(self, fail: Fail) -> None:
        """Leave that to the server."""

    def break_off(self) -> None:
        """Do nothing: nothing was begun."""

    def release(self) -> None:
        """Do nothing: the connections are the store's."""


def postgres_options(config: Config) -> "PostgresOptions":
    """Return how connections to PostgreSQL are made."""
    from waypost.storage.postgres.connection import PostgresOptions  # noqa: PLC0415 - as above

    return PostgresOptions(
        prepare=config.prepared_statements, statement_timeout_s=config.statement_timeout
    )


def place_socket(database: Path) -> Path:
    """Return where a database is administered: beside it, or where that path is too long."""
    beside = database.absolute().with_name(database.name + ".sock")
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    return Path(tempfile.mkdtemp(prefix="waypost-")) / "admin.sock"
