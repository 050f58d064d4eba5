"""A small HTTP client, so that what is unknown after a kill is known to be unknown."""

import asyncio
import json
from typing import Any, Protocol

ANSWER_S = 20.0
"""A server that lives answers within this time."""


class Unanswered(Exception):
    """The connection ended, or never began, before a complete answer: nobody knows the outcome."""


class Unsent(Unanswered):
    """There is no connection: nothing was sent."""


class Place(Protocol):
    """Where the product's API is."""

    @property
    def port(self) -> int:
        """Where it listens, on the loopback: of several, that of the one whose turn it is."""

    @property
    def key(self) -> str:
        """An administrator's key."""


class Connection:
    """One connection to the server, opened anew when it is gone."""

    def __init__(self, port: int, key: str) -> None:
        """Nothing is connected yet."""
        self._port = port
        self._key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; return status and body of the answer.

        Raises:
            Unanswered: no complete answer came; `Unsent` where nothing was sent.
        """
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\n"
            f"authorization: {self._key}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        try:
            async with asyncio.timeout(ANSWER_S):
                return await self._exchange(head.encode() + body)
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError) as error:
            await self.close()
            raise Unanswered(type(error).__name__) from error

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request with JSON; return status and what the answer's JSON says."""
        content = b"" if body is None else json.dumps(body).encode()
        status, answer = await self.request(method, path, content)
        return status, json.loads(answer) if answer else None

    async def close(self) -> None:
        """Drop the connection."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            try:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError as error:
                raise Unsent from error
        reader, writer = self._streams
        writer.write(request)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length or 0))
        if b"connection: close" in head:
            await self.close()
        return int(head[9:12]), body
