"""Secrets: shown, rotated with an overlap, published where they may be."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import time_machine
from standardwebhooks import Webhook

from tests.support.database import URL
from tests.support.subscribing import Office, office
from waypost.model.api import Api
from waypost.model.errors import Conflict, LimitReached, NotFound
from waypost.model.subscription import Signing
from waypost.operations import signing_keys
from waypost.operations.signing_keys import Rotation
from waypost.policy import signing
from waypost.policy.settings import Settings

DAY_S = 86_400


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Office]:
    async with office(tmp_path) as opened:
        yield opened


def signature(at: Office) -> dict[str, str]:
    """Sign as the dispatcher would now; return the headers."""
    now_s = at.records.clock.now_us() // 1_000_000
    value = signing.sign(at.last_keys, "evt_1", now_s, b"{}")
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now_s),
        "webhook-signature": value.decode(),
    }


def is_good(at: Office, secret: str) -> bool:
    """Verify as a receiver that holds one secret."""
    headers = signature(at)
    try:
        signing.verify(
            [secret],
            headers["webhook-id"].encode(),
            headers["webhook-timestamp"].encode(),
            headers["webhook-signature"].encode(),
            b"{}",
            now_s=int(headers["webhook-timestamp"]),
        )
    except signing.SignatureInvalid:
        return False
    return True


async def test_the_secret_that_is_shown_is_the_one_that_signs(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL))
    secret = await at.keys.secret(caller, made.id)
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    with time_machine.travel(at.records.clock.now_us() / 1_000_000):
        Webhook(secret).verify(b"{}", signature(at))


async def test_during_a_rotation_both_secrets_are_good_and_then_the_new_one(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL))
    old = await at.keys.secret(caller, made.id)
    await at.keys.rotate(caller, made.id)
    new = await at.keys.secret(caller, made.id)
    assert new != old
    assert (is_good(at, old), is_good(at, new)) == (True, True)
    at.records.clock.forward(DAY_S - 1)
    assert (is_good(at, old), is_good(at, new)) == (True, True)
    at.records.clock.forward(2)
    assert (is_good(at, old), is_good(at, new)) == (False, True)


async def test_how_long_the_old_secret_stays_good_may_be_said(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL))
    first = (await at.keys.valid(caller, made.id))[0]
    hour = Rotation(3_600_000_000, alone=True)
    await at.keys.rotate(caller, made.id, hour)
    second, old = await at.keys.valid(caller, made.id)
    assert (old.id, second.expires_at_us) == (first.id, None)
    with pytest.raises(Conflict):
        await at.keys.rotate(caller, made.id, hour)
    at.records.clock.forward(3_601)
    assert await at.keys.valid(caller, made.id) == (second,)
    await at.keys.rotate(caller, made.id, Rotation(0, alone=True))
    (third,) = await at.keys.valid(caller, made.id)
    assert third.id != second.id
    await at.keys.rotate(caller, made.id, hour)
    with pytest.raises(NotFound):
        await at.keys.rotate(caller, made.id, api=Api.STEDI)
    with pytest.raises(NotFound):
        await at.keys.valid(caller, made.id, api=Api.STEDI)


async def test_after_a_restart_the_same_keys_are_loaded(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL))
    await at.keys.rotate(caller, made.id)
    assert await at.keys.load() == {made.id: at.last_keys}


async def test_ten_old_secrets_may_be_valid_at_once(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL))
    for _ in range(10):
        await at.keys.rotate(caller, made.id)
    before = await at.keys.secret(caller, made.id)
    assert len(at.last_keys) == 11
    with pytest.raises(LimitReached):
        await at.keys.rotate(caller, made.id)
    assert await at.keys.secret(caller, made.id) == before
    at.records.clock.forward(DAY_S + 1)
    await at.keys.rotate(caller, made.id)
    assert len(at.last_keys) == 2


async def test_of_an_ed25519_key_only_the_public_half_is_shown(at: Office) -> None:
    caller = at.records.principal()
    made = await at.subscriptions.create(caller, Settings(url=URL, signing=Signing.ED25519))
    public = await at.keys.secret(caller, made.id)
    [key] = at.last_keys
    assert public.startswith("whpk_")
    assert base64.b64decode(public.removeprefix("whpk_")) != key.material
    assert is_good(at, public)


async def test_public_keys_are_published_until_they_expire(at: Office) -> None:
    caller = at.records.principal()
    one = await at.subscriptions.create(caller, Settings(url=URL, signing=Signing.ED25519))
    other = await at.subscriptions.create(caller, Settings(url=URL, signing=Signing.ED25519))
    hmac = await at.subscriptions.create(caller, Settings(url=URL))
    [first] = at.keys.published(one.id)
    assert (first["kty"], first["crv"], "d" in first) == ("OKP", "Ed25519", False)
    assert at.keys.published(hmac.id) == []
    assert len(at.keys.published()) == 2
    await at.keys.rotate(caller, one.id)
    both = at.keys.published(one.id)
    assert len(both) == 2
    assert first in both
    at.records.clock.forward(DAY_S + 1)
    assert at.keys.published(one.id) == [key for key in both if key != first]
    await at.subscriptions.update(caller, other.id, Settings(signing=Signing.HMAC))
    assert len(at.keys.published()) == 2
    at.records.clock.forward(DAY_S + 1)
    assert len(at.keys.published()) == 1


async def test_an_answer_is_bounded(at: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing_keys, "PUBLISHED_MAX", 2)
    caller = at.records.principal()
    for _ in range(3):
        await at.subscriptions.create(caller, Settings(url=URL, signing=Signing.ED25519))
    assert len(at.keys.published()) == 2
