"""Keys come back without their secrets, to their own project alone."""

from typing import Any

import msgspec
import pytest

from tests.support.database import Records
from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import ApiKey, Scope
from waypost.storage import keys


def kept(
    records: Records,
    *,
    project_id: ids.Id | None = None,
    expires_at_us: int | None = None,
    **more: Any,
) -> ApiKey:
    """Keep a key whose digest is made of its id."""
    key = ApiKey(
        records.ids.next(),
        project_id or records.project,
        "app",
        frozenset({Scope.EVENTS_READ, Scope.ADMIN}),
        expires_at_us,
        **more,
    )
    keys.insert(records.connection, key, key.id * 2)
    return key


def test_every_field_comes_back(records: Records) -> None:
    said = frozenset({"events.read", "webhooks.list"})
    key = kept(records, expires_at_us=7, permissions=said, tenants=(records.other,))
    assert keys.get(records.connection, records.project, key.id) == key


def test_another_project_does_not_find_it(records: Records) -> None:
    key = kept(records)
    with pytest.raises(NotFound, match="API key not found"):
        keys.get(records.connection, records.other, key.id)
    with pytest.raises(NotFound):
        keys.revoke(records.connection, records.other, key.id, 9)
    assert keys.get(records.connection, records.project, key.id).revoked_at_us is None


def test_the_list_is_of_one_project_and_from_newest_to_oldest(records: Records) -> None:
    first, _, third = kept(records), kept(records, project_id=records.other), kept(records)
    page = keys.list_page(records.connection, records.project, PageRequest())
    assert page == Page([third, first], has_more=False)


def test_everything_for_the_memory_comes_with_its_digest(records: Records) -> None:
    first, second = kept(records), kept(records, project_id=records.other)
    assert keys.list_all(records.connection) == [(first.id * 2, first), (second.id * 2, second)]


def test_a_revoked_key_keeps_its_first_moment(records: Records) -> None:
    key = kept(records)
    keys.revoke(records.connection, records.project, key.id, 8)
    keys.revoke(records.connection, records.project, key.id, 9)
    found = keys.get(records.connection, records.project, key.id)
    assert found == msgspec.structs.replace(key, revoked_at_us=8)


def test_all_keys_of_a_project_are_revoked_at_once(records: Records) -> None:
    mine, other = kept(records), kept(records, project_id=records.other)
    keys.revoke_all(records.connection, records.project, 8)
    assert keys.get(records.connection, records.project, mine.id).revoked_at_us == 8
    assert keys.get(records.connection, records.other, other.id).revoked_at_us is None


def test_only_good_keys_are_counted(records: Records) -> None:
    revoked = kept(records)
    keys.revoke(records.connection, records.project, revoked.id, 8)
    kept(records, expires_at_us=100)
    kept(records, expires_at_us=101)
    kept(records)
    kept(records, project_id=records.other)
    assert keys.count_active(records.connection, records.project, 100) == 2


def test_a_key_is_found_with_its_digest_in_its_project_alone(records: Records) -> None:
    key = kept(records)
    assert keys.find(records.connection, records.project, key.id) == (key.id * 2, key)
    assert keys.find(records.connection, records.other, key.id) is None
