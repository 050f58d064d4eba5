"""Statements name the project for each table that they touch: they can be one node's alone."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from tests.conventions.test_distribution import grown
from tests.support.database import Records
from waypost.model import ids
from waypost.model.delivery import DeliveryState, Reason
from waypost.model.failure import Suspension
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.replay import Replay, ReplayKind, ReplayState
from waypost.model.subscription import DisabledBy, Subscription
from waypost.model.transaction import CLAIMABLE, Standing, Transaction, TransactionState
from waypost.policy.system_events import SubscriptionRecovered, about, event_of
from waypost.storage import (
    alerts,
    attempts,
    deliveries,
    diverted,
    event_types,
    events,
    keys,
    mails,
    missed,
    queue,
    receipts,
    replays,
    retention,
    selecting,
    signing_keys,
    subscriptions,
    system_events,
    told,
    transactions,
)
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.diverted import DivertedFilter
from waypost.storage.queue import LaneWanted
from waypost.storage.retention import KINDS, Cuts
from waypost.storage.selecting import Selection
from waypost.storage.told import What
from waypost.storage.transactions import Span, Wanted

PAGE = PageRequest(size=5)
TABLES = "|".join(table.name for table in grown())
# Where a table's rows are taken: its name, the name that it has in the statement, what follows.
PLACE = re.compile(
    rf"\b(?:FROM|JOIN|UPDATE|USING)\s+({TABLES})\b(?:\s+INDEXED BY \w+)?"
    r"(?:\s+AS\s+(\w+)|\s+(?!WHERE|ON|SET|ORDER|JOIN|LEFT)(\w+))?(\s+WHERE\s+project_id =)?",
    re.IGNORECASE,
)


@contextmanager
def heard(records: Records) -> Iterator[list[str]]:
    """Have all statements that are run meanwhile."""
    statements: list[str] = []

    def hear(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        statements.append(statement)

    engine = records.connection.engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", hear)


def unbound(statement: str) -> list[str]:
    """Return the tables for which a statement names no project."""
    return [
        match[1]
        for match in PLACE.finditer(statement)
        if not match[4]
        and not re.search(rf"\b{match[2] or match[3] or match[1]}\.project_id =", statement)
    ]


def of_requests(records: Records, subscription: Subscription, event_id: Id) -> None:
    connection, project_id = records.connection, records.project
    some = DeliveryFilter(subscription_id=subscription.id, types=("a",))
    deliveries.list_page(connection, project_id, PAGE, DeliveryFilter())
    deliveries.list_page(connection, project_id, PAGE, some)
    _of_counts(records, subscription)
    for status in (None, *attempts.ENDED):
        attempts.list_of_event(connection, project_id, event_id, PAGE, status, ())
        attempts.list_of_subscription(connection, project_id, subscription.id, PAGE, status, ())
    which = DivertedFilter(subscription.id, ("a.*", "b"), "o", Reason.GONE)
    diverted.list_page(connection, project_id, PAGE, which)
    diverted.read_chunk(connection, project_id, which, ids.FIRST, ids.LAST)
    diverted.present(connection, project_id, [])
    diverted.delete_many(connection, project_id, [])
    events.get(connection, project_id, event_id)
    events.list_page(connection, project_id, PAGE)
    receipts.list_latest(connection, project_id, event_id)
    _of_transactions(records, event_id)
    event_types.list_all(connection, project_id)
    keys.count_active(connection, project_id, 0)
    subscriptions.list_page(connection, project_id, PAGE)
    _of_system_events(records, subscription)
    signing_keys.delete_all(connection, project_id, subscription.id)


def _of_counts(records: Records, subscription: Subscription) -> None:
    connection, project_id = records.connection, records.project
    for state in (None, DeliveryState.FAILED):
        which = DeliveryFilter(state, subscription_id=subscription.id, types=("a", "b"))
        deliveries.count(connection, project_id, PAGE, which)
    for among in ((), (subscription.id,)):
        selection = Selection(1, 2, "o", (subscription.id,), among)
        selecting.count(connection, project_id, selection)


def _of_system_events(records: Records, subscription: Subscription) -> None:
    connection, place = records.connection, (records.project, subscription.id)
    news = SubscriptionRecovered(**about(subscription, 1), recovered_by="person")
    event = event_of(records.project, records.ids.next(), news)
    system_events.keep(connection, event, mailed=True)
    mails.put_off(connection, records.project, event.id, 1)
    mails.done(connection, records.project, event.id)
    told.mark(connection, *place, What.FAILING, 1)
    told.forget(connection, *place, What.FAILING, 1)
    told.forget_all(connection, *place)
    told.empty_box(connection, *place)
    told.mark_finished(connection, *place)
    told.read_backlog(connection, *place, 1)


def _of_transactions(records: Records, event_id: Id) -> None:
    connection, project_id = records.connection, records.project
    made = Transaction(project_id, event_id, "k", records.ids.next(), TransactionState.PENDING)
    transactions.record(connection, None, made)
    transactions.record(connection, made, made)
    transactions.get(connection, project_id, event_id, made.id)
    transactions.find(connection, project_id, event_id, "k")
    transactions.find_and_count(connection, project_id, event_id, "k")
    transactions.list_page(connection, project_id, event_id, PAGE)
    transactions.list_of_events(connection, project_id, [event_id])
    for standings in ({Standing.FINISHED}, {Standing.LAPSED}, CLAIMABLE):
        wanted = Wanted("k", frozenset(standings), ("a",))
        transactions.find_events(connection, project_id, wanted, 0, Span(2, 3, 5))
    events.list_some(connection, project_id, [event_id])


def of_replays(records: Records, subscription: Subscription, event_id: Id) -> None:
    connection, project_id = records.connection, records.project
    for kind in ReplayKind:
        job = Replay(
            project_id, records.ids.next(), kind, subscription.id, 0, records.clock.now_us()
        )
        replays.insert(connection, job)
        replays.read_bounds(connection, job)
        replays.enter(connection, project_id, job.id, ReplayState.RUNNING, 0)
        missed.read_slice(connection, job)
        selecting.read_slice(connection, job, with_payload=True)
        missed.unserved(connection, job, [event_id])
        replays.advance(connection, job, replays.Move(ids.FIRST, job.state), 0)
    replays.find_by_key(connection, project_id, "k")
    selecting.read_past(connection, project_id, [event_id], subscription.id)
    selecting.read_pending(connection, project_id, [event_id])
    subscriptions.enabled_of(connection, project_id, [subscription.id])
    subscriptions.demand_ever(connection, project_id, subscription.id)
    diverted.take_back(connection, project_id, [(event_id, subscription.id)])


def of_lanes(records: Records, subscription: Subscription, event_id: Id) -> None:
    connection, project_id = records.connection, records.project
    queue.read_heads(connection, [LaneWanted(project_id, subscription.id, 5)], payload_max=5)
    queue.find_event(connection, project_id, event_id)
    subscriptions.set_disabled(connection, project_id, subscription.id, DisabledBy.PERSON)
    queue.clear(
        connection,
        project_id,
        subscription.id,
        state=DeliveryState.CANCELLED,
        reason=Reason.SUBSCRIPTION_DISABLED,
        divert=False,
        now_us=0,
        sparing=(),
    )
    why = Suspension(1, event_id, "500", "status 500")
    subscriptions.set_suspended(connection, project_id, subscription.id, why)
    queue.clear(
        connection,
        project_id,
        subscription.id,
        state=DeliveryState.CANCELLED,
        reason=Reason.SUBSCRIPTION_SUSPENDED,
        divert=True,
        now_us=0,
        sparing=(),
        span=(1, 2),
    )
    alerts.insert_notice(connection, project_id, records.ids.next(), "a.b", b"", [])


def of_retention(records: Records, _subscription: Subscription, _event_id: Id) -> None:
    connection, project_id = records.connection, records.project
    now_us = records.clock.now_us()
    for cuts in (Cuts(now_us, now_us, now_us), Cuts(now_us, now_us, now_us, ahead=True)):
        for kind in KINDS:
            key = (ids.FIRST,) * len(kind.key)
            retention.find(connection, kind, project_id, (), cuts, 5)
            retention.find(connection, kind, project_id, key, cuts, 5)
            retention.delete(connection, kind, project_id, [key], cuts)
        found = retention.find_owed(connection, project_id, (), cuts, 5)
        retention.expire(connection, project_id, found, now_us)


@pytest.mark.parametrize("use", [of_requests, of_replays, of_lanes, of_retention])
def test_each_table_of_a_statement_is_bound_to_the_project(
    records: Records, use: Callable[[Records, Subscription, Id], None]
) -> None:
    subscription = records.subscription()
    event_id = records.event()
    records.pending(event_id, subscription)
    records.ended(event_id, subscription, DeliveryState.FAILED)
    records.clock.forward(1)
    with heard(records) as statements:
        use(records, subscription, event_id)
    assert any(PLACE.search(statement) for statement in statements)
    assert [(table, one) for one in statements for table in unbound(one)] == []


def test_a_table_without_its_project_would_be_noticed() -> None:
    assert unbound("SELECT 1 FROM queue q JOIN events AS e ON e.id = q.event_id") == [
        "queue",
        "events",
    ]
    assert unbound("SELECT id FROM queue WHERE project_id = ?") == []
