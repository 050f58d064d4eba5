"""An event is explained by the settings of its time; a subscription's health by its attempts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support.database import URL
from tests.support.subscribing import Office, office
from waypost.engine.ingest import Accepted
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound, WaypostError
from waypost.model.failure import Suspension
from waypost.model.flow import LaneState, Wait, Waits
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Principal
from waypost.operations.explaining import Explaining, Sends, Told
from waypost.policy.events import Draft
from waypost.policy.failure_settings import FailureHandlingIn
from waypost.policy.judging import Condition
from waypost.policy.settings import Settings
from waypost.policy.waits import LaneStanding
from waypost.storage import lane_states, subscriptions

PAGE = PageRequest()
ALERTED, SECRET = "https://alerts.example/", "whsec_" + "A" * 40


class Desk:
    """The explanations of an office, and what this process is said to send."""

    def __init__(self, at: Office) -> None:
        self.at = at
        self.sending: set[Id] = set()
        self.owns = True
        self.lane: LaneStanding | None = None
        sends = Sends("me:1", lambda: self.sending, lambda _: self.owns, lambda *_: self.lane)
        self.explaining = Explaining(at.store, sends, at.records.clock)

    async def told(self, caller: Principal, event_id: Id, to: Id) -> Told:
        found = await self.explaining.explain(caller, event_id, PAGE, to)
        [one] = found.page.items
        return one


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


@pytest.fixture
def caller(at: Office) -> Principal:
    return at.records.principal()


@pytest.fixture
def desk(at: Office) -> Desk:
    return Desk(at)


async def posted(at: Office, caller: Principal) -> Id:
    """Have an event."""
    answer: asyncio.Future[list[Accepted] | WaypostError]
    answer = asyncio.get_running_loop().create_future()
    at.ingest.accept(caller, [Draft("card.created", b'{"n":5}')], answer.set_result)
    accepted = await answer
    assert isinstance(accepted, list)
    return accepted[0].id


async def test_what_matched_then_is_told_though_it_would_not_now(
    at: Office, caller: Principal, desk: Desk
) -> None:
    made = await at.subscriptions.create(caller, Settings(url=URL, event_types=("card.*",)))
    off = await at.subscriptions.create(caller, Settings(url=URL, event_types=("book.*",)))
    event_id = await posted(at, caller)
    await at.subscriptions.update(caller, made.id, Settings(event_types=("book.*",)))
    await at.subscriptions.update(caller, off.id, Settings(event_types=("card.*",)))
    told = await desk.told(caller, event_id, made.id)
    assert (told.failed, told.judged_by_then) == (None, True)
    assert told.deliveries[0].delivery.state is DeliveryState.PENDING
    told = await desk.told(caller, event_id, off.id)
    assert told.failed is not None
    assert (told.failed.condition, told.deliveries) == (Condition.EVENT_TYPES, [])
    assert told.summary == ('not owed: event_type is "card.created", which is none of ["book.*"]')
    # A change that routing does not go by leaves nothing behind.
    await at.subscriptions.update(caller, made.id, Settings(description="x"))
    later = await posted(at, caller)
    assert (await desk.told(caller, later, made.id)).failed is not None


async def test_what_was_disabled_deleted_or_not_there_yet_is_told(
    at: Office, caller: Principal, desk: Desk
) -> None:
    off = await at.subscriptions.create(caller, Settings(url=URL, disabled=True))
    gone = await at.subscriptions.create(caller, Settings(url=URL))
    event_id = await posted(at, caller)
    await at.subscriptions.update(caller, off.id, Settings(disabled=False))
    at.records.clock.forward(1)
    await at.subscriptions.delete(caller, gone.id)
    late = await at.subscriptions.create(caller, Settings(url=URL))
    conditions = {}
    for one in (off, gone, late):
        failed = (await desk.told(caller, event_id, one.id)).failed
        conditions[one.id] = None if failed is None else failed.condition
    assert conditions == {
        off.id: Condition.DISABLED,
        gone.id: None,
        late.id: Condition.CREATED_LATER,
    }
    assert (await desk.told(caller, event_id, gone.id)).listed.deleted_at_us is not None


async def test_a_pending_delivery_tells_what_it_waits_for(
    at: Office, caller: Principal, desk: Desk
) -> None:
    made = await at.subscriptions.create(caller, Settings(url=URL))
    event_id = await posted(at, caller)

    async def kinds() -> list[str]:
        told = await desk.told(caller, event_id, made.id)
        return [wait.kind for wait in told.deliveries[0].waits]

    at.records.clock.forward(1)
    assert await kinds() == ["turn"]
    told = await desk.told(caller, event_id, made.id)
    assert told.owner == "me:1"
    desk.lane = LaneStanding(4, 4, 4)
    assert await kinds() == ["concurrency"]
    desk.sending = {told.deliveries[0].delivery.id}
    assert await kinds() == ["in_flight"]
    desk.sending = set()
    desk.owns = False
    assert await kinds() == ["owner"]
    assert (await desk.told(caller, event_id, made.id)).owner is None
    desk.owns, desk.lane = True, None
    await at.subscriptions.pause(caller, made.id)
    assert await kinds() == ["paused"]


async def test_what_holds_up_a_lane_is_told_by_its_owner_or_as_that_has_written(
    at: Office, caller: Principal, desk: Desk
) -> None:
    made = await at.subscriptions.create(caller, Settings(url=URL))
    event_id = await posted(at, caller)
    at.records.clock.forward(1)
    until_us = at.records.clock.now_us() + 60_000_000
    state = LaneState(waits=Waits(Wait.BREAKER_OPEN, until_us))
    await at.store.write(lambda c: lane_states.save(c, caller.project_id, made.id, state))

    async def found() -> list[tuple[str, int | None]]:
        told = await desk.told(caller, event_id, made.id)
        return [(wait.kind, wait.until_us) for wait in told.deliveries[0].waits]

    desk.owns = False
    assert await found() == [("owner", None), ("breaker_open", until_us)]
    desk.owns, desk.lane = True, LaneStanding(held=Waits(Wait.RATE_LIMIT))
    assert await found() == [("rate_limit", None)]
    desk.lane = LaneStanding()
    assert await found() == [("turn", None)]


async def test_a_suspension_is_waited_for_and_does_not_change_who_matches(
    at: Office, caller: Principal, desk: Desk
) -> None:
    made = await at.subscriptions.create(caller, Settings(url=URL))
    before = await posted(at, caller)
    why = Suspension(at.records.clock.now_us(), before, "500", "no")
    await at.store.write(lambda c: subscriptions.set_suspended(c, caller.project_id, made.id, why))
    meanwhile = await posted(at, caller)
    at.records.clock.forward(1)
    for event_id in (before, meanwhile):
        told = await desk.told(caller, event_id, made.id)
        assert (told.failed, told.judged_by_then) == (None, True)
        assert [wait.kind for wait in told.deliveries[0].waits] == ["suspended"]
    await at.subscriptions.unsuspend(caller, made.id)
    told = await desk.told(caller, before, made.id)
    assert (told.failed, told.judged_by_then) == (None, True)
    assert [wait.kind for wait in told.deliveries[0].waits] == ["turn"]


async def test_alert_endpoints_are_told_of_nowhere(
    at: Office, caller: Principal, desk: Desk
) -> None:
    asked = {"on_giving_up": ["alert"], "alert_endpoints": [{"url": ALERTED, "secret": SECRET}]}
    handling = msgspec.convert(asked, FailureHandlingIn)
    made = await at.subscriptions.create(caller, Settings(url=URL, failure_handling=handling))
    assert made.failure_handling is not None
    hidden = made.failure_handling.alert_endpoints[0].id
    event_id = await posted(at, caller)
    found = await desk.explaining.explain(caller, event_id, PAGE)
    assert [one.listed.id for one in found.page.items] == [made.id]
    assert (await desk.explaining.explain(caller, event_id, PAGE, hidden)).page.items == []
    with pytest.raises(NotFound, match="subscription not found"):
        await desk.explaining.health(caller, hidden)


async def test_only_the_project_s_own_is_explained(
    at: Office, caller: Principal, desk: Desk
) -> None:
    made = await at.subscriptions.create(caller, Settings(url=URL))
    event_id = await posted(at, caller)
    stranger = at.records.principal(project_id=at.records.other)
    with pytest.raises(NotFound, match="event not found"):
        await desk.explaining.explain(stranger, event_id, PAGE)
    with pytest.raises(NotFound, match="subscription not found"):
        await desk.explaining.health(stranger, made.id)


async def test_health_tells_backlog_and_lane(at: Office, caller: Principal, desk: Desk) -> None:
    made = await at.subscriptions.create(caller, Settings(url=URL))
    health = await desk.explaining.health(caller, made.id)
    assert (health.backlog.size, health.oldest_age_us, health.last_error) == (0, None, None)
    await posted(at, caller)
    at.records.clock.forward(3)
    desk.lane = LaneStanding(1, 2, 3)
    health = await desk.explaining.health(caller, made.id)
    assert (health.backlog.size, health.backlog.exact) == (1, True)
    assert health.oldest_age_us == pytest.approx(3_000_000, abs=10)
    assert (health.owner, health.lane) == ("me:1", desk.lane)
