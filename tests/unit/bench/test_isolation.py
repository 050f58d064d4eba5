import socket
from contextlib import ExitStack

import pytest

from bench.figures import Pace, Percentiles
from bench.isolation import SCENARIOS, Found, dead, hanging, section
from bench.processes import Memory
from bench.report import verdict
from bench.server import Waypost


def found(p99: float, rate: float) -> Found:
    times = Percentiles(p50=p99 / 2, p90=p99, p99=p99, worst=p99)
    pace = Pace(10, rate, rate, times, times, times)
    return Found(pace, Memory(rss=1, peak=10**8, processes=1), files=7)


@pytest.mark.parametrize(
    "p99, rate, judged",
    [(2.0, 90.0, ["ok", "ok"]), (2.1, 90.0, ["MISSED", "ok"]), (1.0, 89.0, ["ok", "MISSED"])],
)
def test_healthy_ones_are_judged_by_what_they_had_without_the_trouble(
    p99: float, rate: float, judged: list[str]
) -> None:
    made = section(Waypost(), SCENARIOS[0], found(1.0, 100.0), found(p99, rate))
    assert [verdict(figure) for figure in made.figures if figure.name == "  ratio"] == judged


def test_a_receiver_that_hangs_takes_what_is_sent_and_says_nothing() -> None:
    with ExitStack() as children:
        port = hanging(children)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\n\r\n")
            connection.settimeout(0.05)
            with pytest.raises(TimeoutError):
                connection.recv(1)


def test_nobody_listens_at_a_dead_one() -> None:
    with ExitStack() as children, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", dead(children)))
