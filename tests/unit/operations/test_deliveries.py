"""Deliveries and attempts, read in their own project alone, and without secrets."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.support import database
from tests.support.database import Records
from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound
from waypost.model.page import PageRequest
from waypost.model.shown import AttemptStatus
from waypost.model.subscription import Signing, Subscription
from waypost.model.transform import Language, Transform
from waypost.operations.deliveries import MASKED, Deliveries, DeliveryFilter, position
from waypost.policy.format import NATIVE_FORMATS
from waypost.storage import subscriptions
from waypost.storage.store import Store

PAGE = PageRequest()


class Scene:
    """One event, owed to one subscription."""

    def __init__(self, records: Records) -> None:
        self.caller = records.principal()
        self.stranger = records.principal(project_id=records.other)
        self.subscription = records.subscription(
            headers={"Authorization": "Bearer s3cret", "x-tenant": "t"},
            url="https://receiver.example/hook?token=s3cret",
        )
        self.event_id = records.event("a.b")
        self.delivery_id = records.pending(self.event_id, self.subscription)
        self.sending: set[ids.Id] = set()


@pytest.fixture
def scene(records: Records) -> Scene:
    return Scene(records)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture
async def store(scene: Scene, tmp_path: Path) -> AsyncIterator[Store]:
    async with database.opened(tmp_path / "w.db") as opened:
        yield opened


@pytest.fixture
def deliveries(scene: Scene, store: Store) -> Deliveries:
    return Deliveries(store, lambda: scene.sending, NATIVE_FORMATS)


async def test_what_is_owed_is_listed(deliveries: Deliveries, scene: Scene) -> None:
    for which in (
        DeliveryFilter(),
        DeliveryFilter(event_id=scene.event_id),
        DeliveryFilter(state=DeliveryState.PENDING, subscription_id=scene.subscription.id),
    ):
        page = await deliveries.list_page(scene.caller, PAGE, which)
        assert [one.id for one in page.items] == [scene.delivery_id]
        behind = PageRequest(older_than=position(page.items[0]))
        assert (await deliveries.list_page(scene.caller, behind, which)).items == []


@pytest.mark.parametrize("sending", [False, True])
async def test_an_attempt_to_come_is_shown_in_both_lists(
    deliveries: Deliveries, scene: Scene, sending: bool
) -> None:
    if sending:
        scene.sending.add(scene.delivery_id)
    of_event = await deliveries.attempts_of_event(scene.caller, scene.event_id, PAGE)
    of_subscription = await deliveries.attempts_of_subscription(
        scene.caller, scene.subscription.id, PAGE
    )
    assert of_event == of_subscription
    status = AttemptStatus.SENDING if sending else AttemptStatus.PENDING
    assert [one.status for one in of_event.items] == [status]
    other = AttemptStatus.PENDING if sending else AttemptStatus.SENDING
    for narrowed in (
        await deliveries.attempts_of_event(scene.caller, scene.event_id, PAGE, other),
        await deliveries.attempts_of_subscription(scene.caller, scene.subscription.id, PAGE, other),
    ):
        assert narrowed.items == []


async def test_another_project_finds_nothing(deliveries: Deliveries, scene: Scene) -> None:
    stranger, event_id = scene.stranger, scene.event_id
    attempt_id = (await deliveries.attempts_of_event(scene.caller, event_id, PAGE)).items[0].id
    assert (await deliveries.list_page(stranger, PAGE, DeliveryFilter())).items == []
    with pytest.raises(NotFound, match="event not found"):
        await deliveries.list_page(stranger, PAGE, DeliveryFilter(event_id=event_id))
    with pytest.raises(NotFound, match="event not found"):
        await deliveries.attempts_of_event(stranger, event_id, PAGE)
    with pytest.raises(NotFound, match="event subscription not found"):
        await deliveries.attempts_of_subscription(stranger, scene.subscription.id, PAGE)
    with pytest.raises(NotFound, match="event not found"):
        await deliveries.attempt(stranger, event_id, attempt_id)


async def headers(deliveries: Deliveries, scene: Scene) -> dict[str, str] | None:
    page = await deliveries.attempts_of_event(scene.caller, scene.event_id, PAGE)
    return (await deliveries.attempt(scene.caller, scene.event_id, page.items[0].id))[1]


@pytest.mark.parametrize("signing", list(Signing))
@pytest.mark.parametrize("format_name", list(NATIVE_FORMATS))
async def test_a_requests_headers_are_shown_without_secrets(
    deliveries: Deliveries, scene: Scene, store: Store, signing: Signing, format_name: str
) -> None:
    changed: Subscription = msgspec.structs.replace(
        scene.subscription, signing=signing, format=format_name
    )
    await store.write(lambda c: subscriptions.update(c, changed))
    shown = await headers(deliveries, scene)
    assert shown is not None
    assert shown["host"] == "receiver.example"
    assert shown["webhook-id"] == ids.spell(ids.EVENT, scene.event_id)
    assert shown["webhook-timestamp"] == str(ids.moment(scene.delivery_id) // 1_000_000)
    hidden = ("webhook-signature", "Authorization", "x-tenant")
    assert {shown[name] for name in hidden} == {MASKED}
    assert "s3cret" not in str(shown)
    assert int(shown["content-length"]) > 0


async def test_of_what_a_transform_makes_nothing_is_told(
    deliveries: Deliveries, scene: Scene, store: Store
) -> None:
    program = Transform(Language.TEMPLATE, "[1]")
    changed = msgspec.structs.replace(scene.subscription, transform=program)
    await store.write(lambda c: subscriptions.update(c, changed))
    shown = await headers(deliveries, scene)
    assert shown is not None
    assert "content-length" not in shown


async def test_there_are_no_headers_once_the_subscription_is_deleted(
    deliveries: Deliveries, scene: Scene, store: Store
) -> None:
    place = (scene.caller.project_id, scene.subscription.id)
    await store.write(lambda c: subscriptions.delete(c, *place, 1))
    assert await headers(deliveries, scene) is None


async def test_when_a_subscription_was_last_sent_something_is_told(
    deliveries: Deliveries, scene: Scene
) -> None:
    asked = (scene.subscription.id,)
    assert await deliveries.last_started(scene.caller, asked) == {}
