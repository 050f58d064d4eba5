"""Transactions in the database: one for an event and a key, and events found by how they stand."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.database import Place, Records, opened
from waypost.clock import IdSource, SystemEntropy
from waypost.model.errors import AlreadyClaimed, NotFound
from waypost.model.event import Attributes, Event
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.transaction import CLAIMABLE, Change, Standing, Transaction, TransactionState
from waypost.operations.audience import Audience
from waypost.operations.transactions import Transactions, Which
from waypost.storage import events, pages
from waypost.storage import transactions as subject
from waypost.storage.transactions import Span, Stretch, Wanted

S = Standing
KEY = "worker"


def keep(
    records: Records,
    event_id: Id,
    state: TransactionState = TransactionState.PROCESSING,
    tx_key: str = KEY,
    project_id: Id | None = None,
    **more: object,
) -> Transaction:
    """Keep a transaction."""
    made = Transaction(
        project_id or records.project,
        event_id,
        tx_key,
        records.ids.next(),
        state,
        history=(Change(state, None, 5, b"k" * 16),),
        **more,  # type: ignore[arg-type] # fields of it
    )
    subject.record(records.connection, None, made)
    return made


def find(records: Records, *standings: Standing, now_us: int = 0, **more: object) -> list[Id]:
    """Find events of the project."""
    wanted = Wanted(KEY, frozenset(standings), **more)  # type: ignore[arg-type] # fields of it
    span = Span(0, 100)
    found = subject.find_events(records.connection, records.project, wanted, now_us, span)
    assert found.total == len(found.page)
    return found.page


def test_what_is_kept_is_found_as_it_was(records: Records) -> None:
    event_id = records.event()
    made = keep(
        records,
        event_id,
        claim=3,
        started_us=1,
        ended_us=2,
        lease_until_us=2**60,
        output="ü\x00",
    )
    place = (records.connection, records.project, event_id)
    assert subject.find_and_count(*place, KEY) == (*subject.find(*place, KEY), 1)
    event, found = subject.find(*place, KEY)
    assert event == events.get(*place)
    assert found == made
    assert subject.find_and_count(*place, "other") == (event, None, 1)
    assert subject.get(*place, made.id) == made
    assert subject.list_page(*place, PageRequest()).items == [made]
    assert subject.list_of_events(*place[:2], [event_id]) == {event_id: [made]}


def test_another_project_has_none_of_it(records: Records) -> None:
    event_id = records.event()
    made = keep(records, event_id)
    place = (records.connection, records.other, event_id)
    for look in (subject.find, subject.find_and_count):
        with pytest.raises(NotFound):
            look(*place, KEY)
    assert subject.list_page(*place, PageRequest()).items == []
    assert subject.list_of_events(*place[:2], [event_id]) == {}
    with pytest.raises(NotFound):
        subject.get(*place, made.id)
    wanted = Wanted(KEY, frozenset({S.PROCESSING}))
    assert subject.find_events(*place[:2], wanted, 0, Span(0, 9)) == Stretch([], 0, None)


def test_an_event_has_one_of_each_key(records: Records) -> None:
    event_id = records.event()
    keep(records, event_id)
    keep(records, event_id, tx_key="other")
    with pytest.raises(IntegrityError):
        keep(records, event_id)


def test_a_change_touches_that_one_alone(records: Records) -> None:
    first, second = records.event(), records.event()
    made, other = keep(records, first), keep(records, second)
    same = keep(records, first, tx_key="other")
    changed = Transaction(
        **{name: getattr(made, name) for name in made.__struct_fields__}
        | {"state": TransactionState.FINISHED}
    )
    subject.record(records.connection, made, changed)
    found = subject.list_of_events(records.connection, records.project, [first, second])
    assert found == {first: [changed, same], second: [other]}


def test_events_are_found_by_how_they_stand(records: Records) -> None:
    made = {standing: records.event() for standing in Standing}
    for standing, event_id in made.items():
        if standing is S.LAPSED:
            keep(records, event_id, lease_until_us=1_000)
        elif standing is not S.ABSENT:
            keep(records, event_id, TransactionState(standing.value))
    # Another's does not count.
    keep(records, made[S.ABSENT], TransactionState.FINISHED, tx_key="other")
    for now_us, lapsed in ((999, set()), (1_000, {S.LAPSED})):
        for standing in Standing:
            expected = {standing} if standing is not S.LAPSED else lapsed
            if standing is S.PROCESSING:
                expected = {S.PROCESSING, S.LAPSED}
            found = find(records, standing, now_us=now_us)
            assert found == sorted(made[one] for one in expected), (standing, now_us)
        found = find(records, *CLAIMABLE, now_us=now_us)
        assert found == sorted(made[one] for one in {S.ABSENT, S.PENDING} | lapsed)
        ended = find(records, S.FINISHED, S.FAILED, now_us=now_us)
        assert ended == sorted([made[S.FINISHED], made[S.FAILED]])
        absent = find(records, S.ABSENT, S.LAPSED, now_us=now_us)
        assert absent == sorted(made[one] for one in {S.ABSENT} | lapsed)


def test_a_lease_that_runs_is_no_reason_to_be_found(records: Records) -> None:
    keep(records, records.event())
    keep(records, records.event(), lease_until_us=10)
    assert find(records, *CLAIMABLE, now_us=9) == []


def test_events_are_found_by_type_time_and_position(records: Records) -> None:
    first = records.event("a")
    records.clock.forward(1)
    at_us = records.clock.now_us()
    second = records.event("b")
    third = records.event("a")
    assert find(records, S.ABSENT) == [first, second, third]
    assert find(records, S.ABSENT, types=("a",)) == [first, third]
    assert find(records, S.ABSENT, begin_us=at_us) == [second, third]
    assert find(records, S.ABSENT, after=second) == [third]
    assert find(records, S.ABSENT, after=first, begin_us=at_us + 1_000_000) == []


@pytest.mark.parametrize("admits", [None, lambda _: True])
def test_a_part_of_what_stands_so_is_that_part_of_all(
    records: Records, admits: Callable[[Event], bool] | None
) -> None:
    made = [records.event() for _ in range(7)]
    for event_id in (made[0], made[2], made[3]):
        keep(records, event_id, lease_until_us=1_000)
    for event_id in (made[1], made[5]):
        keep(records, event_id, TransactionState.FINISHED)
    had = [made[0], made[2], made[3], made[4], made[6]]
    wanted = Wanted(KEY, CLAIMABLE, admits=admits)
    # Before each of these starts there is none but by a lease that has run out.
    starts = (None, made[0], made[3], made[4])
    for skip, size, more, start in product(range(8), (0, 1, 3), (0, 2, 9), starts):
        span = Span(skip, size, more)
        found = subject.find_events(records.connection, records.project, wanted, 1_000, span, start)
        seen = had[: span.end]
        assert found.page == seen[skip : skip + size], (span, start)
        assert found.total == len(seen), (span, start)
        first = next((one for one in seen if start is None or one >= start), None)
        assert found.first == first, (span, start)


def test_events_are_found_by_what_a_statement_can_not_tell(records: Records) -> None:
    wanted = [
        records.event(attributes=Attributes(label=label), payload=b'"large"')
        for label in ("x", "y", "x")
    ]
    seen = []

    def admits(event: object) -> bool:
        seen.append(event.payload)  # type: ignore[attr-defined] # an event
        return bool(event.attributes.label == "x")  # type: ignore[attr-defined] # an event

    assert find(records, S.ABSENT, admits=admits) == [wanted[0], wanted[2]]
    assert seen == [b""] * 3
    few = Wanted(KEY, frozenset({S.ABSENT}), admits=admits)
    found = subject.find_events(records.connection, records.project, few, 0, Span(0, 1))
    assert found == Stretch([wanted[0]], 1, wanted[0])


def test_what_weighs_too_much_is_read_in_part(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_BYTES", 10)
    wanted = [records.event(payload=b'"' + b"x" * 6 + b'"') for _ in range(4)]
    found = events.list_some(records.connection, records.project, wanted)
    assert [event.id for event in found] == wanted[:2]
    assert events.list_some(records.connection, records.other, wanted) == []
    assert events.list_some(records.connection, records.project, []) == []


async def test_of_all_who_claim_one_gets_it(records: Records, place: Place) -> None:
    event_ids = [records.event() for _ in range(5)]
    principal, clock = records.principal(), records.clock
    async with AsyncExitStack() as stack:
        count = 1 if isinstance(place, Path) else 2
        stores = [await stack.enter_async_context(opened(place)) for _ in range(count)]
        nobody: Any = None
        both = [
            Transactions(
                store,
                nobody,
                Audience(clock),
                clock,
                IdSource(clock, SystemEntropy()),
                None,
            )
            for store in stores
        ]
        tries = [
            both[number % count].claim(principal, Which(event_id, tx_key=tx_key))
            for event_id in event_ids
            for tx_key in ("a", "b")
            for number in range(8)
        ]
        answers = await asyncio.gather(*tries, return_exceptions=True)
        won = [one.transaction for one in answers if not isinstance(one, BaseException)]
        assert len({(one.event_id, one.tx_key) for one in won}) == len(won) == 10
        refused = [one for one in answers if isinstance(one, BaseException)]
        assert all(isinstance(one, AlreadyClaimed) for one in refused), refused
