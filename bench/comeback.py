"""A receiver comes back after a while with a hundred thousand events waiting for it.

While it is away nobody listens at its address, and its events are posted in batches. Then its
subscription is told of an address where somebody does: with the probes of the breaker it is found
to be back, and what waits is sent, first little, then more, never above the rate that it has asked
for. Each event must be received there once. Healthy subscriptions are posted to at a steady rate,
before and while what waits is sent.
"""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bench import wire
from bench.bars import ABOVE_RATE, ISOLATION_P99, ISOLATION_RATE, RSS_MB
from bench.child import Child, ChildError
from bench.figures import NS_PER_S, Pace, pace
from bench.load import ANSWERS_DEADLINE_S, Load, LoadSummary
from bench.processes import Memory, memory
from bench.report import Figure, Report, Section
from bench.rounds import MEASURED_FROM, WARM_UP, Receiver, Stage, stage
from bench.rows import MB
from bench.scenarios import Settings, prefixed
from bench.server import Waypost, free_port

AWAY = "away"
"""The type of the events that wait."""

HEALTHY = 10
HEALTHY_RATE = 200.0
RATE = 2_000
"""Attempts a second that the receiver has asked for."""
BURST = 200

BATCH = 1_000
LOADERS = 4
CHUNK_DEADLINE_S = 120.0
RETRY_S = 10
RETRIES = 50
FOUND_DEADLINE_S = 60.0
SECOND_FROM = 2 * MEASURED_FROM
"""First sequence of what is posted to the healthy ones while what waited is sent."""


@dataclass(frozen=True, slots=True)
class Return:
    """How what had waited came.

    Attributes:
        received: deliveries, and
        doubled: how many of them were of an event that had come before.
        per_s: over all of them.
        first_second: how many came in the second that began with the first.
        most: the most that came in any second, over what the rate allows in one.
    """

    received: int
    doubled: int
    per_s: float
    first_second: int
    most: float


@dataclass(frozen=True, slots=True)
class Found:
    """One run.

    Attributes:
        found_s: from the new address to the first delivery there.
        before: what the healthy ones had while it was away, and
        meanwhile: while what waited was sent.
    """

    came: Return
    found_s: float
    before: Pace
    meanwhile: Pace
    memory: Memory


def comeback(settings: Settings, report: Report, *, events: int, away_s: float) -> None:
    """Measure it, for each product."""
    for program in settings.products:
        found = measure(program, settings, report, events=events, away_s=away_s)
        report.details.setdefault("comeback", {})[program.name] = found
        report.sections.append(section(program, found, events, away_s))


def measure(
    program: Waypost, settings: Settings, report: Report, *, events: int, away_s: float
) -> Found:
    """One run; nothing may be lost or doubled, of the healthy ones or of what waited."""
    say = prefixed(settings.say, f"comeback, {program.name}: ")
    healthy = replace(program, subscriptions=HEALTHY)
    steady = Load(seconds=settings.latency_seconds, rate=HEALTHY_RATE, types=HEALTHY)
    with stage(healthy, settings.parent, say) as it, ExitStack() as children:
        it.post(msgspec.structs.replace(WARM_UP, types=HEALTHY))
        it.drain()
        token = _subscribe(it)
        gone = time.monotonic()
        waiting = _fill(it, events)
        while time.monotonic() - gone < away_s:
            say(f"away for {time.monotonic() - gone:.0f} of {away_s:g} s")
            time.sleep(1)
        it.post(msgspec.structs.replace(steady, first_sequence=MEASURED_FROM))
        second = _receiver(it, children)
        back = time.perf_counter_ns()
        _point(it, token, second.port)
        first = _first(second)
        # As long as what waits takes, at least.
        seconds = max(events / RATE, settings.latency_seconds)
        it.post(msgspec.structs.replace(steady, seconds=seconds, first_sequence=SECOND_FROM))
        second.wait_for(waiting, say)
        it.drain()
        peak = memory(it.server.pid)
        ledger, exit_code = it.close()
        second.child.stop()
        came = judged(wire.RECEIVED.iter_unpack(second.ledger.read_bytes()))
    what = f"comeback, {program.name}"
    if not ledger.verdict().ok:
        report.faults.append(f"{what}: {ledger.verdict()}")
    if (came.received, came.doubled) != (waiting, 0):
        report.faults.append(
            f"{what}: of {waiting:,} that waited {came.received:,} came, {came.doubled} doubled"
        )
    if exit_code:
        report.faults.append(f"{what}: exit code {exit_code} after SIGTERM")
    return Found(
        came,
        (first - back) / NS_PER_S,
        pace(ledger, MEASURED_FROM, SECOND_FROM),
        pace(ledger, SECOND_FROM),
        peak,
    )


def judged(records: Iterable[tuple[bytes, bytes, int]], rate: int = RATE) -> Return:
    """What came, by the receiver's records: token, sequence, nanoseconds.

    Raises:
        ChildError: nothing came.
    """
    seen: set[bytes] = set()
    times: list[int] = []
    for token, _, at in records:
        seen.add(token)
        times.append(at)
    if not times:
        raise ChildError("nothing came to the receiver that is back")
    times.sort()
    return Return(
        received=len(times),
        doubled=len(times) - len(seen),
        per_s=(len(times) - 1) * NS_PER_S / max(times[-1] - times[0], 1),
        first_second=_within(times, 0),
        most=most_in_a_second(times) / (rate + BURST),
    )


def most_in_a_second(times: Sequence[int]) -> int:
    """How many of some moments (ns, sorted) lie within one second, at most."""
    most = first = 0
    for last, at in enumerate(times):
        while at - times[first] >= NS_PER_S:
            first += 1
        most = max(most, last - first + 1)
    return most


def _within(times: Sequence[int], first: int) -> int:
    return sum(1 for at in times[first:] if at - times[first] < NS_PER_S)


def _subscribe(it: Stage) -> str:
    wanted = {
        "url": f"http://127.0.0.1:{free_port()}/hook",
        "event_types": [AWAY],
        "rate_limit": {"count": RATE, "per_s": 1, "burst": BURST},
        "retry_schedule": [RETRY_S] * RETRIES,
    }
    made = it.server.ask("POST", "/v1/event_subscriptions", wanted)
    return str(json.loads(made)["token"])


def _point(it: Stage, token: str, port: int) -> None:
    url = f"http://127.0.0.1:{port}/hook"
    it.server.ask("PATCH", f"/v1/event_subscriptions/{token}", {"url": url})


def _fill(it: Stage, events: int) -> int:
    """Post what is to wait, which is not entered for the healthy ones; gives how many there are."""
    batch = min(BATCH, events)
    load = Load(
        seconds=CHUNK_DEADLINE_S, events=events, batch=batch, connections=LOADERS, family=AWAY
    )
    child: Child = it.begin(load, counted=False)
    output = child.output.read()
    child.wait(ANSWERS_DEADLINE_S)
    if not output:
        raise ChildError(f"the load generator failed\n{child.log_tail()}")
    return msgspec.json.decode(output, type=LoadSummary).acknowledged


def _receiver(it: Stage, children: ExitStack) -> Receiver:
    folder = Path(it.directory, "second")
    folder.mkdir()
    receiver = Receiver(folder)
    children.enter_context(receiver.child)
    return receiver


def _first(receiver: Receiver) -> int:
    deadline = time.monotonic() + FOUND_DEADLINE_S
    while time.monotonic() < deadline:
        count, first, _ = receiver.summary()
        if count:
            return first
        time.sleep(0.01)
    raise ChildError(f"nothing came within {FOUND_DEADLINE_S:g} s of being back")


def section(program: Waypost, found: Found, events: int, away_s: float) -> Section:
    """The table of one run."""
    name, came = program.name, found.came
    p99 = found.meanwhile.receipt_ms.p99 / found.before.receipt_ms.p99
    rate = found.meanwhile.delivered_per_s / found.before.delivered_per_s

    def figure(label: str, unit: str, value: float) -> Figure:
        return Figure(label, unit, {name: value})

    return Section(
        f"Back after {away_s:g} s with {events:,} waiting, at {RATE:,}/s at most",
        [name],
        [
            figure("back to its first delivery", "s", found.found_s),
            figure("came in the first second", "", came.first_second),
            figure("came", "events/s", came.per_s),
            Figure(
                "most in a second, of what is allowed", "", {name: came.most}, {name: ABOVE_RATE}
            ),
            figure(
                "healthy ones' accept → receipt p99, while away", "ms", found.before.receipt_ms.p99
            ),
            figure("  while what waited is sent", "ms", found.meanwhile.receipt_ms.p99),
            Figure("  ratio", "", {name: p99}, {name: ISOLATION_P99}),
            Figure("healthy ones' rate, ratio", "", {name: rate}, {name: ISOLATION_RATE}),
            Figure(
                "resident memory, peak",
                "MB",
                {name: found.memory.peak / MB},
                {name: RSS_MB[program.kind]},
            ),
        ],
    )
