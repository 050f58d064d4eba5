"""The receivers, all in one process: take deliveries, verify them, write them down, answer.

Usage: `python -m tests.torture.receiver LEDGER`. The first line that it prints is its port. It
takes commands as JSON lines on its standard input and answers each with `ok`; it ends when its
input does. A subscription's URL ends in its role's name.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import httptools
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.waiting import polled
from tests.torture import ledger
from tests.torture.cast import Manners
from tests.torture.ledger import HANGS, Ended, Ledger, Received, Replied

_TURNS = 5
"""Turns of the loop after which everything that had come to our sockets was read."""


class Books:
    """What all receivers share."""

    def __init__(self, path: Path) -> None:
        """Start a ledger."""
        self.ledger = Ledger(path)
        self.manners = Manners()
        self.secrets: dict[str, Webhook] = {}
        self._seq = 0

    def receive(self, role: str, headers: dict[str, str], body: bytes) -> tuple[int, str, int]:
        """Write a receipt down; return its number, the token and the event's number."""
        self._seq += 1
        n = ledger.number(body)
        token = headers.get("webhook-id", "")
        intact = n >= 0 and body == ledger.payload(n)
        signed = self._signed(role, headers, body)
        now = time.monotonic()
        self.ledger.write(Received(self._seq, role, token, n, now, signed, intact))
        return self._seq, token, n

    def _signed(self, role: str, headers: dict[str, str], body: bytes) -> bool:
        try:
            self.secrets[role].verify(body, headers, json_parse=False)
        except (WebhookVerificationError, KeyError):
            return False
        return True


class Inlet(asyncio.Protocol):
    """One connection of the server under test."""

    transport: asyncio.Transport

    def __init__(self, books: Books) -> None:
        """Write into `books`."""
        self._books = books
        self._parser = httptools.HttpRequestParser(self)
        self._open: dict[int, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take requests out of the stream."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Write down what will never be answered."""
        for seq, timer in self._open.items():
            timer.cancel()
            self._books.ledger.write(Replied(seq, time.monotonic(), 0))

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = b""

    def on_url(self, url: bytes) -> None:
        """Take the target, or a piece of it."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Write the receipt down, then answer as the role does."""
        role = self._url.decode("latin-1").rpartition("/")[2]
        seq, token, n = self._books.receive(role, self._headers, self._body)
        reply = self._books.manners.reply(role, token, n)
        if reply.status == HANGS:
            self._books.ledger.write(Replied(seq, time.monotonic(), HANGS))
        elif reply.delay_s:
            later = asyncio.get_running_loop().call_later
            self._open[seq] = later(reply.delay_s, self._reply, seq, reply.status)
        else:
            self._reply(seq, reply.status)

    def _reply(self, seq: int, status: int) -> None:
        self._open.pop(seq, None)
        if self.transport.is_closing():
            status = 0
        self._books.ledger.write(Replied(seq, time.monotonic(), status))
        self.transport.write(b"HTTP/1.1 %d Answer\r\ncontent-length: 0\r\n\r\n" % status)


async def obey(books: Books, command: dict[str, Any]) -> None:
    """Do what the harness asks."""
    match command:
        case {"secret": secret, "role": role}:
            books.secrets[role] = Webhook(secret)
        case {"mend": True}:
            books.manners.mended = True
        case {"ended": at, "killed": killed}:
            # The server is dead, so what it has sent is in our sockets, or read already.
            for _ in range(_TURNS):
                await polled()
            books.ledger.write(Ended(at, killed))


async def receive(path: Path) -> None:
    """Listen on a free loopback port until the standard input ends."""
    loop = asyncio.get_running_loop()
    books = Books(path)
    server = await loop.create_server(lambda: Inlet(books), "127.0.0.1", 0, backlog=1024)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await commands.readline():
        await obey(books, json.loads(line))
        print("ok", flush=True)
    server.close()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(receive(Path(sys.argv[1])))
