"""What is known of an event, subscription by subscription."""

import msgspec
import pytest
from sqlalchemy import insert, update

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.delivery import AttemptState, DeliveryState, Timings
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.shards import shard_of
from waypost.policy.judging import Taken
from waypost.storage import cluster, events, explaining, former_routes, schema, subscriptions
from waypost.storage.explaining import Known


def known(
    records: Records, event_id: Id, request: PageRequest | None = None, only: Id | None = None
) -> Known:
    event = events.get(records.connection, records.project, event_id)
    return explaining.read(records.connection, event, request or PageRequest(), only)


def test_the_subscriptions_are_those_of_now_and_of_then(records: Records) -> None:
    before, kept = records.subscription(), records.subscription(description="kept")
    gone = records.subscription()
    records.subscription(project_id=records.other)
    subscriptions.delete(records.connection, records.project, before.id, records.clock.now_us())
    records.clock.forward(1)
    event_id = records.event()
    records.clock.forward(1)
    at_us = records.clock.now_us()
    subscriptions.delete(records.connection, records.project, gone.id, at_us)
    later = records.subscription()
    page = known(records, event_id).page
    assert [one.id for one in page.items] == [later.id, gone.id, kept.id]
    assert [one.deleted_at_us for one in page.items] == [None, at_us, None]
    assert page.items[2].description == "kept"
    assert [x.id for x in known(records, event_id, only=kept.id).page.items] == [kept.id]
    first = known(records, event_id, PageRequest(size=2)).page
    assert first.has_more
    rest = known(records, event_id, PageRequest(size=2, older_than=first.items[-1].id)).page
    assert ([one.id for one in rest.items], rest.has_more) == ([kept.id], False)


def test_settings_are_those_of_the_event_s_routing(records: Records) -> None:
    connection = records.connection
    one, later = records.subscription(event_types=("a",)), records.subscription()
    event_id = records.event()  # routed by the version 1
    former_routes.begin(connection, records.project, later.id, 2)
    former_routes.end(connection, one, 3, records.clock.now_us())
    subscriptions.update(connection, msgspec.structs.replace(one, event_types=("b",)))
    newest, oldest = known(records, event_id).page.items
    assert (newest.then, newest.now) == (None, Taken())
    assert (oldest.then, oldest.now) == (Taken(("a",)), Taken(("b",)))


def test_deliveries_and_attempts_are_the_latest_of_each(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "DELIVERIES_MAX", 2)
    monkeypatch.setattr(explaining, "ATTEMPTS_MAX", 2)
    one, other = records.subscription(), records.subscription()
    event_id, foreign = records.event(), records.event()
    records.ended(event_id, one, DeliveryState.CANCELLED)
    second = records.ended(event_id, one, DeliveryState.FAILED)
    records.connection.execute(
        update(schema.deliveries).where(schema.deliveries.c.id == second).values(attempts=3)
    )
    third = records.ended(event_id, one, DeliveryState.DELIVERED)
    pending = records.pending(event_id, other)
    records.ended(foreign, one, DeliveryState.FAILED)
    tries = []
    for number in (1, 2, 3):
        tries.append(records.ids.next())
        records.connection.execute(
            insert(schema.attempts).values(
                project_id=records.project,
                event_id=event_id,
                id=tries[-1],
                delivery_id=second,
                subscription_id=one.id,
                number=number,
                state=int(AttemptState.FAILED),
                status_code=500,
                response=b"no",
                timings=msgspec.msgpack.encode(Timings()),
                resent=0,
            )
        )
    found = known(records, event_id)
    assert [x.id for x in found.deliveries] == [pending, third, second]
    assert [x.state for x in found.deliveries] == [
        DeliveryState.PENDING,
        DeliveryState.DELIVERED,
        DeliveryState.FAILED,
    ]
    assert [x.diverted for x in found.deliveries] == [False, False, True]
    assert [x.id for x in found.attempts] == [tries[2], tries[1]]


def test_a_fan_out_and_the_owner_are_told(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    event_id = records.event()
    records.connection.execute(
        insert(schema.fan_outs).values(
            project_id=records.project, event_id=event_id, subscriptions=one.id, position=0
        )
    )
    worker = {"id": records.ids.next(), "name": "a:1", "role": "all", "listen": "x"}
    times = {"started_us": 1, "lease_until_us": 2}
    records.connection.execute(insert(cluster.workers).values(**worker, version="1", **times))
    shard = shard_of(one.id)
    here = cluster.shards.c.shard == shard
    if records.connection.dialect.name == "sqlite":
        records.connection.execute(
            insert(cluster.shards).values(shard=shard, epoch=1, owner=worker["id"])
        )
    records.connection.execute(update(cluster.shards).where(here).values(owner=worker["id"]))
    found = known(records, event_id)
    assert found.spreading == {one.id}
    assert found.owners[shard] == "a:1"
    assert shard_of(other.id) == shard or shard_of(other.id) not in found.owners


def test_each_look_goes_by_keys(records: Records) -> None:
    one = records.subscription()
    event_id = records.event()
    records.ended(event_id, one, DeliveryState.FAILED)
    plans = plans_of(records.connection, lambda: known(records, event_id, only=one.id))
    # The processes are few, and read all.
    assert [step for step in walks(plans) if "workers" not in step and "shards" not in step] == []
    assert ids.FIRST
