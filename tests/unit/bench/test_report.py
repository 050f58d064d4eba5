import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from bench.report import RATIO, RECEIPT_MS, Bar, Figure, Report, Section, shown, verdict

NAN = float("nan")


@pytest.mark.parametrize(
    "bar, value, judged",
    [
        (Bar(3), 3, "ok"),
        (Bar(3), 3.01, "MISSED"),
        (Bar(3), NAN, "MISSED"),
        (RATIO, 0.5, "ok"),
        (RATIO, 0.49, "MISSED"),
        (RATIO, 0.34, "MISSED, below the floor"),
        (RATIO, NAN, "MISSED, below the floor"),
    ],
)
def test_a_bar_judges(bar: Bar, value: float, judged: str) -> None:
    assert bar.judge(value) == judged


def test_the_bars_of_the_latencies() -> None:
    assert {rate: tuple(map(str, bars)) for rate, bars in RECEIPT_MS.items()} == {
        200: ("≤ 3", "≤ 10"),
        1_000: ("None", "≤ 25"),
    }


def test_the_limit_loop_is_not_judged_and_the_worst_product_is() -> None:
    figures = {"limit": 0.1, "waypost": 0.6, "against": 0.4}

    assert verdict(Figure("ratio", "", figures, RATIO)) == "MISSED"
    assert verdict(Figure("ratio", "", {"limit": 0.1, "waypost": 0.6}, RATIO)) == "ok"
    assert verdict(Figure("ratio", "", {"waypost": None}, RATIO)) == "MISSED, below the floor"
    assert verdict(Figure("no bar", "", figures)) == ""


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


def test_the_json_holds_figures_bars_and_verdicts(tmp_path: Path) -> None:
    figure = Figure("first delivery", "s", {"waypost": 4.0, "against": NAN}, Bar(3))
    path = tmp_path / "out.json"

    Report({"cpus": 2}, [Section("Start", ["waypost"], [figure])]).write(path)

    written = json.loads(path.read_bytes())
    assert written["void"] is False
    assert written["sections"][0]["figures"] == [
        {
            "name": "first delivery",
            "unit": "s",
            "values": {"waypost": 4.0, "against": None},
            "bar": "≤ 3",
            "verdict": "MISSED",
        }
    ]
