"""Runs the product's command line with a crash point, or with a planted bug, or with both.

Usage: `python -m tests.torture.saboteur [--crash-at POINT:NTH] [--bug NAME] -- serve …`
"""

import argparse
import sys
from pathlib import Path

from tests.torture.bugs import BUGS
from tests.torture.crash_points import POINTS, Trap


def main() -> None:
    """Patch, then run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--crash-at", metavar="POINT:NTH")
    parser.add_argument("--bug", choices=BUGS)
    parser.add_argument("--last-words", type=Path, default=Path("last-words"))
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    if arguments.crash_at:
        name, _, nth = arguments.crash_at.partition(":")
        POINTS[name](Trap(int(nth), arguments.last_words))
    if arguments.bug:
        # Around the crash point: what a bug does too late, it does after the crash.
        BUGS[arguments.bug]()
    sys.argv = ["waypost", *arguments.command]
    from waypost.cli import main as run

    run()


if __name__ == "__main__":
    main()
