"""Probes: an example is sent, and its first attempt is what is answered."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records
from tests.support.engine import KEY, Works, works
from tests.support.waiting import until
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.errors import Conflict, NotFound, NotPermitted, Unavailable
from waypost.model.failure import Suspension
from waypost.model.project import Scope
from waypost.model.shown import AttemptStatus
from waypost.model.subscription import Subscription
from waypost.model.transform import Language, Skipped, Transform
from waypost.model.verification import Verification, VerificationMode
from waypost.operations import probes
from waypost.operations.event_types import Catalogue
from waypost.operations.probes import Probe, Probes
from waypost.operations.replays import Examples
from waypost.storage import subscriptions


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture
async def at(records: Records, tmp_path: Path) -> AsyncIterator[Works]:
    async with works(records, tmp_path / "w.db") as engine:
        yield engine


async def made(at: Works, **settings: object) -> Subscription:
    """Have a subscription that the engine knows."""
    one = at.records.subscription(**settings)
    found = await at.store.read(subscriptions.load_all)
    at.router.load(at.store.committer.versions, found)
    at.dispatcher._receivers.load({one.id: (KEY,)})
    return one


async def sent(at: Works, one: Subscription, patience_s: float = 5.0) -> Probe:
    """Send a probe; the clock goes on meanwhile."""
    asked = Probes(
        at.store, Examples(at.store, at.ingest, Catalogue()), at.router.defaults, patience_s
    )
    sending = asyncio.create_task(asked.send(at.principal, one.id, "a.b"))

    def is_sent() -> bool:
        if not (at.receivers.posts or at.runs.all):
            at.clock.forward(0.01)  # ids run ahead of a clock that stands
            at.dispatcher.go_on()
        return sending.done()

    await until(is_sent)
    return await sending


@pytest.mark.parametrize(
    "status, expected, state",
    [
        (200, AttemptStatus.SUCCESS, DeliveryState.DELIVERED),
        (500, AttemptStatus.FAILED, DeliveryState.PENDING),
        (410, AttemptStatus.FAILED, DeliveryState.FAILED),
    ],
)
async def test_what_came_of_the_first_attempt_is_told(
    at: Works, status: int, expected: AttemptStatus, state: DeliveryState
) -> None:
    one = await made(at)
    at.receivers.script = lambda post: post.answer(status, body=b"text")
    probe = await sent(at, one)
    assert probe.attempt is not None
    assert (probe.attempt.status, probe.attempt.status_code) == (expected, status)
    assert (probe.attempt.response, probe.delivery.state) == (b"text", state)


async def test_what_a_transform_skips_has_no_attempt(at: Works) -> None:
    one = await made(at, transform=Transform(Language.JAVASCRIPT, "x"))
    at.runs.script = lambda _: Skipped()
    probe = await sent(at, one)
    assert probe.attempt is None
    assert (probe.delivery.state, probe.delivery.reason) == (
        DeliveryState.CANCELLED,
        Reason.SKIPPED,
    )


async def test_who_does_not_answer_in_time_is_not_waited_for(at: Works) -> None:
    one = await made(at, timeout_s=0.1)
    probe = await sent(at, one, 0.0)
    assert not probe.has_ended
    assert probe.attempt is not None
    assert probe.attempt.status is AttemptStatus.PENDING


@pytest.mark.parametrize(
    "settings, text",
    [
        ({"paused": True}, "paused"),
        ({"suspension": Suspension(5, b"e" * 16, "500", "status 500")}, "suspended"),
        ({"verification": Verification(VerificationMode.CHALLENGE)}, "not verified"),
    ],
)
async def test_where_nothing_would_be_sent_it_is_refused(
    at: Works, settings: dict[str, object], text: str
) -> None:
    one = await made(at, **settings)
    with pytest.raises(Conflict, match=text):
        await sent(at, one)
    assert await at.count("events") == 0


async def test_who_may_not_ask_is_refused(at: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await made(at)
    asked = Probes(at.store, Examples(at.store, at.ingest, Catalogue()), at.router.defaults)
    for principal, expected in (
        (at.records.principal(Scope.SUBSCRIPTIONS_WRITE), NotPermitted),
        (at.records.principal(project_id=at.records.other), NotFound),
    ):
        with pytest.raises(expected):
            await asked.send(principal, one.id, None)
    monkeypatch.setattr(probes, "AT_ONCE", 0)
    with pytest.raises(Unavailable):
        await asked.send(at.principal, one.id, None)
    assert asked._waited_for == 0
