"""The servers under test, started as a user would start them.

`Waypost` is the product: `python -m waypost serve` of a source tree on a fresh database, which is
made ready by `migrate` where it is PostgreSQL's. `LimitLoop` is what it is compared with. Both take
posts on a loopback port and deliver to the receiver.
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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from bench import wire
from bench.apis import APIS, NATIVE
from bench.bars import SQLITE
from bench.child import STOP_DEADLINE_S, Child, ChildError
from bench.databases import Database, Databases, SqliteFiles
from bench.postgres import PostgresDatabase
from bench.processes import children

REPOSITORY = Path(__file__).resolve().parent.parent
READY_DEADLINE_S = 30.0
POLL_S = 0.02
AGAIN_S = 0.5
HTTP_TIMEOUT_S = 30.0
MIGRATE_DEADLINE_S = 120.0
LIMIT = "limit"


@dataclass(slots=True)
class Running:
    """A server that takes posts."""

    child: Child
    port: int
    key: str
    wrapped: bool = False
    pid: int = 0
    """The server's own process; of a group, the one that supervises it."""
    subscriptions: list[str] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    """Of other APIs, by their names."""
    receiver_url: str = ""
    address: str = ""
    """Of Convoy's API: a project and an endpoint in it, with a slash between."""
    database: Database | None = None
    release: Callable[[], None] = lambda: None
    """Called when the round is over, and the server has ended."""

    @property
    def database_pid(self) -> int | None:
        """The database server's process; None where there is none."""
        return None if self.database is None else self.database.pid

    def __post_init__(self) -> None:
        """The server's own process, which is the wrapper's child where there is a wrapper."""
        self.pid = self.child.pid

    def find_pid(self) -> Self:
        """Look behind the wrapper; call once the server answers."""
        if self.wrapped:
            self.pid = children(self.child.pid)[0]
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
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        key: str | None = None,
    ) -> tuple[int, bytes]:
        """One request with the admin key, or another; gives status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=HTTP_TIMEOUT_S)
        try:
            headers = {"authorization": key or self.key, "content-type": "application/json"}
            content = None if body is None else json.dumps(body, separators=(",", ":"))
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        *,
        key: str | None = None,
    ) -> bytes:
        """One request that must succeed, if not at once; gives the body.

        Raises:
            ChildError: the server refused, or went on asking to come again.
        """
        deadline = time.monotonic() + READY_DEADLINE_S
        status, answer = self.call(method, path, body, key=key)
        while status == http.client.SERVICE_UNAVAILABLE and time.monotonic() < deadline:
            time.sleep(AGAIN_S)
            status, answer = self.call(method, path, body, key=key)
        if status >= http.client.BAD_REQUEST:
            raise ChildError(f"{method} {path}: {status} {answer[:300]!r}\n{self.child.log_tail()}")
        return answer

    def key_for(self, api: str) -> str:
        """The key of one of `bench.apis.APIS`, made where there is none yet."""
        if api == NATIVE:
            return self.key
        if api not in self.keys:
            wanted = {"name": api, "environment": "test", "api": api}
            self.keys[api] = str(json.loads(self.ask("POST", "/v1/api_keys", wanted))["key"])
        return self.keys[api]

    def address_of(self, api: str) -> str:
        """What requests of one of `bench.apis.APIS` name; an endpoint that is made where needed."""
        if APIS[api].is_addressed and not self.address:
            key = self.key_for(api)
            listed = json.loads(self.ask("GET", "/api/v1/projects", key=key))["data"]
            project = str(listed[0]["uid"])
            path = f"/api/v1/projects/{project}"
            traced = {"config": {"add_event_id_trace_headers": True}}
            self.ask("PUT", path, traced, key=key)
            wanted = {"name": "bench", "url": self.receiver_url}
            made = json.loads(self.ask("POST", f"{path}/endpoints", wanted, key=key))
            endpoint = str(made["data"]["uid"])
            everything = {"name": "bench", "endpoint_id": endpoint}
            self.ask("POST", f"{path}/subscriptions", everything, key=key)
            self.address = f"{project}/{endpoint}"
        return self.address if APIS[api].is_addressed else ""

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
    def kind(self) -> str:
        """Which bars it is judged by."""

    @property
    def good_exits(self) -> frozenset[int]:
        """Exit codes that are right after SIGTERM."""

    def start(self, directory: Path, receiver_port: int) -> Running:
        """Start it with its files in `directory`, delivering to the receiver; ready on return."""


@dataclass(frozen=True, slots=True)
class LimitLoop:
    """The limit loop, ours or another program of the same usage (`FILE PORT TARGET_URL`)."""

    name: str = LIMIT
    program: Path | None = None
    kind: str = LIMIT
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
    """The product in one source tree, on one kind of database."""

    name: str = SQLITE
    tree: Path = REPOSITORY
    python: str = sys.executable
    settings: Mapping[str, str] = field(default_factory=dict)
    """More environment for the server."""
    databases: Databases = field(default_factory=SqliteFiles)
    processes: int = 1
    subscriptions: int = 1
    """Each event is for one of them, in turn."""
    options: tuple[str, ...] = ()
    """More arguments for `serve`."""
    wrapper: tuple[str, ...] = ()
    """A command that runs the server's command, such as strace."""
    entry: tuple[str, ...] = ("-m", "waypost")
    good_exits: frozenset[int] = frozenset({0})

    @property
    def kind(self) -> str:
        """Which bars it is judged by."""
        return self.databases.kind

    def start(self, directory: Path, receiver_port: int) -> Running:
        """Start it on a fresh database with its subscriptions."""
        database = self.create(directory)
        running = self.serve(directory, secrets.token_urlsafe(32), database)
        running.release = database.drop
        try:
            self.subscribe(running, receiver_port)
        except BaseException:
            running.child.stop()
            raise
        return running

    def create(self, directory: Path) -> Database:
        """A fresh database, migrated where the server does not do so by itself."""
        database = self.databases.create(directory)
        if isinstance(database, PostgresDatabase):
            command = [self.python, "-m", "waypost", "migrate"]
            settings = self._environment(directory, 0, secrets.token_urlsafe(32), database)
            log = directory / "migrate.log"
            with Child("waypost migrate", command, environment=settings, log=log) as child:
                if child.wait(MIGRATE_DEADLINE_S):
                    raise ChildError(f"waypost migrate failed\n{child.log_tail()}")
            database.migrated()
        return database

    def serve(self, directory: Path, key: str, database: Database) -> Running:
        """Start it on that database, and wait until it is ready."""
        port = free_port()
        command = [*self.wrapper, self.python, *self.entry, "serve", *self.options]
        if self.processes > 1:
            command += ["--processes", str(self.processes)]
        child = Child(
            self.name,
            command,
            environment=self._environment(directory, port, key, database),
            log=directory / "server.log",
        )
        running = Running(child, port, key, wrapped=bool(self.wrapper))
        running.database = database
        return _ready(running)

    def serve_again(self, directory: Path, before: Running) -> Running:
        """Start it on the database of a server that has ended."""
        assert before.database is not None  # noqa: S101 - a Waypost always has one
        running = self.serve(directory, before.key, before.database)
        running.subscriptions = before.subscriptions
        return running

    def subscribe(self, running: Running, receiver_port: int) -> None:
        """Create the subscriptions.

        The URL names a host, not an address, so that the resolver is part of what is measured.

        Raises:
            ChildError: the server refused.
        """
        url = running.receiver_url = f"http://localhost:{receiver_port}/hook"
        for number in range(self.subscriptions):
            wanted: dict[str, object] = {"url": url}
            if self.subscriptions > 1:
                wanted["event_types"] = [wire.event_type(number, self.subscriptions)]
            made = running.ask("POST", "/v1/event_subscriptions", wanted)
            running.subscriptions.append(str(json.loads(made)["token"]))

    def _environment(
        self, directory: Path, port: int, key: str, database: Database
    ) -> dict[str, str]:
        secret_file = directory / "secret_key"
        if not secret_file.exists():
            secret_file.write_bytes(b64encode(secrets.token_bytes(32)))
        return environment(
            {
                "PYTHONPATH": f"{self.tree / 'src'}{os.pathsep}{REPOSITORY}",
                "WAYPOST_DATABASE_URL": database.url,
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
