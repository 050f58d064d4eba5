"""Listeners: sockets, and the HTTP server on each of them."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from waypost.model.errors import ConfigInvalid
from waypost.web.front import HttpFront
from waypost.web.protocol import protocol_class

BACKLOG: Final = 2_048
LONGEST_SOCKET_PATH: Final = 100
"""Bytes of a path that every system takes for a socket: Linux takes 107, macOS 103."""


def bind(host: str, port: int) -> socket.socket:
    """Take an address, so that nothing else has to be started where it is in use.

    Raises:
        ConfigInvalid: it can't be had; says why.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise ConfigInvalid(f"can't listen on {host}:{port}: {error.strerror}") from error
    return listening


def bind_local(path: Path) -> socket.socket:
    """Take a socket in the file system that its owner alone can open."""
    path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(str(path))
    # Nobody can connect before `listen`, so there is no moment at which others could.
    os.chmod(path, 0o600)  # noqa: PTH101 - the path is absolute and just made
    return listening


class Listener:
    """An HTTP server on one bound socket, or on connections that are accepted elsewhere."""

    def __init__(
        self, app: ASGIApp, listening: socket.socket | None, front: HttpFront | None = None
    ) -> None:
        """Take what is served, and the bound socket to serve it on; None: only what is adopted.

        Without a `front` there are neither fast routes nor limits: for callers that are trusted.
        """
        self._listening = [] if listening is None else [listening]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=protocol_class(front) if front else "httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                workers=1,
                backlog=BACKLOG,
            )
        )
        self._ticking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accept connections."""
        server = self._server
        server.config.load()
        server.lifespan = server.config.lifespan_class(server.config)
        await server.startup(sockets=self._listening)
        self._ticking = asyncio.create_task(server.main_loop())

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return len(self._server.server_state.connections)

    async def adopt(self, connection: socket.socket) -> None:
        """Serve a connection that was accepted elsewhere."""
        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        # As uvicorn's own `startup` makes them for what it accepts.
        server = self._server
        protocol: asyncio.Protocol = server.config.http_protocol_class(  # type: ignore[call-arg] # its own class takes these
            config=server.config, server_state=server.server_state, app_state=server.lifespan.state
        )
        return protocol

    async def stop(self, timeout_s: float) -> None:
        """Accept no more, answer what has come, and close what is still open after that."""
        self._server.should_exit = True
        self._server.config.timeout_graceful_shutdown = timeout_s  # type: ignore[assignment] # a part of a second as well
        if self._ticking is not None:
            await self._ticking
            await self._server.shutdown(sockets=self._listening)
