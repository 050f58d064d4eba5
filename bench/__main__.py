"""`python -m bench`: the command line of the benchmark."""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.status import Status

from bench.backlog import backlog
from bench.child import ChildError
from bench.ledger import LedgerError
from bench.report import Report
from bench.rounds import Say, machine, say_nothing
from bench.routing import routing
from bench.scenarios import Settings, latency, profiles, soak, syncs, throughput
from bench.server import REPOSITORY, LimitLoop, Waypost

DESCRIPTION = """\
Measures Waypost with a load generator, a receiver and the server as separate processes on
loopback, and checks a ledger: every acknowledged event must be received exactly once. A run that
loses or doubles anything prints VOID and ends with exit code 1.

  all         throughput, latency and disk syncs (the default; about two minutes)
  throughput  closed loop beside the limit loop, a server that keeps nothing; the ratio counts
  latency     open loop at fixed rates; times count from when a post was due
  backlog     events that wait while the subscription is paused, a restart, the drain
  soak        a fixed rate for ten minutes; memory over time
  limit       the limit loop alone
  routing     filters of many conditions, projects of many subscriptions; no server (seconds)
"""

EXAMPLES = """\
examples:
  python -m bench                                     everything that fits into two minutes
  python -m bench throughput --rounds 5 --profile     and where the server's time goes
  python -m bench throughput --against ../before      two source trees, interleaved
  python -m bench latency --rate 200 --rate 2000 --latency-seconds 30
  python -m bench backlog --events 100000 --dir /mnt/fast
  python -m bench limit --limit-program other_loop.py two limit loops, interleaved

Measure on a quiet machine ("machine used by others" near 0 %) and compare within one run only.
"""


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m bench",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add("command", nargs="?", choices=list(COMMANDS), default="all", help="what to measure")
    add("--rounds", type=int, default=3, help="throughput rounds per program (default 3)")
    add("--seconds", type=float, help="of a throughput round (default 6) or of the soak (600)")
    add("--latency-seconds", type=float, default=10, help="at each rate (default 10)")
    add("--rate", type=int, action="append", help="events/s; repeatable (default 200 and 1000)")
    add("--connections", type=int, default=64, help="of the load generator (default 64)")
    add("--events", type=int, default=1_000_000, help="of the backlog (default 1,000,000)")
    add("--dir", type=Path, help="folder for the databases, on the disk to measure (default: tmp)")
    add("--tree", type=Path, default=REPOSITORY, help="source tree of the server (default: this)")
    add("--against", type=Path, help="a second source tree, measured in turn with the first")
    add("--server-python", default=sys.executable, help="interpreter of the server")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="setting of the server")
    add("--limit-program", type=Path, help="another limit loop, run as FILE PORT TARGET_URL")
    add("--profile", action="store_true", help="also sample where the server's time goes")
    add("--json", type=Path, help="write all figures, round by round, to this file")
    add("--quiet", action="store_true", help="show no progress")
    return made


def settings_of(arguments: argparse.Namespace, say: Say) -> Settings:
    """What the options ask for."""
    environment = dict(pair.split("=", 1) for pair in arguments.env)
    names = {"waypost": arguments.tree, "against": arguments.against}
    products = [
        Waypost(name, tree.resolve(), arguments.server_python, environment)
        for name, tree in names.items()
        if tree is not None
    ]
    return Settings(
        products=products,
        limit=LimitLoop(),
        rounds=arguments.rounds,
        seconds=arguments.seconds or 6,
        latency_seconds=arguments.latency_seconds,
        rates=arguments.rate or [200, 1_000],
        connections=arguments.connections,
        parent=arguments.dir,
        say=say,
    )


def measure_all(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Throughput, latency, syncs."""
    measure_throughput(arguments, settings, report)
    latency(settings, report, settings.products)
    syncs(settings, report)


def measure_throughput(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Beside the limit loop, with the profile where it is asked for."""
    throughput(settings, report, [_limit(arguments), *settings.products])
    if arguments.profile:
        profiles(settings, report)


def measure_latency(_: argparse.Namespace, settings: Settings, report: Report) -> None:
    """At each rate."""
    latency(settings, report, settings.products)


def measure_backlog(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Of `--events`."""
    backlog(settings, report, arguments.events)


def measure_soak(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """At the first `--rate`, else 1,000/s."""
    rate = (arguments.rate or [1_000])[0]
    soak(settings, report, rate=rate, seconds=arguments.seconds or 600)


def measure_limit(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Ours, and the other one beside it where one is given."""
    other = arguments.limit_program
    programs = [LimitLoop(), *([LimitLoop("other", other.resolve())] if other else [])]
    throughput(settings, report, programs)


def measure_routing(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """In this process."""
    routing(report, arguments.rounds, settings.say)


def _limit(arguments: argparse.Namespace) -> LimitLoop:
    other = arguments.limit_program
    return LimitLoop(program=other.resolve() if other else None)


COMMANDS: dict[str, Callable[[argparse.Namespace, Settings, Report], None]] = {
    "all": measure_all,
    "throughput": measure_throughput,
    "latency": measure_latency,
    "backlog": measure_backlog,
    "soak": measure_soak,
    "limit": measure_limit,
    "routing": measure_routing,
}


def main() -> int:
    """Measure, show, write; the exit code."""
    arguments = parser().parse_args()
    console = Console()
    if not sys.platform.startswith("linux"):
        console.print("The benchmark reads /proc and needs Linux.", style="red")
        return 2
    signal.signal(signal.SIGTERM, _interrupt)
    # The spinner's thread shares two processors with what is measured: let it turn slowly.
    status = None if arguments.quiet else Status("", console=console, refresh_per_second=2)
    report = Report(machine())
    failure = ""
    with _shown(status):
        try:
            say = say_nothing if status is None else status.update
            COMMANDS[arguments.command](arguments, settings_of(arguments, say), report)
        except ChildError as error:
            failure = str(error)
        except LedgerError as error:
            report.faults.append(str(error))
        except KeyboardInterrupt:
            failure = "interrupted"
    report.show(console)
    if arguments.json:
        report.write(arguments.json)
    if failure:
        console.print(failure, style="red", markup=False, highlight=False)
        return 2
    return 1 if report.void else 0


def _shown(status: Status | None) -> AbstractContextManager[object]:
    return nullcontext() if status is None else status


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
