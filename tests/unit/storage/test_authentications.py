"""How a subscription authenticates is encrypted, bound to it, and kept with it."""

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from tests.support.database import Records
from tests.support.manual import SeededEntropy
from waypost.model.authentication import Basic, HeaderKey, OAuth2
from waypost.model.errors import ConfigInvalid
from waypost.storage import authentications, subscriptions
from waypost.storage.schema import subscriptions as table
from waypost.storage.vault import Vault

VAULT = Vault(bytes(range(32)), SeededEntropy())


def test_it_is_kept_with_its_subscription(records: Records) -> None:
    one = records.subscription()
    for given in (
        HeaderKey("x", "top secret"),
        Basic("a", "top secret"),
        OAuth2(url="https://id.example/", client_id="c", client_secret="top secret"),
    ):
        sealed = authentications.seal(VAULT, one.project_id, one.id, given)
        subscriptions.update(records.connection, replace(one, authentication=sealed))
        found = subscriptions.get(records.connection, records.project, one.id)
        assert found.authentication == sealed
        assert authentications.opened(VAULT, found) == given
        row = records.connection.execute(select(table.c.authentication)).scalar_one()
        assert "top secret" not in row
    assert authentications.opened(VAULT, one) is None


def test_it_opens_nowhere_else(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    sealed = authentications.seal(VAULT, one.project_id, one.id, Basic("a", "b"))
    with pytest.raises(ConfigInvalid):
        authentications.opened(VAULT, replace(two, authentication=sealed))
