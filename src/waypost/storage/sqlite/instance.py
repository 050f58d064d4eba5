"""One process for one SQLite file: a lock beside it, that also says how to reach its holder.

SQLite itself lets many processes write in turn; Waypost must not, for its lanes live in memory.
The lock is the kernel's, so it ends with the process however that ends; what stands in the file is
only there to be told to people, and to the command line.
"""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

import msgspec

from waypost.model.errors import Conflict

_LONGEST_NOTE: Final = 4_096


class Holder(msgspec.Struct, frozen=True):
    """The process that has the database open, and the socket by which it is administered."""

    pid: int
    socket: str


class DatabaseInUse(Conflict):
    """Another process has the database open."""

    code = "database_in_use"

    def __init__(self, database: Path, holder: Holder | None) -> None:
        """Name the database and who holds it, where that is known."""
        by = "another process" if holder is None else f"process {holder.pid}"
        super().__init__(
            f"the database {database} is in use by {by}: one Waypost serves one SQLite file"
        )
        self.holder = holder


def lock_file(database: Path) -> Path:
    """Return the path of the lock that belongs to a database, whatever links lead to it."""
    file = database.resolve()
    return file.with_name(file.name + ".lock")


class InstanceLock:
    """The right to be the one process on a database; held until `release`."""

    def __init__(self, descriptor: int) -> None:
        """Keep the open, locked file."""
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, database: Path, socket: Path) -> Self:
        """Take the lock of a database, and note the process and its socket for others.

        Raises:
            DatabaseInUse: another process has it.
            OSError: the folder can't be written.
        """
        # Never unlinked: a lock on a file that is gone would keep nobody out.
        descriptor = os.open(lock_file(database), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note = _read(descriptor)
            os.close(descriptor)
            raise DatabaseInUse(database, note) from None
        os.ftruncate(descriptor, 0)
        note = Holder(pid=os.getpid(), socket=str(socket.absolute()))
        os.pwrite(descriptor, msgspec.json.encode(note), 0)
        return cls(descriptor)

    def release(self) -> None:
        """Let others have the database."""
        os.close(self._descriptor)


def _read(descriptor: int) -> Holder | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, _LONGEST_NOTE, 0), type=Holder)
    except msgspec.DecodeError:
        return None
