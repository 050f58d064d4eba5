"""How commands reach the database: by the server that has it, or as a server for a moment.

Either way they speak the HTTP API over a local socket, so a command changes exactly what a request
would, with the same checks and the same record of who did what. A SQLite file is one process's
alone, so a command asks that one; on PostgreSQL it is one more process beside the others.
"""

import asyncio
import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlencode

import msgspec
import typer

from waypost import telemetry
from waypost.config import Config
from waypost.model.errors import Unavailable, WaypostError
from waypost.server.program import administered
from waypost.storage.location import SqliteFile
from waypost.storage.sqlite.instance import DatabaseInUse

T = TypeVar("T")

TIMEOUT_S: Final = 30.0
_PAGE: Final = 100


class Client:
    """A caller of the HTTP API."""

    def __init__(
        self, connect: Callable[[], http.client.HTTPConnection], key: str | None = None
    ) -> None:
        """Take how the server is reached, and the key to call with; a local socket needs none."""
        self._connect = connect
        self._key = key

    @classmethod
    def local(cls, path: Path) -> Self:
        """Return a caller by the socket at `path`, who may do everything."""
        return cls(lambda: _LocalConnection(path))

    def send(self, method: str, path: str, body: Any = None, *, project: str | None = None) -> Any:
        """Send one request and return what the answer holds.

        Args:
            method: of HTTP.
            path: with its query.
            body: what is sent as JSON; bytes are JSON already.
            project: the token of the project that it is about; else the default one.

        Raises:
            WaypostError: it was refused; in the server's words.
            Unavailable: nobody answers.
        """
        connection = self._connect()
        headers = {"content-type": "application/json"} if body is not None else {}
        if self._key is not None:
            headers["authorization"] = self._key
        if project is not None:
            headers["waypost-project"] = project
        content = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        try:
            connection.request(method, path, content, headers)
            answer = connection.getresponse()
            text = answer.read()
        except OSError as error:
            raise Unavailable(
                "the process that has the database does not answer: it may be starting, stopping,"
                " or busy with a restore"
            ) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise WaypostError(msgspec.json.decode(text)["message"])
        return msgspec.json.decode(text) if text else None

    def list(self, path: str, *, project: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield all items of a list, newest first, page by page."""
        after: dict[str, str] = {}
        while True:
            query = urlencode({"page_size": _PAGE, **after})
            page = self.send("GET", f"{path}?{query}", project=project)
            yield from page["data"]
            if not page["has_more"]:
                return
            after = {"starting_after": page["data"][-1]["token"]}


class _LocalConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(str(self._path))


def administer(config: Config, task: Callable[[Client], T]) -> T:
    """Do a task with the database that `config` names, whether a server runs or not.

    Raises:
        WaypostError: whatever the task is refused, or the database can't be used.
    """
    telemetry.configure_log(config.log_format, "warning")
    database = config.database
    if isinstance(database, SqliteFile) and not database.path.exists():
        # A command in another folder than the server's is a likely mistake, and no error.
        typer.echo(f"No database at {database} yet: making it.", err=True)
    try:
        return asyncio.run(_alone(config, task))
    except DatabaseInUse as error:
        if error.holder is None:
            raise
        return task(Client.local(Path(error.holder.socket)))


async def _alone(config: Config, task: Callable[[Client], T]) -> T:
    async with administered(config) as server:
        return await asyncio.to_thread(task, Client.local(server.local_path))
