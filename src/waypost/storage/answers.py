"""Answers to changes that were asked for under an idempotency key: kept for a while, encrypted.

An answer may hold a secret that is shown but once. It is written in the transaction of the change
that it answers, so that both are there or neither; the primary key lets only one of two requests
under the same key through.
"""

from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, text

from waypost.model.errors import Conflict
from waypost.model.ids import Id
from waypost.storage.schema import answers
from waypost.storage.vault import Vault

_PLACE: Final = b"answers.ciphertext\0"
_PRUNE: Final = text(
    "DELETE FROM answers WHERE (project_id, key) IN "
    "(SELECT project_id, key FROM answers WHERE expires_at_us <= :now_us "
    "ORDER BY expires_at_us LIMIT :limit)"
)
_COUNT: Final = text("SELECT count(*) FROM answers WHERE expires_at_us <= :now_us")


class Kept(msgspec.Struct, frozen=True):
    """An answer that is kept.

    Attributes:
        fingerprint: of the request that was answered.
        body: the answer.
    """

    fingerprint: bytes
    body: bytes


def find(
    connection: Connection, vault: Vault, project_id: Id, key: str, now_us: int
) -> Kept | None:
    """Return what a request under this key was answered with, or None.

    Raises:
        ConfigInvalid: it can't be decrypted.
    """
    row = connection.execute(
        select(answers).where(
            answers.c.project_id == project_id,
            answers.c.key == key,
            answers.c.expires_at_us > now_us,
        )
    ).one_or_none()
    if row is None:
        return None
    body = vault.open(row.ciphertext, _place(project_id, key))
    return Kept(row.fingerprint, body)


def keep(
    connection: Connection,
    vault: Vault,
    project_id: Id,
    key: str,
    kept: Kept,
    *,
    now_us: int,
    expires_at_us: int,
) -> None:
    """Keep an answer, in the transaction of what it answers.

    Raises:
        Conflict: another request under this key was answered meanwhile.
    """
    place = (answers.c.project_id == project_id, answers.c.key == key)
    connection.execute(delete(answers).where(*place, answers.c.expires_at_us <= now_us))
    if connection.execute(select(answers.c.key).where(*place)).one_or_none() is not None:
        raise Conflict("A request with this idempotency key was answered meanwhile; ask again.")
    connection.execute(
        insert(answers).values(
            project_id=project_id,
            key=key,
            fingerprint=kept.fingerprint,
            ciphertext=vault.seal(kept.body, _place(project_id, key)),
            expires_at_us=expires_at_us,
        )
    )


def prune(connection: Connection, now_us: int, limit: int) -> int:
    """Delete at most `limit` of the answers that have expired by `now_us`. Sweeps all projects.

    Returns:
        How many were deleted; fewer than `limit` when none is left.
    """
    return connection.execute(_PRUNE, {"now_us": now_us, "limit": limit}).rowcount


def count_expired(connection: Connection, now_us: int) -> int:
    """Return how many answers have expired by `now_us`. Sweeps all projects."""
    return int(connection.execute(_COUNT, {"now_us": now_us}).scalar_one())


def _place(project_id: Id, key: str) -> bytes:
    return _PLACE + project_id + key.encode()
