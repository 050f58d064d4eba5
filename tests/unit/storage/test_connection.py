"""What operations name is what the store hands them."""

from pathlib import Path

from tests.support import database
from waypost.storage.connection import Connection


async def test_reads_and_writes_are_handed_a_connection(tmp_path: Path) -> None:
    database.make(tmp_path / "w.db").connection.close()
    async with database.opened(tmp_path / "w.db") as store:
        assert await store.read(lambda given: isinstance(given, Connection))
        assert await store.write(lambda given: isinstance(given, Connection))
