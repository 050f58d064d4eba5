"""The processes of a run: each is started here and ended here, by its own id."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.torture.client import Connection, Unanswered

ROOT = Path(__file__).parents[2]
READY_S = 60.0
STOP_S = 60.0
_POLL_S = 0.02
_LOG_TAIL = 3_000


class ProcessError(AssertionError):
    """A process did not do its part; the message holds the end of its log."""


def free_port() -> int:
    """Return a free loopback port that no outgoing connection takes meanwhile."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def new_key() -> str:
    """Make an administrator's key."""
    return "torture-" + os.urandom(12).hex()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return a child's environment: ours without the caller's own settings; our sources first."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    return {**ours, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}", **more}


class Server:
    """A server under test: one database, one port, one life after another."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        *,
        name: str = "server",
        database: str = "",
        key: str = "",
    ) -> None:
        """Nothing runs yet.

        Args:
            folder: for its log, and for its database unless told.
            settings: its environment.
            name: of its log.
            database: the URL of its database; else a file in the folder.
            key: its administrator's; else a new one.
        """
        self.folder = folder
        self.port = free_port()
        self.key = key or new_key()
        self.log = folder / f"{name}.log"
        self.database = database or f"sqlite:///{folder / 'waypost.db'}"
        self._settings = {
            "WAYPOST_DATABASE_URL": self.database,
            "WAYPOST_LISTEN": f"127.0.0.1:{self.port}",
            "WAYPOST_ADMIN_KEY": self.key,
            "WAYPOST_EGRESS_ALLOW": "127.0.0.0/8",
            "WAYPOST_LOG_FORMAT": "json",
            **settings,
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, sabotage: Sequence[str] = (), *, wrapper: Sequence[str] = ()) -> None:
        """Start a life; it is not ready yet.

        Args:
            sabotage: arguments of `tests.torture.saboteur`; without any the plain product runs.
            wrapper: a command that runs the server's command.
        """
        what = ["tests.torture.saboteur", *sabotage, "--"] if sabotage else ["waypost"]
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *wrapper,
                sys.executable,
                "-m",
                *what,
                "serve",
                cwd=self.folder,
                env=environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The present life."""
        assert self._process is not None, "not started"
        return self._process

    async def ready(self) -> None:
        """Wait until it answers.

        Raises:
            ProcessError: it ended, or was not ready in time.
        """
        connection = Connection(self.port, self.key)
        deadline = time.monotonic() + READY_S
        try:
            while time.monotonic() < deadline:
                try:
                    if (await connection.request("GET", "/readyz"))[0] == 200:
                        return
                except Unanswered:
                    pass
                if await self.died(_POLL_S):
                    break
        finally:
            await connection.close()
        raise ProcessError(f"the server was not ready\n{self.log_tail()}")

    async def died(self, within_s: float) -> bool:
        """Wait for its end; False where it lives on."""
        try:
            await asyncio.wait_for(self.process.wait(), within_s)
        except TimeoutError:
            return False
        return True

    async def kill(self) -> float:
        """Kill it; return the moment just before."""
        at = time.monotonic()
        self._signal(signal.SIGKILL)
        await self.process.wait()
        return at

    async def stop(self) -> tuple[float, int]:
        """Ask it to stop and wait for it; return the moment just before, and its exit code.

        Raises:
            ProcessError: it did not stop in time.
        """
        at = time.monotonic()
        self._signal(signal.SIGTERM)
        if not await self.died(STOP_S):
            await self.kill()
            raise ProcessError(f"the server did not stop\n{self.log_tail()}")
        return at, int(self.process.returncode or 0)

    def freeze(self) -> float:
        """Have it do nothing until it is thawed; return the moment just before."""
        at = time.monotonic()
        self._signal(signal.SIGSTOP)
        return at

    def thaw(self) -> float:
        """Have it go on; return the moment just before."""
        at = time.monotonic()
        self._signal(signal.SIGCONT)
        return at

    def is_frozen(self) -> bool:
        """Tell whether it is stopped by a signal."""
        status = Path(f"/proc/{self.process.pid}/stat").read_text("utf-8")
        return status.rpartition(")")[2].split()[0] == "T"

    async def end(self) -> None:
        """See to it that nothing of it runs on."""
        if self._process is not None and self._process.returncode is None:
            await self.kill()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            # Its own session: a wrapper and what it runs hear of it alike.
            os.killpg(self.process.pid, number)

    def log_tail(self) -> str:
        """Return the end of what it printed."""
        return self.log.read_bytes()[-_LOG_TAIL:].decode(errors="replace")


class Receivers:
    """The process of the receivers."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        """Take a running process; see `start`."""
        self.port = port
        self._process = process

    @classmethod
    async def start(cls, ledger: Path, log: Path) -> Self:
        """Start it and learn its port."""
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.torture.receiver",
                str(ledger),
                cwd=ROOT,
                env=environment({}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        if not line:
            await process.wait()
            raise ProcessError(f"the receivers did not start\n{log.read_text()[-_LOG_TAIL:]}")
        return cls(process, int(line))

    async def command(self, **command: object) -> None:
        """Have a command carried out."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        answer = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        if answer != b"ok\n":
            raise ProcessError("the receivers have ended")

    async def end(self) -> None:
        """End the process."""
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
