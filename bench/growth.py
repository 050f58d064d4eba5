"""Throughput on a database full of delivered events, beside an empty one.

The full database is made once, by bulk load, and used in every round; the empty one is fresh in
each. The rounds are interleaved, and what counts is the ratio.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import plans, rows, wire
from bench.bars import GROWTH, POSTGRESQL, SCANS
from bench.figures import middle
from bench.filling import fill, sample
from bench.postgres import EXPLAINING, PostgresDatabase
from bench.report import Figure, Report, Section
from bench.rounds import Receiver, Say, run_round
from bench.scenarios import Settings, enter_round, interleaved, prefixed
from bench.server import Running, Waypost
from bench.statements import shortened

EXPLAINED_SECONDS = 3.0
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Grown:
    """A Waypost on a database that is there before the round, and after it.

    It has one subscription: each event that was filled in was delivered to it.
    """

    waypost: Waypost
    before: Running
    """The server that made it, which has ended."""
    directory: Path
    name: str
    good_exits: frozenset[int] = frozenset({0})

    @property
    def kind(self) -> str:
        """Which bars it is judged by."""
        return self.waypost.kind

    def start(self, _directory: Path, receiver_port: int) -> Running:
        """Start it, and point its subscription at the receiver of the round."""
        running = self.waypost.serve_again(self.directory, self.before)
        try:
            (subscription,) = running.subscriptions
            address = {"url": f"http://localhost:{receiver_port}/hook"}
            running.ask("PATCH", f"/v1/event_subscriptions/{subscription}", address)
        except BaseException:
            running.child.stop()
            raise
        return running


def growth(settings: Settings, report: Report, events: int, plans_to: Path | None) -> None:
    """Fill and measure, for each product."""
    settings = replace(settings, subscriptions=1)
    load = settings.load()
    for product in settings.products:
        program = replace(product, subscriptions=1)
        say = prefixed(settings.say, f"{program.name}: ")
        with grown(program, events, settings.parent, say) as full:
            empty = replace(program, name=f"{program.name}, empty")
            rounds = interleaved(settings, report, "growth", [empty, full], load)
            ratio = _ratio(rounds, empty.name, full.name)
            bars = {full.name: GROWTH[program.kind]}
            report.sections.append(
                Section(
                    f"{events:,} events in the database, closed loop: "
                    f"medians of {settings.rounds} rounds of {settings.seconds:g} s",
                    list(rounds),
                    [
                        *rows.speed(rounds),
                        Figure("ratio to the empty database", "", {full.name: ratio}, bars),
                        *rows.latencies(rounds),
                        *rows.cpu(rounds),
                        *rows.statements(rounds),
                    ],
                )
            )
            if program.kind == POSTGRESQL:
                _explain(settings, report, full, plans_to)


def _ratio(rounds: rows.Rounds, empty: str, full: str) -> float:
    def speed(name: str) -> float:
        return middle([measured.pace.delivered_per_s for measured in rounds[name]])

    return speed(full) / speed(empty)


@contextmanager
def grown(program: Waypost, events: int, parent: Path | None, say: Say) -> Iterator[Grown]:
    """Have a database that holds so many delivered events, without a server; gone on leaving."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-grown-", dir=parent) as name:
        directory = Path(name)
        receiver = Receiver(directory)
        with receiver.child:
            say("the first event, through the server")
            server = program.start(directory, receiver.port)
            with server.child:
                first = server.ask("POST", "/v1/events", json.loads(wire.event_body(0)))
                receiver.wait_for(1, say)
                server.stop()
        try:
            assert server.database is not None  # noqa: S101 - a Waypost always has one
            fill(server.database, events, say, [sample(first)])
            yield Grown(program, server, directory, f"{program.name}, {events:,}")
        finally:
            server.release()


def _explain(settings: Settings, report: Report, full: Grown, plans_to: Path | None) -> None:
    """One more round with every plan in the log: does anything read a whole table?"""
    database = full.before.database
    assert isinstance(database, PostgresDatabase)  # noqa: S101 - the kind was asked
    if not database.server.contrib:
        return
    database.set(EXPLAINING)
    start = len(database.server.log())
    say = prefixed(settings.say, f"plans, {full.name}: ")
    load = settings.load(seconds=EXPLAINED_SECONDS)
    measured = run_round(full, load, parent=settings.parent, say=say)
    enter_round(report, "plans", measured)
    found = plans.explained(database.server.log()[start:])
    report.sections.append(plans_section(full.name, found))
    if plans_to is not None:
        plans_to.write_text(plans.written(found))


def plans_section(name: str, found: dict[str, plans.Explained]) -> Section:
    """The statements that took longest, and how many read a growing table from end to end."""
    calls, total, scans = "calls", "ms in total", "with sequential scans"
    every = Figure(
        "all statements",
        "",
        {
            calls: sum(one.calls for one in found.values()),
            total: sum(one.total_ms for one in found.values()),
            scans: sum(one.scans for one in found.values()) if found else None,
        },
        {scans: SCANS[POSTGRESQL]},
    )
    shown = [
        Figure(
            shortened(statement),
            "",
            {calls: one.calls, total: one.total_ms, scans: one.scans},
        )
        for statement, one in list(found.items())[:SHOWN]
    ]
    return Section(f"Plans at full load, {name}", [calls, total, scans], [every, *shown])
