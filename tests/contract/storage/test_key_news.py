"""News of keys: counted where it happens, one row of a kind, and taken once."""

from tests.support.database import Records
from waypost.model.delivery import BlockedKey
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.subscription import OnOrderFailure, Ordering, Subscription
from waypost.storage import blocked_keys, key_news
from waypost.storage.key_news import START, By, KeyNews, What


def blocking(records: Records) -> Subscription:
    return records.subscription(ordering=Ordering.KEY, on_order_failure=OnOrderFailure.BLOCK)


def block(records: Records, of: Subscription, key: str, kind: str = "a") -> tuple[Id, Id]:
    """Block a key; return the delivery and the event that it is blocked by."""
    event_id = records.event(kind, attributes=Attributes(ordering_key=key), sequence=1)
    owed = records.pending(event_id, of)
    made = BlockedKey(of.project_id, of.id, key, 1, owed, event_id, 5)
    assert blocked_keys.block(records.connection, made, attempts=0)
    return owed, event_id


def found(records: Records) -> list[KeyNews]:
    return list(key_news.find(records.connection, START, 10))


def test_however_many_keys_are_blocked_there_is_one_row_with_the_last(records: Records) -> None:
    one = blocking(records)
    for key in "abc":
        last = block(records, one, key)
    assert found(records) == [KeyNews(one.project_id, one.id, What.BLOCKED, 3, "c", *last)]


def test_what_has_released_a_key_is_kept(records: Records) -> None:
    one = blocking(records)
    place = (records.connection, one.project_id, one.id)
    block(records, one, "a")
    _, event_id = block(records, one, "b")
    assert blocked_keys.release(*place, "a")
    assert not blocked_keys.release(*place, "a")
    [_, released] = found(records)
    assert released == KeyNews(one.project_id, one.id, What.RELEASED, 1, "a", by=By.PERSON)
    assert blocked_keys.release(*place, "b", by=event_id)
    [_, released] = found(records)
    assert released == KeyNews(one.project_id, one.id, What.RELEASED, 2, "b", by=By.DELIVERY)


def test_all_that_a_change_frees_is_told_together(records: Records) -> None:
    one, other = blocking(records), blocking(records)
    for key in "abc":
        block(records, one, key)
    block(records, other, "a")
    blocked_keys.free_all(records.connection, one.project_id, one.id)
    news = KeyNews(one.project_id, one.id, What.RELEASED, 3, "c", by=By.PERSON)
    assert [x for x in found(records) if x.what is What.RELEASED] == [news]
    assert blocked_keys.count(records.connection, other.project_id, other.id) == 1


def test_a_system_event_that_blocks_is_not_told(records: Records) -> None:
    block(records, blocking(records), "a", "waypost.breaker.opened")
    assert found(records) == []


def test_news_are_taken_once_with_what_has_come_meanwhile(records: Records) -> None:
    one, other = blocking(records), blocking(records)
    block(records, one, "a")
    block(records, other, "a")
    first, second = found(records)
    assert key_news.find(records.connection, first.place, 10) == [second]
    assert key_news.find(records.connection, START, 1) == [first]
    block(records, one, "b")
    taken = key_news.take(records.connection, first)
    assert taken is not None
    assert (taken.count, taken.ordering_key) == (2, "b")
    assert key_news.take(records.connection, first) is None
    assert found(records) == [second]


def test_of_a_subscription_that_is_no_more_there_are_none(records: Records) -> None:
    one, other = blocking(records), blocking(records)
    block(records, one, "a")
    block(records, other, "a")
    blocked_keys.delete_all(records.connection, one.project_id, one.id)
    assert [x.subscription_id for x in found(records)] == [other.id]
