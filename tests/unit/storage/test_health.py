"""How a subscription fares is read at a bounded cost."""

from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, update

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model.delivery import PARKED, AttemptState, DeliveryState, Timings
from waypost.model.ids import Id
from waypost.model.subscription import Subscription
from waypost.storage import health, schema
from waypost.storage.health import Backlog
from waypost.storage.schema import attempts, deliveries


def tried(records: Records, of: Subscription, state: AttemptState, total_us: int) -> Id:
    """Keep an attempt that has a row of its own."""
    attempt_id = records.ids.next()
    records.connection.execute(
        insert(attempts).values(
            project_id=of.project_id,
            event_id=records.event(),
            id=attempt_id,
            delivery_id=attempt_id,
            subscription_id=of.id,
            number=1,
            state=int(state),
            status_code=500,
            response=b"no",
            timings=msgspec.msgpack.encode(Timings(total_us=total_us)),
            resent=0,
        )
    )
    return attempt_id


def delivered_first(records: Records, of: Subscription, total_us: int) -> Id:
    """Keep a delivery that its first try delivered."""
    delivery_id, now_us = records.ids.next_at()
    row: dict[str, Any] = {
        "project_id": of.project_id,
        "event_id": records.event(),
        "id": delivery_id,
        "subscription_id": of.id,
        "state": DeliveryState.DELIVERED.value,
        "attempts": 1,
        "finished_us": now_us,
        "status_code": 204,
        "response": b"",
        "timings": msgspec.msgpack.encode(Timings(total_us=total_us)),
        "resent": 0,
    }
    records.connection.execute(insert(deliveries).values(**row))
    return delivery_id


def test_the_latest_attempts_of_both_kinds_are_read(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = records.subscription(), records.subscription()
    place = (records.connection, records.project, one.id)
    assert health.read_latest(*place, 0) == ([], None)
    tried(records, one, AttemptState.FAILED, 1)
    delivered_first(records, one, 2)
    records.ended(records.event(), one, DeliveryState.FAILED)
    second = tried(records, one, AttemptState.SUCCESS, 3)
    third = delivered_first(records, one, 4)
    delivered_first(records, other, 5)
    found, oldest = health.read_latest(*place, 0)
    assert [(one_.succeeded, one_.total_us) for one_ in found] == [
        (True, 4),
        (True, 3),
        (True, 2),
        (False, 1),
    ]
    assert oldest is not None
    monkeypatch.setattr(health, "SAMPLED", 2)
    found, oldest = health.read_latest(*place, 0)
    assert ([one_.total_us for one_ in found], oldest) == ([4, 3], second)
    records.clock.forward(5)
    assert health.read_latest(*place, records.clock.now_us()) == ([], None)
    assert third


def test_the_last_failure_is_found(records: Records) -> None:
    one = records.subscription()
    place = (records.connection, records.project, one.id)
    assert health.find_last_failure(*place) is None
    tried(records, one, AttemptState.FAILED, 1)
    last = tried(records, one, AttemptState.FAILED, 1)
    tried(records, one, AttemptState.SUCCESS, 1)
    found = health.find_last_failure(*place)
    assert found is not None
    assert (found.id, found.status_code, found.response) == (last, 500, b"no")


def test_the_backlog_is_counted_up_to_a_bound(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = records.subscription(), records.subscription()
    place = (records.connection, records.project, one.id)
    assert health.read_backlog(*place) == Backlog(0, exact=True, oldest=None)
    owed = [records.pending(records.event(), one) for _ in range(3)]
    records.pending(records.event(), other)
    assert health.read_backlog(*place) == Backlog(3, exact=True, oldest=owed[0])
    parked = update(schema.queue).where(schema.queue.c.id == owed[0]).values({"class": PARKED})
    records.connection.execute(parked)
    assert health.read_backlog(*place) == Backlog(3, exact=True, oldest=owed[0])
    records.connection.execute(update(schema.queue).values({"class": 0}))
    monkeypatch.setattr(health, "COUNTED", 2)
    assert health.read_backlog(*place) == Backlog(2, exact=False, oldest=owed[0])


def test_each_look_goes_by_keys(records: Records) -> None:
    one = records.subscription()
    place = (records.connection, records.project, one.id)

    def look() -> None:
        health.read_latest(*place, 1)
        health.find_last_failure(*place)
        health.read_backlog(*place)

    assert walks(plans_of(records.connection, look)) == []


def test_a_tally_counts_what_has_ended_and_what_was_diverted(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = records.subscription()
    for _ in range(3):
        delivered_first(records, one, 5)
    records.ended(records.event(), one, DeliveryState.FAILED)
    records.pending(records.event(), one)
    records.ended(records.event(), records.subscription(), DeliveryState.FAILED)
    place = (records.connection, records.project, one.id)
    tally = health.read_tally(*place)
    assert tally.ended == {DeliveryState.DELIVERED: 3, DeliveryState.FAILED: 1}
    assert (tally.diverted, tally.backlog.size, tally.last_failure) == (1, 1, None)
    tried(records, one, AttemptState.FAILED, 5)
    assert health.read_tally(*place).last_failure is not None
    monkeypatch.setattr(health, "SAMPLED", 2)
    assert sum(health.read_tally(*place).ended.values()) == 2
