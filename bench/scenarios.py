"""What is measured: throughput beside the limit loop, latency, cost, soak, profile.

Each function runs its rounds, enters what it found into a report and says what goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench import rows
from bench.bars import CPU_S
from bench.load import Load
from bench.profiling import profile
from bench.report import Figure, Report, Section
from bench.rounds import Round, Say, run_round
from bench.rows import MB
from bench.server import Program, Waypost
from bench.syncs import syncs_per_1000

TOP_FUNCTIONS = 25
SYNCS_SECONDS = 3.0
BUSY_MACHINE = 0.1
BUSY_REMARK = (
    f"other programs took more than {BUSY_MACHINE:.0%} of the processors in at least one round: "
    "rates, latencies and even the ratios are uncertain; processor time per event is steadier"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line chose."""

    products: Sequence[Waypost]
    rounds: int
    seconds: float
    latency_seconds: float
    rates: Sequence[int]
    connections: int
    subscriptions: int
    parent: Path | None
    say: Say

    def load(self, rate: float = 0, seconds: float | None = None) -> Load:
        """A closed loop, or an open one at a rate."""
        return Load(
            seconds=seconds or self.seconds,
            rate=rate,
            connections=self.connections,
            types=self.subscriptions,
        )


def enter_round(report: Report, name: str, measured: Round) -> None:
    """Keep a round for the JSON, and call the report void where the ledger does not balance."""
    report.details.setdefault(name, []).append(measured)
    what = f"{name}, {measured.program}"
    if not measured.verdict.ok:
        report.faults.append(f"{what}: {measured.verdict} {dict(measured.verdict.examples)}")
    if not measured.ended_well:
        report.faults.append(f"{what}: did not end with exit code 0 after SIGTERM")
    if measured.cost.others_share > BUSY_MACHINE and BUSY_REMARK not in report.remarks:
        report.remarks.append(BUSY_REMARK)
    if measured.summary.refused or measured.summary.unanswered:
        report.remarks.append(
            f"{what}: not accepted {measured.summary.refused}, "
            f"{measured.summary.unanswered} unanswered; {measured.summary.refusal_example}"
        )


def interleaved(
    settings: Settings, report: Report, name: str, programs: Sequence[Program], load: Load
) -> dict[str, list[Round]]:
    """As many rounds of one load as were asked for, the programs in turn within each."""
    rounds: dict[str, list[Round]] = {program.name: [] for program in programs}
    for number in range(1, settings.rounds + 1):
        for program in programs:
            prefix = f"{name} {number}/{settings.rounds}, {program.name}: "
            say = prefixed(settings.say, prefix)
            measured = run_round(program, load, parent=settings.parent, say=say)
            enter_round(report, name, measured)
            rounds[program.name].append(measured)
    return rounds


def throughput(settings: Settings, report: Report, programs: Sequence[Program]) -> None:
    """Closed loops; medians and their ratios."""
    rounds = interleaved(settings, report, "throughput", programs, settings.load())
    report.sections.append(
        Section(
            f"Closed loop, {settings.connections} connections, single posts: "
            f"medians of {settings.rounds} rounds of {settings.seconds:g} s",
            list(rounds),
            [
                *rows.speed(rounds),
                *rows.ratios(rounds),
                *rows.latencies(rounds),
                *rows.cpu(rounds, CPU_S),
                *rows.space(rounds),
                *rows.statements(rounds),
            ],
        )
    )


def latency(settings: Settings, report: Report, programs: Sequence[Program]) -> None:
    """Open loops at fixed rates; times count from when a post was due."""
    for rate in settings.rates:
        rounds: dict[str, list[Round]] = {}
        for program in programs:
            say = prefixed(settings.say, f"latency at {rate}/s, {program.name}: ")
            load = settings.load(rate, settings.latency_seconds)
            measured = run_round(program, load, parent=settings.parent, say=say)
            enter_round(report, f"latency at {rate}/s", measured)
            rounds[program.name] = [measured]
        report.sections.append(
            Section(
                f"Open loop at {rate:,}/s for {settings.latency_seconds:g} s, "
                "from the intended time of sending",
                list(rounds),
                [rows.delivered(rounds), *rows.latencies(rounds, rate), *rows.cpu(rounds)],
            )
        )


def syncs(settings: Settings, report: Report) -> None:
    """Disk syncs of a short closed loop, in a run of its own."""
    counts: dict[str, float | None] = {}
    for program in settings.products:
        say = prefixed(settings.say, f"disk syncs, {program.name}: ")
        load = settings.load(seconds=SYNCS_SECONDS)
        counts[program.name], measured = syncs_per_1000(program, load, settings.parent, say)
        enter_round(report, "disk syncs", measured)
    figure = Figure("syncs per 1,000 events", "calls", counts)
    report.sections.append(Section("Disk syncs, closed loop", list(counts), [figure]))


def profiles(settings: Settings, report: Report) -> None:
    """Where the server's time goes, by layer, function and thread."""
    for program in settings.products:
        say = prefixed(settings.say, f"profile, {program.name}: ")
        # The sampler sees one process: with several it would see the one that supervises.
        single = replace(program, processes=1)
        found, measured = profile(single, settings.load(), settings.parent, say)
        enter_round(report, "profile", measured)
        report.details.setdefault("profiles", {})[program.name] = found
        total = sum(found.layers_us.values())
        for title, times in (
            (f"by layer ({found.samples:,} samples)", found.layers_us),
            ("by function", dict(list(found.functions_us.items())[:TOP_FUNCTIONS])),
        ):
            rows = [
                Figure(name, "µs/event", {program.name: time}, note=f"{time / total:.1%}")
                for name, time in times.items()
            ]
            heading = f"Profile of {program.name} {title}: {total:.1f} µs/event"
            report.sections.append(Section(heading, [program.name], rows))
        threads = [
            Figure(name, "% of a processor", {program.name: 100 * share})
            for name, share in found.thread_load.items()
        ]
        report.sections.append(Section("Threads", [program.name], threads))


def soak(settings: Settings, report: Report, *, rate: int, seconds: float) -> None:
    """A fixed rate for long: memory should stay where it is."""
    for program in settings.products:
        say = prefixed(settings.say, f"soak at {rate}/s, {program.name}: ")
        load = settings.load(rate, seconds)
        measured = run_round(program, load, parent=settings.parent, say=say)
        enter_round(report, "soak", measured)
        rounds = {program.name: [measured]}
        report.sections.append(
            Section(
                f"Soak: {rate:,}/s for {seconds:g} s",
                list(rounds),
                [
                    rows.delivered(rounds),
                    *rows.latencies(rounds, rate),
                    *rows.cpu(rounds, CPU_S),
                    *rows.space(rounds),
                ],
            )
        )
        report.sections.append(_curve(measured))


def _curve(measured: Round, points: int = 10) -> Section:
    curve = measured.rss_curve
    chosen = curve[:: max(len(curve) // points, 1)]
    return Section(
        "Resident memory over the run",
        [measured.program],
        [Figure(f"after {at:.0f} s", "MB", {measured.program: rss / MB}) for at, rss in chosen],
    )


def prefixed(say: Say, prefix: str) -> Say:
    """A `Say` that says what is measured before what goes on."""
    return lambda text: say(prefix + text)
