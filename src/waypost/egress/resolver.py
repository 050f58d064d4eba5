"""Host names to addresses: bounded, and never in the way of anything else.

The system's resolver is blocking and may take half a minute over a name whose servers are silent.
It runs in daemon threads of our own, at most a few of them, one per name however many ask; who
asks waits for a bounded time, and what was found is kept briefly.
"""

import asyncio
import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from waypost.clock import Clock

BUDGET_S: Final = 5.0
KEPT_S: Final = 10.0
KEPT_FAILURE_S: Final = 5.0
THREADS: Final = 16
QUEUE: Final = 1024
KEPT: Final = 10_000

Lookup = Callable[[str], Sequence[str]]
"""Blocking: a host name to all its addresses as literals. Raises OSError where there are none."""


class ResolveFailed(Exception):
    """A host name has no address, or none could be learnt in time."""


def system_lookup(host: str) -> Sequence[str]:
    """Ask the system for all IPv4 and IPv6 addresses of a host name, blocking.

    A name of several labels is asked for as absolute, so that no search domain is appended.
    """
    absolute = f"{host}." if "." in host else host
    found = socket.getaddrinfo(absolute, None, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(address[0]) for *_, address in found]


class Resolver:
    """Resolves host names for one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        *,
        lookup: Lookup = system_lookup,
        budget_s: float = BUDGET_S,
        threads: int = THREADS,
        queue: int = QUEUE,
    ) -> None:
        """Take the loop that asks, and the function that answers in a thread.

        Args:
            loop: the event loop that all calls come from.
            clock: its monotonic time says how long answers are kept.
            lookup: the blocking question.
            budget_s: how long one asker waits, seconds.
            threads: how many questions run at once.
            queue: how many more may wait for a thread; further ones fail at once.
        """
        self._loop = loop
        self._clock = clock
        self._lookup = lookup
        self._budget_s = budget_s
        self._threads = threads
        self._queue = queue
        self._running = 0
        self._waiting: deque[str] = deque()
        self._flights: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._kept: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return all addresses of a host name, at least one.

        Raises:
            ResolveFailed: there is none, the answer took too long, or too many names are waiting.
        """
        kept = self._kept.get(host)
        if kept is not None and self._clock.monotonic() < kept[0]:
            addresses = kept[1]
        else:
            addresses = await self._ask(host)
        if not addresses:
            raise ResolveFailed("the host name could not be resolved")
        return addresses

    async def _ask(self, host: str) -> tuple[str, ...]:
        flight = self._flights.get(host) or self._take_off(host)
        try:
            async with asyncio.timeout(self._budget_s):
                return await asyncio.shield(flight)
        except TimeoutError:
            raise ResolveFailed("the host name was not resolved in time") from None

    def _take_off(self, host: str) -> asyncio.Future[tuple[str, ...]]:
        if len(self._waiting) >= self._queue:
            raise ResolveFailed("too many host names are being resolved")
        flight = self._flights[host] = self._loop.create_future()
        self._waiting.append(host)
        self._start()
        return flight

    def _start(self) -> None:
        while self._waiting and self._running < self._threads:
            self._running += 1
            host = self._waiting.popleft()
            threading.Thread(
                target=self._work, args=(host,), name="waypost-resolver", daemon=True
            ).start()

    def _work(self, host: str) -> None:
        try:
            addresses = tuple(dict.fromkeys(self._lookup(host)))
        except (OSError, ValueError):
            addresses = ()
        # A closed loop raises RuntimeError: nobody waits for the answer any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._land, host, addresses)

    def _land(self, host: str, addresses: tuple[str, ...]) -> None:
        self._running -= 1
        self._kept.pop(host, None)
        if len(self._kept) >= KEPT:
            del self._kept[next(iter(self._kept))]
        until = self._clock.monotonic() + (KEPT_S if addresses else KEPT_FAILURE_S)
        self._kept[host] = (until, addresses)
        flight = self._flights.pop(host)
        if not flight.done():
            flight.set_result(addresses)
        self._start()
