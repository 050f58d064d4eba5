"""The receiver: answers every delivery 200, writes down its token, sequence and time.

It checks the body against the one shape that the generator sends and keeps its books in one
growing buffer, so that it costs the server next to it as little as possible. Chunked requests are
counted as altered: the server has no reason to send one.

Usage: `python -m bench.receiver LEDGER_FILE`. Prints its port; `GET /` answers the number of
deliveries so far and the times of the first and the last one; on SIGTERM it writes the file.
"""

import asyncio
import gc
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from typing import cast

import uvloop

from bench import wire
from bench.ledger import ALTERED

LIFETIME_S = 3600
HEAD_END = b"\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: text/plain\r\n\r\nok"

_pack = wire.RECEIVED.pack
_head, _sequence, _tail = wire.PAYLOAD_HEAD, wire.SEQUENCE, wire.PAYLOAD_TAIL
_body_start, _body_end = _sequence.start, _sequence.stop


class Books:
    """Everything received, as packed records."""

    def __init__(self) -> None:
        """Nothing received yet."""
        self.records = bytearray()
        self.first_ns = 0
        self.last_ns = 0

    def enter(self, token: bytes, body: bytes) -> None:
        """Write one delivery down."""
        now = perf_counter_ns()
        if body[:_body_start] == _head and body[_body_end:] == _tail:
            digits = body[_sequence]
            if not digits.isdigit():
                digits = ALTERED
        else:
            digits = ALTERED
        self.records += _pack(token, digits, now)
        self.last_ns = now
        if not self.first_ns:
            self.first_ns = now

    def summary(self) -> bytes:
        """The number of deliveries, the times of the first and the last (ns), as text."""
        count = len(self.records) // wire.RECEIVED.size
        return b"%d %d %d" % (count, self.first_ns, self.last_ns)


class Receiver(asyncio.Protocol):
    """One connection of the server under test."""

    transport: asyncio.Transport

    def __init__(self, books: Books) -> None:
        """Write deliveries into `books`."""
        self.books = books
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take every whole request out of the stream."""
        if self.buffer:
            data = self.buffer + data
        while data:
            end = data.find(HEAD_END)
            if end < 0:
                break
            if data.startswith(b"GET "):
                self._answer_summary()
                data = data[end + 4 :]
                continue
            head = data[: end + 2].lower()
            stop = end + 4 + int(header(head, b"\r\ncontent-length:") or b"0")
            if len(data) < stop:
                break
            token = header(head, b"\r\nwebhook-id:") or header(head, b"\r\nx-convoy-event-id:")
            self.books.enter(token, data[end + 4 : stop])
            self.transport.write(ANSWER)
            data = data[stop:]
        self.buffer = data

    def _answer_summary(self) -> None:
        summary = self.books.summary()
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(summary), summary)
        )


def header(head: bytes, name: bytes) -> bytes:
    """The value of one header of a lower-cased head; empty where it is missing."""
    start = head.find(name)
    if start < 0:
        return b""
    start += len(name)
    return head[start : head.find(b"\r\n", start)].strip()


async def receive(path: Path) -> None:
    """Listen on a free loopback port until SIGTERM, then write the records."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    books = Books()
    server = await loop.create_server(lambda: Receiver(books), "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    if socket.has_ipv6:
        # The subscription's URL says localhost, which may also mean ::1 on this machine.
        with suppress(OSError):
            await loop.create_server(lambda: Receiver(books), "::1", port, backlog=1024)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    gc.disable()
    with suppress(TimeoutError):
        await asyncio.wait_for(stopped.wait(), LIFETIME_S)
    path.write_bytes(books.records)  # noqa: ASYNC240 - nothing else is left to do


if __name__ == "__main__":
    uvloop.run(receive(Path(sys.argv[1])))
