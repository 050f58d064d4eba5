"""Databases of PostgreSQL with partitions as in earnest: one for each day, a week ahead."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from tests.support import postgres
from tests.support.manual import ManualClock
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.partitions import Width
from waypost.storage.postgres.connection import connect

NOW_US = ManualClock().now_us()


@contextmanager
def fresh() -> Iterator[str]:
    """Have a migrated database of one's own; yield its URL."""
    with postgres.fresh(_template, "template_of_partitions") as url:
        yield url


@contextmanager
def opened(url: str) -> Iterator[Connection]:
    """Have one more connection."""
    connection = connect(url)
    try:
        yield connection
    finally:
        connection.close()
        connection.engine.dispose()


def _template(url: str) -> None:
    upgrade_shared(lambda: connect(url), NOW_US, Width.DAY)
