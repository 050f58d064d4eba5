"""Each measure of routing measures what it says."""

from typing import Any

import pytest

from bench import routing as subject
from bench.report import Report
from bench.routing import MEASURES, routing


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "SUBSCRIPTIONS", 600 * 10)

    def once(call: Any) -> float:
        call()
        return 7.0

    monkeypatch.setattr(subject, "_per_call_us", once)


def test_every_measure_stands_in_the_report() -> None:
    report, said = Report({}), list[str]()
    routing(report, 3, said.append)
    [section] = report.sections
    assert [figure.name for figure in section.figures] == [name for name, _, _ in MEASURES] == said
    assert {value for figure in section.figures for value in figure.values.values()} == {7.0}
    assert set(report.details["routing"]) == set(said)
    assert not report.ledger


def test_a_call_takes_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert subject._per_call_us(lambda: None, seconds=0.001) > 0
