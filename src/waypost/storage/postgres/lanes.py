"""The lanes that are owed something, and what each was owed last, in one statement."""

from typing import Final

from sqlalchemy import Connection, text

from waypost.model.ids import Id

# Sweeps all projects, by a few look-ups in the index for each lane, however long the queue is.
# Retries are not looked at: whoever tried them knows of them, or that there are more of them.
_NEWEST: Final = text(
    "WITH RECURSIVE lane AS ("
    "(SELECT project_id, subscription_id FROM queue ORDER BY project_id, subscription_id LIMIT 1)"
    " UNION ALL SELECT behind.* FROM lane CROSS JOIN LATERAL"
    " (SELECT project_id, subscription_id FROM queue WHERE (project_id, subscription_id) >"
    " (lane.project_id, lane.subscription_id)"
    " ORDER BY project_id, subscription_id LIMIT 1) AS behind) "
    "SELECT lane.project_id, lane.subscription_id, newest.id FROM lane LEFT JOIN LATERAL"
    " (SELECT last.id FROM (VALUES (0), (2)) AS kind (class) CROSS JOIN LATERAL"
    " (SELECT id FROM queue WHERE project_id = lane.project_id"
    " AND subscription_id = lane.subscription_id AND class = kind.class"
    " ORDER BY due_us DESC, id DESC LIMIT 1) AS last) AS newest ON true"
)


def newest(connection: Connection) -> list[tuple[Id, Id, Id | None]]:
    """Return (project, subscription, delivery) of each lane, of what was owed to it last.

    Twice where that is a first try and a replay; None where it is owed nothing but retries.
    """
    return [(row[0], row[1], row[2]) for row in connection.execute(_NEWEST)]
