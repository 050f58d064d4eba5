"""PostgreSQL under the server: started for one run, with a fresh database for each round.

It runs as an operator would set it up for a small machine: every commit forced to disk, memory and
log as `SETTINGS` say, all else as it comes. Statements are counted by pg_stat_statements, which
Debian's PostgreSQL has and the wheel's has not.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql

from bench.bars import POSTGRESQL
from bench.child import ChildError
from bench.databases import Statement
from tests.support.postgres import Server, binaries

SETTINGS: Final = {
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
}
"""256 MB and not a quarter of the memory, so that a full database does not fit in."""

COUNTING: Final = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_utility": "on",
}
EXPLAINING: Final = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_nested_statements": "on",
}
ROLE: Final = "waypost"
WHEEL: Final = "16"
_SYSTEM: Final = Path("/usr/lib/postgresql")
_OLDEST: Final = 15
"""Waypost takes none that is older."""

_STATEMENTS: Final = """
    SELECT s.query, s.calls, s.total_exec_time, s.rows
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = %s ORDER BY s.calls DESC
"""
_FORGET: Final = """
    SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = %s
"""
_SYNCS: Final = "SELECT wal_sync FROM pg_stat_wal"
_SYNCS_SINCE_18: Final = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"


class Postgres:
    """A running PostgreSQL.

    Attributes:
        contrib: whether its contrib modules are there: pg_stat_statements, auto_explain.
        version: as the server says it.
    """

    kind: Final = POSTGRESQL

    def __init__(self, server: Server, *, contrib: bool) -> None:
        """Use a started server; make the role that Waypost has in it."""
        self.contrib = contrib
        self._server = server
        self._made = 0
        self._admin = psycopg.connect(server.url(), autocommit=True)
        self.version = str(self.one("SHOW server_version")).split()[0]
        self._admin.execute(f"CREATE ROLE {ROLE} LOGIN")
        if contrib:
            self._admin.execute("CREATE EXTENSION pg_stat_statements")

    @property
    def pid(self) -> int:
        """The postmaster."""
        return self._server.pid

    def url(self, database: str, user: str = ROLE) -> str:
        """The address of a database."""
        return self._server.url(database, user)

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Run a statement of our own, outside of every database that is measured."""
        return self._admin.execute(statement.encode(), values or None).fetchall()

    def one(self, statement: str, *values: object) -> Any:
        """The only value of the only row."""
        return self.rows(statement, *values)[0][0]

    def run(self, statement: str, *names: str) -> None:
        """Run a statement without result; `{}` stand for names."""
        made = sql.SQL(statement).format(*map(sql.Identifier, names))
        self._admin.execute(made)

    def create(self, _directory: Path) -> "PostgresDatabase":
        """Make an empty database that Waypost owns."""
        self._made += 1
        name = f"waypost_{self._made}"
        self.run("CREATE DATABASE {} OWNER {}", name, ROLE)
        return PostgresDatabase(self, name)

    def log(self) -> str:
        """What the server has written to its log."""
        return self._server.log()

    def close(self) -> None:
        """Leave; the server is stopped by who started it."""
        self._admin.close()


@dataclass(slots=True)
class PostgresDatabase:
    """One database."""

    server: Postgres
    name: str
    kind: str = POSTGRESQL
    folder: None = None
    _empty_bytes: int = 0

    @property
    def url(self) -> str:
        """As the server is told it."""
        return self.server.url(self.name)

    @property
    def pid(self) -> int:
        """The postmaster."""
        return self.server.pid

    def migrated(self) -> None:
        """Take its present size as that of an empty one: PostgreSQL's own catalogue is 8 MB."""
        self._empty_bytes = self._size()

    def bytes_kept(self) -> int:
        """What it has grown by since it was migrated, tables and indexes; without the log."""
        return self._size() - self._empty_bytes

    def log_position(self) -> int:
        """Bytes of write-ahead log so far, of the whole server."""
        return int(self.server.one("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"))

    def syncs(self) -> int:
        """How often the log of the whole server was forced to disk; told a second late."""
        newer = int(self.server.version.split(".")[0]) >= 18
        return int(self.server.one(_SYNCS_SINCE_18 if newer else _SYNCS))

    def count_statements(self) -> None:
        """Begin to count anew."""
        if self.server.contrib:
            self.server.rows(_FORGET, self.name)

    def statements(self) -> Sequence[Statement] | None:
        """What was executed here since the count began, the most frequent first."""
        if not self.server.contrib:
            return None
        return [Statement(*row) for row in self.server.rows(_STATEMENTS, self.name)]

    def connect(self) -> psycopg.Connection:
        """A connection of our own to it, with all rights."""
        return psycopg.connect(self.server.url(self.name, "postgres"), autocommit=True)

    def set(self, settings: Mapping[str, str]) -> None:
        """Settings of every connection to it that is made from now on."""
        for name, value in settings.items():
            quoted = value.replace("'", "''")
            self.server.run(f"ALTER DATABASE {{}} SET {name} = '{quoted}'", self.name)

    def drop(self) -> None:
        """Remove it."""
        self.server.run("DROP DATABASE {} WITH (FORCE)", self.name)

    def _size(self) -> int:
        self.server.run("CHECKPOINT")
        return int(self.server.one("SELECT pg_database_size(%s)", self.name))


@contextmanager
def running(
    parent: Path | None, version: str | None, settings: Mapping[str, str]
) -> Iterator[Postgres]:
    """Have a PostgreSQL in a folder of its own under `parent`; both are gone on leaving.

    Args:
        parent: on the disk to be measured; every user must be able to pass through it, for root
            starts PostgreSQL as another one.
        version: whose programs to use; None: those with contrib modules, or the wheel's.
        settings: more of the server's, or others than `SETTINGS`.

    Raises:
        ChildError: it could not be started.
    """
    version = version or best_version()
    contrib = has_contrib(version)
    options = {**SETTINGS, **(COUNTING if contrib else {}), **settings}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="waypost-bench-postgres-", dir=parent))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        try:
            server = Server(folder, version=version, durable=True, options=options)
            stack.callback(server.stop)
            server.start()
        except (AssertionError, OSError, subprocess.CalledProcessError) as error:
            raise ChildError(f"PostgreSQL {version} did not start in {folder}: {error}") from error
        postgres = Postgres(server, contrib=contrib)
        stack.callback(postgres.close)
        yield postgres


def best_version() -> str:
    """The newest of the system's that will do and has contrib modules; else the wheel's."""
    able = [v for v in _versions(_SYSTEM) if int(v) >= _OLDEST and has_contrib(v)]
    return able[-1] if able else WHEEL


def _versions(system: Path) -> list[str]:
    """The versions that the system has, the newest last."""
    return sorted((path.parts[-3] for path in system.glob("*/bin/postgres")), key=int)


def has_contrib(version: str) -> bool:
    """Whether that version's programs come with PostgreSQL's contrib modules."""
    asked = [str(binaries(version) / "pg_config"), "--pkglibdir"]
    try:
        found = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return False
    return (Path(found) / "pg_stat_statements.so").exists()
