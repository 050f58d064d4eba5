"""Attempts: those made and those to come, in one list that a plain Python list agrees with."""

import random
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import insert, update

from tests.support import database
from tests.support.database import URL, Records
from waypost.model import ids
from waypost.model.delivery import (
    AttemptState,
    DeliveryClass,
    DeliveryState,
    Owed,
    Timings,
)
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.model.subscription import Subscription
from waypost.storage import attempts, queue
from waypost.storage.schema import attempts as table
from waypost.storage.schema import deliveries

STATUSES = [None, *AttemptStatus]


def ended(
    records: Records,
    event_id: ids.Id,
    subscription: Subscription,
    state: AttemptState = AttemptState.FAILED,
    **columns: object,
) -> ShownAttempt:
    """Keep an attempt that ended."""
    attempt_id, delivery_id = records.ids.next(), records.ids.next()
    row = {
        "project_id": subscription.project_id,
        "event_id": event_id,
        "id": attempt_id,
        "delivery_id": delivery_id,
        "subscription_id": subscription.id,
        "number": 2,
        "state": int(state),
        "status_code": 500,
        "response": b"no",
        "timings": msgspec.msgpack.encode(Timings(1, 2, 3, 4, 5)),
        "resent": 1,
    }
    records.connection.execute(insert(table).values(row | columns))
    return ShownAttempt(
        subscription.project_id,
        attempt_id,
        event_id,
        delivery_id,
        subscription.id,
        2,
        AttemptStatus.SUCCESS if state is AttemptState.SUCCESS else AttemptStatus.FAILED,
        URL,
        500,
        b"no",
        Timings(1, 2, 3, 4, 5),
        True,
    )


def owed(
    records: Records,
    event_id: ids.Id,
    subscription: Subscription,
    *,
    due_us: int,
    tries: int = 0,
    kind: DeliveryClass = DeliveryClass.FRESH,
    sending: bool = False,
) -> ShownAttempt:
    """Owe a delivery; return the attempt that it is to be shown as."""
    project_id = subscription.project_id
    # A first try is due at the moment of its delivery, and has its id.
    delivery_id = records.ids.next() if tries else ids.make(due_us, records.ids.next()[15])
    row = Owed(project_id, delivery_id, event_id, subscription.id, kind, due_us, tries)
    queue.insert(records.connection, [row])
    return ShownAttempt(
        project_id,
        ids.attempt_of(delivery_id, tries + 1, due_us),
        event_id,
        delivery_id,
        subscription.id,
        tries + 1,
        AttemptStatus.SENDING if sending else AttemptStatus.PENDING,
        URL,
    )


def delivered(records: Records, event_id: ids.Id, subscription: Subscription) -> ShownAttempt:
    """Keep a delivery that was delivered at the first try: the try has no row of its own."""
    delivery_id = records.ended(event_id, subscription, DeliveryState.DELIVERED)
    timings = Timings(1, 2, 3, 4, 5)
    answer = {
        "status_code": 204,
        "response": b"ok",
        "timings": msgspec.msgpack.encode(timings),
        "resent": 0,
    }
    records.connection.execute(
        update(deliveries).where(deliveries.c.id == delivery_id).values(answer)
    )
    return ShownAttempt(
        subscription.project_id,
        delivery_id,
        event_id,
        delivery_id,
        subscription.id,
        1,
        AttemptStatus.SUCCESS,
        URL,
        204,
        b"ok",
        timings,
    )


class Crowd:
    """Many attempts of two subscriptions and two events, some of them due at one moment."""

    def __init__(self, records: Records, seed: int) -> None:
        chance = random.Random(seed)
        self.subscriptions = [records.subscription() for _ in range(2)]
        self.events = [records.event() for _ in range(2)]
        self.sending: set[ids.Id] = set()
        self.every: list[ShownAttempt] = []
        now_us = records.clock.now_us()
        for _ in range(60):
            to, of = chance.choice(self.subscriptions), chance.choice(self.events)
            if chance.random() < 0.4:
                state = chance.choice([AttemptState.SUCCESS, AttemptState.FAILED])
                self.every.append(ended(records, of, to, state))
                continue
            if chance.random() < 0.3:
                self.every.append(delivered(records, of, to))
                continue
            sending = chance.random() < 0.3
            due_us = now_us + chance.choice([0, 0, 1, chance.randrange(120)])
            kind, tries = chance.choice(list(DeliveryClass)), chance.randrange(3)
            made = owed(records, of, to, due_us=due_us, tries=tries, kind=kind, sending=sending)
            self.every.append(made)
            if sending:
                self.sending.add(made.delivery_id)
        self.every.sort(key=lambda one: one.id, reverse=True)


Lister = Callable[[PageRequest, AttemptStatus | None], Page[ShownAttempt]]


def listers(records: Records, crowd: Crowd) -> list[tuple[Lister, list[ShownAttempt]]]:
    """Return each list's function, with everything that is in that list."""
    event_id, subscription_id = crowd.events[0], crowd.subscriptions[0].id
    place = (records.connection, records.project)
    return [
        (
            lambda request, status: attempts.list_of_event(
                *place, event_id, request, status, crowd.sending
            ),
            [one for one in crowd.every if one.event_id == event_id],
        ),
        (
            lambda request, status: attempts.list_of_subscription(
                *place, subscription_id, request, status, crowd.sending
            ),
            [one for one in crowd.every if one.subscription_id == subscription_id],
        ),
    ]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("seed", range(4))
def test_every_page_is_that_of_a_plain_list(
    records: Records, seed: int, status: AttemptStatus | None
) -> None:
    chance = random.Random(seed)
    crowd = Crowd(records, seed)
    moments = [ids.moment(one.id) for one in crowd.every]
    for lister, every in listers(records, crowd):
        chosen = [one for one in every if status in (None, one.status)]
        for _ in range(12):
            request = PageRequest(
                size=chance.choice([1, 2, 5, 100]),
                older_than=chance.choice([None, chance.choice(every).id]),
                newer_than=chance.choice([None, chance.choice(every).id]),
                begin_us=chance.choice([None, chance.choice(moments)]),
                end_us=chance.choice([None, chance.choice(moments)]),
            )
            assert lister(request, status) == cut(chosen, request)


def cut(every: list[ShownAttempt], request: PageRequest) -> Page[ShownAttempt]:
    """Cut a page out of a list that runs from newest to oldest."""
    chosen = [
        one
        for one in every
        if (request.older_than is None or one.id < request.older_than)
        and (request.newer_than is None or one.id > request.newer_than)
        and (request.begin_us is None or ids.moment(one.id) >= request.begin_us)
        and (request.end_us is None or ids.moment(one.id) < request.end_us)
    ]
    more = len(chosen) > request.size
    if request.newer_than is not None and request.older_than is None:
        return Page(chosen[-request.size :], more)
    return Page(chosen[: request.size], more)


def test_one_attempt_is_found_before_and_after_it_is_made(records: Records) -> None:
    subscription, event_id = records.subscription(), records.event()
    for made in (
        ended(records, event_id, subscription),
        delivered(records, event_id, subscription),
        owed(records, event_id, subscription, due_us=9),
        owed(records, event_id, subscription, due_us=9, tries=2),
        owed(records, event_id, subscription, due_us=9, sending=True),
    ):
        sending = {made.delivery_id} if made.status is AttemptStatus.SENDING else set()
        place = (records.connection, records.project)
        assert attempts.get(*place, event_id, made.id, sending) == made
        with pytest.raises(NotFound, match="attempt not found"):
            attempts.get(*place, records.event(), made.id, sending)
        with pytest.raises(NotFound, match="attempt not found"):
            attempts.get(records.connection, records.other, event_id, made.id, sending)


def test_a_response_that_was_kept_before_is_shown_again(records: Records) -> None:
    subscription, event_id = records.subscription(), records.event()
    first = ended(records, event_id, subscription, response=b"the same again")
    ended(records, event_id, subscription, response=None, same_as=first.id)
    page = attempts.list_of_event(
        records.connection, records.project, event_id, PageRequest(), None, ()
    )
    assert [one.response for one in page.items] == [b"the same again"] * 2


def test_other_projects_see_nothing(records: Records) -> None:
    subscription, event_id = records.subscription(), records.event()
    ended(records, event_id, subscription)
    owed(records, event_id, subscription, due_us=9)
    place = (records.connection, records.other)
    for status in STATUSES:
        of_event = attempts.list_of_event(*place, event_id, PageRequest(), status, ())
        assert of_event.items == []
        of_subscription = attempts.list_of_subscription(
            *place, subscription.id, PageRequest(), status, ()
        )
        assert of_subscription.items == []


def test_the_head_of_a_long_lane_is_read_without_the_rest(tmp_path: Path) -> None:
    records = database.make(tmp_path / "w.db")
    subscription, event_id = records.subscription(), records.event()
    for due_us in range(500):
        owed(records, event_id, subscription, due_us=due_us)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    raw = records.connection.connection.driver_connection
    raw.set_progress_handler(count, 100)  # type: ignore[union-attr] # it is there
    page = attempts.list_of_subscription(
        records.connection, records.project, subscription.id, PageRequest(size=3), None, ()
    )
    assert [ids.moment(one.id) for one in page.items] == [499, 498, 497]
    assert steps < 20


def test_when_a_subscription_was_last_sent_something_is_told(records: Records) -> None:
    one, two, three = (records.subscription() for _ in range(3))
    event_id = records.event()
    delivered(records, event_id, one)
    last = ended(records, event_id, one)
    ended(records, event_id, two)
    newest = delivered(records, event_id, two)
    records.ended(event_id, two, DeliveryState.CANCELLED)
    owed(records, event_id, three, due_us=records.clock.now_us())
    place = (records.connection, records.project)
    wanted = (one.id, two.id, three.id)
    assert attempts.last_started(*place, wanted) == {
        one.id: ids.moment(last.id),
        two.id: ids.moment(newest.id),
    }
    assert attempts.last_started(records.connection, records.other, wanted) == {}
