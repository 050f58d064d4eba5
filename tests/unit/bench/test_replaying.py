import pytest

from bench.figures import Pace, Percentiles
from bench.ledger import Ledger
from bench.replaying import BESIDE_FROM, FILLED_FROM, Found, Stretch, judged, section
from bench.report import verdict
from bench.server import Waypost

WARM, BEFORE, BESIDE = 7, FILLED_FROM + 7, BESIDE_FROM + 1


def ledger(receipts: list[int]) -> Ledger:
    """What the ledger is where one was posted to be replayed, one before it and one beside it."""
    made = Ledger()
    made.add_posted((b"%d" % one, one, 1, 1, 2) for one in (WARM, BEFORE, BESIDE))
    made.add_received((b"%d" % one, b"%012d" % one, 3) for one in (WARM, *receipts))
    return made


@pytest.mark.parametrize(
    "receipts, lost, doubled",
    [
        ([BEFORE, BESIDE, BEFORE], 0, 0),
        ([BEFORE, BESIDE], 1, 0),
        ([BEFORE, BEFORE], 1, 0),
        ([BEFORE, BESIDE, BEFORE, BEFORE], 0, 1),
        ([BEFORE, BESIDE, BEFORE, BESIDE], 0, 1),
        ([BESIDE], 2, 0),
    ],
)
def test_what_was_replayed_comes_twice_and_the_rest_once(
    receipts: list[int], lost: int, doubled: int
) -> None:
    found = judged(ledger(receipts))
    assert (found.lost, found.doubled) == (lost, doubled)
    assert found.ok is not bool(lost or doubled)


@pytest.mark.parametrize("p99, said", [(1.2, "ok"), (1.3, "MISSED")])
def test_live_events_are_judged_by_what_they_had_alone(p99: float, said: str) -> None:
    def pace(p99: float) -> Pace:
        times = Percentiles(p50=0.5, p90=0.6, p99=p99, worst=9.0)
        return Pace(10, 1.0, 1.0, times, times, times)

    made = section(Waypost(), "title", [Found([Stretch(pace(1.0), pace(p99))], 10.0)])
    assert [verdict(figure) for figure in made.figures if figure.bars] == [said]
