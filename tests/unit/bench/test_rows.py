from bench import rows
from bench.bars import CPU_S
from bench.databases import Statement
from bench.report import Figure, verdict
from tests.support.rounds import a_round

ROUNDS = {
    "limit": [a_round("limit", per_s=10_000)],
    "sqlite": [a_round("sqlite", per_s=speed) for speed in (5_000, 6_000, 1)],
    "postgresql": [a_round("postgresql", per_s=2_500)],
}


def named(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name.strip(): figure for figure in figures}


def test_the_ratio_to_the_limit_is_of_medians_and_judged_by_database() -> None:
    figure = named(rows.ratios(ROUNDS))["ratio to the limit loop"]

    assert figure.values == {"sqlite": 0.5, "postgresql": 0.25}
    assert {program: str(bar) for program, bar in figure.bars.items()} == {
        "sqlite": "≥ 0.5",
        "postgresql": "≥ 0.3",
    }
    assert verdict(figure) == "postgresql MISSED"


def test_a_second_tree_is_compared_with_the_first_on_the_same_database() -> None:
    rounds = {
        "sqlite": [a_round("sqlite", per_s=6_000, cpu_s=0.1)],
        "sqlite, against": [a_round("sqlite, against", kind="sqlite", per_s=5_000, cpu_s=0.2)],
        "postgresql": [a_round("postgresql", per_s=1)],
    }

    found = named(rows.ratios(rounds))

    assert found["ratio to sqlite, against"].values == {"sqlite": 1.2}
    assert found["server CPU ratio to sqlite, against"].values == {"sqlite": 0.5}
    assert len(found) == 2


def test_latencies_are_judged_by_rate_and_database() -> None:
    rounds = {name: [a_round(name, p99_ms=30)] for name in ("sqlite", "postgresql")}

    assert verdict(named(rows.latencies(rounds, 1_000))["accept → receipt p99"]) == "sqlite MISSED"
    assert verdict(named(rows.latencies(rounds, 200))["accept → receipt p99"]) == "MISSED"
    assert verdict(named(rows.latencies(rounds))["accept → receipt p99"]) == ""


def test_the_cost_of_postgresql_stands_beside_the_servers() -> None:
    found = named(rows.cpu(ROUNDS, CPU_S))

    assert set(found["server CPU / 1,000 events"].values) == set(ROUNDS)
    assert set(found["server CPU / 1,000 events"].bars) == {"sqlite", "postgresql"}
    assert found["PostgreSQL CPU / 1,000 events"].values == {"postgresql": 0.1}
    assert "PostgreSQL CPU / 1,000 events" not in named(rows.cpu({"sqlite": ROUNDS["sqlite"]}))


def test_memory_is_of_the_group_and_judged_by_process() -> None:
    found = named(rows.space(ROUNDS))

    assert found["resident memory, drained"].values["postgresql"] == 150
    assert found["resident memory, drained"].bars == {}
    assert verdict(found["peak, largest process"]) == "ok"
    assert found["memory of PostgreSQL"].values == {"postgresql": 300}


def test_disk_is_judged_by_database() -> None:
    found = named(rows.space(ROUNDS))

    assert found["disk per event"].values == {"sqlite": 1_200, "postgresql": 1_200}
    assert verdict(found["disk per event"]) == "sqlite MISSED"
    assert found["write-ahead log per event"].values == {"postgresql": 3_000}


def test_statements_that_cant_be_counted_are_told() -> None:
    (figure,) = rows.statements(ROUNDS)
    assert figure.values == {"postgresql": None}
    assert verdict(figure) == "MISSED"

    counted = a_round("postgresql", statements=[Statement("SELECT 1", 10, 1.0, 10)])
    (figure,) = rows.statements({"postgresql": [counted]})
    assert figure.values == {"postgresql": 0.1}
    assert verdict(figure) == "ok"

    assert rows.statements({"sqlite": ROUNDS["sqlite"]}) == []
