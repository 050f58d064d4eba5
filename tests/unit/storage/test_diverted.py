"""The dead-letter box shows each failed delivery with its last answer, until it is taken out."""

from typing import Any

import msgspec
import pytest
from sqlalchemy import insert

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.delivery import DeliveryState, DivertedEvent, Reason, Timings
from waypost.model.errors import NotFound
from waypost.model.event import Attributes
from waypost.model.page import PageRequest
from waypost.storage import diverted
from waypost.storage.schema import attempts as attempts_table


def answer(
    records: Records, event_id: ids.Id, delivery_id: ids.Id, status: int, **columns: object
) -> ids.Id:
    """Keep what a receiver answered to an attempt."""
    attempt_id = records.ids.next()
    row = {
        "project_id": records.project,
        "event_id": event_id,
        "id": attempt_id,
        "delivery_id": delivery_id,
        "subscription_id": records.project,
        "number": 1,
        "state": 2,
        "status_code": status,
        "response": b"sorry",
        "timings": msgspec.msgpack.encode(Timings()),
        "resent": 0,
    }
    records.connection.execute(insert(attempts_table).values(row | columns))
    return attempt_id


def test_it_comes_with_the_answer_to_its_last_attempt(records: Records) -> None:
    subscription, event_id = records.subscription(), records.event("a.b")
    delivery_id = records.ended(event_id, subscription, DeliveryState.FAILED)
    first = answer(records, event_id, delivery_id, 500)
    answer(records, event_id, delivery_id, 503, response=None, same_as=first)
    answer(records, event_id, records.ids.next(), 200)
    found = diverted.get(records.connection, records.project, delivery_id)
    assert found == DivertedEvent(
        records.project,
        delivery_id,
        event_id,
        subscription.id,
        "a.b",
        Reason.EXHAUSTED,
        ids.moment(delivery_id),
        1,
        503,
        b"sorry",
    )


def test_one_that_was_never_tried_has_no_answer(records: Records) -> None:
    delivery_id = records.ended(records.event(), records.subscription(), DeliveryState.FAILED)
    found = diverted.get(records.connection, records.project, delivery_id)
    assert (found.status_code, found.response) == (0, b"")


def test_the_list_is_of_a_project_or_of_a_subscription(records: Records) -> None:
    one, two = records.subscription(), records.subscription()
    first = records.ended(records.event(), one, DeliveryState.FAILED)
    second = records.ended(records.event(), two, DeliveryState.FAILED)
    records.ended(records.event(), two, DeliveryState.DELIVERED)

    def listed(project_id: ids.Id, subscription_id: ids.Id | None = None) -> list[ids.Id]:
        which = diverted.DivertedFilter(subscription_id)
        page = diverted.list_page(records.connection, project_id, PageRequest(), which)
        return [found.id for found in page.items]

    assert listed(records.project) == [second, first]
    assert listed(records.project, two.id) == [second]
    assert listed(records.other) == []


def test_what_is_taken_out_is_gone(records: Records) -> None:
    delivery_id = records.ended(records.event(), records.subscription(), DeliveryState.FAILED)
    with pytest.raises(NotFound, match="diverted event not found"):
        diverted.delete(records.connection, records.other, delivery_id)
    diverted.delete(records.connection, records.project, delivery_id)
    for call in (diverted.get, diverted.delete):
        with pytest.raises(NotFound, match="diverted event not found"):
            call(records.connection, records.project, delivery_id)


def test_the_list_is_narrowed_by_type_owner_and_reason(records: Records) -> None:
    one = records.subscription()
    mine = Attributes(owner="o")
    # Looks like the owner's, and is not.
    other = Attributes(metadata={"owner": "o"})
    kept = {
        name: records.ended(records.event(kind, attributes), one, DeliveryState.FAILED)
        for name, kind, attributes in (
            ("a", "card.created", mine),
            ("b", "card.created", other),
            ("c", "book.created", mine),
            ("d", "cardigan.created", None),
        )
    }

    def listed(**narrow: Any) -> set[str]:
        which = diverted.DivertedFilter(**narrow)
        page = diverted.list_page(records.connection, records.project, PageRequest(), which)
        found, _ = diverted.read_chunk(
            records.connection, records.project, which, ids.FIRST, ids.LAST
        )
        assert {one.id for one in page.items} == {one.id for one in found}
        return {name for name, identifier in kept.items() if identifier in {x.id for x in found}}

    assert listed() == {"a", "b", "c", "d"}
    assert listed(types=("card.*",)) == {"a", "b"}
    assert listed(types=("book.created", "*")) == {"a", "b", "c", "d"}
    assert listed(types=("book.created",)) == {"c"}
    assert listed(owner="o") == {"a", "c"}
    assert listed(owner="p") == set()
    assert listed(reason=Reason.EXHAUSTED) == {"a", "b", "c", "d"}
    assert listed(reason=Reason.GONE) == set()


def test_a_page_is_filled_though_many_look_like_the_owners(records: Records) -> None:
    one = records.subscription()
    mine, like = Attributes(owner="o"), Attributes(metadata={"owner": "o"})
    kinds = [mine, *[like] * 7, mine, mine, *[like] * 3]
    boxed = [records.ended(records.event(attributes=a), one, DeliveryState.FAILED) for a in kinds]
    wanted = [boxed[9], boxed[8], boxed[0]]
    which = diverted.DivertedFilter(owner="o")
    request = PageRequest(size=2)
    found = []
    while True:
        page = diverted.list_page(records.connection, records.project, request, which)
        found += [x.id for x in page.items]
        if not page.has_more:
            break
        request = PageRequest(size=2, older_than=found[-1])
    assert found == wanted


def test_the_box_is_gone_through_both_ways(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diverted, "CHUNK", 3)
    one = records.subscription()
    boxed = [records.ended(records.event(), one, DeliveryState.FAILED) for _ in range(8)]
    for up, begin, until in ((True, ids.FIRST, boxed[-1]), (False, ids.LAST, boxed[1])):
        found: list[ids.Id] = []
        after = begin
        while True:
            part, looked_at = diverted.read_chunk(
                records.connection, records.project, diverted.EVERY, after, until, up=up
            )
            found += [x.id for x in part]
            if len(looked_at) < 3:
                break
            after = looked_at[-1]
        assert found == (boxed[:-1] if up else boxed[:0:-1])


def test_many_are_taken_out_together(records: Records) -> None:
    one = records.subscription()
    boxed = [records.ended(records.event(), one, DeliveryState.FAILED) for _ in range(3)]
    found, _ = diverted.read_chunk(
        records.connection, records.project, diverted.EVERY, ids.FIRST, ids.LAST
    )
    place = (records.connection, records.project)
    assert diverted.present(*place, found) == set(boxed)
    assert diverted.delete_many(records.connection, records.other, found) == 0
    assert diverted.delete_many(*place, found[:2]) == 2
    assert diverted.present(*place, found) == {boxed[2]}


def test_of_an_event_that_was_diverted_again_the_last_is_found(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    named = Attributes(request_id="r")
    first, second = records.event(attributes=named), records.event()
    place = (records.connection, records.project, one.id)
    records.ended(first, one, DeliveryState.FAILED)
    records.clock.forward(1)
    middle = records.ended(second, one, DeliveryState.FAILED)
    records.clock.forward(1)
    last = records.ended(first, one, DeliveryState.FAILED)
    records.ended(first, other, DeliveryState.FAILED)
    found = diverted.get_latest(*place, first)
    assert (found.id, found.request_id) == (last, "r")
    assert diverted.get_latest(*place, second).request_id is None
    assert [row.id for row in diverted.list_slice(*place, 0, 10)] == [middle, last]
    assert [row.id for row in diverted.list_slice(*place, 1, 1)] == [last]
    assert diverted.list_slice(*place, 2, 1) == []
    diverted.take_back(records.connection, records.project, [(first, one.id)])
    assert [row.id for row in diverted.list_slice(*place, 0, 10)] == [middle]
    for project, subscription in ((records.project, one.id), (records.other, other.id)):
        with pytest.raises(NotFound):
            diverted.get_latest(records.connection, project, subscription, first)


def test_the_list_in_its_order_is_read_by_indexes(records: Records) -> None:
    one = records.subscription()
    records.ended(records.event(), one, DeliveryState.FAILED)
    place = (records.connection, records.project, one.id)
    plans = plans_of(records.connection, lambda: diverted.list_slice(*place, 0, 10))
    assert walks(plans) == []
    assert any("ix_diverted_time" in step for step in plans), plans
    if records.connection.dialect.name == "sqlite":
        assert any("ix_diverted_event" in step for step in plans), plans
    assert not any("TEMP B-TREE" in step or "Sort" in step for step in plans), plans


def test_those_of_a_type_are_told_by_the_index_of_types(records: Records) -> None:
    one = records.subscription()
    records.ended(records.event("card.created"), one, DeliveryState.FAILED)
    which = diverted.DivertedFilter(types=("card.created",))
    place = (records.connection, records.project, PageRequest(size=5), which)
    plans = plans_of(records.connection, lambda: diverted.list_page(*place))
    assert walks(plans) == []
    if records.connection.dialect.name == "sqlite":
        # The first step through the box asks for nothing that is not in that index.
        assert any("COVERING INDEX ix_events_type" in step for step in plans), plans
