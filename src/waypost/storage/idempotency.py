"""Idempotency keys: written and looked up by the hot path, forgotten here when they expire."""

from typing import Final

from sqlalchemy import Connection, text

CHUNK: Final = 500
"""Keys deleted in one transaction."""

_PRUNE: Final = text(
    "DELETE FROM idempotency_keys WHERE (project_id, key) IN "
    "(SELECT project_id, key FROM idempotency_keys WHERE expires_at_us <= :now_us "
    "ORDER BY expires_at_us LIMIT :limit)"
)


def prune(connection: Connection, now_us: int) -> int:
    """Delete some of the keys that have expired by `now_us`. Sweeps all projects.

    Returns:
        How many were deleted; fewer than `CHUNK` when none is left.
    """
    return connection.execute(_PRUNE, {"now_us": now_us, "limit": CHUNK}).rowcount
