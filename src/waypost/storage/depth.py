"""How much is owed: counted for the metrics, with a bound on the work."""

from typing import Final

from sqlalchemy import Connection, literal, select, text

from waypost.storage import pages
from waypost.storage.schema import queue

AT_MOST: Final = 1_000_000
"""A longer queue is reported as this long: counting on would cost more than it tells."""

COUNTED: Final = 10_000
"""The same on PostgreSQL, which knows about how many rows a longer one has."""

# The first number is of the statistics that are kept all the time, until the server crashes; the
# second one of the last time that the table was cleaned.
_ABOUT: Final = text(
    "SELECT greatest(pg_stat_get_live_tuples(oid), reltuples::bigint) FROM pg_class"
    " WHERE oid = 'queue'::regclass"
)


def queue_depth(connection: Connection) -> int:
    """Return how many deliveries are owed, in all projects; `AT_MOST` at most, or about."""
    if connection.dialect.name != "postgresql":
        return _count(connection, AT_MOST)
    exact = _count(connection, COUNTED)
    if exact < COUNTED:
        return exact
    return max(exact, int(connection.execute(_ABOUT).scalar_one()))


def _count(connection: Connection, at_most: int) -> int:
    # In the order of its index: the table may be large and nearly empty, when a backlog is gone.
    rows = select(literal(1)).select_from(queue).order_by(queue.c.project_id, queue.c.id)
    return pages.count(connection, rows, at_most)
