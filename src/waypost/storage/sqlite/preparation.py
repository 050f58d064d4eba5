"""What must be true of a database before it is opened: ours alone, up to date, its key known."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from waypost.clock import Entropy
from waypost.model.errors import ConfigInvalid
from waypost.storage import key_file, migrations
from waypost.storage.sqlite.connection import connect
from waypost.storage.sqlite.instance import InstanceLock

_log = structlog.get_logger(__name__)


class Prepared(msgspec.Struct, frozen=True):
    """A database that this process may open.

    Attributes:
        lock: released when the database is closed again.
        secret_key: what its secrets are encrypted by.
        unclean: the process that had it last did not close it.
    """

    lock: InstanceLock
    secret_key: bytes
    unclean: bool


def prepare(database: Path, socket: Path, secret_key: bytes | None, entropy: Entropy) -> Prepared:
    """Make a database ready to be opened; it is made where there is none.

    Args:
        database: its file.
        socket: where this process will be administered, to be told to others.
        secret_key: the key that was configured; else the one in the file beside the database,
            which the first start makes.
        entropy: makes it.

    Raises:
        DatabaseInUse: another process has it.
        ConfigInvalid: it is not Waypost's, too new, or was written under another key.
    """
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = InstanceLock.acquire(database, socket)
    try:
        unclean = _has_log(database)
        with open_apart(database) as connection:
            migrate(connection)
            key = secret_key or key_file.read(database) or _make_key(connection, database, entropy)
            key_file.confirm(connection, key)
    except BaseException:
        lock.release()
        raise
    return Prepared(lock, key, unclean)


@contextmanager
def open_apart(database: Path, *, read_only: bool = False) -> Iterator[Connection]:
    """Have a database open outside the store.

    Raises:
        ConfigInvalid: it can't be opened, or is no database.
    """
    if not read_only:
        # It holds what customers sent: others are to read it through Waypost alone.
        os.close(os.open(database, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        connection = connect(database, read_only=read_only)
    except DBAPIError as error:
        raise ConfigInvalid(f"the database {database} can't be opened: {error.orig}") from error
    try:
        yield connection
    finally:
        connection.close()
        connection.engine.dispose()


def migrate(connection: Connection) -> None:
    """Bring a database to the newest schema.

    Raises:
        ConfigInvalid: it is not Waypost's, or too new.
    """
    current = migrations.current_revision(connection)
    if current == migrations.HEAD:
        return
    # Alembic takes a tenth of a second to import; most starts need not pay for it.
    from waypost.storage.migrations.upgrade import upgrade  # noqa: PLC0415 - slow to load

    upgrade(connection)
    _log.info("database_migrated", before=current, now=migrations.HEAD)


def _make_key(connection: Connection, database: Path, entropy: Entropy) -> bytes:
    known = key_file.known_fingerprint(connection)
    if known is not None:
        raise ConfigInvalid(
            f"the secret key of this database (fingerprint {known}) is missing: set"
            f" WAYPOST_SECRET_KEY, or put {key_file.key_file(database)} back"
        )
    key = key_file.make(database, entropy)
    _log.info("key_file_made", file=str(key_file.key_file(database)))
    return key


def _has_log(database: Path) -> bool:
    try:
        return database.with_name(database.name + "-wal").stat().st_size > 0
    except FileNotFoundError:
        return False
