from bench.growth import plans_section
from bench.plans import Explained
from bench.report import verdict


def test_a_single_scan_of_a_growing_table_misses_the_bar() -> None:
    found = {"INSERT": Explained(10, 5.0, 1.0, "", 0), "DELETE": Explained(2, 1.0, 0.7, "", 1)}

    made = plans_section("postgresql", found)

    assert made.figures[0].values == {"calls": 12, "ms in total": 6.0, "with sequential scans": 1}
    assert verdict(made.figures[0]) == "MISSED"
    assert [figure.name for figure in made.figures[1:]] == ["INSERT", "DELETE"]
    del found["DELETE"]
    assert verdict(plans_section("postgresql", found).figures[0]) == "ok"


def test_no_plan_at_all_proves_nothing() -> None:
    assert verdict(plans_section("postgresql", {}).figures[0]) == "MISSED"
