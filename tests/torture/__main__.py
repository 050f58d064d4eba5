"""Kills the server at random under load, as often as asked: `python -m tests.torture --kills 300`.

Exits with 1 where anything was lost, doubled beyond what a kill allows, or untold.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.torture import scenarios
from tests.torture.oracle import Verdict

_SHOWN = 20


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="how often (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is left to chance")
    parser.add_argument("--keep", action="store_true", help="keep ledgers, database and logs")
    arguments = parser.parse_args()
    console = Console()
    folder = Path(tempfile.mkdtemp(prefix="waypost-torture-"))
    try:
        verdict = run(console, folder, arguments.kills, arguments.seed)
        console.print(table(verdict))
        for violation in verdict.violations[:_SHOWN]:
            console.print(f"[red]{violation.kind}:[/] {violation.detail}")
        return 1 if verdict.violations else 0
    finally:
        if arguments.keep:
            console.print(f"Kept in {folder}")
        else:
            shutil.rmtree(folder)


def run(console: Console, folder: Path, kills: int, seed: int) -> Verdict:
    """Run with a progress bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("kills", total=kills)
        return asyncio.run(scenarios.kills(folder, kills, seed, lambda: progress.advance(task)))


def table(verdict: Verdict) -> Table:
    """Return what was counted."""
    made = Table(title="Kill test", show_header=False)
    rows = {
        "kills": verdict.kills,
        "posted": verdict.posted,
        "acknowledged": verdict.acked,
        "received": verdict.received,
        "lost": verdict.count("lost", "unsettled"),
        "repeats": verdict.repeats,
        "of them allowed": verdict.allowed,
        "most after one kill": verdict.worst,
        "violations": len(verdict.violations),
    }
    for name, value in rows.items():
        made.add_row(name, f"{value:,}")
    return made


if __name__ == "__main__":
    sys.exit(main())
