"""The databases under the server: how one is made, measured and removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.bars import SQLITE

FILE = "waypost.db"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as the database counts it: all of its executions since the count began."""

    text: str
    calls: int
    total_ms: float
    rows: int


class Database(Protocol):
    """One database of one server."""

    @property
    def kind(self) -> str:
        """Which bars it is judged by."""

    @property
    def url(self) -> str:
        """As the server is told it."""

    @property
    def pid(self) -> int | None:
        """The database server's process; None where there is none."""

    @property
    def folder(self) -> Path | None:
        """Where it lies, as far as that is a file of the round."""

    def bytes_kept(self) -> int:
        """What it takes on disk since it was empty; to be asked when its server has ended."""

    def log_position(self) -> int | None:
        """Bytes written to its log so far; None where that is not counted."""

    def syncs(self) -> int | None:
        """How often its log was forced to disk so far; None where that is not counted."""

    def count_statements(self) -> None:
        """Begin to count anew."""

    def statements(self) -> Sequence[Statement] | None:
        """What was executed since the count began; None where it can't be counted."""

    def drop(self) -> None:
        """Remove it."""


class Databases(Protocol):
    """Where databases come from."""

    @property
    def kind(self) -> str:
        """Which bars they are judged by."""

    def create(self, directory: Path) -> Database:
        """Make an empty one; what it has of files goes into `directory`."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """A file that the server makes by itself."""

    folder: Path
    kind: str = SQLITE
    pid: None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / FILE

    @property
    def url(self) -> str:
        """As the server is told it."""
        return f"sqlite:///{self.path}"

    def bytes_kept(self) -> int:
        """Size of the file and of its write-ahead log."""
        files = (self.path, self.path.with_name(f"{FILE}-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def log_position(self) -> None:
        """Not counted: the log is written over and over."""

    def syncs(self) -> None:
        """Not counted: the server asks for them."""

    def count_statements(self) -> None:
        """Nothing counts them."""

    def statements(self) -> None:
        """Not counted."""

    def drop(self) -> None:
        """Goes with its folder."""


@dataclass(frozen=True, slots=True)
class SqliteFiles:
    """Files, each in its folder."""

    kind: str = SQLITE

    def create(self, directory: Path) -> SqliteFile:
        """Name the file; the server makes it."""
        return SqliteFile(directory)
