import pytest

from bench.bars import RATIO, RECEIPT_P50_MS, RECEIPT_P99_MS, Bar

NAN = float("nan")
SQLITE = RATIO["sqlite"]


@pytest.mark.parametrize(
    "bar, value, judged",
    [
        (Bar(3), 3, "ok"),
        (Bar(3), 3.01, "MISSED"),
        (Bar(3), NAN, "MISSED"),
        (SQLITE, 0.5, "ok"),
        (SQLITE, 0.49, "MISSED"),
        (SQLITE, 0.34, "MISSED, below the floor"),
        (SQLITE, NAN, "MISSED, below the floor"),
        (RATIO["postgresql"], 0.3, "ok"),
        (RATIO["postgresql"], 0.2, "MISSED"),
        (RATIO["postgresql"], 0.19, "MISSED, below the floor"),
    ],
)
def test_a_bar_judges(bar: Bar, value: float, judged: str) -> None:
    assert bar.judge(value) == judged


def test_the_bars_of_the_latencies() -> None:
    assert {
        rate: {kind: str(bar) for kind, bar in bars.items()}
        for rate, bars in RECEIPT_P99_MS.items()
    } == {200: {"sqlite": "≤ 10"}, 1_000: {"sqlite": "≤ 25", "postgresql": "≤ 40"}}
    assert str(RECEIPT_P50_MS[200]["sqlite"]) == "≤ 3"
