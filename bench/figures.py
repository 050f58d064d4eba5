"""From time stamps to figures: percentiles, rates, medians."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from bench.ledger import Ledger, Posted

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Milliseconds below which that share of the samples lies."""

    p50: float
    p90: float
    p99: float
    worst: float


@dataclass(frozen=True, slots=True)
class Pace:
    """What a run's time stamps say. Latencies count from the intended time of sending.

    In a closed loop the intended time is the time of sending; in an open loop it is the
    schedule's, so that a stalled server is charged for the posts that it kept waiting.
    """

    events: int
    accepted_per_s: float
    delivered_per_s: float
    ack_ms: Percentiles
    receipt_ms: Percentiles
    receipt_after_ack_ms: Percentiles


def percentiles_ms(samples_ns: Sequence[int]) -> Percentiles:
    """Nearest-rank percentiles of durations in nanoseconds.

    Raises:
        ValueError: there is no sample.
    """
    if not samples_ns:
        raise ValueError(
            "percentiles of nothing: no event of this run was acknowledged and received"
        )
    ordered = sorted(samples_ns)

    def rank(share: float) -> float:
        return ordered[max(ceil(share * len(ordered)), 1) - 1] / NS_PER_MS

    return Percentiles(rank(0.50), rank(0.90), rank(0.99), ordered[-1] / NS_PER_MS)


def pace(ledger: Ledger, first_sequence: int, end_sequence: int = sys.maxsize) -> Pace:
    """The pace of the events of these sequence numbers (what came before was warm-up)."""
    return _pace(ledger, lambda posted: first_sequence <= posted.sequence < end_sequence)


def pace_between(ledger: Ledger, start_ns: int, end_ns: int) -> Pace:
    """The pace of the events that were to be sent between two moments."""
    return _pace(ledger, lambda posted: start_ns <= posted.intended_ns < end_ns)


def _pace(ledger: Ledger, is_measured: Callable[[Posted], bool]) -> Pace:
    rows = [
        (posted, ledger.first_receipts[token])
        for token, posted in ledger.posted.items()
        if token in ledger.first_receipts and is_measured(posted)
    ]

    def durations(of: Callable[[Posted, int], int]) -> Percentiles:
        return percentiles_ms([of(posted, received) for posted, received in rows])

    ack = durations(lambda posted, _: posted.acked_ns - posted.intended_ns)
    started = min(posted.sent_ns for posted, _ in rows)
    return Pace(
        events=len(rows),
        accepted_per_s=per_second(len(rows), started, max(p.acked_ns for p, _ in rows)),
        delivered_per_s=per_second(len(rows), started, max(received for _, received in rows)),
        ack_ms=ack,
        receipt_ms=durations(lambda posted, received: received - posted.intended_ns),
        receipt_after_ack_ms=durations(lambda posted, received: received - posted.acked_ns),
    )


def per_second(count: int, start_ns: int, end_ns: int) -> float:
    """`count` over the time between two stamps."""
    return count * NS_PER_S / max(end_ns - start_ns, 1)


def slowest_tenth_per_s(times_ns: Sequence[int]) -> float:
    """The lowest rate of ten equal parts of a sorted list of moments; of all if there are few."""
    size = len(times_ns) // 10
    if not size:
        return per_second(len(times_ns), times_ns[0], times_ns[-1])
    edges = range(0, 10 * size, size)
    rest = len(times_ns) - 1
    return min(per_second(size, times_ns[at], times_ns[min(at + size, rest)]) for at in edges)


def middle(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return float(median(values)) if values else float("nan")
