"""How many statements an event takes on PostgreSQL, and which: at full load and at a low one.

Each execution of each statement of the server's connections counts, BEGIN and COMMIT too, and what
runs without any event. A low load tells what an event costs that shares its batch with no other.
"""

from collections.abc import Sequence

from bench.bars import POSTGRESQL, STATEMENTS_FULL, STATEMENTS_LOW, Bars
from bench.databases import Statement
from bench.load import Load
from bench.report import Figure, Report, Section
from bench.rounds import Round, run_round
from bench.scenarios import Settings, enter_round, prefixed

LOW_RATE = 20
LOW_SECONDS = 20.0
TEXT = 90
SHOWN = 14
CALLS, TIME, ROWS = "per event", "ms in total", "rows per call"


def statements(settings: Settings, report: Report) -> None:
    """Count them, for each product on PostgreSQL."""
    loads: Sequence[tuple[str, Load, Bars]] = (
        ("full load", settings.load(), STATEMENTS_FULL),
        (f"{LOW_RATE}/s", settings.load(LOW_RATE, LOW_SECONDS), STATEMENTS_LOW),
    )
    for program in settings.products:
        if program.kind != POSTGRESQL:
            continue
        for what, load, bars in loads:
            say = prefixed(settings.say, f"statements at {what}, {program.name}: ")
            measured = run_round(program, load, parent=settings.parent, say=say)
            enter_round(report, f"statements at {what}", measured)
            report.sections.append(section(f"{program.name} at {what}", measured, bars))


def section(what: str, measured: Round, bars: Bars) -> Section:
    """The table of one load: all, then the most frequent."""
    total = Figure(
        "all statements",
        "",
        {CALLS: measured.cost.statements_per_event},
        {CALLS: bars[POSTGRESQL]},
    )
    events = measured.pace.events
    shown = [_row(one, events) for one in (measured.statements or ())[:SHOWN]]
    title = f"Statements for each of {events:,} events, {what}"
    return Section(title, [CALLS, TIME, ROWS], [total, *shown])


def shortened(text: str) -> str:
    """A statement in one line that fits a table."""
    line = " ".join(text.split())
    return line if len(line) <= TEXT else f"{line[: TEXT - 1]}…"


def _row(one: Statement, events: int) -> Figure:
    values = {CALLS: one.calls / events, TIME: one.total_ms, ROWS: one.rows / max(one.calls, 1)}
    return Figure(shortened(one.text), "", values)
