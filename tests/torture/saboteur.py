"""Runs the product's command line with a crash point, a planted bug, or a log of what it sends.

Usage: `python -m tests.torture.saboteur [--crash-at POINT:NTH] [--bug NAME] [--sends FOLDER] --
serve …`
"""

import argparse
import sys
from pathlib import Path

from tests.torture import bugs
from tests.torture.cluster import bugs as of_clusters
from tests.torture.cluster import sends
from tests.torture.crash_points import POINTS, Trap

BUGS = {**bugs.BUGS, **of_clusters.BUGS}


def main() -> None:
    """Patch, then run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crash-at", metavar="POINT:NTH")
    parser.add_argument("--bug", choices=BUGS)
    parser.add_argument("--last-words", type=Path, default=Path("last-words"))
    parser.add_argument("--sends", type=Path, help="a folder for the log of what is sent")
    parser.add_argument(
        "--stall", type=Path, help="freeze before a failure is written, if the first of a folder"
    )
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    if arguments.crash_at:
        name, _, nth = arguments.crash_at.partition(":")
        POINTS[name](Trap(int(nth), arguments.last_words))
    if arguments.bug:
        # Around the crash point: what a bug does too late, it does after the crash.
        BUGS[arguments.bug]()
    if arguments.sends:
        sends.log_to(arguments.sends)
    if arguments.stall:
        of_clusters.stall_at_a_failure(arguments.stall)
    sys.argv = ["waypost", *arguments.command]
    from waypost.cli import main as run

    run()


if __name__ == "__main__":
    main()
