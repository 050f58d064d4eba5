"""Signing keys: found again by their subscription, unreadable in the file."""

import base64
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.support import database
from tests.support.database import Records
from waypost.clock import SystemEntropy
from waypost.model.errors import ConfigInvalid
from waypost.model.subscription import Signing, SigningKey, Subscription
from waypost.storage import signing_keys, subscriptions
from waypost.storage.schema import signing_keys as table
from waypost.storage.vault import Vault

MATERIAL = bytes(range(100, 132))


@pytest.fixture
def vault() -> Vault:
    return Vault(bytes(range(32)), SystemEntropy())


def kept(
    records: Records,
    vault: Vault,
    subscription: Subscription,
    expires_at_us: int | None = None,
    material: bytes = MATERIAL,
) -> SigningKey:
    key = SigningKey(records.ids.next(), Signing.HMAC, material, expires_at_us)
    signing_keys.insert(records.connection, vault, subscription.project_id, subscription.id, key)
    return key


def test_keys_come_back_newest_first(records: Records, vault: Vault) -> None:
    one, other = records.subscription(), records.subscription()
    old = kept(records, vault, one, expires_at_us=5)
    new = kept(records, vault, one)
    kept(records, vault, other)
    place = (records.project, one.id)
    assert signing_keys.list_all(records.connection, vault, *place) == (new, old)
    assert signing_keys.list_all(records.connection, vault, records.other, one.id) == ()
    assert signing_keys.load_all(records.connection, vault)[place] == (new, old)


def test_only_the_present_key_is_let_expire(records: Records, vault: Vault) -> None:
    one = records.subscription()
    kept(records, vault, one, expires_at_us=5)
    kept(records, vault, one, expires_at_us=9)
    kept(records, vault, one)
    place = (records.project, one.id)
    signing_keys.expire(records.connection, *place, 20)
    found = signing_keys.list_all(records.connection, vault, *place)
    assert [key.expires_at_us for key in found] == [20, 9, 5]
    signing_keys.delete_expired(records.connection, *place, 9)
    found = signing_keys.list_all(records.connection, vault, *place)
    assert [key.expires_at_us for key in found] == [20]


def test_the_keys_of_a_deleted_subscription_are_not_loaded(records: Records, vault: Vault) -> None:
    one, other = records.subscription(), records.subscription()
    kept(records, vault, one)
    kept(records, vault, other)
    subscriptions.delete(records.connection, records.project, one.id, 1)
    assert set(signing_keys.load_all(records.connection, vault)) == {(records.project, other.id)}
    signing_keys.delete_all(records.connection, records.project, other.id)
    assert signing_keys.load_all(records.connection, vault) == {}


def test_no_secret_can_be_read_in_the_files(vault: Vault, tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    kept(records, vault, records.subscription())
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"signing_keys" in held
    for spelling in (MATERIAL, MATERIAL.hex().encode(), base64.b64encode(MATERIAL)):
        assert spelling not in held


@pytest.mark.parametrize("same_project", [True, False])
def test_a_ciphertext_that_was_moved_to_another_row_does_not_open(
    records: Records, vault: Vault, same_project: bool
) -> None:
    victim = records.subscription()
    thief = records.subscription(project_id=records.project if same_project else records.other)
    stolen = kept(records, vault, victim, material=MATERIAL)
    kept(records, vault, thief, material=bytes(32))
    taken = records.connection.execute(
        select(table.c.ciphertext).where(table.c.id == stolen.id)
    ).scalar_one()
    records.connection.execute(
        update(table).where(table.c.subscription_id == thief.id).values(ciphertext=taken)
    )
    with pytest.raises(ConfigInvalid, match="damaged, or was moved"):
        signing_keys.list_all(records.connection, vault, thief.project_id, thief.id)
    with pytest.raises(ConfigInvalid, match="damaged, or was moved"):
        signing_keys.load_all(records.connection, vault)


def test_the_present_keys_of_some_are_found_together(records: Records, vault: Vault) -> None:
    one, other, third = (records.subscription() for _ in range(3))
    kept(records, vault, one, expires_at_us=5)
    first, second = kept(records, vault, one), kept(records, vault, other)
    kept(records, vault, third)
    wanted = (one.id, other.id)
    for project, expected in (
        (records.project, {one.id: first, other.id: second}),
        (records.other, {}),
    ):
        assert signing_keys.list_present(records.connection, vault, project, wanted) == expected
