"""The figures as tables and as JSON, each beside the bar it should reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should reach: at most `limit`, or at least it where `at_least`."""

    limit: float
    at_least: bool = False
    floor: float | None = None
    """The worst value that still counts as done."""

    def judge(self, value: float) -> str:
        """`ok`, `MISSED`, or `MISSED, below the floor`; a value that is not there has missed."""
        if self._reaches(value, self.limit):
            return "ok"
        if self.floor is not None and not self._reaches(value, self.floor):
            return "MISSED, below the floor"
        return "MISSED"

    def _reaches(self, value: float, limit: float) -> bool:
        return not isnan(value) and (value >= limit if self.at_least else value <= limit)

    def __str__(self) -> str:
        """As the table shows it."""
        return f"{'≥' if self.at_least else '≤'} {shown(self.limit)}"


RATIO = Bar(0.50, at_least=True, floor=0.35)
CPU_S = Bar(0.2)
DISK_BYTES = Bar(1_000)
RSS_MB = Bar(200)
FIRST_DELIVERY_S = Bar(3)
RECEIPT_MS = {200: (Bar(3), Bar(10)), 1_000: (None, Bar(25))}
"""Bars of accept → receipt by events per second: p50, p99."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, of each program by name (None: not measured)."""

    name: str
    unit: str
    values: Mapping[str, float | None]
    bar: Bar | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One table. Its bars are for every program but the limit loop."""

    title: str
    programs: Sequence[str]
    figures: Sequence[Figure]


@dataclass(slots=True)
class Report:
    """All that one run of the benchmark found."""

    machine: Mapping[str, object]
    sections: list[Section] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Reasons why the run is void: a ledger that does not balance, a server that broke."""
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
            console.print("ledger: nothing lost, nothing doubled", style="green")

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
            str(figure.bar or ""),
            _coloured(verdict(figure)) or figure.note,
        )
    return made


def verdict(figure: Figure) -> str:
    """How the programs stand to the bar, the worst of them; empty where there is no bar."""
    if figure.bar is None:
        return ""
    judged = [
        figure.bar.judge(float("nan") if value is None else value)
        for program, value in figure.values.items()
        if program != "limit"
    ]
    return max(judged, key=len, default="")


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
                "bar": str(figure.bar) if figure.bar else None,
                "verdict": verdict(figure) or None,
            }
            for figure in section.figures
        ],
    }
