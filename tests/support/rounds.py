"""Rounds of the benchmark as they might have been measured."""

from collections.abc import Sequence

from bench.databases import Statement
from bench.figures import Pace, Percentiles
from bench.ledger import Verdict
from bench.load import Load, LoadSummary
from bench.processes import Memory
from bench.rounds import Cost, Round


def a_round(
    program: str,
    *,
    kind: str | None = None,
    events: int = 100,
    per_s: float = 1_000.0,
    p99_ms: float = 9.0,
    cpu_s: float = 0.1,
    statements: Sequence[Statement] | None = None,
) -> Round:
    """A round in which all went well."""
    some = Percentiles(1.0, 2.0, p99_ms, p99_ms)
    below = kind or program
    counted = below == "postgresql"
    return Round(
        program=program,
        kind=below,
        load=Load(seconds=1),
        pace=Pace(events, per_s, per_s, some, some, some),
        cost=Cost(
            server_cpu_s=cpu_s,
            database_cpu_s=cpu_s if counted else 0.0,
            load_cpu_s=0.01,
            receiver_cpu_s=0.01,
            others_share=0.0,
            memory=Memory(rss=150_000_000, peak=100_000_000, processes=2),
            database_memory=300_000_000 if counted else 0,
            disk_bytes_per_event=1_200,
            log_bytes_per_event=3_000 if counted else None,
            syncs_per_1000=20 if counted else None,
            statements_per_event=sum(one.calls for one in statements) / events
            if statements is not None
            else None,
        ),
        verdict=Verdict(acknowledged=events, received=events),
        summary=LoadSummary(events, {}, "", 0, events, 0.1),
        ended_well=True,
        statements=statements,
    )
