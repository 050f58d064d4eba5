"""Replays: what live traffic notices while much is sent again to the same receiver.

Many events are delivered; then posts come at a steady rate while those events are replayed, and
the replay is paused every few seconds: what a machine that others use as well does to the posts, it
does with the replay and without it, and each stretch is held against the one before it. The posts
end when what was replayed has come. The ledger knows what is to come twice: each replayed event,
once more, and nothing else.
"""

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import starmap

import msgspec

from bench.bars import REPLAY_P99
from bench.child import ChildError
from bench.figures import NS_PER_S, Pace, middle, pace_between, per_second
from bench.ledger import Ledger, Verdict
from bench.load import Load
from bench.report import Figure, Report, Section
from bench.rounds import WARM_UP, Stage, stage
from bench.scenarios import Settings, prefixed
from bench.server import Waypost

FILLED_FROM = 10**6
BESIDE_FROM = 2 * 10**9
"""First sequences of what is replayed, and of the posts beside the replay."""

BATCH = 1_000
FILL_DEADLINE_S = 600.0
REPLAY_DEADLINE_S = 3_600.0
UNDER_WAY_S = 1.0
"""So long the live posts go on before the replay begins."""
SETTLED_S = 3.0
"""So long after a pause what a replay had begun is still sent: nothing is measured meanwhile."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The pace of live events beside a replay, and before that with the replay paused."""

    alone: Pace
    beside: Pace

    @property
    def ratio(self) -> float:
        """Of the 99th percentile of accept → receipt."""
        return self.beside.receipt_ms.p99 / self.alone.receipt_ms.p99


@dataclass(frozen=True, slots=True)
class Found:
    """What one round measured; `replayed_per_s`: how fast the replay went on where it might."""

    stretches: list[Stretch]
    replayed_per_s: float


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
    """One round; the ledger must balance.

    Raises:
        ChildError: the replay was done before anything was measured, or is never done.
    """
    it.post(WARM_UP)
    it.drain()
    begin = datetime.now(UTC).isoformat()
    # The connections may post some batches more.
    filled = it.post(
        Load(
            seconds=FILL_DEADLINE_S,
            events=events,
            batch=BATCH,
            connections=4,
            first_sequence=FILLED_FROM,
        )
    ).acknowledged
    it.drain()
    wanted: dict[str, object] = {
        "filter": {"begin": begin, "end": datetime.now(UTC).isoformat()},
        "route": "as_before",
    }
    if rate is not None:
        wanted["rate"] = rate
    child = it.begin(Load(seconds=REPLAY_DEADLINE_S, rate=live, first_sequence=BESIDE_FROM))
    time.sleep(UNDER_WAY_S)
    windows, ran_ns = _replay(it, wanted, settings.latency_seconds)
    os.kill(child.pid, signal.SIGTERM)
    it.finish(child)
    it.receiver.wait_for(it.acknowledged + filled, it.say)
    ledger, exit_code = it.close()
    verdict = judged(ledger)
    if not verdict.ok:
        report.faults.append(f"replay: {verdict}")
    if exit_code:
        report.faults.append(f"replay: exit code {exit_code} after SIGTERM")
    paces = [pace_between(ledger, *window) for window in windows]
    return Found(
        list(starmap(Stretch, zip(paces[::2], paces[1::2], strict=True))),
        per_second(filled, 0, ran_ns),
    )


def _replay(
    it: Stage, wanted: dict[str, object], seconds: float
) -> tuple[list[tuple[int, int]], int]:
    """Replay to the end, pausing now and then.

    Returns:
        The stretches of time, in turn without the replay and beside it; and for how long the
        replay was not paused, nanoseconds.
    """
    started_ns = resumed_ns = time.perf_counter_ns()
    job = msgspec.json.decode(it.server.ask("POST", "/v1/replays", wanted))["replay"]
    where = f"/v1/replays/{job['token']}"
    windows: list[tuple[int, int]] = []
    ran_ns = 0
    while True:
        it.server.ask("POST", f"{where}/pause")
        ran_ns += time.perf_counter_ns() - resumed_ns
        alone = _window(seconds)
        resumed_ns = time.perf_counter_ns()
        it.server.ask("POST", f"{where}/resume")
        beside = _window(seconds)
        job = msgspec.json.decode(it.server.ask("GET", where))
        it.say(f"{job['owed']:,} replayed")
        if job["state"] == "done":
            break
        windows += (alone, beside)
        if time.perf_counter_ns() - started_ns > REPLAY_DEADLINE_S * NS_PER_S:
            raise ChildError(f"the replay took more than {REPLAY_DEADLINE_S:.0f} s")
    if not windows:
        raise ChildError("the replay was done at once; have it send more --events")
    return windows, ran_ns + time.perf_counter_ns() - resumed_ns


def _window(seconds: float) -> tuple[int, int]:
    time.sleep(SETTLED_S)
    start_ns = time.perf_counter_ns()
    time.sleep(seconds)
    return start_ns, time.perf_counter_ns()


def judged(ledger: Ledger) -> Verdict:
    """The verdict: what was posted to be replayed must have come twice, the rest once."""
    replayed = range(FILLED_FROM, BESIDE_FROM)
    twice = {token for token, posted in ledger.posted.items() if posted.sequence in replayed}
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

    stretches = [one for found in rounds for one in found.stretches]
    alone = [one.alone.receipt_ms for one in stretches]
    beside = [one.beside.receipt_ms for one in stretches]
    ratio = {name: middle([one.ratio for one in stretches])}
    return Section(
        f"{title}: medians of {len(stretches)} stretches in {len(rounds)} rounds",
        [name],
        [
            figure("ack p99, alone", "ms", [one.alone.ack_ms.p99 for one in stretches]),
            figure("  beside the replay", "ms", [one.beside.ack_ms.p99 for one in stretches]),
            figure("accept → receipt p50, alone", "ms", [one.p50 for one in alone]),
            figure("  beside the replay", "ms", [one.p50 for one in beside]),
            figure("accept → receipt p99, alone", "ms", [one.p99 for one in alone]),
            figure("  beside the replay", "ms", [one.p99 for one in beside]),
            Figure("  ratio", "", ratio, {name: REPLAY_P99}),
            figure("replayed", "events/s", [found.replayed_per_s for found in rounds]),
        ],
    )
