"""How commands reach the database."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from waypost import config
from waypost.cli.administration import Client, administer
from waypost.config import Config
from waypost.model.errors import Unavailable, WaypostError
from waypost.server.program import administered
from waypost.storage.sqlite.instance import DatabaseInUse, InstanceLock, lock_file

DATABASE = Path("w.db")


@pytest.fixture
def settings() -> Config:
    return config.load(environment={"WAYPOST_DATABASE_URL": "sqlite:///w.db"}).config


@pytest.fixture
def running(settings: Config) -> Iterator[Config]:
    """Have the database open in a thread, as if by a server."""
    is_open, enough = threading.Event(), threading.Event()

    async def hold() -> None:
        async with administered(settings):
            is_open.set()
            await asyncio.to_thread(enough.wait)

    thread = threading.Thread(target=asyncio.run, args=(hold(),))
    thread.start()
    assert is_open.wait(30)
    yield settings
    enough.set()
    thread.join()


def count_projects(client: Client) -> int:
    return len(list(client.list("/v1/projects")))


def test_without_a_server_it_opens_the_database_itself(settings: Config) -> None:
    assert administer(settings, count_projects) == 1
    lock = InstanceLock.acquire(DATABASE, Path("s"))
    lock.release()


def test_with_a_server_it_asks_that(running: Config) -> None:
    with pytest.raises(DatabaseInUse):
        InstanceLock.acquire(DATABASE, Path("s"))
    assert administer(running, count_projects) == 1


def test_only_the_owner_can_open_the_socket(running: Config) -> None:
    assert Path("w.db.sock").stat().st_mode & 0o777 == 0o600


def test_a_key_of_the_caller_s_own_adds_nothing_and_takes_nothing(running: Config) -> None:
    def ask(client: Client) -> int:
        client._key = "no-such-key"
        return count_projects(client)

    assert administer(running, ask) == 1


def test_a_refusal_is_raised_in_the_server_s_words(settings: Config) -> None:
    with pytest.raises(WaypostError, match="project not found"):
        administer(settings, lambda client: client.send("GET", "/v1/projects/prj_none"))


def test_lists_are_read_to_their_end(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost.cli.administration._PAGE", 2)

    def make_and_list(client: Client) -> list[str]:
        for number in range(4):
            client.send("POST", "/v1/projects", {"name": f"p{number}", "environment": "test"})
        return [project["name"] for project in client.list("/v1/projects")]

    assert administer(settings, make_and_list) == ["p3", "p2", "p1", "p0", "Default"]


def test_a_holder_that_does_not_answer_is_told(settings: Config) -> None:
    lock = InstanceLock.acquire(DATABASE, Path("nobody-listens.sock"))
    with pytest.raises(Unavailable, match="does not answer"):
        administer(settings, count_projects)
    lock.release()


def test_a_holder_that_is_unknown_is_told(settings: Config) -> None:
    lock = InstanceLock.acquire(DATABASE, Path("s"))
    lock_file(DATABASE).write_bytes(b"")
    with pytest.raises(DatabaseInUse, match="another process"):
        administer(settings, count_projects)
    lock.release()
