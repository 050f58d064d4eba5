"""Changes of the configuration: written, and followed before they are answered.

A change is one transaction, which also records itself for the other processes. What is in memory
here follows right after its commit. Where other processes change the configuration as well, the
follower then reads on until it has met the change: what it had read before can't bring back what
was changed.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from waypost.model.errors import Unavailable
from waypost.storage.connection import Connection
from waypost.storage.store import Store

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Configuration:
    """What changes the configuration goes through it.

    Attributes:
        store: the database.
    """

    def __init__(self, store: Store, catch_up: Callable[[], Awaitable[None]] | None = None) -> None:
        """Take the database; `catch_up` returns when what was committed before is in memory.

        There is none where this process has the database to itself.
        """
        self.store = store
        self._catch_up = catch_up

    async def change(self, write: Callable[[Connection], T], follow: Callable[[T], None]) -> T:
        """Run `write` as `Store.write` does, and `follow` with its result after the commit.

        `write` records what it changes, by `waypost.storage.configuration.record`.

        Raises:
            Unavailable: the transaction could not be committed.
            Exception: what `write` raised; nothing of it holds.
        """
        result = await self.store.write(write, follow)
        if self._catch_up is not None:
            try:
                await self._catch_up()
            except Unavailable:
                # It is committed, and memory has followed. Until the database is back nothing is
                # accepted or sent by what is in memory anyway.
                _log.warning("configuration_unconfirmed")
        return result
