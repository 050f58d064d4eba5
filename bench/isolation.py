"""Isolation: what healthy receivers notice of those that hang, are dead, or are flooded.

Healthy subscriptions are posted to at a steady rate, and nothing else goes into the ledger. Beside
that a second load goes on for subscriptions that are in trouble. Each scenario runs twice, with the
trouble and without it: the second time the same posts go to receivers that are well, or, where the
posts themselves are the trouble, they are left out.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from bench import wire
from bench.bars import ISOLATION_P99, ISOLATION_RATE, RSS_MB
from bench.figures import Pace, pace
from bench.load import Load
from bench.processes import Memory, count_files, memory
from bench.report import Figure, Report, Section
from bench.rounds import MEASURED_FROM, WARM_UP, Receiver, Say, Stage, stage
from bench.rows import MB
from bench.scenarios import Settings, prefixed
from bench.server import Waypost, free_port

NOISE = "noise"
"""The family of the types that the second load is of."""

HANG_TIMEOUT_S = 30.0
SETTLED_S = 3.0
"""So long the trouble goes on before it is measured."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of trouble.

    Attributes:
        healthy: subscriptions that are well, and
        rate: events a second for all of them.
        troubled: subscriptions that are in trouble, and
        noise: events a second for all of these.
        target: makes the port of their receiver, where they are in trouble.
        apart: they are another project's, and well; the posts to them are the trouble.
    """

    title: str
    healthy: int
    rate: float
    troubled: int
    noise: float
    target: Callable[[ExitStack], int] | None = None
    apart: bool = False


def hanging(children: ExitStack) -> int:
    """The port of a receiver that takes every connection and never answers."""
    return children.enter_context(_silent())


def dead(_: ExitStack) -> int:
    """A port where nobody listens."""
    return free_port()


@contextmanager
def _silent() -> Iterator[int]:
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:

        def take() -> None:
            # Closing the listening socket does not wake `accept`; shutting it down does.
            with suppress(OSError):
                while True:
                    taken.append(listening.accept()[0])

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


SCENARIOS = (
    Scenario("1 of 100 endpoints hangs", 99, 990, 1, 10, hanging),
    Scenario("10 endpoints live, 1,000 are dead", 10, 100, 1_000, 1_000, dead),
    Scenario("another project has 100 times the traffic", 10, 20, 10, 2_000, apart=True),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What the healthy ones had of one run."""

    pace: Pace
    memory: Memory
    files: int
    """Open files of the server at the end of the posts: its sockets, but for a few."""


def isolation(settings: Settings, report: Report) -> None:
    """Run every scenario with and without its trouble, for each product."""
    for program in settings.products:
        for scenario in SCENARIOS:
            say = prefixed(settings.say, f"{scenario.title}, {program.name}: ")
            quiet = measure(program, scenario, settings, report, say, trouble=False)
            loud = measure(program, scenario, settings, report, say, trouble=True)
            of = report.details.setdefault("isolation", {}).setdefault(program.name, {})
            of[scenario.title] = {"without": quiet, "with": loud}
            report.sections.append(section(program, scenario, quiet, loud))


def measure(
    program: Waypost,
    scenario: Scenario,
    settings: Settings,
    report: Report,
    say: Say,
    *,
    trouble: bool,
) -> Found:
    """One run; the ledger of the healthy ones must balance."""
    healthy = replace(program, subscriptions=scenario.healthy)
    load = Load(seconds=settings.latency_seconds, rate=scenario.rate, types=scenario.healthy)
    with stage(healthy, settings.parent, say) as it, ExitStack() as children:
        it.post(msgspec.structs.replace(WARM_UP, types=load.types))
        it.drain()
        beside = None
        if trouble or not scenario.apart:
            key = _subscribe(it, scenario, children, trouble=trouble)
            beside = it.begin(
                Load(
                    seconds=settings.latency_seconds + 2 * SETTLED_S,
                    rate=scenario.noise,
                    types=scenario.troubled,
                    family=NOISE,
                ),
                key=key,
                counted=False,
            )
        it.post(
            Load(
                seconds=SETTLED_S,
                rate=scenario.rate,
                types=load.types,
                first_sequence=it.posted_up_to,
            )
        )
        it.post(msgspec.structs.replace(load, first_sequence=MEASURED_FROM))
        it.drain()
        found = memory(it.server.pid), count_files(it.server.pid)
        if beside is not None:
            beside.stop()
        ledger, exit_code = it.close()
    what = f"{scenario.title}, {program.name}"
    if not ledger.verdict().ok:
        report.faults.append(f"{what}: {ledger.verdict()}")
    if exit_code:
        report.faults.append(f"{what}: exit code {exit_code} after SIGTERM")
    return Found(pace(ledger, MEASURED_FROM), *found)


def _subscribe(it: Stage, scenario: Scenario, children: ExitStack, *, trouble: bool) -> str:
    """Create the subscriptions of the second load; gives the key to post it with."""
    if trouble and scenario.target is not None:
        port = scenario.target(children)
    else:
        port = _second_receiver(it, children)
    key = it.server.key
    if scenario.apart:
        key = _other_project(it)
    for number in range(scenario.troubled):
        wanted = {
            "url": f"http://127.0.0.1:{port}/hook",
            "event_types": [wire.event_type(number, scenario.troubled, NOISE)],
            "timeout_s": HANG_TIMEOUT_S,
        }
        it.server.ask("POST", "/v1/event_subscriptions", wanted, key=key)
    return key


def _second_receiver(it: Stage, children: ExitStack) -> int:
    folder = Path(it.directory, "second")
    folder.mkdir()
    receiver = Receiver(folder)
    children.enter_context(receiver.child)
    return receiver.port


def _other_project(it: Stage) -> str:
    wanted = {"name": "noisy", "environment": "test"}
    project = json.loads(it.server.ask("POST", "/v1/projects", wanted))["token"]
    made = it.server.ask("POST", "/v1/api_keys", {"name": "noisy", "project": project})
    return str(json.loads(made)["key"])


def section(program: Waypost, scenario: Scenario, quiet: Found, loud: Found) -> Section:
    """The table of one scenario."""
    name = program.name

    def figure(label: str, unit: str, value: float) -> Figure:
        return Figure(label, unit, {name: value})

    p99 = loud.pace.receipt_ms.p99 / quiet.pace.receipt_ms.p99
    rate = loud.pace.delivered_per_s / quiet.pace.delivered_per_s
    return Section(
        scenario.title,
        [name],
        [
            figure("healthy ones' accept → receipt p50, without", "ms", quiet.pace.receipt_ms.p50),
            figure("  with the trouble", "ms", loud.pace.receipt_ms.p50),
            figure("healthy ones' accept → receipt p99, without", "ms", quiet.pace.receipt_ms.p99),
            figure("  with the trouble", "ms", loud.pace.receipt_ms.p99),
            Figure("  ratio", "", {name: p99}, {name: ISOLATION_P99}),
            figure("healthy ones' rate, with the trouble", "events/s", loud.pace.delivered_per_s),
            Figure("  ratio", "", {name: rate}, {name: ISOLATION_RATE}),
            Figure(
                "resident memory, peak",
                "MB",
                {name: loud.memory.peak / MB},
                {name: RSS_MB[program.kind]},
            ),
            figure("open files", "", loud.files),
        ],
    )
