import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.bars import Bar
from bench.report import Figure, Report, Section, shown, verdict

RATIO = Bar(0.5, at_least=True, floor=0.35)


def test_each_program_is_judged_by_its_own_bar() -> None:
    bars = {"sqlite": RATIO, "postgresql": Bar(0.3, at_least=True)}

    def judged(**values: float | None) -> str:
        return verdict(Figure("ratio", "", {"limit": 0.1, **values}, bars))

    assert judged(sqlite=0.6, postgresql=0.4) == "ok"
    assert judged(sqlite=0.6, postgresql=0.2) == "postgresql MISSED"
    assert judged(sqlite=0.3, postgresql=None) == (
        "sqlite MISSED, below the floor; postgresql MISSED"
    )


def test_where_one_is_judged_its_name_goes_without_saying() -> None:
    bars = {"sqlite": RATIO}

    assert verdict(Figure("ratio", "", {"sqlite": 0.6}, bars)) == "ok"
    assert verdict(Figure("ratio", "", {"sqlite": 0.4}, bars)) == "MISSED"
    assert verdict(Figure("ratio", "", {"limit": 1.0}, bars)) == "MISSED, below the floor"
    assert verdict(Figure("no bar", "", {"sqlite": 0.6})) == ""


@pytest.mark.parametrize(
    "value, text",
    [(12_345.6, "12,346"), (3, "3"), (0.01234, "0.0123"), (None, "not measured")],
)
def test_numbers_are_shown_with_the_digits_that_matter(value: float | None, text: str) -> None:
    assert shown(value) == text


def printed(report: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    report.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_fault_makes_the_run_void() -> None:
    report = Report({"cpus": 2}, [Section("Speed", ["waypost"], [Figure("x", "", {"waypost": 1})])])
    assert "VOID" not in printed(report)

    report.faults.append("throughput, waypost: 1 lost")

    assert report.void
    assert "VOID" in printed(report)
    assert "1 lost" in printed(report)


def test_what_a_kill_excuses_is_told() -> None:
    report = Report({}, [Section("Healing", [], [])])
    assert "nothing doubled" in printed(report)

    report.excused = 2

    assert not report.void
    assert "2 doubled, in flight at a kill" in printed(report)


def test_the_json_holds_figures_bars_and_verdicts(tmp_path: Path) -> None:
    values = {"sqlite": 4.0, "postgresql": float("nan")}
    figure = Figure("first delivery", "s", values, {"sqlite": Bar(3)})
    path = tmp_path / "out.json"

    Report({"cpus": 2}, [Section("Start", ["sqlite"], [figure])]).write(path)

    written = json.loads(path.read_bytes())
    assert written["void"] is False
    assert written["sections"][0]["figures"] == [
        {
            "name": "first delivery",
            "unit": "s",
            "values": {"sqlite": 4.0, "postgresql": None},
            "bars": {"sqlite": "≤ 3"},
            "verdict": "MISSED",
        }
    ]
