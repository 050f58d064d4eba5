"""What is asked for again is owed in the transaction that answers, or kept as a job."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.database import URL
from tests.support.subscribing import Office, office
from waypost.model import ids
from waypost.model.delivery import DeliveryClass
from waypost.model.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    InvalidSetting,
    NotFound,
)
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Principal
from waypost.model.replay import Order, Plan, ReplayKind, ReplayState, Route
from waypost.model.subscription import Subscription
from waypost.operations.event_types import EventTypeIn
from waypost.operations.replays import Wanted
from waypost.policy.settings import Settings
from waypost.storage import events, queue, selecting
from waypost.storage.connection import Connection


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


@pytest.fixture
def caller(at: Office) -> Principal:
    return at.records.principal()


async def made(at: Office, caller: Principal, types: tuple[str, ...] = ()) -> Subscription:
    return await at.subscriptions.create(caller, Settings(url=URL, event_types=types))


async def example(at: Office, caller: Principal, to: Subscription) -> Id:
    """Have an event in the store, and the lanes told of nothing."""
    event_id = await at.examples.send(caller, to.id, "card.created")
    at.committed_events.clear()
    return event_id


async def lane(at: Office, of: Subscription) -> list[queue.LaneRow]:
    def read(connection: Connection) -> queue.LaneHead:
        wanted = queue.LaneWanted(of.project_id, of.id, 100)
        return queue.read_heads(connection, [wanted], payload_max=1_000_000)[0]

    return (await at.store.read(read)).rows


async def test_an_event_is_owed_again_whatever_the_filter_says(
    at: Office, caller: Principal
) -> None:
    first, other = await made(at, caller), await made(at, caller, ("book.*",))
    event_id = await example(at, caller, first)
    await at.replays.resend(caller, event_id, other.id)
    [owed] = at.owed
    [row] = await lane(at, other)
    assert row.owed == owed
    assert (owed.event_id, owed.kind, owed.attempts) == (event_id, DeliveryClass.REPLAY, 0)
    assert owed.due_us <= at.records.clock.now_us() + 1000


async def test_what_is_not_there_is_not_owed(at: Office, caller: Principal) -> None:
    to = await made(at, caller)
    event_id = await example(at, caller, to)
    stranger = at.records.principal(project_id=at.records.other)
    nothing = at.records.ids.next()
    for who, event, subscription, what in (
        (caller, nothing, to.id, "event not found"),
        (caller, event_id, nothing, "event subscription not found"),
        (stranger, event_id, to.id, "event not found"),
    ):
        with pytest.raises(NotFound, match=what):
            await at.replays.resend(who, event, subscription)
    assert at.owed == []


async def test_a_disabled_subscription_is_owed_nothing(at: Office, caller: Principal) -> None:
    to = await made(at, caller)
    event_id = await example(at, caller, to)
    await at.subscriptions.update(caller, to.id, Settings(disabled=True))
    with pytest.raises(Conflict):
        await at.replays.resend(caller, event_id, to.id)
    for kind in (ReplayKind.RECOVER, ReplayKind.MISSING):
        with pytest.raises(Conflict):
            await at.replays.start(caller, kind, to.id, None, None)
    with pytest.raises(Conflict):
        await at.examples.send(caller, to.id, None)
    assert (at.owed, at.woken, len(await lane(at, to))) == ([], 0, 1)


async def test_a_paused_subscription_is_owed_what_is_asked_for(
    at: Office, caller: Principal
) -> None:
    to = await made(at, caller)
    event_id = await example(at, caller, to)
    await at.subscriptions.pause(caller, to.id)
    await at.replays.resend(caller, event_id, to.id)
    assert len(at.owed) == 1


async def test_a_job_is_kept_and_the_replayer_woken(at: Office, caller: Principal) -> None:
    to = await made(at, caller)
    job = await at.replays.start(caller, ReplayKind.RECOVER, to.id, None, None)
    assert at.woken == 1
    assert await at.replays.get(caller, job.id) == job
    assert (job.state, job.begin_us) == (ReplayState.RUNNING, 0)
    assert (await at.replays.list_page(caller, PageRequest(), to.id)).items == [job]
    stranger = at.records.principal(project_id=at.records.other)
    assert (await at.replays.list_page(stranger, PageRequest())).items == []
    with pytest.raises(NotFound):
        await at.replays.get(stranger, job.id)
    with pytest.raises(NotFound):
        await at.replays.start(stranger, ReplayKind.RECOVER, to.id, None, None)


@pytest.mark.parametrize("begin_us, end_us", [(-5, 10**18), (7, None), (10**18, 3), (9, 9)])
async def test_a_range_ends_now_at_the_latest(
    at: Office, caller: Principal, begin_us: int, end_us: int | None
) -> None:
    to = await made(at, caller)
    job = await at.replays.start(caller, ReplayKind.MISSING, to.id, begin_us, end_us)
    assert job.begin_us == max(begin_us, 0)
    assert 0 <= job.end_us <= at.records.clock.now_us() + 1000


async def test_an_example_is_a_stored_event_for_one_subscription_alone(
    at: Office, caller: Principal
) -> None:
    one, other = await made(at, caller), await made(at, caller)
    event_id = await at.examples.send(caller, one.id, "card.created")
    event = await at.store.read(lambda c: events.get(c, caller.project_id, event_id))
    assert event.attributes.example
    assert msgspec.json.decode(event.payload) == {"event_type": "card.created"}
    [row] = await lane(at, one)
    assert row.event == event
    assert await lane(at, other) == []
    assert [(to, told.id) for to, told in at.committed_events] == [(one.id, event_id)]


@pytest.mark.parametrize(
    "filter_of, catalogue, expected",
    [
        ((), (), "example"),
        (("a.b", "c"), (), "a.b"),
        (("c.*", "a.b"), (), "a.b"),
        (("c.*",), ("a.b", "c.d"), "c.d"),
        ((), ("a.b", "c.d"), "a.b"),
        (("x.*",), ("a.b",), "example"),
    ],
)
async def test_an_example_is_of_a_type_that_the_subscription_asks_for(
    at: Office,
    caller: Principal,
    filter_of: tuple[str, ...],
    catalogue: tuple[str, ...],
    expected: str,
) -> None:
    entries = [EventTypeIn(name, "", msgspec.Raw(b'{"n": 1.10}')) for name in catalogue]
    await at.event_types.replace(caller, entries)
    to = await made(at, caller, filter_of)
    event_id = await at.examples.send(caller, to.id, None)
    event = await at.store.read(lambda c: events.get(c, caller.project_id, event_id))
    assert event.type == expected
    assert b'"event_type":"%b"' % expected.encode() in event.payload
    assert (b"1.10" in event.payload) == (expected in catalogue)


async def test_an_example_of_no_type_is_refused(at: Office, caller: Principal) -> None:
    to = await made(at, caller)
    for bad in ("", "a b", "a\n", "x" * 257):
        with pytest.raises(InvalidInput, match="event_type"):
            await at.examples.send(caller, to.id, bad)
    await at.event_types.replace(caller, [EventTypeIn("a")])
    at.catalogue.set_strict(caller.project_id, True)
    with pytest.raises(InvalidInput, match="event_type"):
        await at.examples.send(caller, to.id, "b")
    with pytest.raises(NotFound):
        await at.examples.send(caller, at.records.ids.next(), "a")
    assert at.committed_events == []


def wanted(to: Id | None = None, key: str | None = None, **plan: Any) -> Wanted:
    if to is not None:
        plan["route"] = Route.TO
    return Wanted(ReplayKind.SELECTED, Plan(**plan), to=to, key=key)


async def test_the_same_request_with_a_key_is_one_job(at: Office, caller: Principal) -> None:
    to = await made(at, caller)
    first = await at.replays.ask(caller, wanted(to.id, "k", rate=5.0))
    assert await at.replays.ask(caller, wanted(to.id, "k", rate=5.0)) == first
    for other in (wanted(to.id, "k"), wanted(None, "k", rate=5.0)):
        with pytest.raises(IdempotencyMismatch):
            await at.replays.ask(caller, other)
    stranger = at.records.principal(project_id=at.records.other)
    assert (await at.replays.ask(stranger, wanted(None, "k"))).id != first.id
    assert (await at.replays.ask(caller, wanted(to.id, rate=5.0))).id != first.id
    assert len((await at.replays.list_page(caller, PageRequest())).items) == 2


async def test_a_job_begins_at_the_end_that_it_is_asked_to(at: Office, caller: Principal) -> None:
    for order, position in ((Order.OLDEST_FIRST, ids.FIRST), (Order.NEWEST_FIRST, ids.LAST)):
        job = await at.replays.ask(caller, wanted(order=order))
        assert (job.position, job.plan.order) == (position, order)


@pytest.mark.parametrize(
    "bad, path",
    [
        (wanted(event_types=("a b",)), "filter.event_types[0]"),
        (wanted(route=Route.TO), "to"),
        (Wanted(ReplayKind.SELECTED, Plan(), to=ids.LAST), "to"),
        (Wanted(ReplayKind.SELECTED, Plan(), 5, 5), "filter.end"),
        (wanted(content='{"body":{"n":{"$regex":"("}}}'), "filter.content.body.n.$regex"),
        (wanted(content='{"nobody":{}}'), "filter.content.nobody"),
    ],
)
async def test_what_contradicts_itself_is_refused_with_its_place(
    at: Office, caller: Principal, bad: Wanted, path: str
) -> None:
    for act in (at.replays.ask, at.replays.dry_run):
        with pytest.raises(InvalidInput) as caught:
            await act(caller, bad)
        assert [place for place, _ in caught.value.details] == [path]
        assert isinstance(caught.value, InvalidSetting) is (bad.plan.content is not None)
    assert at.woken == 0


async def test_subscriptions_that_a_job_names_must_be_there(at: Office, caller: Principal) -> None:
    to, gone = await made(at, caller), await made(at, caller)
    nothing = at.records.ids.next()
    for absent in (wanted(nothing), wanted(of=nothing)):
        for act in (at.replays.ask, at.replays.dry_run):
            with pytest.raises(NotFound, match="event subscription"):
                await act(caller, absent)
    await at.subscriptions.delete(caller, gone.id)
    # What a deleted one was owed can still be sent to others.
    await at.replays.ask(caller, wanted(to.id, of=gone.id))
    await at.subscriptions.update(caller, to.id, Settings(disabled=True))
    with pytest.raises(Conflict):
        await at.replays.ask(caller, wanted(to.id))


async def test_a_dry_run_counts_and_keeps_nothing(at: Office, caller: Principal) -> None:
    one, two = await made(at, caller), await made(at, caller, ("book.*",))
    events_ = [await example(at, caller, one) for _ in range(12)]
    found = await at.replays.dry_run(caller, wanted(two.id))
    assert (found.looked, found.complete, found.events, found.deliveries) == (12, True, 12, 12)
    assert found.by_subscription == {two.id: 12}
    assert [sample.event_id for sample in found.samples] == events_[:10]
    assert {sample.event_type for sample in found.samples} == {"card.created"}
    # Those are owed to it already.
    assert (await at.replays.dry_run(caller, wanted(one.id))).deliveries == 0
    assert (await at.replays.list_page(caller, PageRequest())).items == []
    assert (at.owed, at.woken) == ([], 0)


async def test_a_dry_run_ends_some_time(
    at: Office, caller: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "SLICE", 1)
    one, two = await made(at, caller), await made(at, caller)
    for _ in range(25):
        await example(at, caller, one)
    found = await at.replays.dry_run(caller, wanted(two.id))
    assert (found.looked, found.complete, found.deliveries) == (20, False, 20)


async def test_a_person_pauses_resumes_and_cancels(at: Office, caller: Principal) -> None:
    job = await at.replays.ask(caller, wanted())
    stranger = at.records.principal(project_id=at.records.other)
    for act in (at.replays.pause, at.replays.resume, at.replays.cancel):
        with pytest.raises(NotFound):
            await act(stranger, job.id)
    assert (await at.replays.pause(caller, job.id)).state is ReplayState.PAUSED
    woken = at.woken
    assert (await at.replays.resume(caller, job.id)).state is ReplayState.RUNNING
    assert at.woken == woken + 1
    assert (await at.replays.cancel(caller, job.id)).state is ReplayState.CANCELLED
    with pytest.raises(Conflict):
        await at.replays.resume(caller, job.id)
