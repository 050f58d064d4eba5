"""The server from its start to its end.

A `Server` is opened: the database is ours, and what is held in memory of it is loaded. Then it can
be administered, by a socket beside the database that only its owner can open. Then it serves: what
is owed is sent, and the network is listened to. Where no server runs, the command line opens and
administers one for a moment, so there is one way in which anything is changed.
"""

import asyncio
import gc
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost import __version__
from waypost.api.health import Health
from waypost.clock import SystemEntropy
from waypost.config import Config
from waypost.server.watch import Watch, resident_bytes
from waypost.server.wiring import Engine, SigningKeysOfAll, Surface, Tools
from waypost.storage.inspection import Inspection
from waypost.storage.preparation import Prepared, prepare
from waypost.storage.store import Store
from waypost.telemetry import Exporter, Reading
from waypost.web.front import HttpFront
from waypost.web.listener import LONGEST_SOCKET_PATH, Listener, bind, bind_local

_log = structlog.get_logger(__name__)

HTTP_DRAIN_S: Final = 5.0
"""How long a stop waits for requests that have begun."""

_LOCAL_KEY_BITS: Final = 256
_GC_THRESHOLDS: Final = (50_000, 20, 20)


class DatabaseDamaged(Exception):
    """The database's pages do not hang together: restore a backup."""


class Server:
    """One Waypost in this process, on the event loop that it is made on.

    Attributes:
        failed: has an exception once the server can't go on: the process must end then.
        url: where it listens, once it serves.
        socket_path: where it is administered.
    """

    def __init__(self, config: Config, prepared: Prepared, socket_path: Path) -> None:
        """Make all parts; nothing is opened yet."""
        self._config = config
        self._prepared = prepared
        self.socket_path = socket_path
        self._loop = asyncio.get_running_loop()
        tools = Tools()
        self._store = Store(config.database, on_fatal=self._fail_from_thread)
        self._engine = Engine(config, self._store, tools)
        self._surface = Surface(config, self._store, self._engine, tools, prepared.secret_key)
        self._front = self._surface.front(self._surface.fast)
        self._watch = Watch(self._store, self._engine.ingest, config.disk_reserve)
        self._inspection = Inspection(config.database, self._inspected_in_thread)
        self._app = self._surface.application(
            Health(self._checks, Exporter(self._readings()).render)
        )
        # Known to nobody: it stands for whoever can open the socket.
        self._local_key = f"{tools.entropy.bits(_LOCAL_KEY_BITS):064x}"
        self._listeners: list[Listener] = []
        self._keys: SigningKeysOfAll = {}
        self._state: str | None = "starting"
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self.url = ""

    async def open(self) -> None:
        """Open the database and load what is held in memory of it."""
        await self._store.open()
        default = await self._surface.projects.ensure_default()
        self._keys = await self._surface.load()
        await self._engine.load()
        self._surface.access.bootstrap(self._local_key, default.id)
        if self._config.admin_key is not None:
            self._surface.access.bootstrap(self._config.admin_key, default.id)

    async def administer(self) -> None:
        """Let the owner of the database administer it by the socket beside it."""
        await self._listen(
            _AsAdministrator(self._app, self._local_key), bind_local(self.socket_path), None
        )

    async def serve(self, listening: socket.socket) -> None:
        """Send what is owed, and take requests on a bound socket."""
        self._watch.start()
        await self._engine.start(self._keys)
        await self._listen(self._app, listening, self._front)
        self.url = f"http://{self._config.listen.at(listening.getsockname()[1])}"
        self._state = None
        # What was made so far lives as long as the process: the collector need not look at it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        _log.info("server_started", url=self.url, version=__version__, pid=os.getpid())
        if self._prepared.unclean:
            self._inspection.start()

    async def stop(self) -> None:
        """Answer what has come, settle what is in flight, and close the database."""
        self._state = "stopping"
        await asyncio.gather(*(listener.stop(HTTP_DRAIN_S) for listener in self._listeners))
        await self._engine.stop()
        self._inspection.stop()
        await self._watch.stop()
        self._surface.aside.close()
        await self._store.close()
        self.socket_path.unlink(missing_ok=True)
        self._prepared.lock.release()

    async def _listen(
        self, app: ASGIApp, listening: socket.socket, front: HttpFront | None
    ) -> None:
        listener = Listener(app, listening, front)
        await listener.start()
        self._listeners.append(listener)

    def _fail_from_thread(self, error: Exception) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _inspected_in_thread(self, wrong: str | None) -> None:
        if wrong is None:
            _log.info("database_sound", reason="looked through after an unclean stop")
        else:
            self._fail_from_thread(DatabaseDamaged(wrong))

    def _checks(self) -> Mapping[str, str | None]:
        return {
            "server": self._state,
            "disk": "nearly full: no events are accepted" if self._watch.is_full else None,
        }

    def _readings(self) -> dict[str, Reading]:
        ingest, dispatcher = self._engine.ingest, self._engine.dispatcher
        transport, errors = self._engine.transport, self._surface.errors
        sandbox = self._engine.sandbox
        return {
            "events_accepted": lambda: ingest.accepted,
            "events_duplicate": lambda: ingest.duplicates,
            "requests_refused": lambda: {str(k): v for k, v in errors.by_status.items()},
            "deliveries": lambda: {
                "delivered": dispatcher.delivered,
                "failed": dispatcher.given_up,
            },
            "retries": lambda: dispatcher.retried,
            "requests_resent": lambda: transport.requests_resent,
            "transforms": lambda: sandbox.counts,
            "storage_commits": lambda: self._store.committer.commits,
            "storage_events": lambda: self._store.committer.written,
            "storage_syncs": lambda: self._store.committer.syncs,
            "attempts_in_flight": lambda: dispatcher.in_flight_count,
            "lanes": lambda: dispatcher.lane_count,
            "transform_workers": lambda: sandbox.worker_count,
            "queue_depth": lambda: self._watch.depth,
            "intake_waiting": lambda: ingest.waiting,
            "intake_free_bytes": lambda: self._front.budget.free,
            "connections": lambda: len(self._front.connections),
            "disk_free_bytes": lambda: self._watch.free_bytes,
            "resident_memory_bytes": resident_bytes,
        }


class _AsAdministrator:
    """Lets whoever comes this way do everything: only the owner of the socket can."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._header = (b"authorization", key.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        others = [header for header in scope["headers"] if header[0] != b"authorization"]
        await self._app({**scope, "headers": [self._header, *others]}, receive, send)


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Server]:
    """Have a server open, so that it can be administered; it serves nobody yet.

    Raises:
        DatabaseInUse: another process has the database.
        ConfigInvalid: the database can't be used; says why.
    """
    path = place_socket(config.database)
    prepared = prepare(config.database, path, config.secret_key, SystemEntropy())
    server = Server(config, prepared, path)
    try:
        await server.open()
        await server.administer()
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def serving(config: Config, listening: socket.socket) -> AsyncIterator[Server]:
    """Have a server that serves on a bound socket; at the end it drains.

    Raises:
        DatabaseInUse: another process has the database.
        ConfigInvalid: the database can't be used; says why.
    """
    async with opened(config) as server:
        await server.serve(listening)
        yield server


def run(config: Config) -> int:
    """Serve until a signal asks to stop; return the exit status.

    Raises:
        DatabaseInUse: another process has the database.
        ConfigInvalid: the database or the address can't be used; says why.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(config))


async def _run(config: Config) -> int:
    request = StopRequest()
    listening = bind(config.listen.host, config.listen.port)
    async with serving(config, listening) as server:
        await request.wait(server)
        _log.info("server_draining")
    _log.info("server_stopped")
    return 0


class StopRequest:
    """What SIGTERM and SIGINT ask for from now on; a second one ends the process at once."""

    def __init__(self) -> None:
        """Take the signals: one that comes while the server starts is not lost either."""
        loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ask, number)

    async def wait(self, server: Server) -> None:
        """Wait for a signal.

        A server that fails meanwhile ends the process: what it has promised is on disk, and what
        is not can't be put there any more.
        """
        await asyncio.wait((self._asked, server.failed), return_when=asyncio.FIRST_COMPLETED)
        if server.failed.done():
            _log.critical("server_failed", error=str(server.failed.exception()))
            os._exit(1)

    def _ask(self, number: int) -> None:
        if self._asked.done():
            os._exit(128 + number)
        self._asked.set_result(None)


def place_socket(database: Path) -> Path:
    """Return where a database is administered: beside it, or where that path is too long."""
    beside = database.absolute().with_name(database.name + ".sock")
    if len(os.fsencode(beside)) <= LONGEST_SOCKET_PATH:
        return beside
    return Path(tempfile.mkdtemp(prefix="waypost-")) / "admin.sock"
