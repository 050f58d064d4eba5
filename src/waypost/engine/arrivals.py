"""Arrivals: wakes whoever waits for events, in this process and in the others.

While nobody waits anywhere, an acceptance costs one comparison. Whoever begins to wait tells the
other processes; for a while then, they tell of what they accept. Nothing depends on being told:
whoever waits looks from time to time by itself.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from waypost.engine.ingest import Ingest
from waypost.engine.sharing import Sharing
from waypost.engine.waker import Topic
from waypost.model.errors import Unavailable
from waypost.model.ids import Id

WAITING_MAX: Final = 256
"""Requests that may wait for events in one process: they may all look at once."""

ANNOUNCE_S: Final = 10.0
"""How often it is told again that somebody waits."""

HEARD_S: Final = 3 * ANNOUNCE_S
"""For how long others are told of what is accepted, after they said that they wait."""


class Waiting:
    """One that waits, for events of some types in a project; no types: of all."""

    __slots__ = ("_came", "project_id", "types")

    def __init__(self, project_id: Id, types: Sequence[str]) -> None:
        """Begin with nothing that has come."""
        self.project_id = project_id
        self.types = frozenset(types)
        self._came = asyncio.Event()

    def wake(self) -> None:
        """Let it look."""
        self._came.set()

    async def wait(self, seconds: float) -> None:
        """Return when something has come since the last time, or the seconds are over."""
        # Not `wait_for`: until Python 3.12 it loses a cancellation that comes with a wake.
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._came.wait()
            self._came.clear()


class Arrivals:
    """For the loop's thread alone."""

    def __init__(self, ingest: Ingest, sharing: Sharing | None) -> None:
        """Take what accepts events here, and the way to the others where there are any."""
        self._loop = asyncio.get_running_loop()
        self._ingest = ingest
        self._sharing = sharing
        self._waiting: set[Waiting] = set()
        self._announced = -ANNOUNCE_S
        self._others_until = 0.0
        self._closed = False
        if sharing is not None:
            sharing.waker.listeners[Topic.WAITING] = self._others_wait
            sharing.waker.listeners[Topic.ARRIVED] = partial(self.wake, None, ())

    @property
    def is_closed(self) -> bool:
        """Whether the server is going down: nobody may wait any more."""
        return self._closed

    @contextmanager
    def waiting(self, project_id: Id, types: Sequence[str]) -> Iterator[Waiting]:
        """Have somebody woken by what is accepted meanwhile.

        Raises:
            Unavailable: too many wait already.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable("too many requests wait for events")
        one = Waiting(project_id, types)
        self._waiting.add(one)
        self._ingest.arrived = self._arrived
        self.announce()
        try:
            yield one
        finally:
            self._waiting.discard(one)

    def announce(self) -> None:
        """Tell the others that somebody waits here, unless they were told not long ago."""
        now = self._loop.time()
        if self._sharing is not None and now >= self._announced + ANNOUNCE_S:
            self._announced = now
            self._sharing.waker.tell(Topic.WAITING)

    def close(self) -> None:
        """Let nobody wait any more: the server is going down."""
        self._closed = True
        self.wake(None, ())

    def wake(self, project_id: Id | None, types: Sequence[str]) -> None:
        """Wake those who wait for such events; without a project, everybody."""
        for one in self._waiting:
            if project_id is None or (
                one.project_id == project_id and (not one.types or not one.types.isdisjoint(types))
            ):
                one.wake()

    def _arrived(self, project_id: Id, types: Sequence[str]) -> None:
        self.wake(project_id, types)
        if self._sharing is not None and self._loop.time() < self._others_until:
            self._sharing.waker.tell(Topic.ARRIVED)
        elif not self._waiting:
            self._ingest.arrived = None

    def _others_wait(self) -> None:
        self._others_until = self._loop.time() + HEARD_S
        self._ingest.arrived = self._arrived
