"""A real PgBouncer in transaction mode, on a free port, in a folder of its own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import USER, Server
from tests.support.program import PATIENCE_S
from tests.support.site import eventually
from tests.torture.process import free_port

_NOBODY = "nobody"


@contextmanager
def pgbouncer(server: Server, *, sessions: int) -> Iterator[str]:
    """Have a pooler before a server, with so many sessions on it; yield the database's URL."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "Debian has it as the package pgbouncer"
    folder = Path(tempfile.mkdtemp(prefix="waypost-pgbouncer-"))
    port = free_port()
    (folder / "users").write_text(f'"{USER}" ""\n')
    (folder / "ini").write_text(
        "[databases]\n"
        f"postgres = host=127.0.0.1 port={server.port} dbname=postgres\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder / 'users'}\n"
        f"pool_mode = transaction\ndefault_pool_size = {sessions}\n"
    )
    as_nobody: list[str] = []
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, _NOBODY)
        as_nobody = ["-u", _NOBODY]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-q", *as_nobody, folder / "ini"], stdout=log, stderr=log
        )
    url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    try:
        eventually(lambda: _answers(url))
        yield url
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        with closing(psycopg.connect(url, connect_timeout=2)):
            return True
    except psycopg.OperationalError:
        return False
