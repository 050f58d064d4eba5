"""Statements on many rows of the queue, written by hand for PostgreSQL: one for all of them."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection

from waypost.model.ids import Id
from waypost.storage.postgres.arrays import int2s, int4s, int8s, texts, uuids

Row = tuple[Any, ...]

_INSERT_QUEUE: Final = (
    "INSERT INTO queue (project_id, id, event_id, subscription_id, class, due_us, attempts,"
    " replay_id, ordering_key, sequence) "
    "SELECT g.project_id, g.id, g.event_id, g.subscription_id, g.class, g.due_us, g.attempts,"
    " %s::uuid, g.ordering_key, nullif(g.sequence, 0) "
    "FROM unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::uuid[], %s::int2[], %s::int8[], "
    "%s::int4[], %s::text[], %s::int8[]) AS g (project_id, id, event_id, subscription_id, class,"
    " due_us, attempts, ordering_key, sequence)"
)
# The subscription is compared in a way that no index is of use for: to find some rows by it would
# be to walk through its lane.
_END_UNTRIED: Final = """
WITH gone AS (
  DELETE FROM queue WHERE project_id = %s AND id = ANY (%s::uuid[])
    AND subscription_id IS NOT DISTINCT FROM %s
  RETURNING project_id, id, event_id, subscription_id, attempts
), ended AS (
  INSERT INTO deliveries
    (project_id, event_id, id, subscription_id, state, attempts, finished_us, reason)
  SELECT project_id, event_id, id, subscription_id, %s, attempts, %s, %s FROM gone
), diverted AS (
  INSERT INTO diverted_events
    (project_id, id, event_id, subscription_id, reason, diverted_us, attempts)
  SELECT project_id, id, event_id, subscription_id, %s, %s, attempts FROM gone WHERE %s
)
SELECT count(*) FROM gone
"""


def insert_queue(connection: Connection, rows: Sequence[Row], replay_id: Id | None = None) -> None:
    """Put deliveries into the queue, given as its rows, with or without their places.

    `replay_id` is the job that owes them.
    """
    if not rows:
        return
    columns = zip(*((*row, None, None)[:9] for row in rows), strict=True)
    projects, identifiers, events, subscriptions, classes, dues, attempts, keys, places = columns
    connection.exec_driver_sql(
        _INSERT_QUEUE,
        (
            replay_id,
            *(uuids(projects), uuids(identifiers), uuids(events), uuids(subscriptions)),
            *(int2s(classes), int8s(dues), int4s(attempts)),
            *(texts(keys), int8s([place or 0 for place in places])),
        ),
    )


def end_untried(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    delivery_ids: Sequence[Id],
    *,
    state: int,
    reason: str,
    divert: bool,
    now_us: int,
) -> int:
    """Take deliveries of a subscription out of the queue without a try; return how many."""
    return int(
        connection.exec_driver_sql(
            _END_UNTRIED,
            (
                *(project_id, uuids(delivery_ids), subscription_id, state, now_us, reason),
                *(reason, now_us, divert),
            ),
        ).scalar_one()
    )
