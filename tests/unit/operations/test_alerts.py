"""Alert endpoints: hidden subscriptions that come, change and go with failure handling."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.database import URL
from tests.support.subscribing import Office, office
from waypost.model import ids
from waypost.model.errors import InvalidSetting
from waypost.model.failure import AlertEndpoint, FailureHandling, OnGivingUp
from waypost.model.page import PageRequest
from waypost.model.subscription import Signing, Subscription
from waypost.policy.failure_settings import BroughtAlertEndpoint, FailureHandlingIn
from waypost.policy.settings import Brought, Settings
from waypost.policy.signing import read_secret
from waypost.storage import signing_keys, subscriptions
from waypost.storage.vault import Vault

ONE, TWO = "https://one.example/", "https://two.example/"
SECRET, OTHER = "whsec_" + "A" * 40, "whsec_" + "B" * 40


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as made:
        yield made


def handling(*endpoints: dict[str, Any]) -> FailureHandlingIn:
    done = ["divert", "alert"] if endpoints else ["divert"]
    fields = {"on_giving_up": done, "alert_endpoints": endpoints}
    return msgspec.json.decode(msgspec.json.encode(fields), type=FailureHandlingIn)


async def made(at: Office, *endpoints: dict[str, Any]) -> Subscription:
    wanted = Settings(url=URL, failure_handling=handling(*endpoints))
    return await at.subscriptions.create(at.records.principal(), wanted)


async def changed(at: Office, one: Subscription, *endpoints: dict[str, Any]) -> Subscription:
    wanted = Settings(failure_handling=handling(*endpoints))
    return await at.subscriptions.update(at.records.principal(), one.id, wanted)


def endpoints_of(one: Subscription) -> tuple[AlertEndpoint, ...]:
    assert one.failure_handling is not None
    return one.failure_handling.alert_endpoints


async def hidden(at: Office, endpoint: AlertEndpoint) -> Subscription:
    place = (ids.alerts_of(at.records.project), endpoint.id)
    return await at.store.read(lambda c: subscriptions.get(c, *place))


async def test_each_is_a_hidden_subscription_with_its_secret(at: Office) -> None:
    one = await made(at, {"url": ONE, "secret": SECRET, "headers": {"x-a": "b"}, "format": "thin"})
    (endpoint,) = endpoints_of(one)
    assert (endpoint.url, endpoint.headers, endpoint.format) == (ONE, {"x-a": "b"}, "thin")
    kept = await hidden(at, endpoint)
    assert (kept.url, kept.headers, kept.format) == (ONE, {"x-a": "b"}, "thin")
    assert kept.failure_handling == FailureHandling(on_giving_up=())
    (told,) = [change for change in at.changes if change[0].id == kept.id]
    assert [key.material for key in told[1]] == [read_secret(SECRET)[1]]
    assert at.router.find(kept.project_id, kept.id) == kept
    listed = await at.subscriptions.list_page(at.records.principal(), PageRequest())
    assert [found.id for found in listed.items] == [one.id]


async def test_its_secret_is_encrypted_where_it_lies(at: Office) -> None:
    (endpoint,) = endpoints_of(await made(at, {"url": ONE, "secret": SECRET}))
    place = (ids.alerts_of(at.records.project), endpoint.id)
    material = read_secret(SECRET)[1]
    rows = await at.store.read(
        lambda c: c.exec_driver_sql("SELECT ciphertext FROM signing_keys").all()
    )
    assert len(rows) == 2
    assert not [row for row in rows if material in row.ciphertext]
    vault: Vault = at.keys._vault
    found = await at.store.read(lambda c: signing_keys.list_all(c, vault, *place))
    assert [(key.scheme, key.material) for key in found] == [(Signing.HMAC, material)]


async def test_the_same_url_keeps_its_subscription_and_its_secret(at: Office) -> None:
    one = await made(at, {"url": ONE, "secret": SECRET}, {"url": TWO, "secret": OTHER})
    first, second = endpoints_of(one)
    at.changes.clear()
    one = await changed(at, one, {"url": TWO, "format": "envelope"})
    (kept,) = endpoints_of(one)
    assert (kept.id, kept.format) == (second.id, "envelope")
    told = {change[0].id: change[1] for change in at.changes}
    assert [key.material for key in told[kept.id]] == [read_secret(OTHER)[1]]
    assert at.deletions == [(ids.alerts_of(at.records.project), first.id)]
    assert at.router.find(ids.alerts_of(at.records.project), first.id) is None
    one = await changed(at, one, {"url": TWO, "secret": SECRET})
    told = {change[0].id: change[1] for change in at.changes}
    assert [key.material for key in told[kept.id]] == [read_secret(SECRET)[1]]


async def test_a_new_one_needs_a_secret_and_nothing_is_changed_without(at: Office) -> None:
    one = await made(at, {"url": ONE, "secret": SECRET})
    with pytest.raises(InvalidSetting) as refusal:
        await changed(at, one, {"url": ONE}, {"url": TWO})
    assert refusal.value.details == (("failure_handling.alert_endpoints[1].secret", "is required"),)
    assert await at.subscriptions.get(at.records.principal(), one.id) == one


async def test_they_go_with_the_setting_and_with_the_subscription(at: Office) -> None:
    hidden_id = ids.alerts_of(at.records.project)
    one = await made(at, {"url": ONE, "secret": SECRET})
    two = await made(at, {"url": ONE, "secret": SECRET})
    (of_one,), (of_two,) = endpoints_of(one), endpoints_of(two)
    caller = at.records.principal()
    await at.subscriptions.update(caller, one.id, Settings(failure_handling=None))
    await at.subscriptions.delete(caller, two.id)
    gone = [place for place in at.deletions if place[0] == hidden_id]
    assert gone == [(hidden_id, of_one.id), (hidden_id, of_two.id)]
    assert await at.store.read(subscriptions.load_all) == [
        await at.subscriptions.get(caller, one.id)
    ]


async def test_other_changes_leave_them_alone(at: Office) -> None:
    one = await made(at, {"url": ONE, "secret": SECRET})
    at.changes.clear()
    caller = at.records.principal()
    again = await at.subscriptions.update(caller, one.id, Settings(description="d"))
    assert endpoints_of(again) == endpoints_of(one)
    assert [change[0].id for change in at.changes] == [one.id]


async def test_one_of_another_api_brings_its_secret_or_gets_one_and_may_move(at: Office) -> None:
    def settings(**endpoint: Any) -> Brought:
        done = (OnGivingUp.ALERT,)
        wanted = FailureHandlingIn(
            on_giving_up=done, alert_endpoints=(BroughtAlertEndpoint(**endpoint),)
        )
        return Brought(url=URL, failure_handling=wanted)

    caller = at.records.principal()
    one = await at.subscriptions.create(caller, settings(url=ONE, particulars={"a": 1}))
    (endpoint,) = endpoints_of(one)
    assert endpoint.particulars == {"a": 1}
    (key,) = (await at.keys.present(caller, [endpoint.id])).values()
    assert len(key.material.decode()) == 64
    moved = settings(url=TWO, follows=ONE, insecure_tls=True)
    (endpoint,) = endpoints_of(await at.subscriptions.update(caller, one.id, moved))
    assert await at.keys.present(caller, [endpoint.id]) == {endpoint.id: key}
    kept = await hidden(at, endpoint)
    assert (kept.url, kept.insecure_tls) == (TWO, True)
    again = settings(url=TWO, follows=TWO, key=b"geheim")
    (endpoint,) = endpoints_of(await at.subscriptions.update(caller, one.id, again))
    (key,) = (await at.keys.present(caller, [endpoint.id])).values()
    assert (key.material, at.deletions) == (b"geheim", [])
