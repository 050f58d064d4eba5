import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.web.limits import (
    BETWEEN,
    BODY,
    HEAD,
    NEW,
    PARTING,
    ByteBudget,
    Connections,
    HttpLimits,
    is_overdue,
)

LIMITS = HttpLimits()


@pytest.mark.parametrize(
    "phase,elapsed_s,received,overdue",
    [
        (NEW, 10, 0, False),
        (NEW, 10.1, 0, True),
        (HEAD, 10, 0, False),
        (HEAD, 10.1, 0, True),
        (BODY, 5, 0, False),
        (BODY, 5.1, 0, True),
        (BODY, 6, 1024, False),
        (BODY, 6, 1023, True),
        (BODY, 30, 25 * 1024, False),
        (BODY, 30.1, 10**9, True),
        (BETWEEN, 75, 0, False),
        (BETWEEN, 75.1, 0, True),
        (PARTING, 5, 0, False),
        (PARTING, 5.1, 0, True),
    ],
)
def test_each_phase_has_its_time(
    phase: int, elapsed_s: float, received: int, overdue: bool
) -> None:
    assert is_overdue(phase, elapsed_s, received, LIMITS) is overdue


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans())))
def test_a_budget_never_gives_more_than_it_has(wishes: list[tuple[int, bool]]) -> None:
    budget = ByteBudget(100)
    taken: list[int] = []
    for size, give_back in wishes:
        fits = sum(taken) + size <= 100
        assert budget.take(size) is fits
        if fits:
            taken.append(size)
        if give_back and taken:
            budget.give(taken.pop())
        assert budget.free == 100 - sum(taken)


class Kept:
    """A connection that keeps when it was looked at."""

    def __init__(self) -> None:
        self.checked: list[float] = []

    def check(self, now: float) -> None:
        self.checked.append(now)


def connections(limits: HttpLimits = LIMITS) -> Connections:
    return Connections(limits, lambda: 7.0)


@pytest.mark.parametrize(
    "address,peer",
    [
        (None, None),
        ("127.0.0.1", None),
        ("127.8.0.1", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1:2:3:4", "2001:db8::/64"),
        ("2001:db8::5:6:7:8", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_a_peer_is_an_address_or_a_network(address: str | None, peer: str | None) -> None:
    assert connections().peer_of(address) == peer


async def test_connections_are_counted_in_all_and_by_peer() -> None:
    loop = asyncio.get_running_loop()
    counted = connections(HttpLimits(connections=3, connections_per_peer=2))
    kept = [Kept() for _ in range(5)]
    assert counted.admit(kept[0], "a", loop)
    assert counted.admit(kept[1], "a", loop)
    assert not counted.admit(kept[2], "a", loop)
    assert counted.admit(kept[3], None, loop)
    assert not counted.admit(kept[4], None, loop)
    assert len(counted) == 3
    # Leaving without having been let in changes nothing.
    counted.leave(kept[2], "a")
    assert not counted.admit(kept[2], "b", loop)
    counted.leave(kept[0], "a")
    counted.leave(kept[0], "a")
    assert counted.admit(kept[2], "a", loop)
    for connection in kept:
        counted.leave(connection, "a")
    assert len(counted) == 0


async def test_it_is_told_when_one_has_left_and_only_then() -> None:
    told: list[int] = []
    found = connections()
    found.left = lambda: told.append(len(found))
    one, other = Kept(), Kept()
    loop = asyncio.get_running_loop()
    found.admit(one, None, loop)
    found.leave(other, None)
    assert told == []
    found.leave(one, None)
    assert told == [0]


async def test_a_sweep_looks_at_every_connection() -> None:
    counted = connections()
    kept = [Kept(), Kept()]
    for connection in kept:
        counted.admit(connection, None, asyncio.get_running_loop())
    counted.sweep()
    assert [connection.checked for connection in kept] == [[7.0], [7.0]]
