"""Signing keys: the secrets of subscriptions, encrypted, each bound to its row."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    Select,
    and_,
    select,
)
from sqlalchemy import (
    delete as delete_from,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)

from waypost.model.ids import Id
from waypost.model.subscription import Signing, SigningKey
from waypost.storage.schema import signing_keys, subscriptions
from waypost.storage.vault import Vault

_PLACE = b"signing_keys.ciphertext\0"


def insert(
    connection: Connection, vault: Vault, project_id: Id, subscription_id: Id, key: SigningKey
) -> None:
    """Keep a new key of a subscription."""
    connection.execute(
        insert_into(signing_keys).values(
            project_id=project_id,
            subscription_id=subscription_id,
            id=key.id,
            scheme=key.scheme.value,
            ciphertext=vault.seal(key.material, _place(project_id, subscription_id, key.id)),
            expires_at_us=key.expires_at_us,
        )
    )


def list_all(
    connection: Connection, vault: Vault, project_id: Id, subscription_id: Id
) -> tuple[SigningKey, ...]:
    """Return a subscription's keys, newest first; expired ones too, as long as they are kept.

    Raises:
        ConfigInvalid: one of them can't be decrypted.
    """
    rows = connection.execute(
        select(signing_keys)
        .where(*_of(project_id, subscription_id))
        .order_by(signing_keys.c.id.desc())
    )
    return tuple(_key(vault, row) for row in rows)


def load_all(connection: Connection, vault: Vault) -> dict[tuple[Id, Id], tuple[SigningKey, ...]]:
    """Return the keys of every subscription that is not deleted, newest first, at start.

    Raises:
        ConfigInvalid: one of them can't be decrypted.
    """
    found: dict[tuple[Id, Id], tuple[SigningKey, ...]] = {}
    for row in connection.execute(_present()):
        place = (row.project_id, row.subscription_id)
        found[place] = (_key(vault, row), *found.get(place, ()))
    return found


def list_present(
    connection: Connection, vault: Vault, project_id: Id, of: Collection[Id]
) -> dict[Id, SigningKey]:
    """Return the present key of each of these subscriptions of a project.

    Raises:
        ConfigInvalid: one of them can't be decrypted.
    """
    rows = connection.execute(
        select(signing_keys).where(
            signing_keys.c.project_id == project_id,
            signing_keys.c.subscription_id.in_(of),
            signing_keys.c.expires_at_us.is_(None),
        )
    )
    return {row.subscription_id: _key(vault, row) for row in rows}


def expire(connection: Connection, project_id: Id, subscription_id: Id, at_us: int) -> None:
    """Let a subscription's present key expire at `at_us`, UTC microseconds."""
    connection.execute(
        change(signing_keys)
        .where(*_of(project_id, subscription_id), signing_keys.c.expires_at_us.is_(None))
        .values(expires_at_us=at_us)
    )


def delete_expired(
    connection: Connection, project_id: Id, subscription_id: Id, now_us: int
) -> None:
    """Forget the keys of a subscription that have expired by `now_us`."""
    connection.execute(
        delete_from(signing_keys).where(
            *_of(project_id, subscription_id), signing_keys.c.expires_at_us <= now_us
        )
    )


def delete_all(connection: Connection, project_id: Id, subscription_id: Id) -> None:
    """Forget every key of a subscription."""
    connection.execute(delete_from(signing_keys).where(*_of(project_id, subscription_id)))


def _of(project_id: Id, subscription_id: Id) -> tuple[Any, Any]:
    return (
        signing_keys.c.project_id == project_id,
        signing_keys.c.subscription_id == subscription_id,
    )


def _present() -> Select[Any]:
    """Return every row of a subscription that is not deleted, in the order of the primary key."""
    of_subscription = and_(
        subscriptions.c.project_id == signing_keys.c.project_id,
        subscriptions.c.id == signing_keys.c.subscription_id,
    )
    return (
        select(signing_keys)
        .join(subscriptions, of_subscription)
        .where(subscriptions.c.deleted_at_us.is_(None))
        .order_by(signing_keys.c.project_id, signing_keys.c.subscription_id, signing_keys.c.id)
    )


def _place(project_id: Id, subscription_id: Id, key_id: Id) -> bytes:
    return _PLACE + project_id + subscription_id + key_id


def _key(vault: Vault, row: Row[Any]) -> SigningKey:
    place = _place(row.project_id, row.subscription_id, row.id)
    return SigningKey(
        id=row.id,
        scheme=Signing(row.scheme),
        material=vault.open(row.ciphertext, place),
        expires_at_us=row.expires_at_us,
    )
