"""Ingest where other processes change the database too: it catches up, and keeps nobody waiting."""

import asyncio

import msgspec
from structlog.testing import capture_logs

from tests.support.waiting import turned
from tests.unit.engine.test_ingest import PLAIN, PRINCIPAL, Intake, subscription
from waypost.model.errors import Unavailable
from waypost.policy.origin import Origin
from waypost.storage.changes import Outcome


class Shared(Intake):
    """An ingest whose memory catches up when the test says so."""

    def __init__(self) -> None:
        super().__init__(subscription(1))
        self.asked = 0
        self.caught_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ingest.share(self._catch_up)

    async def _catch_up(self) -> None:
        self.asked += 1
        await self.caught_up


async def turn() -> None:
    for _ in range(4):
        await turned()


async def test_what_was_routed_by_an_old_version_waits_until_memory_has_caught_up() -> None:
    intake = Shared()
    answers = intake.submit(PLAIN)
    intake.end(Outcome.STALE)
    await turn()
    assert (intake.asked, len(intake.handed)) == (1, 1)
    intake.router.apply(4, subscription(2))
    intake.caught_up.set_result(None)
    await turn()
    assert intake.handed[1].routing_version == 4
    intake.end(Outcome.COMMITTED)
    assert len(answers) == 1
    assert len(intake.owed) == 2


async def test_what_is_kept_of_the_request_is_what_filters_read_when_memory_has_caught_up() -> None:
    intake = Shared()
    origin = Origin([(b"x-a", b"b"), (b"x-c", b"d")], "/v1/events")
    intake.ingest.accept(PRINCIPAL, [PLAIN], lambda _: None, origin)
    assert intake.handed[0].entries[0].row[4] is None
    intake.end(Outcome.STALE)
    intake.router.apply(4, subscription(2, filter='{"headers":{"X-A":"b"}}'))
    intake.caught_up.set_result(None)
    await turn()
    (entry,) = intake.handed[1].entries
    assert msgspec.msgpack.decode(entry.row[4]) == {"headers": {"x-a": "b"}}
    assert len(entry.owed) == 2


async def test_where_memory_cannot_catch_up_it_is_refused() -> None:
    intake = Shared()
    answers = intake.submit(PLAIN)
    intake.end(Outcome.STALE)
    intake.caught_up.set_exception(Unavailable())
    await turn()
    assert isinstance(answers[0], Unavailable)
    assert intake.ingest.waiting == 0


async def test_a_commit_that_waits_is_answered_once_and_handed_over_once() -> None:
    intake = Shared()
    first = intake.submit(PLAIN)
    intake.clock.forward(0.5)
    second = intake.submit(PLAIN)
    intake.clock.forward(0.4)
    intake.ingest.look()
    assert isinstance(first[0], Unavailable)
    assert second == []
    assert intake.ingest.waiting == 2
    for acceptance in intake.handed:
        acceptance.outcome = Outcome.COMMITTED
        acceptance.done(acceptance)
    assert (len(first), len(second), len(intake.owed)) == (1, 1, 2)
    assert (intake.ingest.waiting, intake.ingest.accepted) == (0, 2)
    intake.clock.forward(2)
    intake.ingest.look()
    assert (len(first), len(second)) == (1, 1)


async def test_what_was_answered_already_is_not_routed_anew_and_its_failure_is_no_news() -> None:
    intake = Shared()
    answers = intake.submit(PLAIN)
    intake.submit(PLAIN)
    intake.clock.forward(1)
    intake.ingest.look()
    with capture_logs() as logs:
        for acceptance, outcome in zip(intake.handed, (Outcome.STALE, Outcome.FAILED), strict=True):
            acceptance.outcome = outcome
            acceptance.done(acceptance)
    await turn()
    assert (intake.asked, intake.ingest.waiting, len(answers)) == (0, 0, 1)
    assert logs == []


async def test_catching_up_counts_as_waiting() -> None:
    intake = Shared()
    intake.submit(PLAIN)
    intake.end(Outcome.STALE)
    intake.caught_up.set_result(None)
    intake.clock.forward(0.5)
    await turn()
    intake.clock.forward(0.4)
    assert len(intake.handed) == 2
    answers: list[object] = []
    intake.handed[1].context[0].done = answers.append
    intake.ingest.look()
    assert len(answers) == 1
