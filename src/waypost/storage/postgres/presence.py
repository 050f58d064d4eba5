"""Presence: whether the connections of this process find their database, as its log tells it.

Each looks for itself, again and again. The log has one line when the first finds nothing, and one
when there is none left that does.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import DBAPIError

from waypost.storage.postgres.failures import shown

_log = structlog.get_logger(__name__)


class Presence:
    """What the connections of a process have found. For any thread."""

    def __init__(self) -> None:
        """Begin with a database that is there."""
        self._searching: set[str] = set()
        self._lock = threading.Lock()

    @contextmanager
    def noted(self, name: str) -> Iterator[None]:
        """Take note whether a connection can be made: the last of its name is what counts."""
        try:
            yield
        except Exception as error:
            with self._lock:
                if not self._searching:
                    cause = error.orig if isinstance(error, DBAPIError) else None
                    _log.warning("database_away", connection=name, error=shown(cause or error))
                self._searching.add(name)
            raise
        with self._lock:
            if name in self._searching:
                self._searching.remove(name)
                if not self._searching:
                    _log.warning("database_back")
