"""Health: what the latest attempts say of a receiver."""

from collections.abc import Sequence

import msgspec


class Sampled(msgspec.Struct, frozen=True):
    """One attempt: whether the receiver took it, and how long it took, microseconds."""

    succeeded: bool
    total_us: int


class Figures(msgspec.Struct, frozen=True):
    """What some attempts come to; None where there were none.

    Attributes:
        success_ratio: how many of them succeeded, from 0 to 1.
        p50_us: half of them took no longer, microseconds.
        p95_us: 95 of a hundred did not.
        p99_us: 99 of a hundred did not.
    """

    attempts: int
    success_ratio: float | None = None
    p50_us: int | None = None
    p95_us: int | None = None
    p99_us: int | None = None


def figures(attempts: Sequence[Sampled]) -> Figures:
    """Return what these attempts come to. Those that never came to a request take 0."""
    if not attempts:
        return Figures(0)
    taken = sorted(one.total_us for one in attempts)
    count = len(taken)
    # The nearest rank: the smallest that so many of a hundred do not exceed.
    p50, p95, p99 = (taken[max(-(-count * percent // 100), 1) - 1] for percent in (50, 95, 99))
    return Figures(count, sum(one.succeeded for one in attempts) / count, p50, p95, p99)
