"""Blocked keys as they are kept: each once, of one subscription; see also the test of chains."""

from tests.support.database import Records
from waypost.model.delivery import BlockedKey
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.storage import blocked_keys


def blocking(records: Records) -> Subscription:
    return records.subscription(ordering=Ordering.KEY, on_order_failure=OnOrderFailure.BLOCK)


def block(records: Records, of: Subscription, key: str, sequence: int) -> Id:
    event_id = records.event(attributes=Attributes(ordering_key=key), sequence=sequence)
    owed = records.pending(event_id, of)
    made = BlockedKey(of.project_id, of.id, key, sequence, owed, event_id, 5)
    assert blocked_keys.block(records.connection, made, attempts=0)
    return owed


def listed(records: Records, of: Subscription, size: int = 10) -> list[tuple[str, Id]]:
    place = (records.connection, of.project_id, of.id)
    page = blocked_keys.list_page(*place, PageRequest(size))
    return [(one.ordering_key, one.delivery_id) for one in page.items]


def test_each_key_is_listed_once_newest_first(records: Records) -> None:
    one, other = blocking(records), blocking(records)
    first = block(records, one, "a", 5)
    second = block(records, one, "b", 1)
    block(records, one, "a", 6)
    block(records, other, "a", 1)
    assert listed(records, one) == [("b", second), ("a", first)]
    assert listed(records, one, 1) == [("b", second)]


def test_those_of_one_subscription_are_forgotten(records: Records) -> None:
    one, other = blocking(records), blocking(records)
    block(records, one, "a", 1)
    kept = block(records, other, "a", 1)
    blocked_keys.delete_all(records.connection, one.project_id, one.id)
    assert (listed(records, one), listed(records, other)) == ([], [("a", kept)])
