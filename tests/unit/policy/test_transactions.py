"""Transactions: who gets an event, who may still speak for it, how its consumers are together."""

from typing import Any

import msgspec
import pytest

from waypost.model import ids
from waypost.model.errors import AlreadyClaimed, NotHeld
from waypost.model.transaction import (
    ENDED,
    STEPS,
    Change,
    Transaction,
    TransactionState,
)
from waypost.policy import transactions as subject
from waypost.policy.transactions import HISTORY_MAX, PROGRESS_MAX, Who

PENDING, PROCESSING, FINISHED, FAILED = TransactionState
EVENT = ids.make(1, 1)


def blank(number: int = 1) -> Transaction:
    return Transaction(b"p" * 16, EVENT, f"key-{number}", ids.make(number, number), PENDING)


def who(at_us: int, key: bytes = b"k" * 16) -> Who:
    return Who(key, at_us)


def claimed(at_us: int = 100, lease_us: int | None = None, number: int = 1) -> Transaction:
    return subject.claim(None, blank(number), who(at_us), lease_us)


def steps(transaction: Transaction) -> list[tuple[Any, TransactionState, int]]:
    return [(change.former, change.state, change.at_us) for change in transaction.history]


def test_the_first_claim_has_the_event() -> None:
    made = claimed(100)
    assert (made.state, made.claim, made.started_us, made.lease_until_us) == (
        PROCESSING,
        1,
        100,
        None,
    )
    assert made.history == (Change(PROCESSING, None, 100, b"k" * 16),)


@pytest.mark.parametrize("state", [PROCESSING, FINISHED, FAILED])
def test_nobody_else_ever_gets_it(state: TransactionState) -> None:
    made = claimed() if state is PROCESSING else subject.end(claimed(), state, who(200))
    with pytest.raises(AlreadyClaimed, match=state.value):
        subject.claim(made, blank(), who(10**15), None)
    with pytest.raises(AlreadyClaimed):
        subject.register(made, blank(), who(10**15))


def test_a_registered_one_is_claimed_by_the_first_who_comes() -> None:
    made = subject.register(None, blank(), who(50))
    assert (made.state, made.claim, made.started_us) == (PENDING, 0, None)
    taken = subject.claim(made, blank(9), who(60), None)
    assert (taken.id, taken.claim) == (made.id, 1)
    assert steps(taken) == [(None, PENDING, 50), (PENDING, PROCESSING, 60)]


def test_it_comes_back_when_the_lease_is_over_and_not_before() -> None:
    made = claimed(100, lease_us=50)
    with pytest.raises(AlreadyClaimed):
        subject.claim(made, blank(), who(149), 50)
    again = subject.claim(made, blank(), who(150), 50)
    assert (again.claim, again.started_us, again.lease_until_us) == (2, 150, 200)


def test_who_has_lost_it_may_say_nothing_more() -> None:
    made = claimed(100, lease_us=50)
    again = subject.claim(made, blank(), who(150), 50)
    with pytest.raises(NotHeld, match="claim 1"):
        subject.end(again, FINISHED, who(160), number=1)
    with pytest.raises(NotHeld, match="claim 1"):
        subject.extend(again, 1, 500)
    assert subject.end(again, FINISHED, who(160), number=2).state is FINISHED


def test_a_late_end_counts_while_nobody_else_has_it() -> None:
    made = claimed(100, lease_us=50)
    ended = subject.end(made, FAILED, who(900), "why", number=1)
    assert (ended.state, ended.output, ended.ended_us) == (FAILED, "why", 900)
    assert ended.lease_until_us is None


def test_a_heartbeat_moves_the_end_of_the_lease() -> None:
    longer = subject.extend(claimed(100, lease_us=50), 1, 500)
    assert longer.lease_until_us == 500
    assert not subject.is_claimable(longer, 499)
    assert subject.is_claimable(longer, 500)


@pytest.mark.parametrize("state", [PENDING, FINISHED, FAILED])
def test_only_what_is_processing_ends(state: TransactionState) -> None:
    made = msgspec.structs.replace(claimed(), state=state)
    for end in ENDED:
        with pytest.raises(NotHeld, match=state.value):
            subject.end(made, end, who(1))
    with pytest.raises(NotHeld):
        subject.extend(made, 1, 1)


def test_every_state_is_reached_and_ends_lead_nowhere() -> None:
    assert set().union(*STEPS.values()) == set(TransactionState)
    assert all(not STEPS[state] for state in ENDED)


def test_a_history_keeps_the_latest_and_runs_forward() -> None:
    made = claimed(1000, lease_us=1)
    for number in range(HISTORY_MAX + 5):
        made = subject.claim(made, blank(), who(1001 + number), 0)
    assert len(made.history) == HISTORY_MAX
    back = subject.end(made, FINISHED, who(5))
    assert back.history[-1].at_us == made.history[-1].at_us


def test_an_event_without_consumers_is_pending() -> None:
    found = subject.progress([])
    assert (found.state, found.history, found.total, found.is_completed) == (PENDING, (), 0, False)
    registered = subject.register(None, blank(), who(1))
    assert subject.progress([registered]).state is PENDING


def test_an_event_goes_as_its_consumers_do() -> None:
    first = subject.end(claimed(10, number=1), FINISHED, who(20))
    second = subject.end(claimed(15, number=2), FINISHED, who(30))
    found = subject.progress([second, first])
    told = [(change.former, change.state, change.at_us) for change in found.history]
    assert told == [(PENDING, PROCESSING, 10), (PROCESSING, FINISHED, 30)]
    assert (found.total, found.is_completed) == (2, True)


def test_a_finished_event_goes_back_when_another_consumer_begins() -> None:
    first = subject.end(claimed(10, number=1), FINISHED, who(20))
    found = subject.progress([first, claimed(30, number=2)])
    assert [change.state for change in found.history] == [PROCESSING, FINISHED, PROCESSING]
    assert not found.is_completed


def test_one_failure_fails_the_event_once_all_have_ended() -> None:
    first = subject.end(claimed(10, number=1), FAILED, who(20))
    second = claimed(11, number=2)
    assert subject.progress([first, second]).state is PROCESSING
    ended = subject.end(second, FINISHED, who(30))
    assert subject.progress([first, ended]).state is FAILED


def test_the_history_of_an_event_is_bounded() -> None:
    many = [subject.end(claimed(10 * n, number=n), FINISHED, who(10 * n + 5)) for n in range(1, 80)]
    assert len(subject.progress(many).history) == PROGRESS_MAX
