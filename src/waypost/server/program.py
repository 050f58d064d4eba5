"""The server from its start to its end.

A `Server` is opened: the database is ours, or one of those that it is shared by, and what is held
in memory of it is loaded. Then it can be administered, by a socket that only its owner can open.
Then it serves: what is owed is sent, and requests are taken. Where no server runs, the command line
opens and administers one for a moment, so there is one way in which anything is changed.
"""

import asyncio
import gc
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost import __version__
from waypost.api.health import Health
from waypost.config import Config, Listen
from waypost.model.errors import Unavailable
from waypost.server.databases import Holding, hold
from waypost.server.figures import Figures, GroupReadings
from waypost.server.handover import Line, Orders
from waypost.server.tools import Tools
from waypost.server.watch import Watch, resident_bytes
from waypost.server.wiring import Engine, SigningKeysOfAll, Surface
from waypost.telemetry import Exporter, Reading
from waypost.web.listener import Listener, bind, bind_local

_log = structlog.get_logger(__name__)

HTTP_DRAIN_S: Final = 5.0
"""How long a stop waits for requests that have begun."""

PUBLISH_S: Final = 1.0
"""How often a process of a group tells the others what it has counted."""

_LOCAL_KEY_BITS: Final = 256
_GC_THRESHOLDS: Final = (50_000, 20, 20)


class Server:
    """One Waypost in this process, on the event loop that it is made on.

    Attributes:
        failed: has an exception once the server can't go on: the process must end then.
        url: where it listens, once it serves.
    """

    def __init__(self, config: Config, held: Holding, *, counts_depth: bool = True) -> None:
        """Make all parts; nothing is opened yet.

        Args:
            config: the settings.
            held: the database.
            counts_depth: whether it counts what is owed: one process of a group is enough.
        """
        self._config = config
        self._held = held
        self._local_path: Path | None = None
        self._loop = asyncio.get_running_loop()
        tools = Tools(held.clock, held.secret_key)
        self._store = held.store(self._fail_from_thread)
        self._engine = Engine(config, self._store, tools, held.links())
        self._surface = Surface(config, self._store, self._engine, tools)
        self._fast = self._surface.fast_for(config.role)
        self._front = self._surface.front(self._fast)
        self._watch = Watch(
            self._store,
            self._engine.ingest,
            disk=held.disk,
            reserve_bytes=config.disk_reserve,
            counts=counts_depth,
        )
        self._group: GroupReadings | None = None
        # Known to nobody: it stands for whoever can open the socket.
        self._local_key = f"{tools.entropy.bits(_LOCAL_KEY_BITS):064x}"
        self._listeners: list[Listener] = []
        self._keys: SigningKeysOfAll = {}
        self._state: str | None = "starting"
        self.failed: asyncio.Future[None] = self._loop.create_future()
        self.url = ""

    @property
    def local_path(self) -> Path:
        """The socket by which it is administered.

        Raises:
            Unavailable: it is not.
        """
        if self._local_path is None:
            raise Unavailable
        return self._local_path

    @property
    def own_socket(self) -> Path | None:
        """Where it must be administered, since no other process can open its database."""
        return self._held.socket_path

    def join(self, figures: Figures, number: int) -> Callable[[], None]:
        """Tell of the whole group in the metrics; return what publishes one's own."""
        self._group = GroupReadings(figures, number, self._readings())
        return self._group.publish

    def connection_left(self, told: Callable[[], None]) -> None:
        """Have somebody told of each connection that is gone."""
        self._front.connections.left = told

    async def open(self) -> None:
        """Open the database and load what is held in memory of it."""
        await self._store.open()
        await self._engine.begin()
        default = await self._surface.projects.ensure_default()
        self._keys = await self._surface.load()
        await self._engine.load()
        self._surface.access.bootstrap(self._local_key, default.id)
        if self._config.admin_key is not None:
            self._surface.access.bootstrap(self._config.admin_key, default.id)

    async def administer(self, path: Path) -> None:
        """Let this user administer it by a socket."""
        self._local_path = path
        application = _AsAdministrator(self._surface.application(self._health()), self._local_key)
        await self._listen(Listener(application, bind_local(path)))

    async def serve(self, listening: socket.socket | None) -> Listener:
        """Send what is owed, and take requests: on a bound socket, or what is adopted."""
        self.url = f"http://{self._config.listen}"
        self._watch.start()
        await self._engine.start(self._keys)
        application = self._surface.application(self._health(), self._config.role)
        listener = Listener(application, listening, self._front)
        await self._listen(listener)
        self._state = None
        # What was made so far lives as long as the process: the collector need not look at it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_GC_THRESHOLDS)
        self._held.look_through(self._fail_from_thread)
        return listener

    async def stop(self) -> None:
        """Answer what has come, settle what is in flight, and close the database."""
        self._state = "stopping"
        self._engine.arrivals.close()
        await asyncio.gather(*(listener.stop(HTTP_DRAIN_S) for listener in self._listeners))
        await self._engine.stop()
        self._held.break_off()
        await self._watch.stop()
        self._surface.aside.close()
        await self._store.close()

    async def _listen(self, listener: Listener) -> None:
        await listener.start()
        self._listeners.append(listener)

    def _health(self) -> Health:
        group = self._group
        if group is None:
            return Health(self._checks, Exporter(self._readings()).render)
        exporter = Exporter(group.readings())

        def render() -> bytes:
            group.look()
            return exporter.render()

        return Health(self._checks, render)

    def _fail_from_thread(self, error: Exception) -> None:
        self._loop.call_soon_threadsafe(self._fail, error)

    def _fail(self, error: Exception) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    def _checks(self) -> Mapping[str, str | None]:
        return {
            "server": self._state,
            "disk": "nearly full: no events are accepted" if self._watch.is_full else None,
            "database": self._silence(),
            "partitions": self._engine.pruner.shortage(),
        }

    def _silence(self) -> str | None:
        if self._held.clock.monotonic() <= self._surface.access.confirmed_until:
            return None
        return "it does not answer: nothing is accepted and nothing is sent until it does"

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
            "deliveries_expired": lambda: self._engine.pruner.given_up,
            "results_unplaced": lambda: self._store.counters.unplaced,
            "rows_pruned": lambda: self._engine.pruner.pruned,
            "partitions_dropped": lambda: self._engine.pruner.dropped,
            "storage_commits": lambda: self._store.counters.commits,
            "storage_events": lambda: self._store.counters.written,
            "storage_statements": lambda: self._store.counters.statements,
            "storage_syncs": lambda: self._store.counters.syncs,
            "attempts_in_flight": lambda: dispatcher.in_flight_count,
            "lanes": lambda: dispatcher.lane_count,
            "transform_workers": lambda: sandbox.worker_count,
            "queue_depth": lambda: self._watch.depth,
            "intake_waiting": lambda: ingest.waiting,
            "intake_free_bytes": lambda: self._front.budget.free,
            "connections": lambda: len(self._front.connections),
            "disk_free_bytes": lambda: self._watch.free_bytes if self._held.disk else {},
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
async def opened(config: Config, *, counts_depth: bool = True) -> AsyncIterator[Server]:
    """Have a server open; it serves nobody yet.

    Raises:
        DatabaseInUse: another process has the database.
        ConfigInvalid: the database can't be used; says why.
    """
    held = hold(config)
    try:
        server = Server(config, held, counts_depth=counts_depth)
        try:
            with held.explained():
                await server.open()
            yield server
        finally:
            await server.stop()
    finally:
        held.release()


@asynccontextmanager
async def administered(config: Config) -> AsyncIterator[Server]:
    """Have a server that can be administered and serves nobody else.

    Raises:
        DatabaseInUse: another process has the database.
        ConfigInvalid: the database can't be used; says why.
    """
    async with opened(config) as server:
        with tempfile.TemporaryDirectory(prefix="waypost-") as folder:
            await server.administer(server.own_socket or Path(folder) / "admin.sock")
            yield server


@asynccontextmanager
async def serving(config: Config, listening: socket.socket) -> AsyncIterator[Server]:
    """Have a server that serves on a bound socket; at the end it drains.

    Raises:
        DatabaseInUse: another process has the database.
        ConfigInvalid: the database or the address can't be used; says why.
    """
    port = listening.getsockname()[1]
    async with opened(_at(config, port)) as server:
        if server.own_socket is not None:
            await server.administer(server.own_socket)
        await server.serve(listening)
        _log.info("server_started", url=server.url, version=__version__, pid=os.getpid())
        yield server


def _at(config: Config, port: int) -> Config:
    """Return the settings with the port that was taken, where any would do."""
    return replace(config, listen=Listen(config.listen.host, port))


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


async def serve_in_group(orders: Orders, line: Line) -> int:
    """Serve what the supervisor hands over, until it asks to stop or is gone.

    Raises:
        ConfigInvalid: the database can't be used; says why.
    """
    request = StopRequest()
    line.lost = request.ask
    async with opened(_at(orders.config, orders.port), counts_depth=orders.number == 1) as server:
        publish = server.join(Figures(orders.figures, orders.size), orders.number)
        server.connection_left(line.report_soon)
        listener = await server.serve(None)
        _log.info("process_started", pid=os.getpid())
        line.serve(listener)

        async def tell() -> None:
            while True:
                await asyncio.sleep(PUBLISH_S)
                publish()

        telling = asyncio.create_task(tell())
        await request.wait(server)
        _log.info("process_draining")
        telling.cancel()
        await line.stop()
    publish()
    _log.info("process_stopped")
    return 0


class StopRequest:
    """What SIGTERM and SIGINT ask for from now on; a second one ends the process at once."""

    def __init__(self) -> None:
        """Take the signals: one that comes while the server starts is not lost either."""
        loop = asyncio.get_running_loop()
        self._asked: asyncio.Future[None] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    async def wait(self, server: Server) -> None:
        """Wait until a stop is asked for.

        A server that fails meanwhile ends the process: what it has promised is on disk, and what
        is not can't be put there any more.
        """
        await asyncio.wait((self._asked, server.failed), return_when=asyncio.FIRST_COMPLETED)
        if server.failed.done():
            _log.critical("server_failed", error=str(server.failed.exception()))
            os._exit(1)

    def ask(self) -> None:
        """Ask for a stop, if nobody has."""
        if not self._asked.done():
            self._asked.set_result(None)

    def _signalled(self, number: int) -> None:
        if self._asked.done():
            os._exit(128 + number)
        self.ask()
