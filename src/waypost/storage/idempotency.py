"""Idempotency keys: written and looked up by the hot path, forgotten here when they expire."""

from typing import Final

from sqlalchemy import Connection, text

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


def count_expired(connection: Connection, now_us: int) -> int:
    """Return how many keys have expired by `now_us`. Sweeps all projects."""
    return int(connection.execute(_COUNT, {"now_us": now_us}).scalar_one())
