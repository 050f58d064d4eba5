"""The ways to a database beside the store's: connections apart, and the channel."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from waypost.model.ids import Id
from waypost.storage.apart import Apart
from waypost.storage.postgres import lanes
from waypost.storage.postgres.channel import Channel
from waypost.storage.postgres.connection import SNAPSHOT, PostgresOptions, connect
from waypost.storage.postgres.presence import Presence


class Links:
    """Makes them; each connects when it is first used."""

    def __init__(
        self, conninfo: str, options: PostgresOptions, presence: Presence | None = None
    ) -> None:
        """Take the server, how connections are made, and whom to tell whether they can be."""
        self._presence = presence or Presence()
        self._conninfo = conninfo
        self._options = options

    def newest(self, connection: Connection) -> list[tuple[Id, Id, Id | None]]:
        """Read (project, subscription, delivery) of what each lane was owed last."""
        return lanes.newest(connection)

    def apart(self, name: str) -> Apart:
        """Return a connection for one use alone."""
        return Apart(partial(self._connect, name), SNAPSHOT)

    def _connect(self, name: str) -> Connection:
        with self._presence.noted(name):
            return connect(self._conninfo, self._options, name=name)

    def channel(self, heard: Callable[[str], None], connected: Callable[[], None]) -> Channel:
        """Return a way to send messages, which is being connected."""
        channel = Channel(self._conninfo, self._options, heard, connected, self._presence)
        channel.start()
        return channel
