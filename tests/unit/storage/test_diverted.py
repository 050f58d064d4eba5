"""The dead-letter box shows each failed delivery with its last answer, until it is taken out."""

import msgspec
import pytest
from sqlalchemy import insert

from tests.support.database import Records
from waypost.model import ids
from waypost.model.delivery import DeliveryState, DivertedEvent, Reason, Timings
from waypost.model.errors import NotFound
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
        page = diverted.list_page(records.connection, project_id, PageRequest(), subscription_id)
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
