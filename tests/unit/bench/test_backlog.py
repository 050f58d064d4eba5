from bench.backlog import Backlog, section
from bench.ledger import Verdict
from bench.processes import Memory
from bench.report import verdict
from bench.server import Waypost


def test_a_drain_that_is_slower_than_a_closed_loop_misses_the_bar() -> None:
    found = Backlog(
        events=10,
        accepted_per_s=40_000,
        loaded=Memory(120_000_000, 130_000_000, 1),
        disk_bytes_waiting=500,
        ready_s=0.5,
        first_delivery_s=0.7,
        delivered_per_s=9_000,
        slowest_tenth_per_s=8_000,
        drained=Memory(120_000_000, 230_000_000, 1),
        disk_bytes_delivered=600,
        verdict=Verdict(10, 10),
        exit_code=0,
    )

    made = section(Waypost(), found, usual_per_s=10_000)

    judged = {figure.name.strip(): verdict(figure) for figure in made.figures if figure.bars}
    assert judged == {
        "peak, largest process": "MISSED",
        "start to first delivery": "ok",
        "drained, ratio to that": "MISSED",
        "disk per event, delivered": "ok",
    }
