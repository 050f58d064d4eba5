"""The load generator: posts events over kept connections and writes down what was acknowledged.

Closed loop: each connection posts its next event when the last one was answered. Open loop: posts
are due on a fixed schedule, and latency counts from the due time whether a connection was free or
not, so a stall of the server is not left out of the figures. Batches: as the closed loop, with
many events in a request. SIGTERM ends each of them before its time.

It parses only what it must of the answers (status, length, tokens), to leave the processor to the
server. Usage: `python -m bench.load --help`; the benchmark starts it by itself.
"""

import argparse
import asyncio
import ctypes
import gc
import os
import re
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter_ns
from typing import cast

import msgspec
import uvloop

from bench import wire
from bench.apis import APIS, NATIVE, Api, addressed

HEAD_END = b"\r\n\r\n"
CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
REST_AFTER_REFUSAL_S = 0.05
ANSWERS_DEADLINE_S = 30.0
NS_PER_S = 1_000_000_000


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to post. Ends after `events` acknowledged events or `seconds`, whichever is first."""

    seconds: float
    events: int = sys.maxsize
    rate: float = 0.0
    """Events per second of the open loop; 0 is the closed loop."""
    batch: int = 1
    connections: int = 64
    first_sequence: int = 0
    types: int = 1
    """How many event types there are in turn."""
    family: str = wire.EVENT_TYPE
    """What their names begin with."""
    api: str = NATIVE
    """By which it is posted, one of `bench.apis.APIS`; batches are native ones."""
    to: str = ""
    """The project and the endpoint that its requests name, with a slash between."""


class LoadSummary(msgspec.Struct, frozen=True):
    """What became of a load; the acknowledged posts themselves are in its ledger file."""

    acknowledged: int
    refused: dict[str, int]
    """Answers that did not accept, by status."""
    refusal_example: str
    unanswered: int
    next_sequence: int
    """One more than the highest sequence number that was posted."""
    cpu_s: float


class Generator:
    """The state that all connections share."""

    def __init__(self, load: Load, request: Callable[[int], bytes]) -> None:
        """Post `load`, each request made by `request` from a sequence number."""
        self.load = load
        self.api = APIS[load.api]
        self.request = request
        self.loop = asyncio.get_running_loop()
        self.sequence = load.first_sequence
        self.records = bytearray()
        self.refused: Counter[str] = Counter()
        self.refusal_example = ""
        self.in_flight = 0
        self.due: deque[int] = deque()
        self.idle: list[Connection] = []
        self.closing = False
        self.done = asyncio.Event()

    @property
    def acknowledged(self) -> int:
        """The number of events acknowledged so far."""
        return len(self.records) // wire.POSTED.size

    def spelled(self) -> bytes:
        """The records with native tokens, as the receiver has them."""
        if self.api is APIS[NATIVE]:
            return bytes(self.records)
        return b"".join(
            wire.POSTED.pack(self.api.spell(token.rstrip(b"\0")), *rest)
            for token, *rest in wire.POSTED.iter_unpack(self.records)
        )

    def acknowledge(self, connection: "Connection", body: bytes, now: int) -> None:
        """Write down the event, or the batch of them, that an answer acknowledges."""
        tokens = self.api.token.findall(body)
        if self.load.batch == 1:
            tokens = tokens[:1]
        for sequence, token in enumerate(tokens, connection.sequence):
            self.records += wire.POSTED.pack(
                token, sequence, connection.intended_ns, connection.sent_ns, now
            )

    def refuse(self, connection: "Connection", status: str, body: bytes) -> None:
        """Count an answer that does not accept; the connection rests before it posts again."""
        self.refused[status] += 1
        self.refusal_example = self.refusal_example or body[:300].decode("utf-8", "replace")
        self.loop.call_later(REST_AFTER_REFUSAL_S, self.next, connection)

    def next(self, connection: "Connection") -> None:
        """Give a free connection its next post, or let it wait."""
        if self.due:
            connection.post(self.due.popleft())
        elif self.load.rate or self.closing or self.acknowledged >= self.load.events:
            self.idle.append(connection)
            self.finish_if_idle()
        else:
            connection.post(perf_counter_ns())

    def post_due(self, intended_ns: int) -> None:
        """Post by any free connection, or as soon as there is one."""
        if self.idle:
            self.idle.pop().post(intended_ns)
        else:
            self.due.append(intended_ns)

    def close(self) -> None:
        """Post no more; done when all is answered."""
        self.closing = True
        self.finish_if_idle()

    def finish_if_idle(self) -> None:
        """Done when nothing is in flight and nothing will be posted any more."""
        ended = self.closing or self.acknowledged >= self.load.events
        if ended and not self.in_flight and not self.due:
            self.done.set()

    def summary(self, cpu_s: float) -> LoadSummary:
        """The figures at the end."""
        return LoadSummary(
            acknowledged=self.acknowledged,
            refused=dict(self.refused),
            refusal_example=self.refusal_example,
            unanswered=self.in_flight,
            next_sequence=self.sequence,
            cpu_s=cpu_s,
        )


class Connection(asyncio.Protocol):
    """One kept connection with at most one post in flight."""

    transport: asyncio.Transport

    def __init__(self, generator: Generator) -> None:
        """Post for `generator`."""
        self.generator = generator
        self.buffer = b""
        self.sequence = 0
        self.intended_ns = 0
        self.sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def post(self, intended_ns: int) -> None:
        """Send the next request of the generator."""
        generator = self.generator
        self.sequence = generator.sequence
        generator.sequence += generator.load.batch
        generator.in_flight += 1
        self.intended_ns = intended_ns
        self.sent_ns = perf_counter_ns()
        self.transport.write(generator.request(self.sequence))

    def data_received(self, data: bytes) -> None:
        """Wait for the whole answer, then account for it."""
        now = perf_counter_ns()
        if self.buffer:
            data = self.buffer + data
        end = data.find(HEAD_END)
        length = CONTENT_LENGTH.search(data, 0, end) if end > 0 else None
        if end < 0 or (length and len(data) < end + 4 + int(length[1])):
            self.buffer = data
            return
        self.buffer = b""
        generator = self.generator
        generator.in_flight -= 1
        if data[9:12] == generator.api.accepted:
            generator.acknowledge(self, data[end + 4 :], now)
            generator.next(self)
        else:
            generator.refuse(self, data[9:12].decode("ascii", "replace"), data[end + 4 :])

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed: what was in flight stays unanswered, and the connection is gone.

        One that had nothing to post for long is closed rightly, and is not missed.
        """
        if self in self.generator.idle:
            self.generator.idle.remove(self)
            return
        self.generator.refused["connection lost"] += 1
        self.generator.refusal_example = self.generator.refusal_example or repr(exc)


class Schedule:
    """A kernel timer that fires at a fixed rate, far finer than the event loop's millisecond.

    Python has `os.timerfd_create` only since 3.13, hence the C library by ctypes.
    """

    CLOCK_MONOTONIC = 1
    TFD_NONBLOCK = os.O_NONBLOCK
    TFD_TIMER_ABSTIME = 1

    def __init__(self, rate: float) -> None:
        """Prepare to fire `rate` times a second.

        Raises:
            OSError: the kernel gave no timer.
        """
        self.interval_ns = round(NS_PER_S / rate)
        self.next_ns = 0
        self._c = ctypes.CDLL(None, use_errno=True)
        self.fd = self._c.timerfd_create(self.CLOCK_MONOTONIC, self.TFD_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def start(self) -> None:
        """First due time is one interval from now.

        Raises:
            OSError: the kernel refused the schedule.
        """
        self.next_ns = perf_counter_ns() + self.interval_ns
        # struct itimerspec: interval (s, ns), then first expiry (s, ns).
        spec = (ctypes.c_long * 4)(
            *divmod(self.interval_ns, NS_PER_S), *divmod(self.next_ns, NS_PER_S)
        )
        if self._c.timerfd_settime(self.fd, self.TFD_TIMER_ABSTIME, spec, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def due(self) -> list[int]:
        """The due times (ns) since the last call."""
        fired = int.from_bytes(os.read(self.fd, 8), sys.byteorder)
        times = [self.next_ns + i * self.interval_ns for i in range(fired)]
        self.next_ns += fired * self.interval_ns
        return times


def single_request(
    head: bytes,
    types: int = 1,
    family: str = wire.EVENT_TYPE,
    api: Api = APIS[NATIVE],
    to: str = "",
) -> Callable[[int], bytes]:
    """What makes the request of one event; all but the sequence is laid out once for each type."""
    laid_out = []
    for number in range(types):
        kind = wire.event_type(number, types, family).encode()
        body = addressed(api.body(kind, wire.payload(number)), to)
        text = b"POST %b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (
            addressed(api.path, to),
            head,
            len(body),
            body,
        )
        start = text.index(wire.PAYLOAD_HEAD) + len(wire.PAYLOAD_HEAD)
        laid_out.append((text[:start], text[start + wire.SEQUENCE_DIGITS :]))

    def request(sequence: int) -> bytes:
        front, back = laid_out[sequence % types]
        return b"%b%012d%b" % (front, sequence, back)

    return request


def batch_request(
    head: bytes, size: int, types: int = 1, family: str = wire.EVENT_TYPE
) -> Callable[[int], bytes]:
    """What makes the request of `size` events, the first one with that sequence."""

    def request(sequence: int) -> bytes:
        wanted = range(sequence, sequence + size)
        events = b",".join(wire.event_body(number, types, family) for number in wanted)
        body = b'{"events":[%b]}' % events
        return b"POST /v1/events/batch HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n%b" % (
            head,
            len(body),
            body,
        )

    return request


async def run(load: Load, port: int, key: str, ledger: Path) -> LoadSummary:
    """Post the load to the server on that loopback port and write the ledger file."""
    api = APIS[load.api]
    head = b"host: 127.0.0.1:%d\r\n%b: %b\r\ncontent-type: application/json\r\n" % (
        port,
        api.header,
        key.encode(),
    )
    if load.batch > 1:
        request = batch_request(head, load.batch, load.types, load.family)
    else:
        request = single_request(head, load.types, load.family, api, load.to)
    generator = Generator(load, request)
    for _ in range(load.connections):
        _, connection = await generator.loop.create_connection(
            lambda: Connection(generator), "127.0.0.1", port
        )
        generator.idle.append(connection)
    gc.collect()
    gc.disable()
    before = cpu_s()
    start(generator)
    generator.loop.call_later(load.seconds, generator.close)
    generator.loop.add_signal_handler(signal.SIGTERM, generator.close)
    try:
        await asyncio.wait_for(generator.done.wait(), load.seconds + ANSWERS_DEADLINE_S)
    except TimeoutError:
        generator.refused["not answered in time"] += generator.in_flight
    summary = generator.summary(cpu_s() - before)
    ledger.write_bytes(generator.spelled())  # noqa: ASYNC240 - nothing else is left to do
    return summary


def start(generator: Generator) -> None:
    """Start the schedule, or one post on each connection."""
    if generator.load.rate:
        schedule = Schedule(generator.load.rate)

        def post_due() -> None:
            for intended in schedule.due():
                if not generator.closing:
                    generator.post_due(intended)

        generator.loop.add_reader(schedule.fd, post_due)
        schedule.start()
    else:
        connections, generator.idle = generator.idle, []
        for connection in connections:
            generator.next(connection)


def cpu_s() -> float:
    """Processor seconds of this process so far, user and system."""
    usage = getrusage(RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Run one load given as JSON and print the summary as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("load", help="what to post, as JSON of the fields of bench.load.Load")
    parser.add_argument("port", type=int, help="the server's port on 127.0.0.1")
    parser.add_argument("ledger", type=Path, help="file to write the acknowledged posts to")
    arguments = parser.parse_args()
    load = msgspec.json.decode(arguments.load, type=Load)
    key = os.environ.get("WAYPOST_ADMIN_KEY", "")
    summary = uvloop.run(run(load, arguments.port, key, arguments.ledger))
    sys.stdout.buffer.write(msgspec.json.encode(summary))


if __name__ == "__main__":
    main()
