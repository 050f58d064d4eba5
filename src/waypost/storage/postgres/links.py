"""The ways to a database beside the store's: connections apart, and the channel."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection

from waypost.model.ids import Id
from waypost.storage.apart import Apart
from waypost.storage.postgres import lanes
from waypost.storage.postgres.channel import Channel
from waypost.storage.postgres.connection import SNAPSHOT, PostgresOptions, connect


class Links:
    """Makes them; each connects when it is first used."""

    def __init__(self, conninfo: str, options: PostgresOptions) -> None:
        """Take the server, and how connections are made."""
        self._conninfo = conninfo
        self._options = options

    def newest(self, connection: Connection) -> list[tuple[Id, Id, Id | None]]:
        """Read (project, subscription, delivery) of what each lane was owed last."""
        return lanes.newest(connection)

    def apart(self, name: str) -> Apart:
        """Return a connection for one use alone."""
        return Apart(partial(connect, self._conninfo, self._options, name=name), SNAPSHOT)

    def channel(self, heard: Callable[[str], None], connected: Callable[[], None]) -> Channel:
        """Return a way to send messages, which is being connected."""
        channel = Channel(self._conninfo, self._options, heard, connected)
        channel.start()
        return channel
