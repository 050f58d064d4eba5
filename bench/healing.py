"""How long it takes until the shards of a killed worker are sending again.

One process takes posts, several others deliver, all on one PostgreSQL. Posts go on at a steady rate
to many subscriptions, spread over all shards, while a worker is killed by SIGKILL, its shards are
taken over and another worker takes its place, again and again. Healed is a kill when each
subscription has received an event that was posted after it: those of the other workers have that
at once. What was in flight at a kill may be received twice; nothing else may.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from bench.bars import HEALING_AFTER_LEASE_S, POSTGRESQL, Bar
from bench.child import ChildError
from bench.figures import NS_PER_S, middle
from bench.ledger import Ledger
from bench.load import Load
from bench.postgres import PostgresDatabase
from bench.report import Figure, Report, Section
from bench.rounds import Stage, stage
from bench.scenarios import Settings, prefixed
from bench.server import Running, Waypost

SHARDS = 256
SUBSCRIPTIONS = 64
RATE = 400
LOAD_SECONDS = 3_600.0
QUIET_S = 1.0
"""Between what is waited for and the next kill."""
POLL_S = 0.05
STEADY_DEADLINE_S = 60.0
SILENT_S = 1.0
EXCUSED_BEFORE_NS = NS_PER_S
EXCUSED_AFTER_NS = NS_PER_S // 2
"""A delivery that is first received this near to a kill was in flight at it."""

_OWNED = """
    SELECT count(*) FROM shards s JOIN workers w ON w.id = s.owner GROUP BY s.owner
"""


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill and how long it took to heal."""

    at_ns: int
    healed_s: float
    silent: int
    """Subscriptions that received nothing new for more than `SILENT_S`."""


def healing(
    settings: Settings, report: Report, *, workers: int, kills: int, lease_s: float
) -> None:
    """Measure it, for each product on PostgreSQL."""
    for product in settings.products:
        if product.kind != POSTGRESQL:
            continue
        environment = {**product.settings, "WAYPOST_LEASE": f"{lease_s:g}s"}
        program = replace(product, processes=1, settings=environment, subscriptions=SUBSCRIPTIONS)
        api = replace(program, options=("--role", "api"))
        say = prefixed(settings.say, f"healing, {program.name}: ")
        with stage(api, settings.parent, say) as it:
            group = Group(replace(program, options=("--role", "deliver")), it, workers)
            moments = _kill_all(group, kills, lease_s)
            faults = group.stop()
            ledger, exit_code = it.close()
        if exit_code:
            faults.append(f"exit code {exit_code} after SIGTERM")
        faults += judged(ledger, moments)
        report.faults += [f"healing, {program.name}: {fault}" for fault in faults]
        report.excused += len(ledger.doubled)
        found = [healed(ledger, at, SUBSCRIPTIONS) for at in moments]
        report.details.setdefault("healing", {})[program.name] = found
        report.sections.append(section(program.name, found, lease_s, len(ledger.doubled)))


class Group:
    """The workers, and the posts that go on meanwhile."""

    def __init__(self, program: Waypost, it: Stage, size: int) -> None:
        """Start so many workers and the posts."""
        self._program = program
        self._it = it
        self._workers: list[Running] = []
        database = it.server.database
        assert isinstance(database, PostgresDatabase)  # noqa: S101 - only that has shards
        self._database = database
        self._connection = database.connect()
        for _ in range(size):
            self.add()
        self.wait_steady()
        self._load = it.begin(Load(seconds=LOAD_SECONDS, rate=RATE, types=SUBSCRIPTIONS))

    def say(self, text: str) -> None:
        """Tell what goes on."""
        self._it.say(text)

    def add(self) -> None:
        """One worker more."""
        before = self._it.server
        worker = self._program.serve(self._it.directory, before.key, self._database)
        self._it.keep(worker.child)
        self._workers.append(worker)

    def kill(self) -> int:
        """Kill any one of them; gives the moment."""
        victim = self._workers.pop(random.randrange(len(self._workers)))
        at = time.perf_counter_ns()
        os.kill(victim.pid, signal.SIGKILL)
        victim.child.wait(STEADY_DEADLINE_S)
        return at

    def wait_taken_over(self, seconds: float) -> None:
        """Return when living workers own all shards."""
        self._wait(lambda owned: sum(owned) == SHARDS, seconds, "shards without an owner")

    def wait_steady(self) -> None:
        """Return when all shards are owned, by each worker its fair share."""
        share = -(-SHARDS // len(self._workers))

        def fair(owned: Sequence[int]) -> bool:
            return sum(owned) == SHARDS and max(owned) <= share

        self._wait(fair, STEADY_DEADLINE_S, f"more than {share} shards with one owner, or none")

    def stop(self) -> list[str]:
        """End the posts and the workers; gives what went wrong."""
        self._load.stop()
        self._it.finish(self._load)
        self._it.drain()
        codes = [worker.stop() for worker in self._workers]
        self._connection.close()
        return [f"a worker ended with exit code {code} after SIGTERM" for code in codes if code]

    def _wait(self, done: Callable[[Sequence[int]], bool], seconds: float, otherwise: str) -> None:
        deadline = time.monotonic() + seconds
        while not done(owned := [count for (count,) in self._connection.execute(_OWNED)]):
            if time.monotonic() > deadline:
                raise ChildError(f"after {seconds:g} s {otherwise}: {owned}")
            time.sleep(POLL_S)


def _kill_all(group: Group, kills: int, lease_s: float) -> list[int]:
    moments = []
    for number in range(kills):
        group.say(f"kill {number + 1} of {kills}")
        time.sleep(QUIET_S)
        moments.append(group.kill())
        group.wait_taken_over(lease_s + STEADY_DEADLINE_S)
        time.sleep(QUIET_S)
        group.add()
        group.wait_steady()
    time.sleep(QUIET_S)
    return moments


def healed(ledger: Ledger, at_ns: int, subscriptions: int) -> Kill:
    """When each subscription had received an event that was sent after the kill."""
    first: dict[int, int] = {}
    for token, posted in ledger.posted.items():
        received = ledger.first_receipts.get(token)
        if posted.sent_ns >= at_ns and received is not None:
            number = posted.sequence % subscriptions
            first[number] = min(received, first.get(number, received))
    waited = [(received - at_ns) / NS_PER_S for received in first.values()]
    complete = len(first) == subscriptions
    return Kill(
        at_ns=at_ns,
        healed_s=max(waited) if complete else float("nan"),
        silent=sum(seconds > SILENT_S for seconds in waited) + subscriptions - len(first),
    )


def judged(ledger: Ledger, kills: Sequence[int]) -> list[str]:
    """What makes the run void: everything but a second receipt of what was in flight at a kill."""
    verdict = ledger.verdict()
    inexcusable = [token for token in ledger.doubled if not _in_flight(ledger, token, kills)]
    faults = []
    if verdict.lost or verdict.unknown or verdict.altered:
        faults.append(f"{verdict} {dict(verdict.examples)}")
    if inexcusable:
        faults.append(f"{len(inexcusable)} doubled that were not in flight at a kill")
    return faults


def _in_flight(ledger: Ledger, token: bytes, kills: Sequence[int]) -> bool:
    first = ledger.first_receipts[token]
    return any(at - EXCUSED_BEFORE_NS <= first <= at + EXCUSED_AFTER_NS for at in kills)


def section(name: str, found: Sequence[Kill], lease_s: float, doubled: int) -> Section:
    """The table."""
    times = [kill.healed_s for kill in found]
    bar = {name: Bar(lease_s + HEALING_AFTER_LEASE_S)}
    return Section(
        f"Healing after {len(found)} kills, lease of {lease_s:g} s",
        [name],
        [
            Figure("sending again, median", "s", {name: middle(times)}, bar),
            Figure("  worst", "s", {name: max(times)}, bar),
            Figure(
                f"subscriptions silent for over {SILENT_S:g} s, of {SUBSCRIPTIONS}, median",
                "",
                {name: middle([kill.silent for kill in found])},
            ),
            Figure("received twice, in flight at a kill", "events", {name: doubled}),
        ],
    )
