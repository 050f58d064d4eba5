"""How much is owed: counted for the metrics, with a bound on the work."""

from typing import Final

from sqlalchemy import Connection, func, literal, select

from waypost.storage.schema import queue

AT_MOST: Final = 1_000_000
"""A longer queue is reported as this long: counting on would cost more than it tells."""


def queue_depth(connection: Connection) -> int:
    """Return how many deliveries are owed, in all projects, `AT_MOST` at most."""
    some = select(literal(1)).select_from(queue).limit(AT_MOST).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())
