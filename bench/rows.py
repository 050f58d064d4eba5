"""From rounds to the rows of a table: medians of the rounds of each program, with their bars."""

from collections.abc import Callable, Mapping, Sequence

from bench.bars import (
    DISK_BYTES,
    POSTGRESQL,
    RATIO,
    RECEIPT_P50_MS,
    RECEIPT_P99_MS,
    RSS_MB,
    STATEMENTS_FULL,
    Bars,
)
from bench.figures import Percentiles, middle
from bench.report import Figure
from bench.rounds import Round
from bench.server import LIMIT

MB = 1_000_000

Rounds = Mapping[str, Sequence[Round]]
"""By program."""


def bars_of(rounds: Rounds, bars: Bars) -> Bars:
    """The bar of each program, by its kind of database; the limit loop has none."""
    return {name: bars[done[0].kind] for name, done in rounds.items() if done[0].kind in bars}


def medians(rounds: Rounds, value: Callable[[Round], float]) -> dict[str, float | None]:
    """The median of one value, of each program."""
    return {name: middle([value(one) for one in done]) for name, done in rounds.items()}


def kept(rounds: Rounds) -> Rounds:
    """The rounds of the programs that keep something."""
    return {name: done for name, done in rounds.items() if done[0].kind != LIMIT}


def on_postgres(rounds: Rounds) -> Rounds:
    """The rounds of the programs that have a PostgreSQL under them."""
    return {name: done for name, done in rounds.items() if done[0].kind == POSTGRESQL}


def speed(rounds: Rounds) -> list[Figure]:
    """What was accepted and delivered, with the spread of the rounds."""
    worst = {name: min(r.pace.delivered_per_s for r in done) for name, done in rounds.items()}
    best = {name: max(r.pace.delivered_per_s for r in done) for name, done in rounds.items()}
    return [
        Figure("accepted", "events/s", medians(rounds, lambda r: r.pace.accepted_per_s)),
        delivered(rounds),
        Figure("  slowest round", "events/s", worst),
        Figure("  fastest round", "events/s", best),
    ]


def delivered(rounds: Rounds) -> Figure:
    """From the first post to the last receipt."""
    values = medians(rounds, lambda r: r.pace.delivered_per_s)
    return Figure("delivered, end to end", "events/s", values)


def ratios(rounds: Rounds) -> list[Figure]:
    """To the limit loop; and of each tree to the first one on the same database."""
    speeds = {name: value or float("nan") for name, value in delivered(rounds).values.items()}
    cpu = {name: value or float("nan") for name, value in medians(rounds, _server_cpu).items()}
    products = kept(rounds)
    figures: list[Figure] = []
    if LIMIT in speeds and products:
        to_limit = {name: speeds[name] / speeds[LIMIT] for name in products}
        bars = bars_of(products, RATIO)
        figures.append(Figure("ratio to the limit loop", "", to_limit, bars))
    first: dict[str, str] = {}
    for name, done in products.items():
        ours = first.setdefault(done[0].kind, name)
        if ours != name:
            values = {ours: cpu[ours] / cpu[name]}
            figures.append(Figure(f"server CPU ratio to {name}", "", values))
            figures.append(Figure(f"ratio to {name}", "", {ours: speeds[ours] / speeds[name]}))
    return figures


def latencies(rounds: Rounds, rate: int = 0) -> list[Figure]:
    """Of answers and receipts, from the intended time of sending."""

    def figure(kind: str, label: str, share: str, bars: Bars | None = None) -> Figure:
        def value(measured: Round) -> float:
            found: Percentiles = getattr(measured.pace, kind)
            return float(getattr(found, share))

        return Figure(f"{label} {share}", "ms", medians(rounds, value), bars_of(rounds, bars or {}))

    return [
        *(figure("ack_ms", "ack", share) for share in ("p50", "p90", "p99")),
        figure("receipt_ms", "accept → receipt", "p50", RECEIPT_P50_MS.get(rate)),
        figure("receipt_ms", "accept → receipt", "p90"),
        figure("receipt_ms", "accept → receipt", "p99", RECEIPT_P99_MS.get(rate)),
    ]


def cpu(rounds: Rounds, bars: Bars | None = None) -> list[Figure]:
    """The bars are for a busy server: at a low rate each event also pays for its own wake-ups."""

    def figure(of: str, value: Callable[[Round], float], judged: Bars | None = None) -> Figure:
        name = f"{of} CPU / 1,000 events"
        return Figure(name, "s", medians(rounds, value), bars_of(rounds, judged or {}))

    below = on_postgres(rounds)
    others = medians(rounds, lambda r: 100 * r.cost.others_share)
    return [
        figure("server", _server_cpu, bars),
        *(
            [
                Figure(
                    "PostgreSQL CPU / 1,000 events",
                    "s",
                    medians(below, lambda r: r.cost.database_cpu_s),
                )
            ]
            if below
            else []
        ),
        figure("load", lambda r: r.cost.load_cpu_s),
        figure("receiver", lambda r: r.cost.receiver_cpu_s),
        figure("their sum,", lambda r: r.cost.cpu_s),
        Figure("machine used by others", "%", others),
    ]


def space(rounds: Rounds) -> list[Figure]:
    """Memory and disk."""
    rss = {name: max(r.cost.memory.rss for r in done) / MB for name, done in rounds.items()}
    peak = {name: max(r.cost.memory.peak for r in done) / MB for name, done in rounds.items()}
    products, below = kept(rounds), on_postgres(rounds)
    disk = medians(products, lambda r: r.cost.disk_bytes_per_event)
    figures = [
        Figure("resident memory, drained", "MB", rss),
        Figure("  peak, largest process", "MB", peak, bars_of(rounds, RSS_MB)),
        Figure("disk per event", "bytes", disk, bars_of(products, DISK_BYTES)),
    ]
    if below:
        memory = medians(below, lambda r: r.cost.database_memory / MB)
        log = medians(below, lambda r: r.cost.log_bytes_per_event or float("nan"))
        figures.insert(2, Figure("memory of PostgreSQL", "MB", memory))
        figures.append(Figure("write-ahead log per event", "bytes", log))
    return figures


def statements(rounds: Rounds, bars: Bars = STATEMENTS_FULL) -> list[Figure]:
    """What the database executed; nothing where there is no PostgreSQL."""
    below = on_postgres(rounds)
    if not below:
        return []
    values: dict[str, float | None] = {}
    for name, done in below.items():
        found = [r.cost.statements_per_event for r in done]
        counted = [one for one in found if one is not None]
        values[name] = middle(counted) if counted else None
    return [Figure("statements per event", "", values, bars_of(below, bars))]


def _server_cpu(measured: Round) -> float:
    return measured.cost.server_cpu_s
