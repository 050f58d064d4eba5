"""Brings a database to the newest revision."""

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from waypost.storage.migrations import current_revision


def upgrade(connection: Connection) -> None:
    """Bring a database to `HEAD` in one transaction: all of it holds, or nothing.

    Args:
        connection: in autocommit mode, as `store.connect` opens it.
    """
    config = _config(io.StringIO())
    config.attributes["connection"] = connection
    # Python's driver would commit each statement that makes a table by itself.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        command.upgrade(config, "head")
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")


def statements(connection: Connection) -> str:
    """Return the SQL that `upgrade` would run."""
    script = io.StringIO()
    start = current_revision(connection) or "base"
    command.upgrade(_config(script), f"{start}:head", sql=True)
    return script.getvalue()


def _config(output: io.StringIO) -> Config:
    config = Config(output_buffer=output)
    # A percent sign in the folder's name would be taken for interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
