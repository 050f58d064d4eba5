"""The server from its start to its end, in this process."""

import asyncio
import gc
import http.client
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from waypost import config
from waypost.cli.administration import Client
from waypost.config import Config
from waypost.model.errors import WaypostError
from waypost.server.program import Server, administered, opened, serving
from waypost.storage.location import SqliteFile
from waypost.storage.sqlite.instance import InstanceLock
from waypost.web.listener import bind

ADMIN_KEY = "an-admin-key-of-mine"


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return config.load(
        environment={
            "WAYPOST_DATABASE_URL": f"sqlite:///{tmp_path / 'w.db'}",
            "WAYPOST_LISTEN": "127.0.0.1:0",
            "WAYPOST_ADMIN_KEY": ADMIN_KEY,
        }
    ).config


def file_of(settings: Config) -> Path:
    assert isinstance(settings.database, SqliteFile)
    return settings.database.path


@pytest.fixture
async def running(settings: Config) -> AsyncIterator[Server]:
    thresholds = gc.get_threshold()
    async with serving(settings, bind("127.0.0.1", 0)) as server:
        yield server
    gc.set_threshold(*thresholds)
    gc.unfreeze()


async def ask(server: Server, path: str, key: str | None = None) -> Any:
    address = server.url.removeprefix("http://")
    client = Client(lambda: http.client.HTTPConnection(address, timeout=30), key)
    return await asyncio.to_thread(client.send, "GET", path)


async def test_it_serves_where_it_says(running: Server) -> None:
    assert (await ask(running, "/readyz"))["status"] == "ready"


async def test_the_network_needs_a_key_and_the_socket_none(running: Server) -> None:
    with pytest.raises(WaypostError, match="API key"):
        await ask(running, "/v1/projects")
    assert (await ask(running, "/v1/projects", ADMIN_KEY))["data"]
    local = Client.local(running.local_path)
    assert (await asyncio.to_thread(local.send, "GET", "/v1/projects"))["data"]


async def test_after_the_end_nothing_of_it_is_left(settings: Config) -> None:
    async with administered(settings) as server:
        assert server.local_path.exists()
    assert not server.local_path.exists()
    InstanceLock.acquire(file_of(settings), Path("s")).release()


async def test_a_start_that_fails_gives_the_database_back(
    settings: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Server) -> None:
        raise WaypostError("no luck")

    monkeypatch.setattr(Server, "open", fail)
    with pytest.raises(WaypostError, match="no luck"):
        async with opened(settings):
            pass
    InstanceLock.acquire(file_of(settings), Path("s")).release()


async def test_a_broken_disk_is_the_end_of_it(running: Server) -> None:
    running._fail_from_thread(OSError("I/O error"))
    await asyncio.wait([running.failed], timeout=30)
    assert isinstance(running.failed.exception(), OSError)


async def test_it_is_not_ready_before_it_serves(settings: Config) -> None:
    async with administered(settings) as server:
        local = Client.local(server.local_path)
        with pytest.raises(KeyError):  # an answer of 503 that is no refusal of the API's
            await asyncio.to_thread(local.send, "GET", "/readyz")


async def test_another_key_than_the_database_s_is_refused(settings: Config) -> None:
    async with opened(settings):
        pass
    with pytest.raises(WaypostError, match="not the one that this database was written under"):
        async with opened(replace(settings, secret_key=bytes(range(32)))):
            pass
