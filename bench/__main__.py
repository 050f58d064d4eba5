"""`python -m bench`: the command line of the benchmark."""

import argparse
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.status import Status

from bench.backlog import backlog
from bench.bars import POSTGRESQL, SQLITE
from bench.child import ChildError
from bench.claims import claims
from bench.comeback import comeback
from bench.databases import Databases, SqliteFiles
from bench.growth import growth
from bench.healing import healing
from bench.isolation import isolation
from bench.ledger import LedgerError
from bench.lists import lists
from bench.postgres import Postgres, running
from bench.replaying import replaying
from bench.report import Report
from bench.rounds import Say, machine, say_nothing
from bench.routing import routing
from bench.scenarios import Settings, latency, profiles, soak, syncs, throughput
from bench.server import REPOSITORY, LimitLoop, Waypost
from bench.statements import statements
from bench.surfaces import surfaces

DESCRIPTION = """\
Measures Waypost with a load generator, a receiver and the server as separate processes on
loopback, and checks a ledger: every acknowledged event must be received exactly once. A run that
loses or doubles anything prints VOID and ends with exit code 1.

  all         throughput, latency, disk syncs, and statements (the default; some minutes)
  throughput  closed loop beside the limit loop, a server that keeps nothing; the ratio counts
  latency     open loop at fixed rates; times count from when a post was due
  statements  what PostgreSQL executes for an event, at full load and at a low one
  backlog     events that wait while the subscription is paused, a restart, the drain
  growth      throughput on a database full of events, beside an empty one
  healing     workers on PostgreSQL, killed one by one: when their shards are sending again
  isolation   what healthy receivers notice of those that hang, are dead, or are flooded
  comeback    a receiver that is back with 100,000 events waiting, and others beside it
  replay      what live traffic notices while many events are sent again
  apis        posts by the APIs of others, beside the native one
  claims      consumers that ask for messages, claim them and end them
  lists       every list of every API, with a million events in the database
  soak        a fixed rate for ten minutes; memory over time
  limit       the limit loop alone
  routing     filters of many conditions, projects of many subscriptions; no server (seconds)

PostgreSQL is started for the run: with fsync on, in a folder of its own beside the databases. In
all, throughput and latency it stands beside SQLite, unless --alone is given.
"""

EXAMPLES = """\
examples:
  python -m bench                                     SQLite beside the limit loop
  python -m bench --database postgresql --processes 2 PostgreSQL beside both
  python -m bench throughput --rounds 5 --profile     and where the server's time goes
  python -m bench throughput --against ../before      two source trees, interleaved
  python -m bench latency --rate 200 --rate 2000 --latency-seconds 30
  python -m bench backlog --events 100000 --dir /mnt/fast
  python -m bench growth --database both --events 10000000 --plans plans.txt
  python -m bench lists --database both --events 1000000
  python -m bench healing --kills 20 --workers 4
  python -m bench replay --rate 200 --replay-rate 1000
  python -m bench limit --limit-program other_loop.py two limit loops, interleaved

Measure on a quiet machine ("machine used by others" near 0 %) and compare within one run only.
"""

BOTH = "both"
FILE_WIDTH = 120
"""Of tables that go to a file or a pipe."""

COMPARED = frozenset({"all", "throughput", "latency"})
"""Where PostgreSQL is measured beside SQLite."""
WITHOUT_CONTRIB = (
    "statements and plans are not measured: this PostgreSQL {} comes without pg_stat_statements"
    " and auto_explain; Debian's postgresql-15 has them"
)
NOTHING_KEPT = frozenset({"limit", "routing"})
"""Where no database is needed."""
POSTGRESQL_ALONE = frozenset({"statements", "healing"})
"""What SQLite has nothing of."""
EVENTS = {
    "backlog": 1_000_000,
    "growth": 10_000_000,
    "comeback": 100_000,
    "replay": 10_000,
    "claims": 20_000,
    "lists": 1_000_000,
}


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
    add("--database", choices=[SQLITE, POSTGRESQL, BOTH], default=SQLITE, help="of the server")
    add("--processes", type=int, default=1, help="of the server, on PostgreSQL (default 1)")
    add("--alone", action="store_true", help="without the limit loop and the other database")
    add("--rounds", type=int, default=3, help="throughput rounds per program (default 3)")
    add(
        "--seconds",
        type=float,
        help="of a throughput round (default 6), of the soak or of being away (600)",
    )
    add("--latency-seconds", type=float, default=10, help="at each rate (default 10)")
    add("--rate", type=int, action="append", help="events/s; repeatable (default 200 and 1000)")
    add("--connections", type=int, default=64, help="of the load generator (default 64)")
    add("--subscriptions", type=int, default=1, help="each event is for one of them (default 1)")
    add(
        "--events",
        type=int,
        help="of backlog and lists (1,000,000), growth (10,000,000), comeback (100,000),"
        " claims (20,000), replay (10,000)",
    )
    add("--replay-rate", type=float, help="deliveries/s of the replay (default: its own pace)")
    add("--kills", type=int, default=5, help="of the healing (default 5)")
    add("--workers", type=int, default=3, help="of the healing (default 3)")
    add("--lease", type=float, default=10, help="of the healing's workers, seconds (default 10)")
    add("--dir", type=Path, help="folder for the databases, on the disk to measure (default: tmp)")
    add("--tree", type=Path, default=REPOSITORY, help="source tree of the server (default: this)")
    add("--against", type=Path, help="a second source tree, measured in turn with the first")
    add("--server-python", default=sys.executable, help="interpreter of the server")
    add("--env", action="append", default=[], metavar="NAME=VALUE", help="setting of the server")
    _add_postgres_options(made)
    add("--limit-program", type=Path, help="another limit loop, run as FILE PORT TARGET_URL")
    add("--profile", action="store_true", help="also sample where the server's time goes")
    add("--plans", type=Path, help="of growth: write PostgreSQL's plans to this file")
    add("--json", type=Path, help="write all figures, round by round, to this file")
    add("--quiet", action="store_true", help="show no progress")
    return made


def _add_postgres_options(made: argparse.ArgumentParser) -> None:
    made.add_argument(
        "--postgres-version",
        help="16 or 18: the wheel's; else the system's (default: the system's newest that counts"
        " statements, or 16)",
    )
    made.add_argument(
        "--postgres-setting",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="setting of PostgreSQL, beside ours or in its place",
    )


def databases_of(arguments: argparse.Namespace) -> list[str]:
    """The kinds of database to measure, in their order."""
    if arguments.command in POSTGRESQL_ALONE:
        return [POSTGRESQL]
    wanted = arguments.database
    beside = arguments.command in COMPARED and not arguments.alone
    if wanted == BOTH or (wanted == POSTGRESQL and beside):
        return [SQLITE, POSTGRESQL]
    return [wanted]


def settings_of(arguments: argparse.Namespace, postgres: Postgres | None, say: Say) -> Settings:
    """What the options ask for."""
    environment = dict(pair.split("=", 1) for pair in arguments.env)
    trees = {"": arguments.tree, ", against": arguments.against}
    makers: list[Databases] = [
        SqliteFiles() if kind == SQLITE or postgres is None else postgres
        for kind in databases_of(arguments)
    ]
    products = [
        Waypost(
            name=f"{maker.kind}{which}",
            tree=tree.resolve(),
            python=arguments.server_python,
            settings=environment,
            databases=maker,
            processes=arguments.processes if maker.kind == POSTGRESQL else 1,
            subscriptions=arguments.subscriptions,
        )
        for maker in makers
        for which, tree in trees.items()
        if tree is not None
    ]
    return Settings(
        products=products,
        rounds=arguments.rounds,
        seconds=arguments.seconds or 6,
        latency_seconds=arguments.latency_seconds,
        rates=arguments.rate or [200, 1_000],
        connections=arguments.connections,
        subscriptions=arguments.subscriptions,
        parent=arguments.dir,
        say=say,
    )


def measure_all(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Throughput, latency, syncs, statements."""
    measure_throughput(arguments, settings, report)
    latency(settings, report, settings.products)
    syncs(settings, report)
    statements(settings, report)


def measure_throughput(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Beside the limit loop, with the profile where it is asked for."""
    beside = [] if arguments.alone else [_limit(arguments)]
    throughput(settings, report, [*beside, *settings.products])
    if arguments.profile:
        profiles(settings, report)


def measure_latency(_: argparse.Namespace, settings: Settings, report: Report) -> None:
    """At each rate."""
    latency(settings, report, settings.products)


def measure_statements(_: argparse.Namespace, settings: Settings, report: Report) -> None:
    """At full load and at a low one."""
    statements(settings, report)


def measure_backlog(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Of `--events`."""
    backlog(settings, report, arguments.events or EVENTS["backlog"])


def measure_growth(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """With `--events` in the database."""
    growth(settings, report, arguments.events or EVENTS["growth"], arguments.plans)


def measure_healing(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """After each of `--kills`."""
    healing(
        settings,
        report,
        workers=arguments.workers,
        kills=arguments.kills,
        lease_s=arguments.lease,
    )


def measure_isolation(_: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Every scenario, with and without its trouble."""
    isolation(settings, report)


def measure_comeback(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """After `--seconds`, else ten minutes."""
    events = arguments.events or EVENTS["comeback"]
    comeback(settings, report, events=events, away_s=arguments.seconds or 600)


def measure_replay(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Of `--events`, beside each rate."""
    replaying(settings, report, arguments.events or EVENTS["replay"], arguments.replay_rate)


def measure_apis(_: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Each in turn."""
    surfaces(settings, report)


def measure_claims(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """Of `--events` messages."""
    claims(settings, report, arguments.events or EVENTS["claims"])


def measure_lists(arguments: argparse.Namespace, settings: Settings, report: Report) -> None:
    """With `--events` in the database."""
    lists(settings, report, arguments.events or EVENTS["lists"])


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
    "statements": measure_statements,
    "backlog": measure_backlog,
    "growth": measure_growth,
    "healing": measure_healing,
    "isolation": measure_isolation,
    "comeback": measure_comeback,
    "replay": measure_replay,
    "apis": measure_apis,
    "claims": measure_claims,
    "lists": measure_lists,
    "soak": measure_soak,
    "limit": measure_limit,
    "routing": measure_routing,
}


def measure(arguments: argparse.Namespace, report: Report, say: Say) -> None:
    """Measure what the options ask for, with PostgreSQL where they ask for it."""
    with ExitStack() as stack:
        postgres = None
        if POSTGRESQL in databases_of(arguments) and arguments.command not in NOTHING_KEPT:
            say("starting PostgreSQL")
            more = dict(pair.split("=", 1) for pair in arguments.postgres_setting)
            postgres = stack.enter_context(running(arguments.dir, arguments.postgres_version, more))
            report.machine["postgresql"] = postgres.version
            if not postgres.contrib:
                report.remarks.append(WITHOUT_CONTRIB.format(postgres.version))
        settings = settings_of(arguments, postgres, say)
        COMMANDS[arguments.command](arguments, settings, report)


def main() -> int:
    """Measure, show, write; the exit code."""
    arguments = parser().parse_args()
    console = Console() if sys.stdout.isatty() else Console(width=FILE_WIDTH)
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
            measure(arguments, report, say)
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
