"""Records of other surfaces: each body is encrypted as a whole, bound to its row."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select
from sqlalchemy import delete as delete_from
from sqlalchemy import insert as insert_into
from sqlalchemy import update as change

from waypost.model.errors import NotFound
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.record import Record
from waypost.storage import pages
from waypost.storage.surfaces import records
from waypost.storage.vault import Vault

LISTED_MAX: Final = 10_000
"""So many records are read at once, at most."""

_PLACE: Final = b"records.ciphertext\0"


def find(
    connection: Connection, vault: Vault, project_id: Id, kind: str, record_id: Id
) -> Record | None:
    """Return a record, deleted or not; None where there is none."""
    row = connection.execute(select(records).where(*_is(project_id, kind, record_id))).one_or_none()
    return None if row is None else _reader(vault)(row)


def get(connection: Connection, vault: Vault, project_id: Id, kind: str, record_id: Id) -> Record:
    """Return a record.

    Raises:
        NotFound: the project has none of this kind with this id, or it was deleted.
    """
    found = find(connection, vault, project_id, kind, record_id)
    if found is None or found.deleted_us is not None:
        raise NotFound(noun(kind))
    return found


def list_page(
    connection: Connection,
    vault: Vault,
    project_id: Id,
    kind: str,
    request: PageRequest,
    parent: Id | None = None,
) -> Page[Record]:
    """Return one page of a project's records of a kind; with a parent, of its parts alone."""
    query = _present(project_id, kind)
    if parent is not None:
        query = query.where(records.c.parent == parent)
    return pages.read(connection, query, (records.c.id,), request, _reader(vault))


def list_some(
    connection: Connection, vault: Vault, project_id: Id, kind: str, wanted: Sequence[Id]
) -> list[Record]:
    """Return those of some records that there are, deleted ones too, oldest first."""
    if not wanted:
        return []
    query = (
        select(records)
        .where(records.c.project_id == project_id, records.c.kind == kind, records.c.id.in_(wanted))
        .order_by(records.c.id)
    )
    return [_reader(vault)(row) for row in connection.execute(query)]


def list_parts(
    connection: Connection, vault: Vault, project_id: Id, kind: str, parents: Sequence[Id]
) -> list[Record]:
    """Return the records of a kind that are parts of these, oldest first."""
    if not parents:
        return []
    query = _present(project_id, kind).where(records.c.parent.in_(parents))
    rows = connection.execute(query.order_by(records.c.id).limit(LISTED_MAX))
    return [_reader(vault)(row) for row in rows]


def list_all(
    connection: Connection, vault: Vault, project_id: Id, kind: str, *, gone: bool = False
) -> list[Record]:
    """Return a project's records of a kind, oldest first; `gone`: deleted ones too."""
    query = _present(project_id, kind) if not gone else _of(project_id, kind)
    rows = connection.execute(query.order_by(records.c.id).limit(LISTED_MAX))
    return [_reader(vault)(row) for row in rows]


def list_ids(connection: Connection, project_id: Id, kind: str) -> list[Id]:
    """Return the ids of all records of a kind that a project has or had."""
    query = select(records.c.id).where(records.c.project_id == project_id, records.c.kind == kind)
    return list(connection.execute(query).scalars())


def put(connection: Connection, vault: Vault, record: Record) -> None:
    """Keep a record, new or changed."""
    place = (record.project_id, record.kind, record.id)
    values = {
        "parent": record.parent,
        "ciphertext": vault.seal(record.body, _place(*place)),
        "changed_us": record.changed_us,
        "deleted_us": record.deleted_us,
    }
    if connection.execute(change(records).where(*_is(*place)).values(**values)).rowcount == 0:
        project_id, kind, record_id = place
        connection.execute(
            insert_into(records).values(project_id=project_id, kind=kind, id=record_id, **values)
        )


def delete(connection: Connection, project_id: Id, kind: str, record_id: Id, at_us: int) -> None:
    """Mark a record deleted.

    Raises:
        NotFound: the project has none of this kind with this id, or it was deleted before.
    """
    marked = connection.execute(
        change(records)
        .where(*_is(project_id, kind, record_id), records.c.deleted_us.is_(None))
        .values(deleted_us=at_us)
    )
    if marked.rowcount != 1:
        raise NotFound(noun(kind))


def forget(connection: Connection, project_id: Id, kind: str, record_id: Id) -> None:
    """Remove a record that nothing refers to."""
    connection.execute(delete_from(records).where(*_is(project_id, kind, record_id)))


def noun(kind: str) -> str:
    """Return what a kind is called where one is missing: `endpoint` of `convoy.endpoint`."""
    return kind.rpartition(".")[2].replace("_", " ")


def _is(project_id: Id, kind: str, record_id: Id) -> tuple[Any, Any, Any]:
    return (records.c.project_id == project_id, records.c.kind == kind, records.c.id == record_id)


def _of(project_id: Id, kind: str) -> Select[Any]:
    return select(records).where(records.c.project_id == project_id, records.c.kind == kind)


def _present(project_id: Id, kind: str) -> Select[Any]:
    return _of(project_id, kind).where(records.c.deleted_us.is_(None))


def _place(project_id: Id, kind: str, record_id: Id) -> bytes:
    return _PLACE + project_id + kind.encode() + b"\0" + record_id


def _reader(vault: Vault) -> Callable[[Row[Any]], Record]:
    def read(row: Row[Any]) -> Record:
        place = _place(row.project_id, row.kind, row.id)
        return Record(
            project_id=row.project_id,
            kind=row.kind,
            id=row.id,
            body=vault.open(row.ciphertext, place),
            parent=row.parent,
            changed_us=row.changed_us,
            deleted_us=row.deleted_us,
        )

    return read
