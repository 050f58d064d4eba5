"""Replays: what live traffic notices while much is sent again to the same receiver.

Many events are delivered; then posts come at a steady rate, first with nothing beside them, and
then while all those events are replayed. The second load ends when what was replayed has come.
The ledger knows what is to come twice: each replayed event, once more, and nothing else.
"""

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from bench.bars import REPLAY_P99
from bench.child import ChildError
from bench.figures import Pace, middle, pace, per_second
from bench.ledger import Ledger, Verdict
from bench.load import Load
from bench.report import Figure, Report, Section
from bench.rounds import MEASURED_FROM, WARM_UP, Stage, stage
from bench.scenarios import Settings, prefixed
from bench.server import Waypost

FILLED_FROM = 10**6
BESIDE_FROM = 2 * MEASURED_FROM
"""First sequences of what is replayed, and of the posts beside the replay."""

BATCH = 1_000
FILL_DEADLINE_S = 600.0
REPLAY_DEADLINE_S = 300.0
POLL_S = 0.5
UNDER_WAY_S = 1.0
"""So long the live posts go on before the replay begins."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one round measured.

    Attributes:
        alone: the pace of live events with nothing beside them, and
        beside: while the replay went on.
        replayed_per_s: how fast the replay was delivered.
    """

    alone: Pace
    beside: Pace
    replayed_per_s: float

    @property
    def ratio(self) -> float:
        """Of the 99th percentile of accept → receipt."""
        return self.beside.receipt_ms.p99 / self.alone.receipt_ms.p99


def replaying(settings: Settings, report: Report, events: int, rate: float | None) -> None:
    """Measure at each rate of live posts; `rate` is the replay's own, None for none."""
    for program in settings.products:
        for live in settings.rates:
            title = f"{events:,} events replayed beside {live:,}/s"
            rounds: list[Found] = []
            for number in range(1, settings.rounds + 1):
                say = prefixed(settings.say, f"{title} {number}/{settings.rounds}, ")
                with stage(program, settings.parent, prefixed(say, f"{program.name}: ")) as it:
                    rounds.append(measure(it, settings, report, events, live, rate))
            report.details.setdefault("replay", {}).setdefault(program.name, {})[live] = rounds
            report.sections.append(section(program, title, rounds))


def measure(
    it: Stage, settings: Settings, report: Report, events: int, live: float, rate: float | None
) -> Found:
    """One round; the ledger must balance."""
    it.post(WARM_UP)
    it.post(
        Load(
            seconds=FILL_DEADLINE_S,
            events=events,
            batch=BATCH,
            connections=4,
            first_sequence=FILLED_FROM,
        )
    )
    it.drain()
    load = Load(seconds=settings.latency_seconds, rate=live, first_sequence=MEASURED_FROM)
    it.post(load)
    it.drain()
    replayed = it.acknowledged
    end = datetime.now(UTC).isoformat()
    child = it.begin(Load(seconds=REPLAY_DEADLINE_S, rate=live, first_sequence=BESIDE_FROM))
    time.sleep(UNDER_WAY_S)
    started_ns = time.perf_counter_ns()
    wanted: dict[str, object] = {"filter": {"end": end}, "route": "as_before"}
    if rate is not None:
        wanted["rate"] = rate
    job = msgspec.json.decode(it.server.ask("POST", "/v1/replays", wanted))["replay"]
    where = f"/v1/replays/{job['token']}"
    deadline = time.monotonic() + REPLAY_DEADLINE_S
    while msgspec.json.decode(it.server.ask("GET", where))["state"] != "done":
        if time.monotonic() > deadline:
            raise ChildError(f"the replay took more than {REPLAY_DEADLINE_S:.0f} s")
        time.sleep(POLL_S)
    ended_ns = time.perf_counter_ns()
    os.kill(child.pid, signal.SIGTERM)
    it.finish(child)
    it.receiver.wait_for(it.acknowledged + replayed, it.say)
    ledger, exit_code = it.close()
    verdict = judged(ledger)
    if not verdict.ok:
        report.faults.append(f"replay: {verdict}")
    if exit_code:
        report.faults.append(f"replay: exit code {exit_code} after SIGTERM")
    return Found(
        pace(ledger, MEASURED_FROM, BESIDE_FROM),
        pace(ledger, BESIDE_FROM),
        per_second(replayed, started_ns, ended_ns),
    )


def judged(ledger: Ledger) -> Verdict:
    """The verdict: what was posted before the replay must have come twice, the rest once."""
    twice = {token for token, posted in ledger.posted.items() if posted.sequence < BESIDE_FROM}
    again = Counter(ledger.doubled)
    missed = sum(not again[token] for token in twice)
    excess = again.total() - (len(twice) - missed)
    found = ledger.verdict()
    return replace(found, lost=found.lost + missed, doubled=excess)


def section(program: Waypost, title: str, rounds: list[Found]) -> Section:
    """The table of one rate: medians of the rounds."""
    name = program.name

    def figure(label: str, unit: str, values: list[float]) -> Figure:
        return Figure(label, unit, {name: middle(values)})

    ratio = {name: middle([one.ratio for one in rounds])}
    return Section(
        f"{title}: medians of {len(rounds)} rounds",
        [name],
        [
            figure("ack p99, alone", "ms", [r.alone.ack_ms.p99 for r in rounds]),
            figure("  beside the replay", "ms", [r.beside.ack_ms.p99 for r in rounds]),
            figure("accept → receipt p50, alone", "ms", [r.alone.receipt_ms.p50 for r in rounds]),
            figure("  beside the replay", "ms", [r.beside.receipt_ms.p50 for r in rounds]),
            figure("accept → receipt p99, alone", "ms", [r.alone.receipt_ms.p99 for r in rounds]),
            figure("  beside the replay", "ms", [r.beside.receipt_ms.p99 for r in rounds]),
            Figure("  ratio", "", ratio, {name: REPLAY_P99}),
            figure("replayed", "events/s", [r.replayed_per_s for r in rounds]),
        ],
    )
