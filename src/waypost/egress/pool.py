"""A pool: what is sent to one destination for one project, over connections that are kept alive.

Sending over an idle connection is one write, and its answer comes back through plain callbacks:
no task, no future and no timer belong to a request.
"""

from collections.abc import Callable
from typing import Final

from waypost.egress.connection import Call, Connection, Done
from waypost.model.exchange import Reply
from waypost.policy.urls import Destination

IDLE_S: Final = 4.0
KEEP_ALIVE_MARGIN_S: Final = 0.5
AGE_S: Final = 60.0


class Idle(dict[Connection, "Pool"]):
    """The idle connections of all pools, each with its pool; the one that is idle longest first."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        """Take how many there may be."""
        super().__init__()
        self.limit = limit

    def close(self, connection: Connection) -> None:
        """Close an idle connection."""
        self.forget(connection)
        connection.transport.close()

    def forget(self, connection: Connection) -> None:
        """Let nobody use a connection any more; it need not be idle."""
        pool = self.pop(connection, None)
        if pool is not None:
            pool.idle.remove(connection)


class Pool:
    """The connections of one project to one scheme, host and port.

    Attributes:
        destination: where they lead; its path is only one of those that are used.
        idle: those that wait for their next request, the one that was used last at the end.
        insecure_tls: any certificate will do.
    """

    __slots__ = (
        *("__weakref__", "_abort", "_all_idle", "_dial", "_now"),
        *("destination", "idle", "insecure_tls"),
    )

    def __init__(
        self,
        destination: Destination,
        *,
        now: Callable[[], float],
        all_idle: Idle,
        dial: Callable[["Pool", Call], None],
        abort: Callable[[Call], None],
        insecure_tls: bool = False,
    ) -> None:
        """Take the clock, what is shared with other pools, and what makes and breaks off."""
        self.destination = destination
        self.insecure_tls = insecure_tls
        self.idle: list[Connection] = []
        self._now = now
        self._all_idle = all_idle
        self._dial = dial
        self._abort = abort

    def post(self, head: bytes, body: bytes, timeout_s: float, done: Done) -> Call:
        """Send one request.

        Args:
            head: the complete head, from the request line to the blank line.
            body: the bytes that the head announces.
            timeout_s: seconds from now until the whole answer must have come; resolving,
                connecting and the TLS handshake count. Kept to within a tick (0.1 s).
            done: hears of the end exactly once, on the loop, never from inside this call.

        Returns:
            The call, to break it off.
        """
        now = self._now()
        call = Call(self._abort, head, body, now, now, now + timeout_s, done)
        idle = self.idle
        while idle:
            connection = idle.pop()
            del self._all_idle[connection]
            if connection.expires_at > now and not connection.transport.is_closing():
                call.connection = connection
                connection.call = call
                connection.send(head + body)
                return call
            connection.transport.abort()
        self._dial(self, call)
        return call

    def answered(self, connection: Connection) -> None:
        """Take a connection's complete answer: keep the connection, and end its call."""
        call = connection.call
        if call is None:
            return
        connection.call = None
        now = self._now()
        # Without a moment of its own the first byte came with the last.
        timings = call.timings(connection.first_byte_at or now, now)
        reply = Reply(
            connection.status,
            connection.body,
            timings,
            connection.retry_after or None,
            call.resent,
            connection.consent,
        )
        # Answered before all was sent: the rest of the request is still to be written.
        if connection.reusable and not connection.is_sending:
            self._keep(connection, now)
        else:
            connection.transport.abort()
        call.done(reply)

    def _keep(self, connection: Connection, now: float) -> None:
        expires_at = now + IDLE_S
        if connection.keep_alive_s is not None:
            expires_at = min(expires_at, now + connection.keep_alive_s - KEEP_ALIVE_MARGIN_S)
        connection.expires_at = min(expires_at, connection.born_at + AGE_S)
        connection.reused = True
        self.idle.append(connection)
        everywhere = self._all_idle
        everywhere[connection] = self
        if len(everywhere) > everywhere.limit:
            everywhere.close(next(iter(everywhere)))
