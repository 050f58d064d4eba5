import pytest

from bench.child import ChildError
from bench.comeback import BURST, Found, Return, judged, most_in_a_second, section
from bench.figures import Pace, Percentiles
from bench.processes import Memory
from bench.report import verdict
from bench.server import Waypost

S = 1_000_000_000


def test_what_came_is_counted_by_the_second() -> None:
    times = [0, S // 2, S - 1, S, S + 1, 3 * S]
    found = judged([(b"%d" % at, b"1", at) for at in reversed(times)], rate=1000 - BURST)
    assert (found.received, found.doubled, found.first_second) == (6, 0, 3)
    assert found.most == 4 / 1000
    assert found.per_s == 5 / 3
    assert judged([(b"a", b"1", 0), (b"a", b"1", 1)]).doubled == 1
    with pytest.raises(ChildError, match="nothing came"):
        judged([])


@pytest.mark.parametrize("count, gap, most", [(10, S, 1), (10, S // 4, 4), (10, 0, 10)])
def test_a_second_slides(count: int, gap: int, most: int) -> None:
    assert most_in_a_second([n * gap for n in range(count)]) == most


def found(most: float, p99: float) -> Found:
    def paced(p99: float) -> Pace:
        times = Percentiles(p50=p99, p90=p99, p99=p99, worst=p99)
        return Pace(10, 100.0, 100.0, times, times, times)

    came = Return(5, 0, 1.0, 3, most)
    return Found(came, 1.0, paced(1.0), paced(p99), Memory(rss=1, peak=10**8, processes=1))


@pytest.mark.parametrize("most, p99, judgement", [(1.0, 2.0, "ok"), (1.1, 2.1, "MISSED")])
def test_the_rate_and_the_healthy_ones_are_judged(most: float, p99: float, judgement: str) -> None:
    made = section(Waypost(), found(most, p99), 5, 600)
    of = {figure.name: verdict(figure) for figure in made.figures}
    assert of["most in a second, of what is allowed"] == of["  ratio"] == judgement
    assert of["healthy ones' rate, ratio"] == "ok"
