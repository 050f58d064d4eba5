"""Diverted events: sent again as new deliveries, or taken out for good."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import select

from tests.support import database
from tests.support.database import Records
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed
from waypost.model.errors import Conflict, InvalidInput, NotFound
from waypost.model.page import PageRequest
from waypost.model.project import Principal
from waypost.model.subscription import DisabledBy
from waypost.operations import diverted as operation
from waypost.operations.diverted import Diverted, DivertedFilter
from waypost.storage import deliveries, subscriptions
from waypost.storage import diverted as boxes
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.schema import audit
from waypost.storage.store import Store


class Scene:
    """One diverted event of an enabled subscription, and one of a disabled one."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.caller = records.principal()
        self.subscription = records.subscription()
        self.disabled = records.subscription(disabled_by=DisabledBy.GONE)
        self.event_id = records.event()
        self.diverted_id = records.ended(self.event_id, self.subscription, DeliveryState.FAILED)
        self.of_disabled = records.ended(self.event_id, self.disabled, DeliveryState.FAILED)
        self.sent: list[Owed] = []

    def owed(self, owed: Sequence[Owed]) -> None:
        self.sent += owed


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(database.make(tmp_path / "w.db"))


@pytest.fixture
async def store(scene: Scene, tmp_path: Path) -> AsyncIterator[Store]:
    async with database.opened(tmp_path / "w.db") as opened:
        yield opened


@pytest.fixture
def diverted(scene: Scene, store: Store) -> Diverted:
    return Diverted(store, scene, scene.records.ids)


async def box(diverted: Diverted, caller: Principal) -> list[ids.Id]:
    page = await diverted.list_page(caller, PageRequest())
    return [one.id for one in page.items]


async def test_it_is_owed_again_and_leaves_the_box(
    diverted: Diverted, scene: Scene, store: Store
) -> None:
    delivery_id = await diverted.resend(scene.caller, scene.diverted_id)
    assert scene.sent == [
        Owed(
            scene.caller.project_id,
            delivery_id,
            scene.event_id,
            scene.subscription.id,
            DeliveryClass.REPLAY,
            ids.moment(delivery_id),
        )
    ]
    assert await box(diverted, scene.caller) == [scene.of_disabled]
    which = DeliveryFilter(event_id=scene.event_id, subscription_id=scene.subscription.id)
    page = await store.read(
        lambda c: deliveries.list_page(c, scene.caller.project_id, PageRequest(), which)
    )
    assert [(one.id, one.state) for one in page.items] == [
        (delivery_id, DeliveryState.PENDING),
        (scene.diverted_id, DeliveryState.FAILED),
    ]


async def test_it_is_owed_again_but_once(diverted: Diverted, scene: Scene) -> None:
    await diverted.resend(scene.caller, scene.diverted_id)
    with pytest.raises(NotFound, match="diverted event"):
        await diverted.resend(scene.caller, scene.diverted_id)
    assert len(scene.sent) == 1


async def test_nothing_is_owed_to_who_is_disabled_or_deleted(
    diverted: Diverted, scene: Scene, store: Store
) -> None:
    with pytest.raises(Conflict, match="disabled"):
        await diverted.resend(scene.caller, scene.of_disabled)
    place = (scene.caller.project_id, scene.subscription.id)
    await store.write(lambda c: subscriptions.delete(c, *place, 1))
    with pytest.raises(Conflict, match="deleted"):
        await diverted.resend(scene.caller, scene.diverted_id)
    assert scene.sent == []
    assert await box(diverted, scene.caller) == [scene.of_disabled, scene.diverted_id]


async def test_what_is_deleted_leaves_the_name_of_who_did_it(
    diverted: Diverted, scene: Scene, store: Store
) -> None:
    await diverted.delete(scene.caller, scene.diverted_id)
    assert await box(diverted, scene.caller) == [scene.of_disabled]
    with pytest.raises(NotFound):
        await diverted.get(scene.caller, scene.diverted_id)
    row = await store.read(lambda c: c.execute(select(audit)).one())
    token = ids.spell(ids.DELIVERY, scene.diverted_id)
    assert (row.key_id, row.action, row.subject) == (
        scene.caller.key_id,
        "diverted_event.delete",
        token,
    )


async def test_another_project_finds_nothing(diverted: Diverted, scene: Scene) -> None:
    stranger = scene.records.principal(project_id=scene.records.other)
    assert await box(diverted, stranger) == []
    for call in (diverted.get, diverted.resend, diverted.delete):
        with pytest.raises(NotFound, match="diverted event"):
            await call(stranger, scene.diverted_id)
    assert (await diverted.get(scene.caller, scene.diverted_id)).event_id == scene.event_id


async def test_many_are_deleted_and_who_did_is_kept_by_name(
    diverted: Diverted, scene: Scene, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "CHUNK", 1)
    scene.records.clock.forward(1)
    which = DivertedFilter(scene.subscription.id, ("card.*",))
    assert await diverted.delete_many(scene.caller, which, None, None) == (1, False)
    assert await box(diverted, scene.caller) == [scene.of_disabled]
    [kept] = await store.read(lambda c: c.execute(select(audit)).all())
    assert (kept.key_id, kept.key_name) == (scene.caller.key_id, "test")
    assert kept.action == "diverted_events.delete"
    said = msgspec.json.decode(kept.subject)
    assert said == {
        "count": 1,
        "event_subscription": ids.spell(ids.SUBSCRIPTION, scene.subscription.id),
        "event_types": ["card.*"],
    }


async def test_one_request_deletes_a_bounded_number(
    diverted: Diverted, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boxes, "CHUNK", 1)
    monkeypatch.setattr(operation, "_DELETE_PARTS", 1)
    scene.records.clock.forward(1)
    everything = (scene.caller, DivertedFilter(), None, None)
    assert await diverted.delete_many(*everything) == (1, True)
    assert await diverted.delete_many(*everything) == (1, True)
    assert await diverted.delete_many(*everything) == (0, False)


async def test_what_is_deleted_is_of_the_range(diverted: Diverted, scene: Scene) -> None:
    now_us = scene.records.clock.now_us()
    scene.records.clock.forward(1)
    which = DivertedFilter()
    assert await diverted.delete_many(scene.caller, which, now_us + 10_000, None) == (0, False)
    assert await diverted.delete_many(scene.caller, which, None, 5) == (0, False)
    for bad in ((7, 7), (9, 7)):
        with pytest.raises(InvalidInput, match=r"filter\.end"):
            await diverted.delete_many(scene.caller, which, *bad)
    with pytest.raises(InvalidInput, match=r"filter\.event_types"):
        await diverted.delete_many(scene.caller, DivertedFilter(types=("a b",)), None, None)
    assert await diverted.delete_many(scene.caller, which, 0, 2**56) == (2, False)


async def test_by_its_event_it_is_found_sent_again_and_deleted(
    diverted: Diverted, scene: Scene, store: Store
) -> None:
    place = (scene.subscription.id, scene.event_id)
    again = scene.records.ended(scene.event_id, scene.subscription, DeliveryState.FAILED)
    rows = await diverted.list_slice(scene.caller, scene.subscription.id, 0, 10)
    assert [row.id for row in rows] == [again]
    assert (await diverted.get_latest(scene.caller, *place)).id == again
    await diverted.resend_latest(scene.caller, *place)
    [owed] = scene.sent
    assert (owed.event_id, owed.kind) == (scene.event_id, DeliveryClass.REPLAY)
    assert await diverted.list_slice(scene.caller, scene.subscription.id, 0, 10) == []
    scene.records.ended(scene.event_id, scene.subscription, DeliveryState.FAILED)
    await diverted.delete_latest(scene.caller, *place)
    actions = await store.read(lambda c: c.execute(select(audit.c.action, audit.c.key_name)).all())
    assert sorted(map(tuple, actions)) == [(operation.DELETED, "test"), (operation.RESENT, "test")]
    stranger = scene.records.principal(project_id=scene.records.other)
    for act in (diverted.get_latest, diverted.resend_latest, diverted.delete_latest):
        for caller in (scene.caller, stranger):
            with pytest.raises(NotFound):
                await act(caller, *place)
    with pytest.raises(NotFound):
        await diverted.list_slice(stranger, scene.subscription.id, 0, 10)
    with pytest.raises(Conflict):
        await diverted.resend_latest(scene.caller, scene.disabled.id, scene.event_id)
