"""Idempotency keys: written and looked up by the hot path, forgotten here when they expire."""

from typing import Final

from sqlalchemy import Connection, select, text

from waypost.model.ids import Id
from waypost.storage.schema import idempotency_keys

_PRUNE: Final = text(
    "DELETE FROM idempotency_keys WHERE (project_id, key) IN "
    "(SELECT project_id, key FROM idempotency_keys WHERE expires_at_us <= :now_us "
    "ORDER BY expires_at_us LIMIT :limit)"
)
_COUNT: Final = text("SELECT count(*) FROM idempotency_keys WHERE expires_at_us <= :now_us")


def prune(connection: Connection, now_us: int, limit: int) -> int:
    """Delete at most `limit` of the keys that have expired by `now_us`. Sweeps all projects.

    Returns:
        How many were deleted; fewer than `limit` when none is left.
    """
    return connection.execute(_PRUNE, {"now_us": now_us, "limit": limit}).rowcount


def find(connection: Connection, project_id: Id, key: str) -> Id | None:
    """Return the event that holds a key, whether or not it has expired; None where none does."""
    chosen = select(idempotency_keys.c.event_id).where(
        idempotency_keys.c.project_id == project_id, idempotency_keys.c.key == key
    )
    found: Id | None = connection.execute(chosen).scalar_one_or_none()
    return found


def count_expired(connection: Connection, now_us: int) -> int:
    """Return how many keys have expired by `now_us`. Sweeps all projects."""
    return int(connection.execute(_COUNT, {"now_us": now_us}).scalar_one())
