from bench.figures import percentiles_ms
from bench.lists import Timed, section
from bench.report import verdict

QUICK = percentiles_ms([1_000_000] * 99 + [20_000_000])
SLOW = percentiles_ms([1_000_000] * 98 + [21_000_000] * 2)


def test_a_list_is_judged_by_requests_that_come_alone() -> None:
    found = {"a": Timed(QUICK, SLOW, 0.5, 0.25, 2_000), "b": Timed(SLOW, QUICK, 3.0, 0.0, 10)}

    made = section("sqlite", "stedi", found)

    assert [verdict(figure) for figure in made.figures] == ["ok", "MISSED"]
    first = made.figures[0]
    assert list(first.values.values()) == [1.0, 1.0, 21.0, 0.5, 0.25, 2.0]
    assert list(first.values) == list(made.programs)
