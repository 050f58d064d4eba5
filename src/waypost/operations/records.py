"""Records of other surfaces: kept, changed, and read back.

What a surface keeps beside a change of ours is written in the same transaction: `saving` and
`deleting` return what such a change is handed.
"""

from collections.abc import Callable, Sequence

import msgspec

from waypost.clock import IdSource
from waypost.engine.configuration import Configuration
from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.record import Record
from waypost.storage import records
from waypost.storage.connection import Connection, PlainWrite, Write, write_all
from waypost.storage.vault import Vault

__all__ = ["Records", "Write"]


class Records:
    """What surfaces ask of their records; all are of the caller's project."""

    def __init__(self, configuration: Configuration, vault: Vault, source: IdSource) -> None:
        """Take what they are kept in, what seals them, and a source of ids."""
        self._store = configuration.store
        self._vault = vault
        self._ids = source

    def new(
        self,
        principal: Principal,
        kind: str,
        body: bytes,
        parent: Id | None = None,
        record_id: Id | None = None,
    ) -> Record:
        """Return a record that is not kept yet; with an id, under it."""
        own, now_us = self._ids.next_at()
        return Record(principal.project_id, kind, record_id or own, body, parent, now_us)

    def changed(self, record: Record, body: bytes) -> Record:
        """Return a record with another body; it is not kept yet."""
        return msgspec.structs.replace(record, body=body, changed_us=ids.moment(self._ids.next()))

    async def get(self, principal: Principal, kind: str, record_id: Id) -> Record:
        """Return a record.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        return await self._store.read(
            lambda c: records.get(c, self._vault, principal.project_id, kind, record_id)
        )

    async def find(self, principal: Principal, kind: str, record_id: Id) -> Record | None:
        """Return a record, deleted or not; None where there is none."""
        return await self._store.read(
            lambda c: records.find(c, self._vault, principal.project_id, kind, record_id)
        )

    async def some(self, principal: Principal, kind: str, wanted: Sequence[Id]) -> dict[Id, Record]:
        """Return those of some records that there are, deleted ones too, by id."""
        found = await self._store.read(
            lambda c: records.list_some(c, self._vault, principal.project_id, kind, wanted)
        )
        return {record.id: record for record in found}

    async def list_page(
        self, principal: Principal, kind: str, request: PageRequest, parent: Id | None = None
    ) -> Page[Record]:
        """Return one page of the records of a kind; with a parent, of its parts alone."""
        return await self._store.read(
            lambda c: records.list_page(c, self._vault, principal.project_id, kind, request, parent)
        )

    async def parts(self, principal: Principal, kind: str, *parents: Id) -> list[Record]:
        """Return the records of a kind that are parts of these, oldest first."""
        return await self._store.read(
            lambda c: records.list_parts(c, self._vault, principal.project_id, kind, parents)
        )

    async def all(self, principal: Principal, kind: str, *, gone: bool = False) -> list[Record]:
        """Return the records of a kind, oldest first; `gone`: deleted ones too."""
        return await self._store.read(
            lambda c: records.list_all(c, self._vault, principal.project_id, kind, gone=gone)
        )

    async def ids_of(self, principal: Principal, kind: str) -> list[Id]:
        """Return the ids of all records of a kind that there are or were."""
        return await self._store.read(lambda c: records.list_ids(c, principal.project_id, kind))

    async def save(self, *wanted: Record) -> None:
        """Keep records, new or changed, all of them or none."""
        await self.write(*(self.saving(record) for record in wanted))

    async def change(
        self, principal: Principal, kind: str, record_id: Id, alter: Callable[[Record], bytes]
    ) -> Record:
        """Change a record: `alter` makes its new body, and sees it as it is then.

        Raises:
            NotFound: there is none, or it was deleted.
            Exception: what `alter` raised; nothing is changed.
        """
        now_us = ids.moment(self._ids.next())

        def write(connection: Connection) -> Record:
            present = records.get(connection, self._vault, principal.project_id, kind, record_id)
            after = msgspec.structs.replace(present, body=alter(present), changed_us=now_us)
            records.put(connection, self._vault, after)
            return after

        return await self._store.write(write)

    async def write(self, *writes: Write) -> None:
        """Run writes in one transaction."""
        await self._store.write(
            lambda connection: write_all(connection, writes), lambda follow: follow()
        )

    def saving(self, record: Record) -> PlainWrite:
        """Return what keeps a record, new or changed."""
        return lambda connection: records.put(connection, self._vault, record)

    def deleting(self, record: Record) -> PlainWrite:
        """Return what marks a record deleted; it raises NotFound where that was done before."""
        at_us = ids.moment(self._ids.next())
        return lambda connection: records.delete(
            connection, record.project_id, record.kind, record.id, at_us
        )

    def forgetting(self, record: Record) -> PlainWrite:
        """Return what removes a record that nothing refers to."""
        return lambda connection: records.forget(
            connection, record.project_id, record.kind, record.id
        )
