"""The store: one that writes, some that read, and both as they are set up."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tests.support.database import Records, opened
from waypost.model.errors import Unavailable
from waypost.storage.connection import Connection
from waypost.storage.sqlite.store import SqliteStore


async def test_the_writer_survives_a_power_cut(records: Records, path: Path) -> None:
    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "fullfsync", "wal_autocheckpoint", "foreign_keys")
        return [connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in names]

    async with opened(path) as store:
        assert await store.write(pragmas) == ["wal", 2, 1, 0, 1]


async def test_a_store_that_is_not_open_says_so(records: Records, path: Path) -> None:
    store = SqliteStore(path, on_fatal=lambda _: None)
    with pytest.raises(Unavailable):
        await store.write(lambda _: None)
    await store.close()
