"""The waker: what goes out to the others, and what is done about what they say."""

import asyncio
from collections.abc import Sequence

from structlog.testing import capture_logs

from tests.support.waiting import turned, until
from waypost.engine.waker import MESSAGE_MAX, MESSAGES_MAX, Lane, Topic, Waker
from waypost.model.ids import Id


class Wire:
    """A channel that the test reads."""

    def __init__(self) -> None:
        self.sent: list[list[str]] = []

    def send(self, messages: Sequence[str]) -> None:
        self.sent.append(list(messages))

    def close(self) -> None:
        """Do nothing."""


def wired() -> tuple[Waker, Wire]:
    waker, wire = Waker(asyncio.get_running_loop()), Wire()
    waker.channel = wire
    return waker, wire


def lane(number: int) -> Lane:
    return b"p" * 16, number.to_bytes(16)


def heard(messages: Sequence[str]) -> set[Lane]:
    other = Waker(asyncio.get_running_loop())
    found: set[Lane] = set()
    other.woken = found.update
    for message in messages:
        other.heard(message)
    return found


async def test_what_a_turn_brings_goes_out_at_once_and_together() -> None:
    waker, wire = wired()
    for number in (1, 2, 1):
        waker.wake(*lane(number))
    waker.tell(Topic.WORKERS)
    assert wire.sent == []
    await turned()
    (messages,) = wire.sent
    assert Topic.WORKERS in messages
    assert heard(messages) == {lane(1), lane(2)}


async def test_what_comes_soon_after_waits_for_company() -> None:
    waker, wire = wired()
    waker.wake(*lane(1))
    await turned()
    waker.wake(*lane(2))
    await turned()
    waker.wake(*lane(3))
    assert len(wire.sent) == 1
    await until(lambda: len(wire.sent) == 2)
    assert heard(wire.sent[1]) == {lane(2), lane(3)}


async def test_many_lanes_are_named_in_messages_that_fit() -> None:
    waker, wire = wired()
    lanes = {lane(number) for number in range(1_000)}
    for one in lanes:
        waker.wake(*one)
    await turned()
    (messages,) = wire.sent
    assert 1 < len(messages) <= MESSAGES_MAX
    assert max(map(len, messages)) <= MESSAGE_MAX
    assert heard(messages) == lanes


async def test_what_hurries_is_named_behind_its_lane_as_far_as_there_is_room() -> None:
    waker, wire = wired()
    for number in range(1_000):
        waker.wake(*lane(number % 10), number.to_bytes(16))
    await turned()
    ((lanes, hurried),) = wire.sent
    assert len(hurried) <= MESSAGE_MAX
    news: list[Sequence[tuple[Id, ...]]] = []
    other = Waker(asyncio.get_running_loop())
    other.woken = other.hurried = news.append
    for message in (lanes, hurried):
        other.heard(message)
    woken, first = news
    assert set(woken) == {lane(number) for number in range(10)}
    assert len(first) > 100
    assert list(first) == [(*lane(n % 10), n.to_bytes(16)) for n in range(len(first))]
    waker.wake(*lane(1))
    waker.flush()
    assert len(wire.sent[1]) == 1, "it is told of once"


async def test_more_than_can_be_named_is_told_of_without_names() -> None:
    waker, wire = wired()
    for number in range(10_000):
        waker.wake(*lane(number))
    await turned()
    assert wire.sent == [[Topic.OWED]]


async def test_without_a_way_nothing_piles_up() -> None:
    waker = Waker(asyncio.get_running_loop())
    waker.wake(*lane(1))
    await turned()
    wire = Wire()
    waker.channel = wire
    waker.flush()
    assert wire.sent == []


async def test_who_listens_is_called_and_what_nobody_knows_is_let_be() -> None:
    waker, _ = wired()
    called: list[Topic] = []
    waker.listeners[Topic.REPLAYS] = lambda: called.append(Topic.REPLAYS)
    waker.listeners[Topic.OWED] = lambda: called.append(Topic.OWED)
    waker.heard("replays")
    assert called == [Topic.REPLAYS]
    with capture_logs() as logs:
        named = ("lanes:***", "lanes:AAAA", "lanes:é", "hurried:AAAA")
        for strange in ("fan-outs", *named, "", "héllo"):
            waker.heard(strange)
    assert [entry["event"] for entry in logs] == ["message_unknown"] * 7
    waker.listeners[Topic.WAITING] = lambda: called.append(Topic.WAITING)
    waker.missed()
    # That others wait they say again: to guess it would cost a message for every commit.
    assert called == [Topic.REPLAYS, Topic.REPLAYS, Topic.OWED]
    waker.heard("waiting")
    assert called[-1] is Topic.WAITING
