"""The supervisor of a group: several processes that serve on one address.

It has no part in the work: it binds the address, accepts for all, starts again whoever dies, and
passes on a request to stop. The processes are started anew, not forked, so nothing is shared by
accident; each ends by itself when the supervisor is gone.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

import structlog

from waypost import __version__
from waypost.clock import SystemClock
from waypost.config import Config
from waypost.model.errors import ConfigInvalid
from waypost.server.databases import hold
from waypost.server.figures import Figures
from waypost.server.handover import Door, Member, Orders
from waypost.web.listener import bind

_log = structlog.get_logger(__name__)

COMMAND: Final = (sys.executable, "-P", "-m", "waypost.server.member")
"""What a process is started by; the number of its end of the line follows."""

REFUSED: Final = 2
"""How a process ends that what it was told or the database forbids to start."""

_SOON_S: Final = 0.1
_LATEST_S: Final = 5.0
_LONG_S: Final = 10.0
_TRIES: Final = 5


class GroupFailed(ConfigInvalid):
    """The processes of the group can't start."""


class Supervisor:
    """Keeps the processes of a group running."""

    def __init__(self, config: Config, listening: socket.socket) -> None:
        """Take the bound socket; nothing is started yet."""
        self._config = config
        self._port: int = listening.getsockname()[1]
        self._door = Door(listening)
        self._figures = Figures.make(config.processes)
        self._clock = SystemClock()
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._members: dict[int, Member] = {}
        self._began = False
        self._stopping = asyncio.Event()
        self._bad = False
        self._refusal: ConfigInvalid | None = None

    async def run(self) -> int:
        """Run until `stop`; return the exit status.

        Raises:
            GroupFailed: no process could ever start.
            ConfigInvalid: the address is taken after all.
        """
        numbers = range(1, self._config.processes + 1)
        keepers = [asyncio.create_task(self._keep(number)) for number in numbers]
        try:
            await asyncio.gather(*keepers)
        finally:
            # One has given up, so all do.
            self.stop()
            await asyncio.gather(*keepers, return_exceptions=True)
            os.close(self._figures.descriptor)
        if self._refusal is not None:
            raise self._refusal
        return 1 if self._bad else 0

    def stop(self) -> None:
        """Take no more connections, and ask every process to stop."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._door.close()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End every process at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._processes.values():
            if process.returncode is None:
                process.send_signal(number)

    async def _keep(self, number: int) -> None:
        tries, wait_s = 0, _SOON_S
        while not self._stopping.is_set():
            since = self._clock.monotonic()
            status = await self._run_one(number)
            if self._stopping.is_set():
                # One that was only starting may have ended by the signal itself.
                self._bad |= status not in {0, -signal.SIGTERM}
                return
            lived_s = self._clock.monotonic() - since
            tries = 1 if lived_s > _LONG_S else tries + 1
            wait_s = _SOON_S if lived_s > _LONG_S else min(2 * wait_s, _LATEST_S)
            _log.error("process_died", process=number, status=status, restart_in_s=wait_s)
            if not self._began and (status == REFUSED or tries >= _TRIES):
                raise GroupFailed(
                    f"process {number} can't start: it ended {tries} times,"
                    f" the last time with the status {status}; its own last lines say why"
                )
            await self._pause(wait_s)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _run_one(self, number: int) -> int:
        ours, theirs = socket.socketpair()
        member = Member(ours, self._heard)
        with theirs:
            descriptors = (theirs.fileno(), self._figures.descriptor)
            # A group of its own: Ctrl-C reaches the supervisor alone, which asks all to stop.
            process = await asyncio.create_subprocess_exec(
                *(*COMMAND, str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=descriptors,
                process_group=0,
            )
        self._processes[number], self._members[number] = process, member
        self._door.add(member)
        # One that has died already is waited for below.
        with suppress(OSError):
            member.order(self._orders(number))
        if self._stopping.is_set():
            process.terminate()
        status = await process.wait()
        self._door.remove(member)
        member.close()
        self._figures.bury(number)
        return status

    def _orders(self, number: int) -> Orders:
        size = self._config.processes
        return Orders(self._config, number, size, self._port, self._figures.descriptor)

    def _heard(self) -> None:
        if self._stopping.is_set():
            return
        try:
            self._door.open()
        except OSError as error:
            listen = self._config.listen.at(self._port)
            self._refusal = ConfigInvalid(f"can't listen on {listen}: {error.strerror}")
            self.stop()
            return
        if not self._began and len(self._members) == self._config.processes:
            self._began = all(member.is_ready for member in self._members.values())
            if self._began:
                url = f"http://{self._config.listen.at(self._port)}"
                pids = [process.pid for _, process in sorted(self._processes.items())]
                _log.info(
                    "server_started",
                    url=url,
                    version=__version__,
                    pid=os.getpid(),
                    processes=pids,
                )


def run(config: Config) -> int:
    """Serve with several processes until a signal asks to stop; return the exit status.

    Raises:
        GroupFailed: no process could ever start.
        ConfigInvalid: the database or the address can't be used; says why.
    """
    # Said once, and not by each process.
    hold(config).release()
    return asyncio.run(_run(config))


async def _run(config: Config) -> int:
    listening = bind(config.listen.host, config.listen.port)
    # What is accepted inherits it: answers are small, and must not wait for each other.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    supervisor = Supervisor(config, listening)
    _on_signals(supervisor)
    status = await supervisor.run()
    _log.info("server_stopped")
    return status


def _on_signals(supervisor: Supervisor) -> None:
    """Let SIGTERM and SIGINT ask for a stop; a second one ends all processes at once."""
    asked = False

    def ask(number: int) -> None:
        nonlocal asked
        if asked:
            supervisor.kill()
            os._exit(128 + number)
        asked = True
        supervisor.stop()
        _log.info("server_draining")

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ask, number)
