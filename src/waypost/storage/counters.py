"""Counters of the order of acceptance: written by the hot path, forgotten here when they are idle.

A number is never below the moment at which it was given. So a counter that was not used for long
may be forgotten: the next number of its key is above the last one all the same.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, delete, select, tuple_

from waypost.model.ids import Id
from waypost.storage.schema import ordering_counters

IDLE_US: Final = 24 * 3600 * 1_000_000
"""For how long a counter was not used that may be forgotten: no clock is set back as far."""

Name = tuple[Id, str]
"""A project, and the name of one of its counters."""


def find_idle(
    connection: Connection, after: Name, before_us: int, limit: int
) -> tuple[list[str], Name | None]:
    """Look at the next counters behind one, of one project. Sweeps all projects.

    Args:
        connection: where from.
        after: the one that was looked at last.
        before_us: idle are those that were used last before this moment, UTC microseconds.
        limit: at how many to look at most.

    Returns:
        The names of those that are idle, and the last one that was looked at, of the same project;
        None where there is none behind.
    """
    key = tuple_(ordering_counters.c.project_id, ordering_counters.c.name)
    rows = connection.execute(
        select(ordering_counters)
        .where(ordering_counters.c.project_id >= after[0], key > tuple_(*after))
        .order_by(ordering_counters.c.project_id, ordering_counters.c.name)
        .limit(limit)
    ).all()
    if not rows:
        return [], None
    project_id = rows[0].project_id
    looked = [row for row in rows if row.project_id == project_id]
    return [row.name for row in looked if row.last < before_us], (project_id, looked[-1].name)


def forget(connection: Connection, project_id: Id, idle: Sequence[str], before_us: int) -> int:
    """Delete those of a project's counters that are idle still. Call it in a write only.

    Returns:
        How many were deleted.
    """
    gone = delete(ordering_counters).where(
        ordering_counters.c.project_id == project_id,
        ordering_counters.c.name.in_(idle),
        ordering_counters.c.last < before_us,
    )
    return connection.execute(gone).rowcount
