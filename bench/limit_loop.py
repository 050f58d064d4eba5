"""The limit loop: what one Python process reaches when it keeps nothing.

A bare asyncio protocol on httptools takes posts in, another one sends each payload on, signed as
Standard Webhooks says (`v1`), over 64 kept connections. No database, no routing, no retries: the
upper bound that the durable server is compared with in the same run.

Usage: `python -m bench.limit_loop PORT TARGET_URL`. It speaks the two shapes of the product that
the benchmark relies on: 202 with a token, and a delivery with that token as `webhook-id`.
"""

import asyncio
import gc
import hmac
import os
import sys
from base64 import b64encode
from collections import deque
from time import time
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

OUT_CONNECTIONS = 64
ATTEMPT_DEADLINE_S = 20
LIFETIME_S = 900
ANSWER_BYTES = len('{"token":"","created":,"event_type":"","payload":}') + 36 + 10
"""The answer without event type and payload: token and time have a fixed width."""
SECRET = b"limit loop, no real secret"


class NewEvent(msgspec.Struct):
    """The request body, the payload left as the bytes it came in."""

    event_type: str
    payload: msgspec.Raw


decode_event = msgspec.json.Decoder(NewEvent).decode


class Outbox:
    """What waits for a connection, and the connections that wait for something to send."""

    def __init__(self, target: str) -> None:
        """Send to `target`, an http URL with host and port."""
        url = urlsplit(target)
        self.address = (url.hostname or "127.0.0.1", url.port or 80)
        self.waiting: deque[tuple[bytes, bytes]] = deque()
        self.idle: list[Delivery] = []
        self.loop = asyncio.get_running_loop()
        self._head = (
            f"POST {url.path or '/'} HTTP/1.1\r\nhost: {url.netloc}\r\n"
            "content-type: application/json\r\nuser-agent: limit-loop\r\nwebhook-id: "
        ).encode()

    def request(self, token: bytes, payload: bytes) -> bytes:
        """The signed request that delivers one payload."""
        sent_at = b"%d" % time()
        digest = hmac.digest(SECRET, b"%b.%b.%b" % (token, sent_at, payload), "sha256")
        return (
            b"%b%b\r\nwebhook-timestamp: %b\r\nwebhook-signature: v1,%b\r\n"
            b"content-length: %d\r\n\r\n%b"
        ) % (self._head, token, sent_at, b64encode(digest), len(payload), payload)


class Delivery(asyncio.Protocol):
    """One kept connection to the receiver: one request at a time."""

    __slots__ = ("call_later", "deadline", "feed", "outbox", "transport")
    transport: asyncio.Transport
    deadline: asyncio.TimerHandle

    def __init__(self, outbox: Outbox) -> None:
        """Take work from `outbox`."""
        self.outbox = outbox
        self.call_later = outbox.loop.call_later
        self.feed = httptools.HttpResponseParser(self).feed_data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready for the first request."""
        self.transport = cast("asyncio.Transport", transport)
        self.take_next()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls `on_message_complete`."""
        self.feed(data)

    def on_message_complete(self) -> None:
        """Answered: the next one."""
        self.deadline.cancel()
        self.take_next()

    def take_next(self) -> None:
        """Send what waits, or wait."""
        outbox = self.outbox
        if outbox.waiting:
            self.send(*outbox.waiting.popleft())
        else:
            outbox.idle.append(self)

    def send(self, token: bytes, payload: bytes) -> None:
        """Sign and send one payload under a deadline."""
        self.deadline = self.call_later(ATTEMPT_DEADLINE_S, self.transport.abort)
        self.transport.write(self.outbox.request(token, payload))


class Intake(asyncio.Protocol):
    """One connection of the load generator."""

    __slots__ = ("body", "feed", "outbox", "transport")
    transport: asyncio.Transport

    def __init__(self, outbox: Outbox) -> None:
        """Hand what is accepted to `outbox`."""
        self.outbox = outbox
        self.feed = httptools.HttpRequestParser(self).feed_data
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, which calls the `on_` methods."""
        self.feed(data)

    def on_body(self, body: bytes) -> None:
        """Gather the body."""
        self.body = self.body + body if self.body else body

    def on_message_complete(self) -> None:
        """Answer 202 with a token and hand the payload on; 200 to a request without a body."""
        body, self.body = self.body, b""
        if not body:
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return
        event = decode_event(body)
        payload = bytes(event.payload)
        token = b"evt_" + os.urandom(16).hex().encode()
        event_type = event.event_type.encode()
        self.transport.write(
            b"HTTP/1.1 202 Accepted\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n"
            b'{"token":"%b","created":%10d,"event_type":"%b","payload":%b}'
            % (
                ANSWER_BYTES + len(event_type) + len(payload),
                token,
                time(),
                event_type,
                payload,
            )
        )
        outbox = self.outbox
        if outbox.idle:
            outbox.idle.pop().send(token, payload)
        else:
            outbox.waiting.append((token, payload))


async def serve(port: int, target: str) -> None:
    """Connect to the receiver, then accept until SIGTERM or the end of the lifetime."""
    outbox = Outbox(target)
    for _ in range(OUT_CONNECTIONS):
        await outbox.loop.create_connection(lambda: Delivery(outbox), *outbox.address)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await outbox.loop.create_server(lambda: Intake(outbox), "127.0.0.1", port, backlog=1024)
    await asyncio.sleep(LIFETIME_S)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
