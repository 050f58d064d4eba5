"""Permissions and scopes: a token may do natively nothing that it may not do here."""

import itertools

import pytest

from waypost.dialects.socotra.permissions import (
    PERMISSIONS,
    permissions_of,
    require,
    scopes_of,
)
from waypost.model import ids
from waypost.model.errors import NotPermitted
from waypost.model.project import PROJECT_SCOPES, Principal, Scope

KEY = ids.make(1, 1)


def caller(scopes: frozenset[Scope], permissions: frozenset[str] | None = None) -> Principal:
    return Principal(KEY, "k", KEY, scopes, permissions)


def test_a_key_without_permissions_may_do_what_its_scopes_allow() -> None:
    assert permissions_of(caller(PROJECT_SCOPES)) == set(PERMISSIONS)
    assert permissions_of(caller(frozenset())) == set()
    reads = permissions_of(caller(frozenset({Scope.SUBSCRIPTIONS_READ})))
    assert reads == {"webhooks.read", "webhooks.list"}


def test_a_token_has_those_scopes_that_allow_it_nothing_more() -> None:
    beyond = {Scope.TRANSACTIONS_WRITE, Scope.SOURCES_READ, Scope.SOURCES_WRITE}
    assert scopes_of(PERMISSIONS) == PROJECT_SCOPES - beyond
    for some in itertools.combinations(PERMISSIONS, 3):
        assert permissions_of(caller(scopes_of(some))) <= set(some)


def test_what_lacks_is_named() -> None:
    token = caller(PROJECT_SCOPES, frozenset({"events.read"}))
    require(token, ["events.read"])
    with pytest.raises(NotPermitted, match=r"lacks events\.list and webhooks\.read"):
        require(token, ["events.read", "webhooks.read", "events.list"])
