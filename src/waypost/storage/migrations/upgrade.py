"""Brings a database to the newest revision."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from waypost.model.errors import Conflict
from waypost.storage import partitions
from waypost.storage.migrations import current_revision
from waypost.storage.partitions import Width

_LOCK: Final = 7_238_946_001_552_001
"""The advisory lock of whoever migrates; a number of ours and of nobody else's."""

_LOCK_NOT_AVAILABLE: Final = "55P03"


def upgrade(connection: Connection) -> None:
    """Bring a SQLite database to `HEAD` in one transaction: all of it holds, or nothing.

    Args:
        connection: in autocommit mode, as `sqlite.connection.connect` opens it.
    """
    config = _config(io.StringIO(), "sqlite")
    config.attributes["connection"] = connection
    # Python's driver would commit each statement that makes a table by itself.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        command.upgrade(config, "head")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def upgrade_shared(
    connect: Callable[[], Connection],
    now_us: int,
    width: Width = Width.DAY,
    *,
    patience_s: float = 10.0,
) -> None:
    """Bring a PostgreSQL database to `HEAD`, and make the partitions that are needed next.

    Each revision is a transaction of its own: what breaks off goes on where it stopped. One
    connection holds the lock in a transaction, so that it also works behind a pooler; the other
    one migrates, and gives up where a table stays locked: nobody's queries wait behind it for long.

    Args:
        connect: opens a connection as `postgres.connection.connect` does.
        now_us: the present, UTC microseconds.
        width: of the partitions.
        patience_s: how long to wait for another migration, or for a locked table.

    Raises:
        Conflict: another process migrates, or a table stays locked.
        ConfigInvalid: the database is not Waypost's, or too new.
    """
    holder, worker = connect(), connect()
    try:
        for one in (holder, worker):
            one.execute(text(f"SET lock_timeout = {patience_s * 1_000:.0f}"))
            one.execute(text("SET statement_timeout = 0"))
            one.execute(text("SET idle_in_transaction_session_timeout = 0"))
        holder.exec_driver_sql("BEGIN")
        holder.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        current_revision(worker)
        worker.rollback()
        config = _config(io.StringIO(), "postgresql")
        config.attributes["connection"] = worker.execution_options(isolation_level="READ COMMITTED")
        command.upgrade(config, "head")
        worker.rollback()
        with worker.begin():
            partitions.make_ahead(worker, now_us, width)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise Conflict(
            "another process migrates this database, or holds a table of it locked:"
            " try again when it is done"
        ) from error
    finally:
        for one in (worker, holder):
            one.close()
            one.engine.dispose()


def statements(connection: Connection) -> str:
    """Return the SQL that `upgrade` or `upgrade_shared` would run, but for the partitions."""
    script = io.StringIO()
    start = current_revision(connection) or "base"
    command.upgrade(_config(script, connection.dialect.name), f"{start}:head", sql=True)
    return script.getvalue()


def _config(output: io.StringIO, dialect: str) -> Config:
    config = Config(output_buffer=output)
    config.attributes["dialect"] = dialect
    # A percent sign in the folder's name would be taken for interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
