"""The circuit breaker, under a simulated clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.flow import Breaker, BreakerState
from waypost.policy.breaker import Circuit

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
FOUR = Breaker(failure_ratio=0.5, min_requests=4, window_s=10, open_s=5, probes=2)


def state(circuit: Circuit) -> BreakerState:
    """Ask anew: what is known of it by now may have changed."""
    return circuit.state


def opened(settings: Breaker = FOUR, now_us: int = START) -> Circuit:
    circuit = Circuit(settings)
    for _ in range(settings.min_requests):
        circuit.failed(now_us, now_us)
    assert state(circuit) is BreakerState.OPEN
    return circuit


@pytest.mark.parametrize(
    "tries, opens",
    [
        ("FFF", False),
        ("FFFF", True),
        ("SFFS", False),  # judged at failures only, and three tries are too few
        ("FSFSF", True),
        ("FSSF", True),
        ("FSSSF", False),
        ("FSSSFFF", True),
    ],
)
def test_opens_by_the_share_of_failures_of_enough_tries(tries: str, opens: bool) -> None:
    circuit = Circuit(FOUR)
    for number, each in enumerate(tries):
        now_us = START + number
        if each == "S":
            circuit.succeeded()
        else:
            circuit.failed(now_us, now_us)
    assert (state(circuit) is BreakerState.OPEN) is opens
    assert circuit.openings == int(opens)


def test_successes_of_long_ago_do_not_count() -> None:
    circuit = Circuit(FOUR)
    for _ in range(100_000):
        circuit.succeeded()
    assert [circuit.failed(START, START) for _ in range(4)] == [False, False, False, True]


def test_failures_of_the_window_before_do_not_count() -> None:
    circuit = Circuit(FOUR)
    for _ in range(3):
        circuit.failed(START, START)
    later_us = START + 10 * SECOND
    assert [circuit.failed(later_us, later_us) for _ in range(4)] == [False, False, False, True]
    within = Circuit(FOUR)
    for _ in range(3):
        within.failed(START, START)
    assert within.failed(later_us - 1, later_us - 1) is True


def test_one_probe_starts_it_and_enough_successes_in_a_row_close_it() -> None:
    circuit = opened()
    assert circuit.until_us == START + 5 * SECOND
    circuit.succeeded()  # of a try that was in flight
    assert state(circuit) is BreakerState.OPEN
    circuit.started()
    assert state(circuit) is BreakerState.HALF_OPEN
    assert circuit.succeeded() is False
    assert circuit.succeeded() is True
    assert (circuit.state, circuit.until_us, circuit.openings) == (BreakerState.CLOSED, 0, 0)


def test_one_failure_while_it_is_half_open_opens_it_again() -> None:
    circuit = opened()
    for openings in range(2, 6):
        now_us = circuit.until_us
        circuit.started()
        circuit.succeeded()
        assert circuit.failed(now_us + SECOND, now_us) is True
        assert circuit.until_us == now_us + 6 * SECOND
        assert circuit.openings == openings


def test_what_hung_when_it_opened_does_not_open_it_again() -> None:
    circuit = opened()
    assert circuit.failed(START + SECOND, START - SECOND) is False
    circuit.started()
    assert circuit.failed(START + 6 * SECOND, START - SECOND) is False
    assert (circuit.state, circuit.openings) == (BreakerState.HALF_OPEN, 1)


def test_a_breaker_that_is_off_never_opens() -> None:
    circuit = Circuit(Breaker(enabled=False, min_requests=1))
    assert not any(circuit.failed(START, START) for _ in range(100))
    circuit.resume(START, 3)
    assert state(circuit) is BreakerState.CLOSED


def test_it_goes_on_where_another_process_was() -> None:
    circuit = Circuit(FOUR)
    circuit.resume(START, 7)
    assert (circuit.state, circuit.until_us, circuit.openings) == (BreakerState.OPEN, START, 7)


@pytest.mark.parametrize("limit, spent", [(None, False), (2, True), (3, False)])
def test_the_receiver_is_given_up_after_so_many_openings(limit: int | None, spent: bool) -> None:
    circuit = opened(Breaker(min_requests=4, disable_after=limit))
    circuit.started()
    circuit.failed(circuit.until_us, circuit.until_us)
    assert circuit.openings == 2
    assert circuit.is_spent() is spent


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4 * SECOND)), max_size=200))
def test_between_two_openings_there_are_at_least_the_open_time(
    tries: list[tuple[bool, int]],
) -> None:
    circuit, now_us, last_us = Circuit(FOUR), START, None
    for works, wait_us in tries:
        now_us += wait_us
        if now_us < circuit.until_us:
            continue  # the gate lets nothing start
        circuit.started()
        if works:
            circuit.succeeded()
        elif circuit.failed(now_us, now_us):
            assert last_us is None or now_us - last_us >= 5 * SECOND
            last_us = now_us
        assert circuit.state in BreakerState
        assert (circuit.until_us == 0) is (state(circuit) is BreakerState.CLOSED)
