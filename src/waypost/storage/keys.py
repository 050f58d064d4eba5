"""API keys: of the secret only its SHA-256 digest is kept."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Row,
    Select,
    func,
    select,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)

from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import ApiKey, Scope
from waypost.storage import pages
from waypost.storage.schema import api_keys

_read_texts = msgspec.json.Decoder(tuple[str, ...]).decode


def get(connection: Connection, project_id: ids.Id, key_id: ids.Id) -> ApiKey:
    """Return a key, good or not.

    Raises:
        NotFound: the project has none with this id.
    """
    row = connection.execute(_of(project_id).where(api_keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(ids.KINDS[ids.KEY])
    return _key(row)


def find(connection: Connection, project_id: ids.Id, key_id: ids.Id) -> tuple[bytes, ApiKey] | None:
    """Return a key, good or not, with its digest; None where the project has none with this id."""
    row = connection.execute(_of(project_id).where(api_keys.c.id == key_id)).one_or_none()
    return None if row is None else (row.digest, _key(row))


def list_page(connection: Connection, project_id: ids.Id, request: PageRequest) -> Page[ApiKey]:
    """Return one page of a project's keys, revoked and expired ones too."""
    return pages.read(connection, _of(project_id), (api_keys.c.id,), request, _key)


def list_all(connection: Connection) -> list[tuple[bytes, ApiKey]]:
    """Return every key of every project with its digest: for what is kept of them in memory."""
    rows = connection.execute(select(api_keys).order_by(api_keys.c.id))
    return [(row.digest, _key(row)) for row in rows]


def count_active(connection: Connection, project_id: ids.Id, now_us: int) -> int:
    """Return how many keys of a project are neither revoked nor expired."""
    expires = api_keys.c.expires_at_us
    return int(
        connection.execute(
            select(func.count())
            .select_from(api_keys)
            .where(
                api_keys.c.project_id == project_id,
                api_keys.c.revoked_at_us.is_(None),
                expires.is_(None) | (expires > now_us),
            )
        ).scalar_one()
    )


def insert(connection: Connection, key: ApiKey, digest: bytes) -> None:
    """Keep a new key under the SHA-256 digest of its secret."""
    connection.execute(
        insert_into(api_keys).values(
            id=key.id,
            project_id=key.project_id,
            name=key.name,
            digest=digest,
            scopes=_json(sorted(key.scopes)),
            expires_at_us=key.expires_at_us,
            revoked_at_us=key.revoked_at_us,
            api=key.api.value,
            permissions=None if key.permissions is None else _json(sorted(key.permissions)),
            tenants=_json([one.hex() for one in key.tenants]) if key.tenants else None,
        )
    )


def revoke(connection: Connection, project_id: ids.Id, key_id: ids.Id, at_us: int) -> None:
    """Revoke a key; one that is revoked already keeps its moment.

    Raises:
        NotFound: the project has none with this id.
    """
    get(connection, project_id, key_id)
    _revoke(connection, project_id, at_us, api_keys.c.id == key_id)


def revoke_all(connection: Connection, project_id: ids.Id, at_us: int) -> None:
    """Revoke every key of a project."""
    _revoke(connection, project_id, at_us)


def _revoke(connection: Connection, project_id: ids.Id, at_us: int, *which: Any) -> None:
    connection.execute(
        change(api_keys)
        .where(api_keys.c.project_id == project_id, api_keys.c.revoked_at_us.is_(None), *which)
        .values(revoked_at_us=at_us)
    )


def _of(project_id: ids.Id) -> Select[Any]:
    return select(api_keys).where(api_keys.c.project_id == project_id)


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        scopes=frozenset(msgspec.json.decode(row.scopes, type=list[Scope])),
        expires_at_us=row.expires_at_us,
        revoked_at_us=row.revoked_at_us,
        api=Api(row.api),
        permissions=None if row.permissions is None else frozenset(_read_texts(row.permissions)),
        tenants=() if row.tenants is None else tuple(map(bytes.fromhex, _read_texts(row.tenants))),
    )


def _json(texts: Sequence[str]) -> str:
    return msgspec.json.encode(texts).decode()
