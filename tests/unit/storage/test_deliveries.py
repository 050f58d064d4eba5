"""Deliveries of the queue and final ones are one list, and every filter of it is right."""

import pytest
from sqlalchemy import text

from tests.support.database import Records
from tests.support.plans import plans_of, sorts, walks
from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason
from waypost.model.page import PageRequest
from waypost.storage import deliveries
from waypost.storage.deliveries import DeliveryFilter

STATES = list(DeliveryState)
EVERYTHING = PageRequest()


def get(records: Records, event_id: ids.Id, delivery_id: ids.Id) -> Delivery:
    """Find one delivery in the list of its event."""
    of_event = listed(records, DeliveryFilter(event_id=event_id))
    return next(one for one in of_event if one.id == delivery_id)


def made(records: Records) -> list[Delivery]:
    """Keep deliveries of every state for two subscriptions, and one of an older event again."""
    first, second = records.subscription(), records.subscription()
    found = []
    older = records.event("old")
    for kind, to, state in [
        ("a", first, DeliveryState.PENDING),
        ("a", second, DeliveryState.DELIVERED),
        ("b", first, DeliveryState.FAILED),
        ("b", second, DeliveryState.CANCELLED),
        ("old", second, DeliveryState.PENDING),
        ("old", first, DeliveryState.DELIVERED),
    ]:
        records.clock.forward(1)
        event_id = older if kind == "old" else records.event(kind)
        if state is DeliveryState.PENDING:
            delivery_id = records.pending(event_id, to)
        else:
            delivery_id = records.ended(event_id, to, state)
        found.append(get(records, event_id, delivery_id))
    return found


def listed(
    records: Records, which: DeliveryFilter, request: PageRequest = EVERYTHING
) -> list[Delivery]:
    return deliveries.list_page(records.connection, records.project, request, which).items


def test_a_pending_one_tells_when_it_is_due(records: Records) -> None:
    subscription, event_id = records.subscription(), records.event("a.b")
    delivery_id = records.pending(event_id, subscription)
    found = get(records, event_id, delivery_id)
    assert found == Delivery(
        records.project,
        delivery_id,
        event_id,
        subscription.id,
        "a.b",
        DeliveryState.PENDING,
        0,
        due_us=ids.moment(delivery_id),
    )


def test_a_final_one_tells_what_became_of_it(records: Records) -> None:
    subscription, event_id = records.subscription(), records.event("a.b")
    delivery_id = records.ended(event_id, subscription, DeliveryState.FAILED, 77)
    records.connection.execute(text("UPDATE deliveries SET reason = 'receiver_gone'"))
    found = get(records, event_id, delivery_id)
    assert found == Delivery(
        records.project,
        delivery_id,
        event_id,
        subscription.id,
        "a.b",
        DeliveryState.FAILED,
        1,
        finished_us=77,
        reason=Reason.GONE,
        diverted=True,
    )


def test_another_project_has_none_of_them(records: Records) -> None:
    made(records)
    page = deliveries.list_page(records.connection, records.other, PageRequest(), DeliveryFilter())
    assert page.items == []


@pytest.mark.parametrize("state", [None, *STATES])
@pytest.mark.parametrize("types", [(), ("a", "old")])
@pytest.mark.parametrize("narrow", ["", "subscription_id", "event_id"])
def test_each_filter_chooses_what_it_says(
    records: Records, state: DeliveryState | None, types: tuple[str, ...], narrow: str
) -> None:
    every = made(records)
    of = {narrow: getattr(every[-1], narrow)} if narrow else {}
    chosen = [
        one
        for one in sorted(every, key=deliveries.position, reverse=True)
        if state in (None, one.state)
        and one.event_type in (types or (one.event_type,))
        and all(getattr(one, name) == value for name, value in of.items())
    ]
    which = DeliveryFilter(state=state, types=types, **of)
    assert listed(records, which) == chosen
    place = (records.connection, records.project)
    assert deliveries.count(*place, PageRequest(size=100), which) == len(chosen)
    assert deliveries.count(*place, PageRequest(size=1), which) == min(len(chosen), 1)


@pytest.mark.parametrize("size", [1, 2, 4, 6])
def test_pages_in_both_directions_show_everything_once(records: Records, size: int) -> None:
    every = sorted(made(records), key=deliveries.position, reverse=True)
    seen: list[Delivery] = []
    position = None
    while page := listed(records, DeliveryFilter(), PageRequest(size, older_than=position)):
        seen += page
        position = deliveries.position(page[-1])
    assert seen == every
    back: list[Delivery] = []
    position = deliveries.position(every[-1])
    while page := listed(records, DeliveryFilter(), PageRequest(size, newer_than=position)):
        back = page + back
        position = deliveries.position(page[0])
    assert back == every[:-1]


@pytest.mark.parametrize("few", [0, 2, 100])
def test_a_subscription_of_few_rows_and_one_of_many_are_listed_alike(
    records: Records, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(deliveries, "FEW", few)
    every = sorted(made(records), key=deliveries.position, reverse=True)
    for subscription_id in {one.subscription_id for one in every}:
        which = DeliveryFilter(subscription_id=subscription_id)
        mine = [one for one in every if one.subscription_id == subscription_id]
        assert listed(records, which) == mine
        assert listed(records, which, PageRequest(size=2)) == mine[:2]


def test_the_range_of_time_is_that_of_the_events(records: Records) -> None:
    every = made(records)
    at_us = ids.moment(every[1].event_id)
    request = PageRequest(begin_us=at_us, end_us=at_us + 1)
    assert listed(records, DeliveryFilter(), request) == [every[1]]
    for types in ((), (every[1].event_type,)):
        which = DeliveryFilter(types=types)
        assert deliveries.count(records.connection, records.project, request, which) == 1


def test_lists_are_read_by_an_index(records: Records) -> None:
    made(records)
    is_shared = records.connection.dialect.name == "postgresql"
    if is_shared:
        # Its index of events leads to those of all projects: good for many rows alone.
        records.connection.exec_driver_sql(
            "INSERT INTO queue SELECT %s, gen_random_uuid(), gen_random_uuid(), gen_random_uuid(),"
            " 0, n, 0 FROM generate_series(1, 2000) AS n",
            (records.project,),
        )
        records.connection.exec_driver_sql("ANALYZE")
    for which in (DeliveryFilter(), DeliveryFilter(event_id=records.event())):
        steps = plans_of(records.connection, lambda which=which: listed(records, which))  # type: ignore[misc] # a lambda with a default
        assert steps
        assert walks(steps) == []
        # What is owed for one event is sorted on the one, the rows of a page on the other.
        assert len(sorts(steps)) <= (not is_shared or which.event_id is not None)


@pytest.mark.parametrize("size", [1, 2, 50])
def test_events_of_a_type_are_gone_through_in_both_directions(
    records: Records, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    to = records.subscription()
    for number in range(30):
        records.clock.forward(1)
        event_id = records.event("rare" if number % 5 == 0 else "common")
        if number % 2 == 0:
            records.ended(event_id, to, DeliveryState.DELIVERED)
            records.pending(event_id, to)
    which = DeliveryFilter(types=("rare", "other"))
    whole = [one for one in listed(records, DeliveryFilter()) if one.event_type == "rare"]
    assert len(whole) == 6
    # At once, step by step, and by what is left when enough events were gone through.
    for walked in (20_000, 1):
        monkeypatch.setattr(deliveries, "WALKED", walked)
        for up in (False, True):
            found: list[Delivery] = []
            request = PageRequest(size=size, newer_than=ids.FIRST * 2 if up else None)
            more = True
            while more:
                page = deliveries.list_page(records.connection, records.project, request, which)
                found = page.items + found if up else found + page.items
                more = page.has_more
                if up:
                    end = deliveries.position(found[0])
                    request = PageRequest(size=size, newer_than=end)
                else:
                    request = PageRequest(size=size, older_than=deliveries.position(found[-1]))
            assert found == whole, (walked, up)


def test_what_was_missed_is_found_by_its_index(records: Records) -> None:
    made(records)
    for state in (DeliveryState.FAILED, DeliveryState.CANCELLED):
        which = DeliveryFilter(state=state)
        steps = plans_of(records.connection, lambda which=which: listed(records, which))  # type: ignore[misc] # a lambda with a default
        on_postgres = records.connection.dialect.name == "postgresql"
        assert on_postgres or any("ix_deliveries_missed" in step for step in steps), steps
        assert walks(steps) == []


@pytest.mark.parametrize("few", [0, 100])
def test_those_of_types_are_counted_by_state_and_subscription(
    records: Records, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(deliveries, "FEW", few)
    one, two = records.subscription(), records.subscription()
    kinds = ("a", "b", "c")
    for number in range(12):
        event_id = records.event(kinds[number % 3])
        records.ended(
            event_id, one, DeliveryState.FAILED if number % 2 else DeliveryState.DELIVERED
        )
        if number % 4 == 0:
            records.ended(event_id, two, DeliveryState.CANCELLED)
            records.pending(event_id, two)
    place = (records.connection, records.project, PageRequest(size=100))
    for state in (None, *STATES):
        for types in ((), ("a",), ("b", "c"), ("odd",)):
            for to in (None, one.id, two.id):
                which = DeliveryFilter(state, None, to, types)
                found = len(listed(records, which))
                assert deliveries.count(*place, which) == found, which
    monkeypatch.setattr(deliveries, "LOOKED_MAX", 1)
    which = DeliveryFilter(DeliveryState.FAILED, types=kinds)
    assert deliveries.count(*place, which) == 2
