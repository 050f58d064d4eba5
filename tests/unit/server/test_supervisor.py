"""The supervisor keeps its processes; they are small scripts here, and real ones in acceptance."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.waiting import until
from waypost import config
from waypost.config import Config
from waypost.model.errors import ConfigInvalid
from waypost.server import supervisor
from waypost.server.supervisor import GroupFailed, Supervisor
from waypost.web.listener import bind

# Ready at once, until SIGTERM or the end of the line.
GOOD = """
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
line = socket.socket(fileno=int(sys.argv[-1]))
line.send(bytes(8))
while line.recv(4096): pass
"""
SLOW_TO_STOP = GOOD.replace("sys.exit(0)", "None")
REFUSED = "import sys; sys.exit(2)"
BROKEN = "import sys; sys.exit(1)"
BAD_END = GOOD.replace("sys.exit(0)", "sys.exit(1)")


@pytest.fixture
def settings() -> Config:
    return config.load(
        {"database_url": "postgresql://h/d", "processes": "2"}, environment={}
    ).config


Make = Callable[[str], Supervisor]


@pytest.fixture
def make(settings: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return what makes a supervisor of processes that run a script."""

    def make(script: str) -> Supervisor:
        module = tmp_path / "stand_in.py"
        module.write_text(script)
        command = (sys.executable, str(module))
        monkeypatch.setattr(supervisor, "COMMAND", command)
        monkeypatch.setattr(supervisor, "_SOON_S", 0.001)
        monkeypatch.setattr(supervisor, "_LATEST_S", 0.002)
        return Supervisor(settings, bind("127.0.0.1", 0))

    return make


def pids(of: Supervisor) -> set[int]:
    return {one.pid for one in of._processes.values() if one.returncode is None}


async def test_it_runs_until_it_is_asked_to_stop(make: Make) -> None:
    group = make(GOOD)
    running = asyncio.create_task(group.run())
    await until(lambda: group._began)
    assert len(pids(group)) == 2
    group.stop()
    group.stop()
    assert await running == 0


async def test_one_that_dies_is_started_again(make: Make) -> None:
    group = make(GOOD)
    running = asyncio.create_task(group.run())
    await until(lambda: group._began)
    before = pids(group)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(pids(group)) == 2 and victim not in pids(group))
    assert len(pids(group) & before) == 1
    group.stop()
    await running


async def test_who_can_not_start_for_what_it_was_told_ends_the_group(make: Make) -> None:
    with pytest.raises(GroupFailed, match="it ended 1 times, the last time with the status 2"):
        await make(REFUSED).run()


async def test_who_never_starts_is_given_up(make: Make) -> None:
    with pytest.raises(GroupFailed, match="it ended 5 times, the last time with the status 1"):
        await make(BROKEN).run()


async def test_a_bad_end_of_one_is_one_of_all(make: Make) -> None:
    group = make(BAD_END)
    running = asyncio.create_task(group.run())
    await until(lambda: group._began)
    group.stop()
    assert await running == 1


async def test_those_that_do_not_stop_can_be_killed(make: Make) -> None:
    group = make(SLOW_TO_STOP)
    running = asyncio.create_task(group.run())
    await until(lambda: group._began)
    group.stop()
    group.kill()
    assert await running == 1


async def test_a_stop_that_comes_while_it_starts_is_not_lost(make: Make) -> None:
    group = make(GOOD)
    running = asyncio.create_task(group.run())
    await until(lambda: group._processes)
    group.stop()
    await running


async def test_at_a_stop_nobody_else_is_let_in(make: Make) -> None:
    group = make(GOOD)
    running = asyncio.create_task(group.run())
    await until(lambda: group._began)
    group.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", group._port))
    await running


async def test_a_group_that_began_is_not_given_up(make: Make, tmp_path: Path) -> None:
    group = make(GOOD)
    running = asyncio.create_task(group.run())
    await until(lambda: group._began)
    (tmp_path / "stand_in.py").write_text(REFUSED)
    for pid in pids(group):
        os.kill(pid, signal.SIGKILL)
    starts: set[int] = set()

    def have_died_often() -> bool:
        starts.update(one.pid for one in group._processes.values())
        return len(starts) >= 12

    await until(have_died_often)
    assert not running.done()
    (tmp_path / "stand_in.py").write_text(GOOD)
    await until(lambda: all(one.is_ready for one in group._members.values()))
    group.stop()
    await running


async def test_an_address_that_somebody_else_listens_on_meanwhile_is_told(make: Make) -> None:
    group = make(GOOD)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", group._port))
        other.listen()
        with pytest.raises(ConfigInvalid, match="can't listen on"):
            await group.run()
