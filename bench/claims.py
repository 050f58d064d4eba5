"""Claims: how many messages a second consumers can ask for, claim and end by Buildable's API.

Messages are accepted first. Then sixteen consumers take them all under one key, and again under the
next one. The run is void where a message was had twice, or was not had.
"""

import sys

import msgspec

from bench import wire
from bench.bars import CLAIMS
from bench.child import Child, ChildError
from bench.consumers import Claimed
from bench.figures import middle
from bench.load import Load
from bench.report import Figure, Report, Section
from bench.rounds import WARM_UP, Clocks, stage
from bench.scenarios import Settings, prefixed
from bench.server import environment

CONSUMERS = 16
BATCH = 1_000
FILL_S = 600.0
DEADLINE_S = 600.0
API = "buildable"


def claims(settings: Settings, report: Report, messages: int) -> None:
    """Measure each product, as many rounds as were asked for."""
    for program in settings.products:
        say = prefixed(settings.say, f"claims, {program.name}: ")
        rounds: list[Claimed] = []
        cpu: list[float] = []
        with stage(program, settings.parent, say) as it:
            it.post(WARM_UP)
            it.post(
                Load(
                    seconds=FILL_S,
                    events=messages,
                    batch=BATCH,
                    connections=4,
                    first_sequence=it.posted_up_to,
                )
            )
            it.drain()
            for number in range(1, settings.rounds + 1):
                say(f"round {number}/{settings.rounds}")
                before = Clocks.read(it)
                child = Child(
                    "consumers",
                    [
                        *(sys.executable, "-m", "bench.consumers", str(it.server.port)),
                        *(str(CONSUMERS), wire.EVENT_TYPE, f"round-{number}"),
                    ],
                    environment=environment({"WAYPOST_ADMIN_KEY": it.server.key_for(API)}),
                    log=it.directory / "consumers.log",
                    piped=True,
                )
                with child:
                    output = child.output.read()
                    child.wait(DEADLINE_S)
                if not output:
                    raise ChildError(f"the consumers failed\n{child.log_tail()}")
                claimed = msgspec.json.decode(output, type=Claimed)
                spent = Clocks.read(it).since(before)
                rounds.append(claimed)
                cpu.append((spent.server + spent.database) / max(claimed.claims, 1) * 1e6)
                if claimed.claims - claimed.doubled != it.acknowledged or claimed.doubled:
                    report.faults.append(
                        f"claims, {program.name}: {claimed.claims:,} of {it.acknowledged:,}"
                        f" messages, {claimed.doubled:,} twice"
                    )
            it.close()
        report.details.setdefault("claims", {})[program.name] = rounds
        report.sections.append(section(program.name, program.kind, rounds, cpu))


def section(name: str, kind: str, rounds: list[Claimed], cpu: list[float]) -> Section:
    """The table of one product: medians of the rounds."""

    def figure(label: str, unit: str, values: list[float]) -> Figure:
        return Figure(label, unit, {name: middle(values)})

    per_s = {name: middle([one.claims / one.seconds for one in rounds])}
    bars = {name: CLAIMS[kind]} if kind in CLAIMS else {}
    return Section(
        f"Claims by {CONSUMERS} consumers: medians of {len(rounds)} rounds",
        [name],
        [
            Figure("asked for, claimed and ended", "messages/s", per_s, bars),
            figure("claims that another was faster at", "", [float(r.refused) for r in rounds]),
            figure("pages asked for", "", [float(r.queries) for r in rounds]),
            figure("server CPU for each, with the database", "µs", cpu),
        ],
    )
