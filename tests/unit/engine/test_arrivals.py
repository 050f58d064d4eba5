"""Arrivals: who waits is woken by what it waits for, wherever that is accepted."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from waypost.engine.arrivals import WAITING_MAX, Arrivals, Waiting
from waypost.engine.waker import Topic, Waker
from waypost.model.errors import Unavailable

MINE, THEIRS = b"p" * 16, b"q" * 16


class FakeIngest:
    """What arrivals know of ingest."""

    arrived: Any = None


class Process:
    """Arrivals of one process, which hears what the others say."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.ingest: Any = FakeIngest()
        self.waker = Waker(self.loop)
        self.waker.channel = self
        self.others: list[Process] = []
        self.sent: list[str] = []
        self.arrivals = Arrivals(self.ingest, self)  # type: ignore[arg-type] # has a waker

    def send(self, messages: Sequence[str]) -> None:
        self.sent += messages
        for other in self.others:
            for message in messages:
                other.waker.heard(message)

    def close(self) -> None:
        """Do nothing."""


def alone() -> tuple[Arrivals, Any]:
    ingest: Any = FakeIngest()
    return Arrivals(ingest, None), ingest


def came(waiting: Waiting) -> bool:
    return waiting._came.is_set()


async def test_while_nobody_waits_nothing_is_told() -> None:
    arrivals, ingest = alone()
    assert not ingest.arrived
    with arrivals.waiting(MINE, ()):
        assert ingest.arrived
    ingest.arrived(MINE, ["a"])
    assert ingest.arrived is None


@pytest.mark.parametrize(
    "types, project, kinds, wakes",
    [
        ((), MINE, ["a"], True),
        (("a",), MINE, ["b", "a"], True),
        (("a",), MINE, ["b"], False),
        ((), THEIRS, ["a"], False),
    ],
)
async def test_it_wakes_who_waits_for_that(
    types: tuple[str, ...], project: bytes, kinds: list[str], wakes: bool
) -> None:
    arrivals, ingest = alone()
    with arrivals.waiting(MINE, types) as waiting:
        ingest.arrived(project, kinds)
        assert came(waiting) is wakes


async def test_what_came_before_the_wait_ends_it_and_the_next_one_lasts() -> None:
    arrivals, ingest = alone()
    with arrivals.waiting(MINE, ()) as waiting:
        ingest.arrived(MINE, ["a"])
        await waiting.wait(60)
        assert not came(waiting)
        await waiting.wait(0)


async def test_those_that_wait_have_an_end() -> None:
    arrivals, _ = alone()
    with ExitStack() as stack:
        for _ in range(WAITING_MAX):
            stack.enter_context(arrivals.waiting(MINE, ()))
        with pytest.raises(Unavailable):
            stack.enter_context(arrivals.waiting(MINE, ()))
    with arrivals.waiting(MINE, ()):
        pass


async def test_a_server_that_goes_down_lets_nobody_wait() -> None:
    arrivals, _ = alone()
    with arrivals.waiting(MINE, ("a",)) as waiting:
        arrivals.close()
        assert came(waiting)
        assert arrivals.is_closed


async def test_another_process_wakes_who_waits_here() -> None:
    here, there = Process(), Process()
    here.others, there.others = [there], [here]
    assert not there.ingest.arrived
    with here.arrivals.waiting(MINE, ("a",)) as waiting:
        here.waker.flush()
        assert here.sent == [Topic.WAITING]
        there.ingest.arrived(MINE, ["a"])
        there.waker.flush()
        assert there.sent == [Topic.ARRIVED]
        assert came(waiting)


async def test_it_is_announced_again_but_not_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Process()
    now = here.loop.time()
    monkeypatch.setattr(here.loop, "time", lambda: now)
    with here.arrivals.waiting(MINE, ()), here.arrivals.waiting(MINE, ()):
        here.waker.flush()
        here.arrivals.announce()
        here.waker.flush()
        assert here.sent == [Topic.WAITING]
        now += 11
        here.arrivals.announce()
        here.waker.flush()
        assert here.sent == [Topic.WAITING] * 2


async def test_after_a_while_the_others_are_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Process()
    now = here.loop.time()
    monkeypatch.setattr(here.loop, "time", lambda: now)
    here.waker.heard(Topic.WAITING)
    now += 31
    here.ingest.arrived(MINE, ["a"])
    here.waker.flush()
    assert here.sent == []
    assert here.ingest.arrived is None
