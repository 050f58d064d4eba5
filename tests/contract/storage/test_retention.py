"""What has had its time goes, and nothing that is referred to."""

from collections.abc import Callable
from functools import partial

import pytest
from msgspec.structs import replace
from sqlalchemy import func, insert, select

from tests.support.database import MICROS, Records
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.model.subscription import Subscription
from waypost.model.transaction import Transaction, TransactionState
from waypost.storage import deliveries, diverted, replays, retention, schema, transactions
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.retention import KINDS, Cuts

KIND = {kind.name: kind for kind in KINDS}


def cuts_of(records: Records) -> Cuts:
    """Return that everything up to now has had its time, but what was diverted."""
    now_us = records.clock.now_us()
    return Cuts(events_us=now_us, audit_us=now_us)


def forget(records: Records, cuts: Cuts, *, limit: int = 3) -> dict[str, int]:
    """Delete what may go, of both projects, a few rows at a time; or only count it, ahead."""
    counts: dict[str, int] = {}
    for kind in KINDS:
        project_id = retention.next_project(records.connection, kind, ids.FIRST, cuts)
        while project_id is not None:
            after: retention.Key = ()
            while keys := retention.find(records.connection, kind, project_id, after, cuts, limit):
                after = keys[-1]
                gone = len(keys)
                if not cuts.ahead:
                    close = retention.are_close(records.connection, kind, project_id, keys)
                    gone = retention.delete(
                        records.connection, kind, project_id, keys, cuts, close=close
                    )
                counts[kind.name] = counts.get(kind.name, 0) + gone
            project_id = retention.next_project(records.connection, kind, project_id, cuts)
    return counts


def left(records: Records, table: str) -> int:
    """Count the rows of a table."""
    query = select(func.count()).select_from(schema.metadata.tables[table])
    return int(records.connection.execute(query).scalar_one())


def attempt(records: Records, event_id: Id, subscription: Subscription) -> None:
    """Keep an attempt of an event."""
    records.connection.execute(
        insert(schema.attempts).values(
            project_id=subscription.project_id,
            event_id=event_id,
            id=records.ids.next(),
            delivery_id=records.ids.next(),
            subscription_id=subscription.id,
            number=1,
            state=2,
            status_code=500,
            response=b"",
            timings=b"",
            resent=0,
        )
    )


def receipt(records: Records, event_id: Id) -> None:
    """Keep a receipt of an event."""
    records.connection.execute(
        insert(schema.receipts).values(
            project_id=records.project,
            event_id=event_id,
            id=records.ids.next(),
            key_id=bytes(16),
            same_body=1,
        )
    )


def transaction(records: Records, event_id: Id) -> None:
    """Keep a transaction of an event."""
    made = Transaction(records.project, event_id, "k", records.ids.next(), TransactionState.PENDING)
    transactions.record(records.connection, None, made)


def replay(
    records: Records,
    subscription: Subscription,
    kind: ReplayKind,
    begin_us: int,
    state: ReplayState = ReplayState.RUNNING,
) -> None:
    """Keep a job."""
    job = Replay(
        project_id=subscription.project_id,
        id=records.ids.next(),
        kind=kind,
        subscription_id=subscription.id,
        begin_us=begin_us,
        end_us=records.clock.now_us(),
    )
    replays.insert(records.connection, replace(job, state=state))


def test_an_event_goes_with_all_that_hangs_on_it(records: Records) -> None:
    subscription = records.subscription()
    for _ in range(5):
        event_id = records.event()
        records.ended(event_id, subscription, DeliveryState.DELIVERED)
        attempt(records, event_id, subscription)
        receipt(records, event_id)
        transaction(records, event_id)
    records.event(project_id=records.other)
    records.clock.forward(1)
    cuts = cuts_of(records)
    young = records.event()
    records.ended(young, subscription, DeliveryState.DELIVERED)
    transaction(records, young)
    hanging = ("deliveries", "attempts", "receipts", "transactions")
    assert forget(records, cuts) == {"events": 6} | dict.fromkeys(hanging, 5)
    assert left(records, "transactions") == 1
    assert left(records, "events") == left(records, "deliveries") == 1
    assert forget(records, cuts) == {}


def owed(records: Records, event_id: Id, subscription: Subscription) -> None:
    records.pending(event_id, subscription)


def fanned_out(records: Records, event_id: Id, subscription: Subscription) -> None:
    records.connection.execute(
        insert(schema.fan_outs).values(
            project_id=records.project, event_id=event_id, subscriptions=bytes(16), position=0
        )
    )


def boxed(records: Records, event_id: Id, subscription: Subscription) -> None:
    records.ended(event_id, subscription, DeliveryState.FAILED)


def replayed(records: Records, event_id: Id, subscription: Subscription) -> None:
    replay(records, subscription, ReplayKind.MISSING, ids.moment(event_id))


def recovered(records: Records, event_id: Id, subscription: Subscription) -> None:
    replay(records, subscription, ReplayKind.RECOVER, records.clock.now_us())


@pytest.mark.parametrize("held", [owed, fanned_out, boxed, replayed, recovered])
def test_an_event_that_is_referred_to_stays_with_all_that_hangs_on_it(
    records: Records, held: Callable[[Records, Id, Subscription], None]
) -> None:
    subscription = records.subscription()
    event_id = records.event()
    records.ended(event_id, subscription, DeliveryState.DELIVERED)
    attempt(records, event_id, subscription)
    receipt(records, event_id)
    held(records, event_id, subscription)
    records.event(project_id=records.other)
    records.clock.forward(1)
    counted = forget(records, replace(cuts_of(records), ahead=True))
    assert forget(records, cuts_of(records)) == counted == {"events": 1}


def test_a_replay_holds_no_event_before_its_range(records: Records) -> None:
    subscription = records.subscription()
    records.event()
    records.clock.forward(1)
    replay(records, subscription, ReplayKind.MISSING, records.clock.now_us())
    records.event()
    records.clock.forward(1)
    assert forget(records, cuts_of(records)) == {"events": 1}


def test_a_replay_that_has_ended_goes_and_holds_nothing(records: Records) -> None:
    subscription = records.subscription()
    records.event()
    replay(records, subscription, ReplayKind.RECOVER, 0, ReplayState.DONE)
    records.clock.forward(1)
    assert forget(records, cuts_of(records)) == {"events": 1, "replays": 1}


def test_diverted_events_have_a_time_of_their_own(records: Records) -> None:
    subscription = records.subscription()
    first = records.event()
    records.ended(first, subscription, DeliveryState.FAILED)
    records.clock.forward(1)
    cuts = cuts_of(records)
    assert forget(records, cuts) == {}
    records.clock.forward(1)
    later = replace(cuts_of(records), diverted_us=records.clock.now_us())
    counted = forget(records, replace(later, ahead=True))
    gone = forget(records, later)
    assert gone == counted == {"diverted_events": 1, "events": 1, "deliveries": 1}


def test_what_was_diverted_late_is_young(records: Records) -> None:
    subscription = records.subscription()
    event_id = records.event()
    delivery_id = records.ended(event_id, subscription, DeliveryState.FAILED)
    records.clock.forward(10)
    box = schema.diverted_events
    moved = box.update().values(diverted_us=records.clock.now_us())
    records.connection.execute(moved)
    cuts = replace(cuts_of(records), diverted_us=records.clock.now_us() - MICROS)
    assert forget(records, cuts) == {}
    assert diverted.get(records.connection, records.project, delivery_id).event_id == event_id


@pytest.mark.parametrize("close", [False, True])
def test_what_is_owed_again_meanwhile_stays(records: Records, close: bool) -> None:
    subscription = records.subscription()
    event_id = records.event()
    records.clock.forward(1)
    cuts = cuts_of(records)
    kind = KIND["events"]
    found = retention.find(records.connection, kind, records.project, (), cuts, 9)
    assert found == [(event_id,)]
    records.pending(event_id, subscription)
    delete = partial(retention.delete, records.connection, kind, records.project, found)
    assert delete(cuts, close=close) == 0
    assert left(records, "events") == 1


@pytest.mark.parametrize("close", [False, True])
def test_what_a_replay_needs_meanwhile_stays(records: Records, close: bool) -> None:
    subscription = records.subscription()
    first = records.event()
    records.clock.forward(1)
    second = records.event()
    records.clock.forward(1)
    cuts = cuts_of(records)
    kind = KIND["events"]
    found = retention.find(records.connection, kind, records.project, (), cuts, 9)
    assert found == [(first,), (second,)]
    replay(records, subscription, ReplayKind.MISSING, ids.moment(second))
    delete = partial(retention.delete, records.connection, kind, records.project)
    assert delete(found[1:], cuts, close=close) == 0
    assert delete(found, cuts, close=close) == 1
    assert left(records, "events") == 1


@pytest.mark.parametrize("name", ["events", "attempts"])
def test_rows_that_stay_between_those_that_go_are_not_walked_through(
    records: Records, name: str
) -> None:
    subscription = records.subscription()
    kind = KIND[name]

    def goes() -> None:
        if name == "attempts":
            attempt(records, records.ids.next(), subscription)
        else:
            records.event()

    goes()
    for _ in range(9):
        event_id = records.event()
        attempt(records, event_id, subscription)
        records.pending(event_id, subscription)
    goes()
    records.clock.forward(1)
    cuts = cuts_of(records)
    found = retention.find(records.connection, kind, records.project, (), cuts, 9)
    assert len(found) == 2
    place = (records.connection, kind, records.project)
    assert not retention.are_close(*place, found)
    assert retention.are_close(*place, found[:1])
    before = left(records, name)
    assert retention.delete(*place, found, cuts) == 2
    assert left(records, name) == before - 2


def test_a_range_ends_within_an_event(records: Records) -> None:
    subscription = records.subscription()
    before, event_id, after = (records.ids.next() for _ in range(3))
    for one in (before, *[event_id] * 4, after):
        attempt(records, one, subscription)
    records.clock.forward(1)
    cuts = cuts_of(records)
    kind = KIND["attempts"]
    found = retention.find(records.connection, kind, records.project, (), cuts, 9)
    place = (records.connection, kind, records.project)
    assert retention.delete(*place, found[2:4], cuts, close=True) == 2
    kept = retention.find(*place, (), cuts, 9)
    assert kept == [*found[:2], *found[4:]]


def test_what_has_lost_its_event_is_found(records: Records) -> None:
    subscription = records.subscription()
    event_id = records.ids.next()
    attempt(records, event_id, subscription)
    receipt(records, event_id)
    records.clock.forward(1)
    assert forget(records, cuts_of(records)) == {"attempts": 1, "receipts": 1}


def test_many_rows_of_one_event_go_a_few_at_a_time(records: Records) -> None:
    subscription = records.subscription()
    event_id = records.event()
    for _ in range(8):
        attempt(records, event_id, subscription)
    records.clock.forward(1)
    assert forget(records, cuts_of(records), limit=3) == {"events": 1, "attempts": 8}


def test_what_was_looked_at_before_is_passed_over(records: Records) -> None:
    records.event()
    records.clock.forward(1)
    looked_us = records.clock.now_us()
    records.event()
    records.clock.forward(1)
    cuts = replace(cuts_of(records), behind=ids.lowest(looked_us))
    assert forget(records, cuts) == {"events": 1}
    assert forget(records, replace(cuts, behind=ids.FIRST)) == {"events": 1}


def test_without_a_retention_everything_stays(records: Records) -> None:
    subscription = records.subscription()
    records.ended(records.event(), subscription, DeliveryState.FAILED)
    records.clock.forward(10**9)
    assert forget(records, Cuts()) == {}


def test_what_is_owed_for_too_long_is_given_up_into_the_box(records: Records) -> None:
    subscription = records.subscription()
    old = [records.event() for _ in range(3)]
    pending = [records.pending(event_id, subscription) for event_id in old]
    records.clock.forward(1)
    cuts = cuts_of(records)
    young = records.pending(records.event(), subscription)
    connection, project_id = records.connection, records.project
    assert retention.next_project_owed(connection, ids.FIRST, cuts) == project_id
    assert retention.next_project_owed(connection, project_id, cuts) is None
    first = retention.find_owed(connection, project_id, (), cuts, 2)
    rest = retention.find_owed(connection, project_id, first[-1], cuts, 9)
    assert [*first, *rest] == list(zip(old, pending, strict=True))
    now_us = records.clock.now_us()
    given_up = retention.expire(connection, project_id, [*first, *rest], now_us)
    assert {one.id for one in given_up} == set(pending)
    assert {one.subscription_id for one in given_up} == {subscription.id}
    assert retention.expire(connection, project_id, first, now_us) == []
    request = PageRequest(size=10)
    page = deliveries.list_page(connection, project_id, request, DeliveryFilter())
    told = {one.id: (one.state, one.reason, one.diverted) for one in page.items}
    gone = (DeliveryState.FAILED, Reason.EXPIRED, True)
    assert told == {**dict.fromkeys(pending, gone), young: (DeliveryState.PENDING, None, False)}
    assert forget(records, cuts) == {}


def test_the_audit_trail_has_a_time_of_its_own(records: Records) -> None:
    def audited() -> None:
        row = {"project_id": records.project, "id": records.ids.next(), "key_id": bytes(16)}
        records.connection.execute(insert(schema.audit).values(**row, action="a", subject="s"))

    audited()
    records.clock.forward(1)
    middle_us = records.clock.now_us()
    audited()
    records.clock.forward(1)
    cuts = replace(cuts_of(records), audit_us=middle_us)
    assert forget(records, cuts) == {"audit": 1}
