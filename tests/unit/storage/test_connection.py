"""What operations name is what the store hands them."""

from collections.abc import Callable
from pathlib import Path

from tests.support import database
from waypost.storage.connection import Connection, write_all


async def test_reads_and_writes_are_handed_a_connection(tmp_path: Path) -> None:
    database.make(tmp_path / "w.db").connection.close()
    async with database.opened(tmp_path / "w.db") as store:
        assert await store.read(lambda given: isinstance(given, Connection))
        assert await store.write(lambda given: isinstance(given, Connection))


def test_what_writes_return_is_called_after_all_of_them(tmp_path: Path) -> None:
    said: list[str] = []

    def write(_connection: Connection) -> Callable[[], None]:
        said.append("written")
        return lambda: said.append("followed")

    with database.make(tmp_path / "w.db").connection as connection:
        follow = write_all(connection, [write, lambda _: None, write])
        assert said == ["written"] * 2
        follow()
    assert said == ["written"] * 2 + ["followed"] * 2
