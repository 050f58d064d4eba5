"""The servers under test, started as a user would start them.

`Waypost` is the product: `python -m waypost serve` of a source tree on a fresh SQLite file.
`LimitLoop` is what it is compared with. Both take posts on a loopback port and deliver to the
receiver.
"""

import http.client
import json
import os
import secrets
import signal
import socket
import sys
import time
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from bench.child import STOP_DEADLINE_S, Child, ChildError, only_child_of

REPOSITORY = Path(__file__).resolve().parent.parent
READY_DEADLINE_S = 30.0
POLL_S = 0.02
HTTP_TIMEOUT_S = 30.0
DATABASE = "waypost.db"


@dataclass(slots=True)
class Running:
    """A server that takes posts."""

    child: Child
    port: int
    key: str
    wrapped: bool = False
    pid: int = 0
    subscription: str = ""

    def __post_init__(self) -> None:
        """The server's own process, which is the wrapper's child where there is a wrapper."""
        self.pid = self.child.pid

    def find_pid(self) -> Self:
        """Look behind the wrapper; call once the server answers."""
        if self.wrapped:
            self.pid = only_child_of(self.child.pid)
        return self

    def stop(self) -> int:
        """End it as an operator would, by SIGTERM; gives the exit code.

        Raises:
            ChildError: it had to be killed.
        """
        if self.child.running:
            os.kill(self.pid, signal.SIGTERM)
        return self.child.wait(STOP_DEADLINE_S)

    def call(
        self, method: str, path: str, body: Mapping[str, object] | None = None
    ) -> tuple[int, bytes]:
        """One request with the admin key; gives status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HTTP_TIMEOUT_S)
        try:
            headers = {"authorization": self.key, "content-type": "application/json"}
            content = None if body is None else json.dumps(body)
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def wait_ready(self) -> None:
        """Return when `GET /readyz` is 200.

        Raises:
            ChildError: it ended, or was not ready in time.
        """
        deadline = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < deadline and self.child.running:
            try:
                if self.call("GET", "/readyz")[0] == http.client.OK:
                    return
            except OSError:
                pass
            time.sleep(POLL_S)
        raise ChildError(f"{self.child.name} was not ready\n{self.child.log_tail()}")


class Program(Protocol):
    """A server that the benchmark can start."""

    @property
    def name(self) -> str:
        """What the report calls it."""

    @property
    def good_exits(self) -> frozenset[int]:
        """Exit codes that are right after SIGTERM."""

    def start(self, directory: Path, receiver_port: int) -> Running:
        """Start it with its files in `directory`, delivering to the receiver; ready on return."""


@dataclass(frozen=True, slots=True)
class LimitLoop:
    """The limit loop, ours or another program of the same usage (`FILE PORT TARGET_URL`)."""

    name: str = "limit"
    program: Path | None = None
    good_exits: frozenset[int] = frozenset({0, -signal.SIGTERM})

    def start(self, directory: Path, receiver_port: int) -> Running:
        """Start it and wait until it answers."""
        port = free_port()
        target = f"http://127.0.0.1:{receiver_port}/hook"
        what = ["-m", "bench.limit_loop"] if self.program is None else [str(self.program)]
        command = [sys.executable, *what, str(port), target]
        child = Child(self.name, command, environment=environment(), log=directory / "server.log")
        return _ready(Running(child, port, key="none"))


@dataclass(frozen=True, slots=True)
class Waypost:
    """The product in one source tree."""

    name: str = "waypost"
    tree: Path = REPOSITORY
    python: str = sys.executable
    settings: Mapping[str, str] = field(default_factory=dict)
    """More environment for the server."""
    wrapper: tuple[str, ...] = ()
    """A command that runs the server's command, such as strace."""
    entry: tuple[str, ...] = ("-m", "waypost")
    good_exits: frozenset[int] = frozenset({0})

    def start(self, directory: Path, receiver_port: int) -> Running:
        """Start it on a fresh database with one subscription."""
        running = self.restart(directory, secrets.token_urlsafe(32))
        try:
            running.subscription = self.subscribe(running, receiver_port)
        except BaseException:
            running.child.stop()
            raise
        return running

    def restart(self, directory: Path, key: str) -> Running:
        """Start it on the database that is in `directory`, and wait until it is ready."""
        port = free_port()
        command = [*self.wrapper, self.python, *self.entry, "serve"]
        child = Child(
            self.name,
            command,
            environment=self._environment(directory, port, key),
            log=directory / "server.log",
        )
        return _ready(Running(child, port, key, wrapped=bool(self.wrapper)))

    def subscribe(self, running: Running, receiver_port: int) -> str:
        """Create the only subscription; gives its token.

        The URL names a host, not an address, so that the resolver is part of what is measured.

        Raises:
            ChildError: the server refused.
        """
        url = f"http://localhost:{receiver_port}/hook"
        status, body = running.call("POST", "/v1/event_subscriptions", {"url": url})
        if status != http.client.CREATED:
            raise ChildError(
                f"no subscription: {status} {body[:300]!r}\n{running.child.log_tail()}"
            )
        return str(json.loads(body)["token"])

    def _environment(self, directory: Path, port: int, key: str) -> dict[str, str]:
        secret_file = directory / "secret_key"
        if not secret_file.exists():
            secret_file.write_bytes(b64encode(secrets.token_bytes(32)))
        return environment(
            {
                "PYTHONPATH": f"{self.tree / 'src'}{os.pathsep}{REPOSITORY}",
                "WAYPOST_DATABASE_URL": f"sqlite:///{directory / DATABASE}",
                "WAYPOST_LISTEN": f"127.0.0.1:{port}",
                "WAYPOST_ADMIN_KEY": key,
                "WAYPOST_EGRESS_ALLOW": "127.0.0.0/8,::1/128",
                "WAYPOST_SECRET_KEY": secret_file.read_text(),
                **self.settings,
            }
        )


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: ours without the caller's own Waypost settings."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("WAYPOST_")}
    return {**ours, "PYTHONPATH": str(REPOSITORY), **(more or {})}


def database_bytes(directory: Path) -> int:
    """Size of the database file and its write-ahead log."""
    files = (directory / DATABASE, directory / f"{DATABASE}-wal")
    return sum(file.stat().st_size for file in files if file.exists())


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ready(running: Running) -> Running:
    try:
        running.wait_ready()
        return running.find_pid()
    except BaseException:
        running.child.stop()
        raise
