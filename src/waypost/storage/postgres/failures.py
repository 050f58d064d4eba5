"""What an error of PostgreSQL means for who waits."""

from enum import Enum
from typing import Final

import psycopg

from waypost.model.errors import StorageFull, Unavailable, WaypostError


class Failure(Enum):
    """Kinds of failure."""

    LOST = "lost"
    """The connection is of no use any more; what it was doing may hold or not."""

    CLASH = "clash"
    """Two transactions got in each other's way: nothing holds, and to do it again will do."""

    BUSY = "busy"
    """The server gave up on it: nothing holds, later it may go."""

    FULL = "full"
    """The server's disk is full: nothing holds."""

    DATA = "data"
    """What was to be written can't be: nothing holds, and the same will fail again."""

    BUG = "bug"
    """The statement does not fit the database."""


_CLASHES: Final = frozenset({"40001", "40P01"})
_FULL: Final = frozenset({"53100"})
_LOST: Final = frozenset({"25006", "53300", "0A000", "26000", "42P05"})
"""Read-only: this server is a standby (now), so the connection has to find the other one; a standby
refuses serializable transactions too. No connection left is said when one is made. A prepared
statement that is gone, or whose tables have changed, is prepared again on a new connection."""

_LOST_CLASSES: Final = ("08", "57P", "XX", "F0", "28", "3D")
_BUSY: Final = frozenset({"57014", "55P03", "53200", "53400", "25P03", "55000", "58030"})
_NO_TEXT: Final = frozenset({"22021", "22P05"})
_DATA_CLASSES: Final = ("22", "23", "21")


def judge(error: BaseException) -> Failure:
    """Tell what an error means, of the driver's or of making what it is to send."""
    state = getattr(error, "sqlstate", None)
    if state is None:
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            return Failure.LOST
        # Not the server's: a value that can't even be sent.
        return Failure.DATA
    if state in _CLASHES:
        return Failure.CLASH
    if state in _FULL:
        return Failure.FULL
    if state in _LOST or state.startswith(_LOST_CLASSES):
        return Failure.LOST
    if state in _BUSY:
        return Failure.BUSY
    return Failure.DATA if state.startswith(_DATA_CLASSES) else Failure.BUG


def is_no_text(error: BaseException) -> bool:
    """Tell whether a statement was refused for a text that PostgreSQL's can't hold."""
    cause = getattr(error, "orig", None) or error
    return getattr(cause, "sqlstate", None) in _NO_TEXT or (
        isinstance(cause, psycopg.DataError) and "NUL" in str(cause)
    )


def shown(error: BaseException) -> str:
    """Return an error in one line, without what it quotes of the data."""
    state = getattr(error, "sqlstate", None)
    line = str(error).strip().split("\n")[0]
    return f"{line} ({state})" if state else line


def answer(failure: Failure) -> WaypostError:
    """Return what whoever waits is told."""
    return StorageFull() if failure is Failure.FULL else Unavailable()
