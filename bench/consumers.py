"""Consumers by Buildable's API: they ask for messages, claim them, and end what they have claimed.

Each has one kept connection and begins at a part of its own of what is to be had, so that they
seldom reach for the same message; who comes second is told so, and goes on with the next one. What
others have claimed before that part moves it forward, so each reckons anew where it begins.

Usage: `python -m bench.consumers PORT CONSUMERS NAME TX_KEY` with the key in `WAYPOST_ADMIN_KEY`;
prints what was claimed as JSON. The benchmark starts it by itself.
"""

import asyncio
import os
import re
import sys
from collections import Counter
from time import perf_counter_ns
from typing import Any, cast

import msgspec
import uvloop

HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PAGE_MIN, PAGE = 10, 100
FAR = 100_000
COUNTED_BEHIND = 1_000
"""So many messages behind a page are counted into the total, at most."""

OK, CONFLICT = 200, 409


class Claimed(msgspec.Struct):
    """What consumers did, all together.

    Attributes:
        claims: messages that were claimed and ended.
        doubled: how many of these had been claimed before.
        refused: claims that another was faster at.
        queries: pages that were asked for.
        seconds: from the first request to the last answer.
    """

    claims: int
    doubled: int
    refused: int
    queries: int
    seconds: float


class Connection(asyncio.Protocol):
    """One kept connection with one request at a time."""

    transport: asyncio.Transport

    def __init__(self, port: int, key: str) -> None:
        """Ask the server on that loopback port with this secret."""
        self._loop = asyncio.get_running_loop()
        self._head = (
            f"host: 127.0.0.1:{port}\r\nx-buildable-secret: {key}\r\n"
            "content-type: application/json\r\n"
        ).encode()
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    async def ask(self, path: bytes, **fields: object) -> tuple[int, bytes]:
        """Post the fields; gives status and body."""
        body = msgspec.json.encode(fields)
        self._answer = self._loop.create_future()
        self.transport.write(
            b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b"
            % (path, self._head, len(body), body)
        )
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer."""
        self._buffer += data
        end = self._buffer.find(HEAD_END)
        length = CONTENT_LENGTH.search(self._buffer, 0, end) if end > 0 else None
        if length is None or len(self._buffer) < end + 4 + int(length[1]):
            return
        answer, self._buffer = self._buffer, b""
        if self._answer is not None:
            self._answer.set_result((int(answer[9:12]), answer[end + 4 :]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever waits for an answer learns that none comes."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed"))


class Work:
    """What all consumers share."""

    def __init__(self, name: str, tx_key: str, consumers: int) -> None:
        """Take every message of that name under one key."""
        self.name = name
        self.consumers = consumers
        self.tx_key = tx_key
        self.won: Counter[str] = Counter()
        self.refused = 0
        self.queries = 0

    async def consume(self, connection: Connection, number: int) -> None:
        """Claim and end messages until there are none.

        Raises:
            RuntimeError: the server answered as it should not.
        """
        # Behind all there is: the total is exact there.
        left = (await self._query(connection, FAR, PAGE_MIN))["total"]
        while True:
            size = min(max(left // self.consumers, PAGE_MIN), PAGE)
            page = number * left // self.consumers // size + 1
            found = await self._query(connection, page, size)
            if found["total"] == 0:
                return
            before = len(self.won)
            for row in found["rows"]:
                await self._take(connection, row["key"])
            is_exact = found["total"] < page * size + COUNTED_BEHIND
            left = max((found["total"] if is_exact else left) - len(self.won) + before, 0)

    async def _query(self, connection: Connection, page: int, size: int) -> Any:
        self.queries += 1
        status, body = await connection.ask(
            b"/query",
            eventName=self.name,
            txKey=self.tx_key,
            txState="does-not-exist",
            page=page,
            pageSize=size,
        )
        _demand(status, body)
        return msgspec.json.decode(body)

    async def _take(self, connection: Connection, key: str) -> None:
        status, body = await connection.ask(b"/init", key=key, txKey=self.tx_key)
        if status == CONFLICT:
            self.refused += 1
            return
        _demand(status, body)
        self.won[key] += 1
        _demand(*await connection.ask(b"/transact", key=key, txKey=self.tx_key, state="finished"))


def _demand(status: int, body: bytes) -> None:
    if status != OK:
        raise RuntimeError(f"{status} {body[:300]!r}")


async def run(port: int, key: str, consumers: int, work: Work) -> Claimed:
    """Consume until nothing is left."""
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: Connection(port, key), "127.0.0.1", port))[1]
        for _ in range(consumers)
    ]
    started = perf_counter_ns()
    await asyncio.gather(*(work.consume(one, number) for number, one in enumerate(connections)))
    seconds = (perf_counter_ns() - started) / 1e9
    doubled = work.won.total() - len(work.won)
    return Claimed(work.won.total(), doubled, work.refused, work.queries, seconds)


def main() -> None:
    """Run as the module's text tells."""
    port, consumers, name, tx_key = sys.argv[1:]
    key = os.environ["WAYPOST_ADMIN_KEY"]
    claimed = uvloop.run(run(int(port), key, int(consumers), Work(name, tx_key, int(consumers))))
    sys.stdout.buffer.write(msgspec.json.encode(claimed))


if __name__ == "__main__":
    main()
