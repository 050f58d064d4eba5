"""The ways to a database beside the store's."""

import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from tests.support import database, postgres
from waypost.storage.postgres.connection import PostgresOptions
from waypost.storage.postgres.links import Links


@pytest.fixture
def links() -> Iterator[Links]:
    with postgres.fresh(database.fill) as url:
        yield Links(url, PostgresOptions())


async def test_a_connection_apart_is_known_by_its_name(links: Links) -> None:
    apart = links.apart("lease")
    name = await apart.run(
        lambda c: c.execute(text("SELECT current_setting('application_name')")).scalar_one()
    )
    assert name == "waypost lease"
    assert await apart.snapshot(links.newest) == []
    level = await apart.snapshot(lambda c: c.execute(text("SHOW transaction_isolation")).scalar())
    assert level == "repeatable read"
    await apart.close()


def test_a_channel_is_being_connected(links: Links) -> None:
    connected = threading.Event()
    channel = links.channel(lambda _: None, connected.set)
    assert connected.wait(10)
    channel.close()
