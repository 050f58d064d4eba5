"""Sources. Their verifiers are encrypted, each bound to its row."""

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
    delete as delete_from,
)
from sqlalchemy import (
    insert as insert_into,
)
from sqlalchemy import (
    update as change,
)

from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.source import CustomResponse, Source, SourceType, Verifier
from waypost.storage import pages
from waypost.storage.surfaces import sources
from waypost.storage.vault import Vault

_PLACE = b"sources.verifier\0"


class _Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept as JSON."""

    custom_response: CustomResponse | None = None
    event_type_location: str | None = None
    idempotency_keys: tuple[str, ...] = ()
    forward_headers: tuple[str, ...] | None = None
    max_bytes: int | None = None
    disabled: bool = False


_read_settings = msgspec.json.Decoder(_Settings).decode
_read_verifier: Any = msgspec.json.Decoder(Verifier).decode


def get(connection: Connection, vault: Vault, project_id: ids.Id, source_id: ids.Id) -> Source:
    """Return a source.

    Raises:
        NotFound: the project has none with this id.
        ConfigInvalid: its verifier can't be decrypted.
    """
    found = find(connection, vault, project_id, source_id)
    if found is None:
        raise NotFound(ids.KINDS[ids.SOURCE])
    return found


def find(
    connection: Connection, vault: Vault, project_id: ids.Id, source_id: ids.Id
) -> Source | None:
    """Return a source, or None where the project has none with this id (any more).

    Raises:
        ConfigInvalid: its verifier can't be decrypted.
    """
    row = connection.execute(_of(project_id).where(sources.c.id == source_id)).one_or_none()
    return None if row is None else _source(vault, row)


def list_page(
    connection: Connection, vault: Vault, project_id: ids.Id, request: PageRequest
) -> Page[Source]:
    """Return one page of a project's sources.

    Raises:
        ConfigInvalid: a verifier can't be decrypted.
    """
    return pages.read(
        connection, _of(project_id), (sources.c.id,), request, lambda row: _source(vault, row)
    )


def load_all(connection: Connection, vault: Vault) -> list[Source]:
    """Return every source of every project: for what is kept of them in memory.

    Raises:
        ConfigInvalid: a verifier can't be decrypted.
    """
    return [_source(vault, row) for row in connection.execute(select(sources))]


def count(connection: Connection, project_id: ids.Id) -> int:
    """Return how many sources a project has."""
    counted = select(func.count()).select_from(sources).where(sources.c.project_id == project_id)
    return int(connection.execute(counted).scalar_one())


def insert(connection: Connection, vault: Vault, source: Source) -> None:
    """Keep a new source."""
    connection.execute(
        insert_into(sources).values(
            project_id=source.project_id,
            id=source.id,
            mask=source.mask,
            type=source.type.value,
            **_changeable(vault, source),
        )
    )


def update(connection: Connection, vault: Vault, source: Source) -> None:
    """Keep the changed settings of a source."""
    connection.execute(
        change(sources)
        .where(*_is(source.project_id, source.id))
        .values(**_changeable(vault, source))
    )


def delete(connection: Connection, project_id: ids.Id, source_id: ids.Id) -> None:
    """Forget a source; its events stay.

    Raises:
        NotFound: the project has none with this id.
    """
    gone = connection.execute(delete_from(sources).where(*_is(project_id, source_id)))
    if gone.rowcount != 1:
        raise NotFound(ids.KINDS[ids.SOURCE])


def _is(project_id: ids.Id, source_id: ids.Id) -> tuple[Any, Any]:
    return sources.c.project_id == project_id, sources.c.id == source_id


def _of(project_id: ids.Id) -> Select[Any]:
    return select(sources).where(sources.c.project_id == project_id)


def _place(project_id: ids.Id, source_id: ids.Id) -> bytes:
    return _PLACE + project_id + source_id


def _changeable(vault: Vault, source: Source) -> dict[str, Any]:
    kept = _Settings(*(getattr(source, name) for name in _Settings.__struct_fields__))
    verifier = msgspec.json.encode(source.verifier)
    return {
        "name": source.name,
        "verifier": vault.seal(verifier, _place(source.project_id, source.id)),
        "settings": msgspec.json.encode(kept).decode(),
        "challenged_us": source.challenged_us,
    }


def _source(vault: Vault, row: Row[Any]) -> Source:
    verifier = vault.open(row.verifier, _place(row.project_id, row.id))
    return Source(
        project_id=row.project_id,
        id=row.id,
        mask=row.mask,
        name=row.name,
        type=SourceType(row.type),
        verifier=_read_verifier(verifier),
        challenged_us=row.challenged_us,
        **msgspec.structs.asdict(_read_settings(row.settings)),
    )
