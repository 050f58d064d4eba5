"""The figures as tables and as JSON, each beside the bars it should reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from bench.bars import Bars


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, of each program by name (None: not measured)."""

    name: str
    unit: str
    values: Mapping[str, float | None]
    bars: Bars = field(default_factory=dict)
    """By program; the one that has none is not judged."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One table."""

    title: str
    programs: Sequence[str]
    figures: Sequence[Figure]


@dataclass(slots=True)
class Report:
    """All that one run of the benchmark found."""

    machine: dict[str, object]
    sections: list[Section] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Reasons why the run is void: a ledger that does not balance, a server that broke."""
    excused: int = 0
    """Second receipts of what was in flight when the benchmark killed a server."""
    remarks: list[str] = field(default_factory=list)
    ledger: bool = True
    """Whether events were counted; what calls functions alone has none."""
    details: dict[str, Any] = field(default_factory=dict)
    """Everything measured, round by round, for the JSON."""

    @property
    def void(self) -> bool:
        """True when something was lost, doubled, invented or altered."""
        return bool(self.faults)

    def show(self, console: Console) -> None:
        """Print the tables and the verdict."""
        console.print(", ".join(f"{name} {value}" for name, value in self.machine.items()))
        for section in self.sections:
            console.print(table(section))
        for remark in self.remarks:
            console.print(f"note: {remark}", style="yellow", markup=False, highlight=False)
        if self.void:
            console.print("VOID", style="bold red")
            for fault in self.faults:
                console.print(f"  {fault}", markup=False, highlight=False)
        elif self.sections and self.ledger:
            doubled = (
                f"{self.excused} doubled, in flight at a kill"
                if self.excused
                else "nothing doubled"
            )
            console.print(f"ledger: nothing lost, {doubled}", style="green")

    def write(self, path: Path) -> None:
        """Write everything as JSON; NaN becomes null."""
        builtins = msgspec.to_builtins(
            {
                "void": self.void,
                "faults": self.faults,
                "remarks": self.remarks,
                "machine": self.machine,
                "sections": [_plain(section) for section in self.sections],
                "details": self.details,
            },
            str_keys=True,
        )
        path.write_bytes(msgspec.json.format(msgspec.json.encode(builtins), indent=2) + b"\n")


def table(section: Section) -> Table:
    """A section for the terminal."""
    made = Table(title=section.title, title_justify="left")
    made.add_column("figure")
    for program in section.programs:
        made.add_column(program, justify="right")
    made.add_column("unit")
    made.add_column("bar")
    made.add_column("")
    for figure in section.figures:
        made.add_row(
            figure.name,
            *(
                shown(figure.values[program]) if program in figure.values else ""
                for program in section.programs
            ),
            figure.unit,
            " / ".join(dict.fromkeys(map(str, figure.bars.values()))),
            _coloured(verdict(figure)) or figure.note,
        )
    return made


def verdict(figure: Figure) -> str:
    """How the programs stand to their bars; empty where there is none.

    `ok` when all that are judged reach theirs; else what is wrong, with the program's name where
    several are judged.
    """
    nan = float("nan")
    judged = {
        program: bar.judge(nan if (value := figure.values.get(program)) is None else value)
        for program, bar in figure.bars.items()
    }
    missed = {program: found for program, found in judged.items() if found != "ok"}
    if not missed:
        return "ok" if judged else ""
    if len(judged) == 1:
        return next(iter(missed.values()))
    return "; ".join(f"{program} {found}" for program, found in missed.items())


def shown(value: float | None) -> str:
    """A number with as many digits as say something."""
    if value is None or isnan(value):
        return "not measured"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _coloured(judged: str) -> str:
    if not judged:
        return ""
    return f"[green]{judged}[/]" if judged == "ok" else f"[bold red]{judged}[/]"


def _plain(section: Section) -> dict[str, object]:
    return {
        "title": section.title,
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                "values": dict(figure.values),
                "bars": {program: str(bar) for program, bar in figure.bars.items()},
                "verdict": verdict(figure) or None,
            }
            for figure in section.figures
        ],
    }
