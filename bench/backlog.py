"""A backlog of a million: memory while it waits, time to the first delivery, speed of the drain.

The subscription is paused while the events are posted in batches. Then the server is stopped and
started again; the clock of the first delivery runs from the start of the process, and resuming
the subscription (an ordinary API call as soon as the server is ready) is part of it.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from bench.bars import DISK_BYTES, DRAIN_RATIO, FIRST_DELIVERY_S, RSS_MB, Bars
from bench.child import ChildError
from bench.figures import NS_PER_S, per_second, slowest_tenth_per_s
from bench.ledger import Verdict
from bench.load import Load
from bench.processes import Memory, memory
from bench.report import Figure, Report, Section
from bench.rounds import Receiver, Say, Stage, run_round, stage
from bench.rows import MB
from bench.scenarios import Settings, enter_round, prefixed
from bench.server import Running, Waypost

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
    slowest_tenth_per_s: float
    drained: Memory
    disk_bytes_delivered: float
    verdict: Verdict
    exit_code: int


def backlog(settings: Settings, report: Report, events: int) -> None:
    """Measure it for each product, beside a closed loop on an empty database, and report it."""
    for program in settings.products:
        found = measure(program, events, settings.parent, settings.say)
        report.details.setdefault("backlog", {})[program.name] = found
        if not found.verdict.ok:
            report.faults.append(f"backlog, {program.name}: {found.verdict}")
        if found.exit_code:
            report.faults.append(f"backlog, {program.name}: exit code {found.exit_code}")
        say = prefixed(settings.say, f"closed loop, {program.name}: ")
        usual = run_round(program, settings.load(), parent=settings.parent, say=say)
        enter_round(report, "closed loop beside the backlog", usual)
        report.sections.append(section(program, found, usual.pace.delivered_per_s))


def section(program: Waypost, found: Backlog, usual_per_s: float) -> Section:
    """The table of one backlog."""
    name = program.name
    rows: tuple[tuple[str, str, float, Bars], ...] = (
        ("accepted, batches of 1,000", "events/s", found.accepted_per_s, {}),
        ("resident memory, all waiting", "MB", found.loaded.rss / MB, {}),
        ("  peak, largest process", "MB", found.loaded.peak / MB, RSS_MB),
        ("disk per event, waiting", "bytes", found.disk_bytes_waiting, {}),
        ("start to ready", "s", found.ready_s, {}),
        ("start to first delivery", "s", found.first_delivery_s, FIRST_DELIVERY_S),
        ("drained", "events/s", found.delivered_per_s, {}),
        ("  slowest tenth of it", "events/s", found.slowest_tenth_per_s, {}),
        ("delivered in a closed loop", "events/s", usual_per_s, {}),
        ("drained, ratio to that", "", found.delivered_per_s / usual_per_s, DRAIN_RATIO),
        ("resident memory, drained", "MB", found.drained.rss / MB, {}),
        ("  peak, largest process", "MB", found.drained.peak / MB, RSS_MB),
        ("disk per event, delivered", "bytes", found.disk_bytes_delivered, DISK_BYTES),
    )
    figures = [
        Figure(
            label,
            unit,
            {name: value},
            {name: bars[program.kind]} if program.kind in bars else {},
        )
        for label, unit, value, bars in rows
    ]
    return Section(f"Backlog of {found.events:,}", [name], figures)


def measure(program: Waypost, events: int, parent: Path | None, say: Say) -> Backlog:
    """Fill, stop, start, drain, check.

    Raises:
        ChildError: a process did not do its part.
    """
    with stage(program, parent, say) as it:
        first = it.server
        _command(first, "pause")
        seconds = _fill(it, events, program.subscriptions)
        loaded = memory(first.pid)
        say("stopping the loaded server")
        first.stop()
        waiting = it.disk_bytes() / it.acknowledged
        started = time.perf_counter_ns()
        it.adopt(program.serve_again(it.directory, first))
        ready = time.perf_counter_ns()
        _command(it.server, "resume")
        first_receipt = _first_receipt(it.receiver)
        it.drain()
        drained = memory(it.server.pid)
        ledger, exit_code = it.close()
        receipts = sorted(ledger.first_receipts.values())
        return Backlog(
            events=it.acknowledged,
            accepted_per_s=it.acknowledged / seconds,
            loaded=loaded,
            disk_bytes_waiting=waiting,
            ready_s=(ready - started) / NS_PER_S,
            first_delivery_s=(first_receipt - started) / NS_PER_S,
            delivered_per_s=per_second(it.acknowledged, receipts[0], receipts[-1]),
            slowest_tenth_per_s=slowest_tenth_per_s(receipts),
            drained=drained,
            disk_bytes_delivered=it.disk_bytes() / it.acknowledged,
            verdict=ledger.verdict(),
            exit_code=exit_code,
        )


def _fill(it: Stage, events: int, types: int) -> float:
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
                types=types,
            )
        )
    it.say = say
    return time.monotonic() - started


def _command(server: Running, name: str) -> None:
    for subscription in server.subscriptions:
        server.ask("POST", f"/v1/event_subscriptions/{subscription}/{name}")


def _first_receipt(receiver: Receiver) -> int:
    deadline = time.monotonic() + FIRST_DEADLINE_S
    while time.monotonic() < deadline:
        count, first, _ = receiver.summary()
        if count:
            return first
        time.sleep(POLL_S)
    raise ChildError(f"no delivery within {FIRST_DEADLINE_S:g} s of resuming")
