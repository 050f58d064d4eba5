"""Limits of incoming HTTP: how long, how large, how many.

The server under us closes nothing by itself, so one sweep a second looks at every connection; no
timer is made per request. A deadline is never early, and late by at most two sweeps.
"""

import asyncio
import ipaddress
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

NEW: Final = 0
"""Nothing has come yet."""
HEAD: Final = 1
"""A request line or headers have begun."""
BODY: Final = 2
"""The headers are complete, the body is not."""
BETWEEN: Final = 3
"""The last request came in full: it is being served, or the connection is idle."""
PARTING: Final = 4
"""The last response is on its way; whatever comes in is thrown away."""

REQUEST_COST_BYTES: Final = 1024
"""What a request that waits behind another one weighs beside its body."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client may take of time, room and connections.

    Attributes:
        idle_s: between two requests of a connection.
        head_s: from the connection, or the first byte of a request, to the end of its headers.
        body_s: from the end of the headers to the end of the body.
        body_bytes_per_s: what a body must make on average, after `body_grace_s`.
        body_grace_s: before the rate of a body is judged.
        stall_s: for which a client may leave responses unread.
        linger_s: for which input is thrown away so that a last response is not lost.
        sweep_s: between two looks at the connections.
        head_bytes: of a request line and its headers.
        head_fields: headers of one request.
        target_bytes: of a request target.
        body_bytes: of any request body; routes set lower ones.
        intake_bytes: of all the bodies that are in the process.
        connections: at a time.
        connections_per_peer: at a time from one IPv4 address or one IPv6 /64.
        exempt_peers: networks that `connections_per_peer` does not bind, such as a proxy's.
        pipelined: requests that may wait on one connection before no more is read from it.
    """

    idle_s: float = 75.0
    head_s: float = 10.0
    body_s: float = 30.0
    body_bytes_per_s: int = 1024
    body_grace_s: float = 5.0
    stall_s: float = 30.0
    linger_s: float = 5.0
    sweep_s: float = 1.0
    head_bytes: int = 16 * 1024
    head_fields: int = 100
    target_bytes: int = 8 * 1024
    body_bytes: int = 16 * 1024 * 1024
    intake_bytes: int = 64 * 1024 * 1024
    connections: int = 10_000
    connections_per_peer: int = 512
    exempt_peers: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    pipelined: int = 64


class ByteBudget:
    """A semaphore of bytes that never waits: what does not fit is refused."""

    __slots__ = ("free", "total")

    def __init__(self, total: int) -> None:
        """Start with `total` bytes free."""
        self.total = total
        self.free = total

    def take(self, count: int) -> bool:
        """Take `count` bytes, and return whether there was room for them."""
        if count > self.free:
            return False
        self.free -= count
        return True

    def give(self, count: int) -> None:
        """Give back `count` bytes that were taken."""
        self.free += count


def is_overdue(phase: int, elapsed_s: float, received: int, limits: HttpLimits) -> bool:
    """Return whether a connection has been in `phase` for too long.

    Args:
        phase: NEW, HEAD, BODY, BETWEEN (idle, nothing being served) or PARTING.
        elapsed_s: since the phase began.
        received: bytes of the body so far.
        limits: what is allowed.
    """
    if phase in (NEW, HEAD):
        return elapsed_s > limits.head_s
    if phase == BODY:
        owed = (elapsed_s - limits.body_grace_s) * limits.body_bytes_per_s
        return elapsed_s > limits.body_s or received < owed
    return elapsed_s > (limits.idle_s if phase == BETWEEN else limits.linger_s)


class Connection(Protocol):
    """What the sweep knows of a connection."""

    def check(self, now: float) -> None:
        """Close or refuse what is overdue at `now`, monotonic seconds."""
        ...


class Connections:
    """The open connections of this process: how many, from whom, and which are overdue.

    `now` is the monotonic time of the last sweep: connections note it instead of reading a clock
    for every request. `left` is called when one has been counted out.
    """

    def __init__(self, limits: HttpLimits, monotonic: Callable[[], float]) -> None:
        """Take the limits and a monotonic clock in seconds."""
        self.now = monotonic()
        self.left: Callable[[], None] = lambda: None
        self._limits = limits
        self._monotonic = monotonic
        self._open: set[Connection] = set()
        self._peers: Counter[str] = Counter()
        self._exempt = [ipaddress.ip_network(network) for network in limits.exempt_peers]
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many connections are open."""
        return len(self._open)

    def peer_of(self, address: str | None) -> str | None:
        """Return under what name an address is counted, or None if it is not counted.

        IPv6 counts by /64, which is what one customer of a network has.
        """
        if address is None:
            return None
        try:
            ip = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return address
        if isinstance(ip, ipaddress.IPv6Address):
            ip = ip.ipv4_mapped or ip
        if any(ip in network for network in self._exempt):
            return None
        if isinstance(ip, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((int(ip) >> 64 << 64, 64)))
        return str(ip)

    def admit(
        self, connection: Connection, peer: str | None, loop: asyncio.AbstractEventLoop
    ) -> bool:
        """Count `connection` in, and return whether there was room for it and for its peer."""
        limits = self._limits
        if len(self._open) >= limits.connections:
            return False
        if peer is not None:
            if self._peers[peer] >= limits.connections_per_peer:
                return False
            self._peers[peer] += 1
        self._open.add(connection)
        if self._timer is None:
            self.now = self._monotonic()
            self._timer = loop.call_later(limits.sweep_s, self._tick, loop)
        return True

    def leave(self, connection: Connection, peer: str | None) -> None:
        """Count `connection` out, if it was in."""
        if connection not in self._open:
            return
        self._open.discard(connection)
        if peer is not None:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]
        self.left()

    def sweep(self) -> None:
        """Look at every connection once."""
        self.now = self._monotonic()
        for connection in tuple(self._open):
            connection.check(self.now)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sweep, and again later for as long as there are connections."""
        self._timer = None
        self.sweep()
        if self._open:
            self._timer = loop.call_later(self._limits.sweep_s, self._tick, loop)
