"""The channel: LISTEN and NOTIFY on a connection of its own, in a thread of its own.

Whoever can't be reached is told nothing: messages that can't be sent are dropped, and after each
new connection whoever listens is told that something may have been missed.
"""

import os
import selectors
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import psycopg
import structlog
from psycopg import Notify

from waypost.storage.postgres.connection import PostgresOptions, open_raw
from waypost.storage.postgres.failures import shown
from waypost.storage.postgres.presence import Presence

_log = structlog.get_logger(__name__)

NAME: Final = "waypost"

_NOTIFY: Final = "SELECT pg_notify(%s, message) FROM unnest(%s::text[]) AS message"
_SETTINGS: Final = {
    # A notification that is lost in a crash has nobody left to hear it: its commit need not wait
    # for the disk.
    "synchronous_commit": "off"
}
_RETRY_S: Final = 0.5
_PROBE_S: Final = 10.0
_WAITING_MAX: Final = 1_000


class Channel:
    """Sends messages to every process that listens, and brings theirs, but not its own.

    Messages and news of a new connection are brought in the channel's thread.
    """

    def __init__(
        self,
        conninfo: str,
        options: PostgresOptions,
        heard: Callable[[str], None],
        connected: Callable[[], None],
        presence: Presence,
    ) -> None:
        """Take the server, and whom to tell of each message and of each new connection."""
        self._presence = presence
        self._conninfo = conninfo
        self._options = options
        self._heard = heard
        self._connected = connected
        self._outgoing: deque[str] = deque(maxlen=_WAITING_MAX)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="waypost-channel", daemon=True)

    def start(self) -> None:
        """Connect, and go on connecting as often as the connection is lost."""
        self._thread.start()

    def send(self, messages: Sequence[str]) -> None:
        """Send messages, soon."""
        self._outgoing.extend(messages)
        self._wake()

    def close(self) -> None:
        """Send what was handed over, and end; waits for that."""
        self._stopping.set()
        self._wake()
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b".")
        except BlockingIOError:  # it is full of these
            return

    # Below: the thread.

    def _run(self) -> None:
        is_lost = False
        while not self._stopping.is_set():
            try:
                with self._open() as connection:
                    is_lost = False
                    self._serve(connection)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next one may do
                if not (is_lost or self._stopping.is_set()):
                    _log.info("channel_lost", error=shown(error))
                is_lost = True
                self._stopping.wait(_RETRY_S)

    def _open(self) -> psycopg.Connection[Any]:
        with self._presence.noted("channel"):
            return open_raw(self._conninfo, self._options, name="channel", **_SETTINGS)

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        own = connection.info.backend_pid

        def take(message: Notify) -> None:
            if message.pid != own:
                self._heard(message.payload)

        # What comes while a statement runs is brought by this; what comes else, by `_receive`.
        connection.add_notify_handler(take)
        connection.execute(f"LISTEN {NAME}")
        self._connected()
        with selectors.DefaultSelector() as selector:
            selector.register(connection.fileno(), selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while True:
                self._send(connection)
                # What came behind an answer may be read already: the socket would not tell of it.
                self._receive(connection, own)
                if self._stopping.is_set():
                    return
                ready = {key.fd for key, _ in selector.select(_PROBE_S)}
                if self._wake_read in ready:
                    os.read(self._wake_read, 4_096)
                if not ready:
                    connection.execute("SELECT 1")

    def _receive(self, connection: psycopg.Connection[Any], own: int) -> None:
        wire = connection.pgconn
        wire.consume_input()
        while (message := wire.notifies()) is not None:
            if message.be_pid != own:
                self._heard(message.extra.decode())

    def _send(self, connection: psycopg.Connection[Any]) -> None:
        messages = []
        while self._outgoing:
            messages.append(self._outgoing.popleft())
        if messages:
            # The same message twice in one transaction is sent once.
            connection.execute(_NOTIFY, (NAME, messages))
