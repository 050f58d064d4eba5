"""Connections to a database in a file, as Waypost uses it."""

import sqlite3
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import StaticPool

_CACHE_KIB: Final = 16_384
_READER_CACHE_KIB: Final = 4_096


def connect(path: Path, *, read_only: bool = False) -> Connection:
    """Open a connection as Waypost uses it: WAL, `synchronous=FULL`, no automatic checkpoints.

    Raises:
        sqlalchemy.exc.DBAPIError: the file can't be opened.
    """
    engine = create_engine(
        "sqlite://",
        creator=lambda: _open(path, read_only=read_only),
        poolclass=StaticPool,
        # What is written must not stand in the log because writing it has failed.
        hide_parameters=True,
    )
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def _open(path: Path, *, read_only: bool) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    raw = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        cached_statements=512,
        check_same_thread=False,
    )
    try:
        _set_up(raw, read_only=read_only)
    except BaseException:
        raw.close()
        raise
    return raw


def _set_up(raw: sqlite3.Connection, *, read_only: bool) -> None:
    raw.execute("PRAGMA busy_timeout = 5000")
    if read_only:
        raw.execute(f"PRAGMA cache_size = -{_READER_CACHE_KIB}")
        raw.execute("PRAGMA query_only = ON")
        return
    raw.execute("PRAGMA journal_mode = WAL")
    raw.execute("PRAGMA synchronous = FULL")
    # On macOS a plain fsync stops at the disk's own cache; elsewhere this means nothing.
    raw.execute("PRAGMA fullfsync = ON")
    raw.execute("PRAGMA wal_autocheckpoint = 0")
    raw.execute("PRAGMA foreign_keys = ON")
    raw.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def raw(connection: Connection) -> sqlite3.Connection:
    """Return the driver's own connection."""
    inner = connection.connection.driver_connection
    assert isinstance(inner, sqlite3.Connection)  # noqa: S101 - `connect` opened it so
    return inner
