"""The follower: keeps in memory what other processes change of the configuration.

It asks for one number four times a second. Where that has moved on, it reads what has changed, and
applies it to what is in memory, as the process that changed it did. Each answer confirms that what
is in memory held when it was asked for. While that can't be said for longer than a second, this
process neither takes keys and events nor sends.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import structlog

from waypost.clock import Clock
from waypost.model.errors import Unavailable
from waypost.model.ids import Id
from waypost.storage import configuration
from waypost.storage.apart import Apart
from waypost.storage.configuration import Kind
from waypost.storage.connection import Connection

_log = structlog.get_logger(__name__)

EVERY_S: Final = 0.25
PATIENCE_S: Final = 1.0
"""What is in memory may be so old."""

_RETRY_S: Final = 0.1

Place = tuple[Id, Id]
"""The project and the id of what has changed."""


class Memory(Protocol):
    """What is kept in memory of one kind of thing."""

    def read(self, connection: Connection, places: Sequence[Place] | None) -> Any:
        """Read things as they are now, in a thread; None: all that there are."""

    def apply(self, found: Any) -> None:
        """Take what `read` has found, on the loop."""


class Follower:
    """For the loop's thread alone.

    Attributes:
        version: of the configuration that is in memory.
        confirmed: told until when what is in memory may be gone by: seconds of the monotonic clock.
        lapsed: told when it may be gone by again, after a while in which it could not.
    """

    def __init__(self, apart: Apart, clock: Clock) -> None:
        """Take a connection for this alone."""
        self._apart = apart
        self._clock = clock
        self._memories: dict[Kind, Memory] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._until = 0.0
        self._is_late = False
        self.version = 0
        self.confirmed: Callable[[float], None] = lambda _: None
        self.lapsed: Callable[[], None] = lambda: None

    def follow(self, kind: Kind, memory: Memory) -> None:
        """Keep what is in memory of one kind as the database has it."""
        self._memories[kind] = memory

    async def begin(self) -> None:
        """Remember where the log stands, before anything is loaded that it tells of.

        Raises:
            Unavailable: the database does not answer.
        """
        self.version = await self._apart.run(configuration.current)

    async def start(self) -> None:
        """Follow; when this returns what is in memory is confirmed.

        Raises:
            Unavailable: the database does not answer.
        """
        await self._poll()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Follow no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._answer(Unavailable("the server is going down"))
        await self._apart.close()

    def wake(self) -> None:
        """Look now."""
        self._wanted.set()

    async def catch_up(self) -> None:
        """Return when everything that was committed before this call is in memory.

        Raises:
            Unavailable: that can't be said.
        """
        if self._task is None:
            return  # nobody is served yet
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        self._wanted.set()
        try:
            await asyncio.wait_for(told, PATIENCE_S)
        except TimeoutError:
            raise Unavailable("the database does not answer") from None

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            pause_s = EVERY_S
            try:
                await self._poll()
            except Exception as error:  # noqa: BLE001 - whatever it is, only the database can tell
                self._late(error)
                pause_s = _RETRY_S
                self._answer(Unavailable(), waiting)
            else:
                self._answer(None, waiting)
            # Not `wait_for`: until Python 3.12 it loses a cancellation that comes with a wake.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._wanted.wait()

    def _late(self, error: Exception) -> None:
        if not self._is_late:
            self._is_late = True
            log = _log.info if isinstance(error, Unavailable) else _log.warning
            log("configuration_unconfirmed", error=str(error) or type(error).__name__)

    def _answer(
        self, error: Exception | None, waiting: list[asyncio.Future[None]] | None = None
    ) -> None:
        for told in self._waiting if waiting is None else waiting:
            if told.done():
                continue
            if error is None:
                told.set_result(None)
            else:
                told.set_exception(error)

    async def _poll(self) -> None:
        """Bring what is in memory to what the database held at some moment since the call."""
        asked = self._clock.monotonic()
        version = await self._apart.run(configuration.current)
        if version != self.version:
            version, found = await self._apart.snapshot(self._read)
            for kind, things in found:
                self._memories[kind].apply(things)
            self.version = version
        self._is_late = False
        was_over = self._clock.monotonic() > self._until
        self._until = asked + PATIENCE_S
        self.confirmed(self._until)
        if was_over:
            self.lapsed()

    # Below: the thread of the connection.

    def _read(self, connection: Connection) -> tuple[int, list[tuple[Kind, Any]]]:
        version = configuration.current(connection)
        changes = configuration.since(connection, self.version)
        if changes is None:
            _log.info("configuration_reloaded", version=version)
            return version, [(k, m.read(connection, None)) for k, m in self._memories.items()]
        places: dict[Kind, list[Place]] = {}
        for change in changes:
            if change.kind in self._memories:
                places.setdefault(change.kind, []).append((change.project_id, change.subject))
        return version, [
            (kind, self._memories[kind].read(connection, changed))
            for kind, changed in places.items()
        ]
