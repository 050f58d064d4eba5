"""A backlog of a million: memory while it waits, time to the first delivery, speed of the drain.

The subscription is paused while the events are posted in batches. Then the server is stopped and
started again; the clock of the first delivery runs from the start of the process, and resuming
the subscription (an ordinary API call as soon as the server is ready) is part of it.
"""

import http.client
import time
from dataclasses import dataclass
from pathlib import Path

from bench.child import ChildError, Memory, memory
from bench.figures import NS_PER_S, per_second
from bench.ledger import Verdict
from bench.load import Load
from bench.report import DISK_BYTES, FIRST_DELIVERY_S, RSS_MB, Figure, Report, Section
from bench.rounds import Receiver, Say, Stage, stage
from bench.scenarios import MB, Settings
from bench.server import Running, Waypost, database_bytes

CHUNK = 100_000
BATCH = 1_000
LOADERS = 4
CHUNK_DEADLINE_S = 120.0
FIRST_DEADLINE_S = 60.0
POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a backlog cost and how it drained."""

    events: int
    accepted_per_s: float
    loaded: Memory
    disk_bytes_waiting: float
    ready_s: float
    first_delivery_s: float
    delivered_per_s: float
    drained: Memory
    disk_bytes_delivered: float
    verdict: Verdict
    exit_code: int


def backlog(settings: Settings, report: Report, events: int) -> None:
    """Measure it for each product and enter it into the report."""
    for program in settings.products:
        found = measure(program, events, settings.parent, settings.say)
        report.details.setdefault("backlog", {})[program.name] = found
        if not found.verdict.ok:
            report.faults.append(f"backlog, {program.name}: {found.verdict}")
        if found.exit_code:
            report.faults.append(f"backlog, {program.name}: exit code {found.exit_code}")
        report.sections.append(section(program.name, found))


def section(name: str, found: Backlog) -> Section:
    """The table of one backlog."""
    rows = (
        ("accepted, batches of 1,000", "events/s", found.accepted_per_s, None),
        ("resident memory, all waiting", "MB", found.loaded.rss / MB, RSS_MB),
        ("  peak", "MB", found.loaded.peak / MB, RSS_MB),
        ("disk per event, waiting", "bytes", found.disk_bytes_waiting, None),
        ("start to ready", "s", found.ready_s, None),
        ("start to first delivery", "s", found.first_delivery_s, FIRST_DELIVERY_S),
        ("drained", "events/s", found.delivered_per_s, None),
        ("resident memory, drained", "MB", found.drained.rss / MB, RSS_MB),
        ("  peak", "MB", found.drained.peak / MB, RSS_MB),
        ("disk per event, delivered", "bytes", found.disk_bytes_delivered, DISK_BYTES),
    )
    figures = [Figure(label, unit, {name: value}, bar) for label, unit, value, bar in rows]
    return Section(f"Backlog of {found.events:,}", [name], figures)


def measure(program: Waypost, events: int, parent: Path | None, say: Say) -> Backlog:
    """Fill, stop, start, drain, check.

    Raises:
        ChildError: a process did not do its part.
    """
    with stage(program, parent, say) as it:
        first = it.server
        _command(first, "pause")
        seconds = _fill(it, events)
        loaded = memory(first.pid)
        say("stopping the loaded server")
        first.stop()
        waiting = database_bytes(it.directory) / it.acknowledged
        started = time.perf_counter_ns()
        it.adopt(program.restart(it.directory, first.key))
        ready = time.perf_counter_ns()
        it.server.subscription = first.subscription
        _command(it.server, "resume")
        first_receipt = _first_receipt(it.receiver)
        it.drain()
        _, _, last_receipt = it.receiver.summary()
        drained = memory(it.server.pid)
        ledger, exit_code = it.close()
        return Backlog(
            events=it.acknowledged,
            accepted_per_s=it.acknowledged / seconds,
            loaded=loaded,
            disk_bytes_waiting=waiting,
            ready_s=(ready - started) / NS_PER_S,
            first_delivery_s=(first_receipt - started) / NS_PER_S,
            delivered_per_s=per_second(it.acknowledged, first_receipt, last_receipt),
            drained=drained,
            disk_bytes_delivered=database_bytes(it.directory) / it.acknowledged,
            verdict=ledger.verdict(),
            exit_code=exit_code,
        )


def _fill(it: Stage, events: int) -> float:
    """Post the events; gives the seconds that it took."""
    say, started = it.say, time.monotonic()
    while it.acknowledged < events:
        count = min(CHUNK, events - it.acknowledged)
        it.say = lambda _: say(f"backlog: {it.acknowledged:,} of {events:,} accepted")
        it.post(
            Load(
                seconds=CHUNK_DEADLINE_S,
                events=count,
                batch=min(BATCH, count),
                connections=LOADERS,
                first_sequence=it.posted_up_to,
            )
        )
    it.say = say
    return time.monotonic() - started


def _command(server: Running, name: str) -> None:
    path = f"/v1/event_subscriptions/{server.subscription}/{name}"
    status, body = server.call("POST", path)
    if status >= http.client.BAD_REQUEST:
        raise ChildError(f"{name}: {status} {body[:300]!r}")


def _first_receipt(receiver: Receiver) -> int:
    deadline = time.monotonic() + FIRST_DEADLINE_S
    while time.monotonic() < deadline:
        count, first, _ = receiver.summary()
        if count:
            return first
        time.sleep(POLL_S)
    raise ChildError(f"no delivery within {FIRST_DEADLINE_S:g} s of resuming")
