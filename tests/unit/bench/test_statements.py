from bench.bars import Bar
from bench.databases import Statement
from bench.report import verdict
from bench.statements import section, shortened
from tests.support.rounds import a_round

BARS = {"postgresql": Bar(0.25)}


def test_the_sum_is_judged_and_the_most_frequent_are_listed() -> None:
    found = [Statement("SELECT\n  1", 20, 4.0, 40), Statement("COMMIT", 10, 1.0, 0)]

    made = section("postgresql", a_round("postgresql", statements=found), BARS)

    total, first, _ = made.figures
    assert total.values == {"per event": 0.3}
    assert verdict(total) == "MISSED"
    assert first.name == "SELECT 1"
    assert first.values == {"per event": 0.2, "ms in total": 4.0, "rows per call": 2}


def test_where_they_cant_be_counted_the_bar_is_missed() -> None:
    made = section("postgresql", a_round("postgresql"), BARS)

    assert [figure.values for figure in made.figures] == [{"per event": None}]
    assert verdict(made.figures[0]) == "MISSED"


def test_long_statements_are_shortened() -> None:
    assert shortened("SELECT 1") == "SELECT 1"
    assert shortened("x" * 200).endswith("x…")
