"""What is measured: throughput beside the limit loop, latency, cost, soak, profile.

Each function runs its rounds, enters what it found into a report and says what goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Percentiles, middle
from bench.load import Load
from bench.profiling import profile
from bench.report import CPU_S, DISK_BYTES, RATIO, RECEIPT_MS, RSS_MB, Bar, Figure, Report, Section
from bench.rounds import Round, Say, run_round
from bench.server import LimitLoop, Program, Waypost
from bench.syncs import syncs_per_1000

MB = 1_000_000
LIMIT = "limit"
TOP_FUNCTIONS = 25
BUSY_MACHINE = 0.1
BUSY_REMARK = (
    f"other programs took more than {BUSY_MACHINE:.0%} of the processors in at least one round: "
    "rates, latencies and even the ratios are uncertain; processor time per event is steadier"
)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line chose."""

    products: Sequence[Waypost]
    limit: LimitLoop
    rounds: int
    seconds: float
    latency_seconds: float
    rates: Sequence[int]
    connections: int
    parent: Path | None
    say: Say


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


def throughput(settings: Settings, report: Report, programs: Sequence[Program]) -> None:
    """Closed loops, the programs in turn within each round; medians and their ratios."""
    rounds: dict[str, list[Round]] = {program.name: [] for program in programs}
    load = Load(seconds=settings.seconds, connections=settings.connections)
    for number in range(1, settings.rounds + 1):
        for program in programs:
            prefix = f"throughput {number}/{settings.rounds}, {program.name}: "
            measured = run_round(
                program, load, parent=settings.parent, say=_prefixed(settings.say, prefix)
            )
            enter_round(report, "throughput", measured)
            rounds[program.name].append(measured)
    report.sections.append(
        Section(
            f"Closed loop, {settings.connections} connections, single posts: "
            f"medians of {settings.rounds} rounds of {settings.seconds:g} s",
            list(rounds),
            [
                *_speed(rounds),
                *_ratios(rounds),
                *_latencies(rounds),
                *_cpu(rounds, CPU_S),
                *_space(rounds),
            ],
        )
    )


def latency(settings: Settings, report: Report, programs: Sequence[Program]) -> None:
    """Open loops at fixed rates; times count from when a post was due."""
    for rate in settings.rates:
        rounds: dict[str, list[Round]] = {}
        load = Load(seconds=settings.latency_seconds, rate=rate, connections=settings.connections)
        for program in programs:
            say = _prefixed(settings.say, f"latency at {rate}/s, {program.name}: ")
            measured = run_round(program, load, parent=settings.parent, say=say)
            enter_round(report, f"latency at {rate}/s", measured)
            rounds[program.name] = [measured]
        report.sections.append(
            Section(
                f"Open loop at {rate:,}/s for {settings.latency_seconds:g} s, "
                "from the intended time of sending",
                list(rounds),
                [_delivered(rounds), *_latencies(rounds, rate), *_cpu(rounds)],
            )
        )


def syncs(settings: Settings, report: Report) -> None:
    """Disk syncs of a short closed loop, in a run of its own."""
    counts: dict[str, float | None] = {}
    for program in settings.products:
        say = _prefixed(settings.say, f"disk syncs, {program.name}: ")
        counts[program.name], measured = syncs_per_1000(program, 3.0, settings.parent, say)
        enter_round(report, "disk syncs", measured)
    figure = Figure("syncs per 1,000 events", "calls", counts)
    report.sections.append(Section("Disk syncs, closed loop", list(counts), [figure]))


def profiles(settings: Settings, report: Report) -> None:
    """Where the server's time goes, by layer, function and thread."""
    for program in settings.products:
        say = _prefixed(settings.say, f"profile, {program.name}: ")
        found, measured = profile(program, settings.seconds, settings.parent, say)
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
    load = Load(seconds=seconds, rate=rate, connections=settings.connections)
    for program in settings.products:
        say = _prefixed(settings.say, f"soak at {rate}/s, {program.name}: ")
        measured = run_round(program, load, parent=settings.parent, say=say)
        enter_round(report, "soak", measured)
        rounds = {program.name: [measured]}
        report.sections.append(
            Section(
                f"Soak: {rate:,}/s for {seconds:g} s",
                list(rounds),
                [
                    _delivered(rounds),
                    *_latencies(rounds, rate),
                    *_cpu(rounds, CPU_S),
                    *_space(rounds),
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


def _speed(rounds: dict[str, list[Round]]) -> list[Figure]:
    accepted = {
        name: middle([r.pace.accepted_per_s for r in done]) for name, done in rounds.items()
    }
    worst = {name: min(r.pace.delivered_per_s for r in done) for name, done in rounds.items()}
    best = {name: max(r.pace.delivered_per_s for r in done) for name, done in rounds.items()}
    return [
        Figure("accepted", "events/s", accepted),
        _delivered(rounds),
        Figure("  slowest round", "events/s", worst),
        Figure("  fastest round", "events/s", best),
    ]


def _delivered(rounds: dict[str, list[Round]]) -> Figure:
    values = {name: middle([r.pace.delivered_per_s for r in done]) for name, done in rounds.items()}
    return Figure("delivered, end to end", "events/s", values)


def _ratios(rounds: dict[str, list[Round]]) -> list[Figure]:
    delivered = _delivered(rounds).values
    products = [name for name in rounds if name != LIMIT]
    figures: list[Figure] = []
    limit = delivered.get(LIMIT)
    if limit:
        ratios = {name: (delivered[name] or 0) / limit for name in products}
        bar = RATIO if products and products[0].startswith("waypost") else None
        figures.append(Figure("ratio to the limit loop", "", ratios, bar))
    cpu = {name: middle([r.cost.server_cpu_s for r in done]) for name, done in rounds.items()}
    for other in products[1:]:
        relative = cpu[products[0]] / cpu[other] if cpu[other] else float("nan")
        figures.append(Figure(f"server CPU ratio to {other}", "", {products[0]: relative}))
        ratio = (delivered[products[0]] or 0) / (delivered[other] or float("nan"))
        figures.append(Figure(f"ratio to {other}", "", {products[0]: ratio}))
    return figures


def _latencies(rounds: dict[str, list[Round]], rate: int = 0) -> list[Figure]:
    def figure(kind: str, label: str, share: str, bar: Bar | None = None) -> Figure:
        values: dict[str, float | None] = {}
        for name, done in rounds.items():
            found: list[Percentiles] = [getattr(r.pace, kind) for r in done]
            values[name] = middle([getattr(percentiles, share) for percentiles in found])
        return Figure(f"{label} {share}", "ms", values, bar)

    p50_bar, p99_bar = RECEIPT_MS.get(rate, (None, None))
    return [
        *(figure("ack_ms", "ack", share) for share in ("p50", "p90", "p99")),
        figure("receipt_ms", "accept → receipt", "p50", p50_bar),
        figure("receipt_ms", "accept → receipt", "p90"),
        figure("receipt_ms", "accept → receipt", "p99", p99_bar),
    ]


def _cpu(rounds: dict[str, list[Round]], bar: Bar | None = None) -> list[Figure]:
    """The bar is for a busy server: at a low rate each event also pays for its own wake-ups."""

    def figure(name: str, of: str, bar: Bar | None = None) -> Figure:
        values = {p: middle([getattr(r.cost, of) for r in done]) for p, done in rounds.items()}
        return Figure(f"{name} CPU / 1,000 events", "s", values, bar)

    return [
        figure("server", "server_cpu_s", bar),
        figure("load", "load_cpu_s"),
        figure("receiver", "receiver_cpu_s"),
        Figure(
            "machine used by others",
            "%",
            {p: middle([100 * r.cost.others_share for r in done]) for p, done in rounds.items()},
        ),
    ]


def _space(rounds: dict[str, list[Round]]) -> list[Figure]:
    rss = {name: max(r.cost.memory.rss for r in done) / MB for name, done in rounds.items()}
    peak = {name: max(r.cost.memory.peak for r in done) / MB for name, done in rounds.items()}
    disk = {
        name: middle([r.cost.disk_bytes_per_event for r in done])
        for name, done in rounds.items()
        if name != LIMIT
    }
    return [
        Figure("resident memory, drained", "MB", rss, RSS_MB),
        Figure("  peak", "MB", peak, RSS_MB),
        Figure("disk per event", "bytes", disk, DISK_BYTES),
    ]


def _prefixed(say: Say, prefix: str) -> Say:
    return lambda text: say(prefix + text)
