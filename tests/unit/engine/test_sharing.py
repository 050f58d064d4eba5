"""Sharing: what processes tell each other, and which of them does what."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support import database
from tests.support.apart import DirectApart
from tests.support.database import Records
from tests.support.direct import DirectStore
from tests.support.waiting import turned, until
from waypost.engine.job import Job
from waypost.engine.ownership import OwnershipConfig
from waypost.engine.router import Router
from waypost.engine.sharing import Sharing
from waypost.engine.waker import Lane, Topic
from waypost.model.delivery import Owed
from waypost.model.errors import Unavailable
from waypost.model.ids import Id
from waypost.storage import configuration
from waypost.storage.configuration import Kind


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


class Links:
    """Ways to a database that are all the test's own connection, and a channel to nobody."""

    def __init__(self, records: Records) -> None:
        self.connection = records.connection
        self.sent: list[str] = []
        self.heard: Any = None
        self.connected: Any = None
        self.is_closed = False

    def newest(self, _: Any) -> Sequence[tuple[Id, Id, Id | None]]:
        return []

    def apart(self, _: str) -> Any:
        return DirectApart(self.connection)

    def channel(self, heard: Callable[[str], None], connected: Callable[[], None]) -> "Links":
        self.heard, self.connected = heard, connected
        return self

    def send(self, messages: Sequence[str]) -> None:
        self.sent += messages

    def close(self) -> None:
        self.is_closed = True


KNOWN = b"k" * 16


class Lanes:
    """A dispatcher that notes which lanes are woken, and what hurries.

    Attributes:
        hurried: what hurries; the first `again` of these are to be begun anew.
    """

    def __init__(self) -> None:
        self.roster: Any = self
        self.left: Any = None
        self.woke: list[list[Lane]] = []
        self.hurried: list[Owed] = []
        self.again = 0

    def look(self, lanes: Sequence[Lane]) -> None:
        self.woke.append(sorted(lanes))

    def mark(self, _: Id, delivery_id: Id) -> Id | None:
        return None if delivery_id == KNOWN else delivery_id

    def hurry(self, mark: Id, owed: Owed) -> bool:
        assert mark == owed.id
        self.hurried.append(owed)
        return len(self.hurried) > self.again

    def go_on(self) -> None:
        """Do nothing."""


def sharing(records: Records, *, notify: bool = True) -> tuple[Sharing, Links]:
    links, store = Links(records), DirectStore(records.connection)
    return Sharing(store, links, records.clock, notify=notify), links


async def test_a_change_made_here_is_told_of_and_met_in_the_log(records: Records) -> None:
    made, links = sharing(records)
    await made.follower.begin()
    await made.start()
    configuration.record(records.connection, Kind.PROJECT, records.project)
    await made._follow_own()
    assert made.follower.version == configuration.current(records.connection) > 0
    await until(lambda: Topic.CONFIGURATION in links.sent)
    await made.stop()
    assert links.is_closed


async def test_what_others_say_arrives_on_the_loop(records: Records) -> None:
    made, links = sharing(records)
    heard: list[Topic] = []
    made.waker.listeners[Topic.REPLAYS] = lambda: heard.append(Topic.REPLAYS)
    await made.start()
    await asyncio.to_thread(links.heard, "replays")
    await asyncio.to_thread(links.connected)
    await until(lambda: len(heard) == 2)
    await made.stop()


async def test_with_notifications_off_nothing_is_connected_for_them(records: Records) -> None:
    made, links = sharing(records, notify=False)
    await made.start()
    made.waker.tell(Topic.OWED)
    await turned()
    await made.stop()
    assert links.heard is None
    assert links.sent == []


async def test_one_does_what_one_does_for_all(records: Records) -> None:
    made, _ = sharing(records)
    steps: list[int] = []

    async def step() -> bool:
        steps.append(1)
        return False

    job = Job("j", step)
    made.one_does(job)
    wake = made.listen(Topic.FAN_OUTS, job)
    job.start()
    wake()
    for _ in range(5):
        await turned()
    assert steps == []
    made.shards.epochs[0] = 1
    made.waker.heard("fan-outs")
    await until(lambda: steps)
    await job.stop()


async def test_a_lane_of_a_subscription_that_is_not_known_yet_is_woken_when_it_is(
    records: Records,
) -> None:
    made, _ = sharing(records)
    one = records.subscription()
    router = Router()
    router.apply(1, one)
    lanes: Any = Lanes()
    made.serve(router, lanes, records.ids, OwnershipConfig())
    await made.follower.start()
    known, strange = (one.project_id, one.id), (one.project_id, b"s" * 16)
    made.waker.woken([known, strange])
    assert lanes.woke == [[known]]
    made.shards.epochs[ord("s")] = 1
    made.waker.woken([strange])
    await until(lambda: len(lanes.woke) == 3)
    assert lanes.woke[2] == [strange]
    await made.follower.stop()


@pytest.mark.parametrize("again, count", [(0, 1), (2, 3), (99, 5)])
async def test_what_hurries_is_read_again_if_it_may_have_been_sent_meanwhile(
    records: Records, again: int, count: int
) -> None:
    made, _ = sharing(records)
    one = records.subscription()
    lanes: Any = Lanes()
    lanes.again = again
    made.serve(Router(), lanes, records.ids, OwnershipConfig())
    pending = records.pending(records.event(), one)
    named = [(one.project_id, one.id, each) for each in (KNOWN, pending, b"gone" * 4)]
    made.waker.hurried(named)
    await asyncio.gather(*made._tasks)
    assert [owed.id for owed in lanes.hurried] == [pending] * count


async def test_what_hurries_takes_its_turn_where_the_database_does_not_answer(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = sharing(records)
    one = records.subscription()
    lanes: Any = Lanes()
    made.serve(Router(), lanes, records.ids, OwnershipConfig())

    async def away(_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(made._store, "read_owed", away)
    made.waker.hurried([(one.project_id, one.id, records.pending(records.event(), one))])
    await asyncio.gather(*made._tasks)
    assert lanes.hurried == []
