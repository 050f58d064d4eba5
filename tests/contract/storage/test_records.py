"""Records of other surfaces: come back as they were kept, to their own project, sealed."""

import pytest
from msgspec.structs import replace
from sqlalchemy import insert, select

from tests.support.database import Records
from waypost.clock import SystemEntropy
from waypost.model.delivery import DeliveryState
from waypost.model.errors import NotFound
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.record import Record
from waypost.storage import deliveries, idempotency, projects, receipts, subscriptions
from waypost.storage import records as store
from waypost.storage.schema import idempotency_keys
from waypost.storage.schema import receipts as receipt_table
from waypost.storage.surfaces import records as table
from waypost.storage.vault import Vault

KIND, PART = "x.endpoint", "x.event_filter"
VAULT = Vault(bytes(range(32)), SystemEntropy())


def kept(known: Records, kind: str = KIND, parent: Id | None = None, body: bytes = b"{}") -> Record:
    record = Record(known.project, kind, known.ids.next(), body, parent, 7)
    store.put(known.connection, VAULT, record)
    return record


def test_a_record_comes_back_to_its_own_project(records: Records) -> None:
    made = kept(records, body=b'{"secret":"s"}')
    place = (records.connection, VAULT)
    assert store.find(*place, records.project, KIND, made.id) == made
    assert store.find(*place, records.project, PART, made.id) is None
    changed = replace(made, body=b"{}", changed_us=9)
    store.put(*place, changed)
    assert store.find(*place, records.project, KIND, made.id) == changed
    assert store.find(*place, records.other, KIND, made.id) is None
    stored = records.connection.execute(select(table.c.ciphertext)).scalars().all()
    assert not any(b"secret" in one for one in stored)


def test_deleted_ones_are_named_and_not_listed(records: Records) -> None:
    first, second = kept(records), kept(records)
    store.delete(records.connection, records.project, KIND, first.id, 11)
    place = (records.connection, VAULT, records.project, KIND)
    with pytest.raises(NotFound, match=r"^endpoint not found$"):
        store.get(*place, first.id)
    with pytest.raises(NotFound):
        store.delete(records.connection, records.project, KIND, first.id, 12)
    assert store.list_all(*place) == [second]
    gone = replace(first, deleted_us=11)
    assert store.list_all(*place, gone=True) == [gone, second]
    assert store.list_some(*place, [second.id, first.id]) == [gone, second]
    assert store.list_some(*place, []) == []
    assert store.list_ids(records.connection, records.project, KIND) == [first.id, second.id]
    store.forget(records.connection, records.project, KIND, second.id)
    assert store.find(*place, second.id) is None


def test_parts_are_found_by_what_they_are_parts_of(records: Records) -> None:
    one, two = kept(records), kept(records)
    parts = [kept(records, PART, parent.id) for parent in (one, two, one)]
    place = (records.connection, VAULT, records.project)
    assert store.list_parts(*place, PART, [one.id]) == [parts[0], parts[2]]
    assert store.list_parts(*place, PART, [one.id, two.id]) == parts
    assert store.list_parts(*place, PART, []) == []
    page = store.list_page(*place, PART, PageRequest(1), one.id)
    assert (page.items, page.has_more) == ([parts[2]], True)
    page = store.list_page(*place, PART, PageRequest(9, older_than=parts[2].id))
    assert (page.items, page.has_more) == (parts[:2][::-1], False)
    with pytest.raises(NotFound, match="event filter"):
        store.get(*place, PART, one.id)


def test_subscriptions_keep_their_format_and_address(records: Records) -> None:
    made = records.subscription(format_settings='{"a":1}', endpoint_id=records.ids.next())
    found = subscriptions.get(records.connection, records.project, made.id)
    assert (found.format_settings, found.endpoint_id) == (made.format_settings, made.endpoint_id)


def test_events_tell_to_whom_they_are_owed(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    assert not projects.has_events(records.connection, records.project)
    event, bare = records.event(), records.event()
    assert projects.has_events(records.connection, records.project)
    records.pending(event, one)
    last = records.pending(event, one)
    ended = records.ended(event, two, DeliveryState.DELIVERED)
    found = deliveries.addressees(records.connection, records.project, [event, bare])
    assert found == {event: {one.id: last, two.id: ended}, bare: {}}
    assert deliveries.addressees(records.connection, records.other, [event]) == {event: {}}


def test_deliveries_are_found_by_their_ids_alone(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    event = records.event()
    pending, ended = records.pending(event, one), records.ended(event, two, DeliveryState.DELIVERED)
    place = (records.connection, records.project)
    for identifier, known in ((pending, []), (ended, [one.id, two.id])):
        found = deliveries.find(*place, identifier, known)
        assert found is not None
        assert found.id == identifier
    assert deliveries.find(*place, ended, [one.id]) is None
    assert deliveries.find(records.connection, records.other, ended, [two.id]) is None


def test_repetitions_are_found_by_their_own_ids(records: Records) -> None:
    event, own = records.event(), records.ids.next()
    row = {"project_id": records.project, "event_id": event, "id": own, "key_id": own}
    records.connection.execute(insert(receipt_table).values(**row, same_body=1))
    page = receipts.list_page(records.connection, records.project, PageRequest(5))
    assert page.items == [(own, event)]
    assert receipts.find(records.connection, records.project, own) == event
    assert receipts.find(records.connection, records.other, own) is None


def test_events_are_found_by_their_keys(records: Records) -> None:
    event = records.event()
    row = {"project_id": records.project, "key": "k", "event_id": event, "expires_at_us": 5}
    records.connection.execute(insert(idempotency_keys).values(**row, fingerprint=b""))
    assert idempotency.find(records.connection, records.project, "k") == event
    assert idempotency.find(records.connection, records.other, "k") is None
