"""Kills the server at random under load, as often as asked: `python -m tests.torture --kills 300`.

With `--database postgresql` there are several workers on one PostgreSQL; they are killed, frozen
for longer than their lease, and their database is stopped as in a crash.

With `--chains 50 --length 1000` it is given 50 ordering keys of 1,000 events each meanwhile, for
subscriptions that are sent to in order; no event may overtake another one of its key.

Exits with 1 where anything was lost, doubled beyond what a fault allows, or untold.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.torture.cluster.judgement import Judgement
from tests.torture.cluster.scenarios import faults
from tests.torture.cluster.scenarios import orders as orders_of_cluster
from tests.torture.oracle import Verdict
from tests.torture.scenarios import kills, orders

T = TypeVar("T")
_SHOWN = 20


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how often (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is left to chance")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, default=4, help="on PostgreSQL (default: 4)")
    parser.add_argument("--chains", type=int, default=0, help="ordering keys (default: no order)")
    parser.add_argument("--length", type=int, default=1000, help="events of each (default: 1000)")
    parser.add_argument("--keep", action="store_true", help="keep ledgers, database and logs")
    arguments = parser.parse_args()
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="waypost-torture-"))
    count, seed = arguments.kills, arguments.seed
    chains, length, workers = arguments.chains, arguments.length, arguments.workers
    try:
        if arguments.database == "sqlite":
            one = partial(kills, folder, count, seed)
            if chains:
                one = partial(orders, folder, chains, length, count, seed)
            verdict = run(console, count, one)
            rows = {}
        else:
            many = partial(faults, folder, workers, count, seed)
            if chains:
                many = partial(orders_of_cluster, folder, workers, chains, length, count, seed)
            judgement = run(console, count, many)
            verdict, rows = judgement.verdict, of_cluster(judgement)
        console.print(table(verdict, rows))
        for violation in verdict.violations[:_SHOWN]:
            console.print(f"[red]{violation.kind}:[/] {violation.detail}")
        return 1 if verdict.violations else 0
    finally:
        if arguments.keep:
            console.print(f"Kept in {folder}")
        else:
            shutil.rmtree(folder)


def run(
    console: Console, count: int, scenario: Callable[[Callable[[], None]], Coroutine[Any, Any, T]]
) -> T:
    """Run with a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("kills", total=count)
        return asyncio.run(scenario(lambda: progress.advance(task)))


def of_cluster(judgement: Judgement) -> dict[str, str]:
    """Return what was counted of several workers."""
    healed = sorted(judgement.healed_s)
    waits = f"{median(healed):.1f} / {healed[-1]:.1f}" if healed else "none was seen"
    return {
        "shards handed over": f"{judgement.handovers:,}",
        "sent for again after a kill, median / worst s": waits,
    }


def table(verdict: Verdict, more: Mapping[str, str]) -> Table:
    """Return what was counted."""
    made = Table(title="Kill test", show_header=False)
    rows = {
        "kills": verdict.kills,
        "posted": verdict.posted,
        "acknowledged": verdict.acked,
        "received": verdict.received,
        "lost": verdict.count("lost", "unsettled"),
        "out of order": verdict.count("inversion", "overtaken", "misnumbered"),
        "repeats": verdict.repeats,
        "of them allowed": verdict.allowed,
        "most after one kill": verdict.worst,
        "violations": len(verdict.violations),
    }
    for name, value in rows.items():
        made.add_row(name, f"{value:,}")
    for name, text in more.items():
        made.add_row(name, text)
    return made


if __name__ == "__main__":
    sys.exit(main())
