"""One round: fresh files, a receiver, a server, warm-up, load, drain, stop, ledger.

The server's figures (processor time, memory, statements) cover the load and its drain, not start
and warm-up, and all processes of the server; those of its database server stand beside them.
"""

import http.client
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Self

import msgspec

from bench.child import Child, ChildError
from bench.databases import Statement
from bench.figures import Pace, pace
from bench.ledger import Ledger, LedgerError, Verdict, read_ledger
from bench.load import ANSWERS_DEADLINE_S, Load, LoadSummary
from bench.processes import (
    Memory,
    cpu_seconds,
    machine_cpu_seconds,
    memory,
    own_cpu_seconds,
    proportional_memory,
)
from bench.server import Program, Running, environment

STALLED_S = 15.0
"""A drain that receives nothing for this long is over; the ledger tells what is lost."""
POLL_S = 0.02
WATCH_S = 0.5
WARM_UP = Load(seconds=1.5)
MEASURED_FROM = 10**9
"""First sequence of the measured load; the warm-up counts from 0."""

Say = Callable[[str], None]


def say_nothing(text: str) -> None:
    """A `Say` that keeps quiet."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What the measured part of a round took, per 1,000 events where it says so."""

    server_cpu_s: float
    database_cpu_s: float
    """Of the database server; 0 where there is none."""
    load_cpu_s: float
    receiver_cpu_s: float
    others_share: float
    """Share of the machine's processor time that went to processes that are not the benchmark's."""
    memory: Memory
    database_memory: int
    """Bytes, what its processes share counted once; 0 where there is none."""
    disk_bytes_per_event: float
    """Of the database after SIGTERM, over all events of the round; 0 where nothing is kept."""
    log_bytes_per_event: float | None
    """Written to the database's log; None where that is not counted."""
    syncs_per_1000: float | None
    """Times that the database's log was forced to disk; None where that is not counted."""
    statements_per_event: float | None
    """Executed by the database; None where they can't be counted."""

    @property
    def cpu_s(self) -> float:
        """Of all processes of the round: what a busy machine changes least."""
        return self.server_cpu_s + self.database_cpu_s + self.load_cpu_s + self.receiver_cpu_s


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured."""

    program: str
    kind: str
    load: Load
    pace: Pace
    cost: Cost
    verdict: Verdict
    summary: LoadSummary
    ended_well: bool
    """Ended by SIGTERM as it should: the product with exit code 0."""
    rss_curve: list[tuple[float, int]] = field(default_factory=list)
    """Seconds since the start of the load, resident bytes."""
    statements: Sequence[Statement] | None = None


@dataclass(frozen=True, slots=True)
class Clocks:
    """Processor seconds so far: of each of ours, and of the machine."""

    server: float
    database: float
    receiver: float
    own: float
    busy: float
    total: float

    @classmethod
    def read(cls, it: "Stage") -> Self:
        """The clocks now."""
        return cls(
            cpu_seconds(it.server.pid),
            cpu_seconds(it.server.database_pid) if it.server.database_pid else 0.0,
            cpu_seconds(it.receiver.child.pid),
            own_cpu_seconds(),
            *machine_cpu_seconds(),
        )

    def since(self, before: "Clocks") -> "Clocks":
        """What passed between two readings."""
        return Clocks(*(getattr(self, f.name) - getattr(before, f.name) for f in fields(self)))

    @property
    def others_share(self) -> float:
        """What was spent by none of ours, of all there was; 0 to 1."""
        ours = self.server + self.database + self.receiver + self.own
        return max(self.busy - ours, 0) / self.total if self.total else 0.0


class Counters:
    """What the database counted from now on until `stop`."""

    def __init__(self, server: Running) -> None:
        """Begin."""
        self._database = server.database
        self.statements: Sequence[Statement] | None = None
        self.log_bytes: int | None = None
        self.syncs: int | None = None
        if self._database is not None:
            self._before = (self._database.log_position(), self._database.syncs())
            self._database.count_statements()

    def stop(self) -> None:
        """Read what was counted."""
        if self._database is not None:
            self.statements = self._database.statements()
            now = (self._database.log_position(), self._database.syncs())
            self.log_bytes, self.syncs = map(_difference, now, self._before)

    @property
    def calls(self) -> int | None:
        """How many statements were executed; None where they can't be counted."""
        return None if self.statements is None else sum(one.calls for one in self.statements)


def _difference(now: int | None, before: int | None) -> int | None:
    return None if now is None or before is None else now - before


def _per(count: int | None, events: float) -> float | None:
    return None if count is None else count / events


class Receiver:
    """The receiver process, seen from here."""

    def __init__(self, directory: Path) -> None:
        """Start it; it listens when this returns."""
        self.ledger = directory / "received"
        self.child = Child(
            "receiver",
            [sys.executable, "-m", "bench.receiver", str(self.ledger)],
            environment=environment(),
            log=directory / "receiver.log",
            piped=True,
        )
        line = self.child.output.readline()
        if not line:
            raise ChildError(f"the receiver did not start\n{self.child.log_tail()}")
        self.port = int(line)

    def summary(self) -> tuple[int, int, int]:
        """Deliveries so far, times of the first and the last (ns)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/")
            count, first, last = connection.getresponse().read().split()
        finally:
            connection.close()
        return int(count), int(first), int(last)

    def wait_for(self, count: int, say: Say) -> None:
        """Return when that many deliveries came, or when none came for `STALLED_S`."""
        seen, deadline = -1, 0.0
        while seen < count:
            received = self.summary()[0]
            now = time.monotonic()
            if received != seen:
                seen, deadline = received, now + STALLED_S
            elif now > deadline:
                return
            say(f"draining: {received:,} of {count:,}")
            time.sleep(POLL_S)


class Stage:
    """The processes and files of one round."""

    def __init__(self, directory: Path, receiver: Receiver, children: ExitStack, say: Say) -> None:
        """Files in `directory`; `children` ends every server that is started here."""
        self.directory = directory
        self.receiver = receiver
        self.server: Running
        self.say = say
        self._children = children
        self.rss_curve: list[tuple[float, int]] = []
        self._ledgers: list[Path] = []
        self.acknowledged = 0
        self.posted_up_to = 0
        """The first sequence number that no load has used."""

    def adopt(self, server: Running) -> None:
        """Use this server from now on, and end it on leaving the stage."""
        self._children.callback(server.release)
        self.keep(server.child)
        self.server = server

    def keep(self, child: Child) -> None:
        """End this child on leaving the stage."""
        self._children.enter_context(child)

    def post(self, load: Load) -> LoadSummary:
        """Run one load to its end while watching the server's memory.

        Raises:
            ChildError: the generator failed, or nothing at all was acknowledged.
        """
        child = self.begin(load)
        self._watch(child, load.seconds + 2 * ANSWERS_DEADLINE_S)
        return self.finish(child)

    def begin(self, load: Load, *, key: str | None = None, counted: bool = True) -> Child:
        """Start a load that runs beside what the caller does; SIGTERM ends it before its time.

        Args:
            load: what to post.
            key: to post with; that of the load's API where it is None.
            counted: what is acknowledged goes into the ledger.
        """
        ledger = self.directory / (f"posted-{len(self._ledgers)}" if counted else "not-counted")
        if counted:
            self._ledgers.append(ledger)
        load = msgspec.structs.replace(load, to=self.server.address_of(load.api))
        text = msgspec.json.encode(load).decode()
        child = Child(
            "load",
            [sys.executable, "-m", "bench.load", text, str(self.server.port), str(ledger)],
            environment=environment({"WAYPOST_ADMIN_KEY": key or self.server.key_for(load.api)}),
            log=self.directory / "load.log",
            piped=True,
        )
        return self._children.enter_context(child)

    def finish(self, child: Child) -> LoadSummary:
        """Wait for the end of a load that was begun, and enter what it posted.

        Raises:
            ChildError: the generator failed, or nothing at all was acknowledged.
        """
        output = child.output.read()
        child.wait(ANSWERS_DEADLINE_S)
        if not output:
            raise ChildError(f"the load generator failed\n{child.log_tail()}")
        summary = msgspec.json.decode(output, type=LoadSummary)
        if not summary.acknowledged:
            raise ChildError(
                f"{self.server.child.name} acknowledged nothing: {summary.refused} "
                f"{summary.refusal_example}\n{self.server.child.log_tail()}"
            )
        self.acknowledged += summary.acknowledged
        self.posted_up_to = summary.next_sequence
        return summary

    def disk_bytes(self) -> int:
        """What the database of the server, which has ended, has grown by on disk."""
        database = self.server.database
        return database.bytes_kept() if database is not None else 0

    def drain(self) -> None:
        """Wait until all that was acknowledged is received, or nothing comes any more."""
        self.receiver.wait_for(self.acknowledged, self.say)

    def close(self) -> tuple[Ledger, int]:
        """Stop server and receiver, in this order; gives the ledger and the exit code."""
        self.say("stopping the server")
        exit_code = self.server.stop()
        self.receiver.child.stop()
        return read_ledger(self._ledgers, self.receiver.ledger), exit_code

    def _watch(self, child: Child, seconds: float) -> None:
        started = time.monotonic()
        while child.running:
            elapsed = time.monotonic() - started
            if elapsed > seconds:
                return
            if self.server.child.running:
                self.rss_curve.append((round(elapsed, 1), memory(self.server.pid).rss))
            self.say(f"{elapsed:.0f} s, {self.receiver.summary()[0]:,} received")
            wait_for_end(child, WATCH_S)


def wait_for_end(child: Child, seconds: float) -> None:
    """Return after `seconds`, or sooner when the child has ended."""
    deadline = time.monotonic() + seconds
    while child.running and time.monotonic() < deadline:
        time.sleep(POLL_S)


@contextmanager
def stage(program: Program, parent: Path | None, say: Say) -> Iterator[Stage]:
    """Fresh files under `parent`, a receiver and a ready server; all gone on leaving."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-", dir=parent) as name:
        directory = Path(name)
        with ExitStack() as children:
            receiver = Receiver(directory)
            children.enter_context(receiver.child)
            say(f"starting {program.name}")
            it = Stage(directory, receiver, children, say)
            it.adopt(program.start(directory, receiver.port))
            yield it


def run_round(
    program: Program,
    load: Load,
    *,
    parent: Path | None = None,
    say: Say = say_nothing,
    around: Callable[[Running], None] = lambda _: None,
) -> Round:
    """Measure one load on a freshly started server, after a warm-up.

    Args:
        program: what to start.
        load: what to post; its `first_sequence` is set here.
        parent: folder for the round's temporary folder, on the disk to be measured.
        say: told what goes on.
        around: called with the server just before the load and just after its drain.

    Raises:
        ChildError: a process did not do its part.
        LedgerError: nothing at all was delivered.
    """
    with stage(program, parent, say) as it:
        it.post(msgspec.structs.replace(WARM_UP, types=load.types, api=load.api))
        it.drain()
        it.rss_curve.clear()
        around(it.server)
        counters = Counters(it.server)
        before = Clocks.read(it)
        summary = it.post(msgspec.structs.replace(load, first_sequence=MEASURED_FROM))
        it.drain()
        spent = Clocks.read(it).since(before)
        counters.stop()
        around(it.server)
        resident = memory(it.server.pid)
        kept = proportional_memory(it.server.database_pid) if it.server.database_pid else 0
        ledger, exit_code = it.close()
        verdict = ledger.verdict()
        if not verdict.received:
            raise LedgerError(f"{program.name} delivered nothing: {verdict}")
        measured = pace(ledger, MEASURED_FROM)
        thousands = measured.events / 1000
        return Round(
            program=program.name,
            kind=program.kind,
            load=load,
            pace=measured,
            cost=Cost(
                server_cpu_s=spent.server / thousands,
                database_cpu_s=spent.database / thousands,
                load_cpu_s=summary.cpu_s / thousands,
                receiver_cpu_s=spent.receiver / thousands,
                others_share=spent.others_share,
                memory=resident,
                database_memory=kept,
                disk_bytes_per_event=it.disk_bytes() / it.acknowledged,
                log_bytes_per_event=_per(counters.log_bytes, measured.events),
                syncs_per_1000=_per(counters.syncs, thousands),
                statements_per_event=_per(counters.calls, measured.events),
            ),
            verdict=verdict,
            summary=summary,
            ended_well=exit_code in program.good_exits,
            rss_curve=it.rss_curve,
            statements=counters.statements,
        )


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    return {
        "cpus": os.cpu_count(),
        "python": sys.version.split()[0],
        "kernel": os.uname().release,
        "load_average": os.getloadavg()[0],
    }
