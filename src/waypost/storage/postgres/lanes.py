"""The lanes of the queue, many of them in one statement."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, text

from waypost.model.ids import Id
from waypost.storage.postgres.arrays import int8s, uuids

# Sweeps all projects, by a few look-ups in the index for each lane, however long the queue is.
# Retries are not looked at: whoever tried them knows of them, or that there are more of them. Nor
# is what is put off: lanes look for it when it is due.
_NEWEST: Final = text(
    "WITH RECURSIVE lane AS ("
    "(SELECT project_id, subscription_id FROM queue ORDER BY subscription_id LIMIT 1)"
    " UNION ALL SELECT behind.* FROM lane CROSS JOIN LATERAL"
    " (SELECT project_id, subscription_id FROM queue"
    " WHERE subscription_id > lane.subscription_id ORDER BY subscription_id LIMIT 1) AS behind) "
    "SELECT lane.project_id, lane.subscription_id, newest.id FROM lane LEFT JOIN LATERAL"
    " (SELECT last.id FROM (VALUES (0), (2)) AS kind (class) CROSS JOIN LATERAL"
    " (SELECT id FROM queue WHERE subscription_id = lane.subscription_id AND class = kind.class"
    " AND due_us <= (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    " ORDER BY due_us DESC LIMIT 1) AS last) AS newest ON true"
)

# As in `hot`: by `= ANY (ARRAY[…])` there is no plan but to look for each row in an index.
_HEADS: Final = """
SELECT lane.place, q.id, q.event_id, q.class, q.due_us, q.attempts, q.replay_id, q.ordering_key,
  q.sequence, e.type, e.attributes, e.routing_version,
  CASE WHEN length(e.payload) <= %s THEN e.payload END
FROM unnest(%s::uuid[], %s::uuid[], %s::int8[]) WITH ORDINALITY
  AS lane (project_id, subscription_id, most, place)
CROSS JOIN (VALUES (0), (1), (2)) AS kind (class)
CROSS JOIN LATERAL (
  SELECT project_id, id, event_id, class, due_us, attempts, replay_id, ordering_key, sequence
  FROM queue
  WHERE project_id = ANY (ARRAY[lane.project_id]) AND subscription_id = lane.subscription_id
    AND class = kind.class AND id <> ALL (%s::uuid[])
  ORDER BY due_us LIMIT lane.most
) AS q
JOIN events AS e ON e.project_id = ANY (ARRAY[q.project_id]) AND e.id = q.event_id
"""


def newest(connection: Connection) -> list[tuple[Id, Id, Id | None]]:
    """Return (project, subscription, delivery) of each lane, of what was owed to it last.

    Twice where that is a first try and a replay; None where it is owed nothing but retries.
    """
    return [(row[0], row[1], row[2]) for row in connection.execute(_NEWEST)]


def heads(
    connection: Connection,
    lanes: Sequence[tuple[Id, Id, int]],
    known: Sequence[Id],
    *,
    payload_max: int,
) -> list[tuple[Any, ...]]:
    """Return the most urgent deliveries of lanes, in no order, each behind its lane's place from 1.

    Args:
        connection: where to look.
        lanes: project, subscription, and how many of each class at most.
        known: deliveries that are left out.
        payload_max: payloads that are larger are left out.
    """
    projects, subscriptions, most = zip(*lanes, strict=True)
    values = (payload_max, uuids(projects), uuids(subscriptions), int8s(most), uuids(known))
    return [tuple(row) for row in connection.exec_driver_sql(_HEADS, values)]
