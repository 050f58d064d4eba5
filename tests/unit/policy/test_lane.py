"""The lane, under a simulated clock."""

import pytest

from waypost.model import ids
from waypost.model.delivery import DeliveryClass
from waypost.policy.background import GAP_US
from waypost.policy.gate import MAX_HOLD_US
from waypost.policy.lane import Lane
from waypost.policy.window import REMEMBERED
from waypost.policy.work import TURNS, Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def work(number: int, *, kind: DeliveryClass = DeliveryClass.FRESH, due_us: int = START) -> Work:
    return Work(ids.make(START + number, number), ids.make(START, number), int(kind), due_us, 0)


def lane(*, concurrency: int = 4, window: int = 100) -> Lane:
    return Lane(concurrency, window, empty=True)


def drain(one: Lane, now_us: int) -> list[Work]:
    started = []
    while (found := one.pop(now_us)) is not None:
        started.append(found)
    return started


def refilled(one: Lane, *found: Work, read_us: int = 0, cut_us: int | None = None) -> list[Work]:
    return one.end_refill(list(found), START, read_us=read_us, reached_end=True, next_due_us=cut_us)


def finish(one: Lane, done: Work) -> None:
    one.landed()
    one.leave(done.id)


def test_starts_work_in_the_order_in_which_it_came() -> None:
    one = lane()
    works = [work(n) for n in range(3)]
    for each in works:
        assert one.push(each, START)
    assert drain(one, START) == works


def test_starts_no_more_than_its_concurrency() -> None:
    one = lane(concurrency=2)
    for n in range(5):
        one.push(work(n), START)
    first = drain(one, START)
    assert len(first) == 2
    assert one.has_ready(START) is False
    finish(one, first[0])
    assert len(drain(one, START)) == 1


def test_a_place_is_free_when_the_try_has_ended_but_the_delivery_stays_known() -> None:
    one = lane(concurrency=1)
    first, second = work(1), work(2)
    one.push(first, START)
    one.push(second, START)
    assert one.pop(START) is first
    one.landed()
    assert first.id in one.known
    assert one.pop(START) is second


def test_work_that_is_due_later_waits_and_says_when() -> None:
    one = lane()
    later = work(1, due_us=START + 5 * SECOND)
    one.push(later, START)
    assert one.pop(START) is None
    assert one.wake_at(START) == later.due_us
    assert one.pop(later.due_us - 1) is None
    assert one.pop(later.due_us) is later


def test_first_tries_go_before_retries_but_retries_keep_a_share() -> None:
    one = lane(concurrency=1000)
    for n in range(40):
        one.push(work(n), START)
        one.push(work(100 + n, kind=DeliveryClass.RETRY), START)
        one.push(work(200 + n, kind=DeliveryClass.REPLAY), START)
    started = [DeliveryClass(one.pop(START + n * GAP_US).kind) for n in range(40)]  # type: ignore[union-attr] # it is there
    shares = {kind: started.count(kind) for kind in DeliveryClass}
    assert shares == {
        DeliveryClass.FRESH: 25,
        DeliveryClass.RETRY: 10,
        DeliveryClass.REPLAY: 5,
    }


def test_every_turn_lets_every_class_go_in_the_end() -> None:
    assert len(TURNS) == 8
    assert all(sorted(turn) == sorted(DeliveryClass) for turn in TURNS)


def test_a_full_lane_leaves_the_rest_to_the_database_and_asks_for_it_when_there_is_room() -> None:
    one = lane(concurrency=10, window=4)
    taken = [one.push(work(n), START) for n in range(6)]
    assert taken == [True] * 4 + [False] * 2
    assert one.needs_refill() is False
    started = drain(one, START)
    finish(one, started[0])
    finish(one, started[1])
    assert one.needs_refill() is True


def test_nothing_overtakes_what_waits_in_the_database() -> None:
    one = lane(window=2)
    for n in range(3):
        one.push(work(n), START)
    for started in drain(one, START):
        finish(one, started)
    assert one.push(work(9), START) is False
    assert one.take(work(10)) is False


def test_a_refill_passes_over_what_is_known_and_what_was_settled_while_it_read() -> None:
    one = lane(window=4)
    works = [work(n) for n in range(4)]
    for each in works:
        one.push(each, START)
    one.push(work(50), START)
    first = drain(one, START)
    assert first == works
    finish(one, works[0])
    finish(one, works[1])
    one.begin_refill()
    finish(one, works[2])
    entered = refilled(one, *(work(n) for n in (2, 3, 50)))
    assert [w.id for w in entered] == [work(50).id]
    assert one.complete is True


def test_a_commit_during_a_refill_enters_behind_it() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    seen, unseen = work(1), work(2)
    assert one.push(seen, START) is False
    assert one.push(unseen, START) is False
    assert one.take(unseen) is False
    first, again = work(0), work(1)
    assert refilled(one, first, again) == [first, again, unseen]
    assert one.complete is True
    assert drain(one, START) == [first, again, unseen]


def test_a_commit_of_others_during_a_refill_calls_for_another() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    one.push(work(1), START)
    one.look_again()
    refilled(one)
    assert one.complete is False
    assert one.needs_refill() is True
    assert one.begin_refill() == 100
    assert refilled(one, work(1)) == []
    assert one.complete is True


@pytest.mark.parametrize("settled_before", [False, True])
def test_a_commit_during_a_refill_that_was_read_and_settled_meanwhile_does_not_come_again(
    settled_before: bool,
) -> None:
    one = lane()
    early = work(1)
    one.push(early, START)
    drain(one, START)
    one.look_again()
    one.begin_refill()
    if settled_before:
        finish(one, early)
        one.push(work(1), START)
        assert refilled(one) == []
    else:
        one.push(work(1), START)
        finish(one, early)
        assert refilled(one, work(1)) == []
    assert drain(one, START) == []


def test_commits_during_a_refill_that_do_not_fit_are_left_to_the_next_one() -> None:
    one = lane(window=4)
    one.complete = False
    one.begin_refill()
    for n in range(5):
        one.push(work(n), START)
    assert [each.id for each in refilled(one)] == [work(n).id for n in range(4)]
    assert one.complete is False
    one.forget()
    one.begin_refill()
    one.push(work(7), START)
    assert [each.id for each in refilled(one, *(work(n) for n in range(4)))] == [
        work(n).id for n in range(4)
    ]
    assert one.complete is False, "there was no room for the seventh"


def test_commits_behind_what_a_refill_has_left_out_wait_in_the_database() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    one.push(work(9), START)
    one.end_refill([work(1)], START, read_us=0, reached_end=False, next_due_us=None)
    assert set(one.known) == {work(1).id}
    one.begin_refill()
    one.push(work(9), START)
    one.abort_refill()
    one.begin_refill()
    one.push(work(9), START)
    one.forget()
    assert refilled(one) == []
    assert one.known == {}


def test_news_of_a_commit_that_a_refill_has_seen_already_adds_nothing() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    refilled(one, work(1))
    assert one.push(work(1), START) is False
    assert one.take(work(1)) is False
    assert len(drain(one, START)) == 1


def test_news_of_what_a_refill_has_read_adds_nothing_when_that_is_settled() -> None:
    one, late = lane(), work(1)
    one.complete = False
    one.begin_refill()
    refilled(one, late, read_us=late.due_us)
    finish(one, drain(one, START)[0])
    assert one.take(late) is False
    assert one.push(late, START) is False
    assert one.needs_refill() is False
    other = work(2)
    assert one.take(other) is True


@pytest.mark.parametrize("together", [True, False])
def test_news_of_what_a_refill_may_have_read_is_looked_for_in_the_database(together: bool) -> None:
    one, many = lane(concurrency=999, window=999), [work(n) for n in range(REMEMBERED + 1)]
    for some in [many] if together else [[each] for each in many]:
        one.look_again()
        one.begin_refill()
        refilled(one, *some, read_us=START)
    for each in drain(one, START):
        finish(one, each)
    assert one.complete is True
    assert one.take(many[0]) is False
    assert one.push(many[0], START) is False
    assert one.needs_refill() is True
    one.begin_refill()
    refilled(one, read_us=START + 1)
    assert one.push(many[-1], START) is False
    assert one.needs_refill() is False
    later = work(500, due_us=START + 1)
    assert one.take(later) is True


def test_a_refill_that_was_cut_later_on_wakes_the_lane_there() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    cut_us = START + 60 * SECOND
    refilled(one, cut_us=cut_us)
    assert one.wake_at(START) == cut_us
    assert one.pop(cut_us) is None
    assert one.needs_refill() is True


def test_a_try_that_hangs_does_not_keep_a_lane_full_of_retries_from_what_is_due() -> None:
    one = lane(concurrency=10, window=8)
    for n in range(4):
        one.push(work(n, due_us=START + 300 * SECOND), START)
    one.push(work(9), START)
    assert len(drain(one, START)) == 1
    one.complete = False
    assert one.needs_refill() is True
    assert one.begin_refill() == 8


def test_a_refill_that_failed_is_asked_for_again() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    assert one.needs_refill() is False
    one.abort_refill()
    assert one.needs_refill() is True


def test_a_retry_is_tried_when_it_is_due() -> None:
    one = lane()
    first = work(1)
    one.push(first, START)
    one.pop(START)
    one.landed()
    due_us = START + 5 * SECOND
    attempt_id = first.attempt_id
    assert not one.retry(first, due_us, START)
    assert one.pop(due_us - 1) is None
    assert one.pop(due_us) is first
    assert first.attempts == 1
    assert first.kind == DeliveryClass.RETRY
    assert first.attempt_id != attempt_id


def test_retries_that_are_due_later_leave_room_for_what_can_be_tried_now() -> None:
    one = lane(concurrency=4, window=4)
    failing = [work(n) for n in range(4)]
    due_us = START + 3600 * SECOND
    for each in failing:
        one.push(each, START)
    assert drain(one, START) == failing
    kept = []
    for each in failing:
        one.landed()
        kept.append(not one.retry(each, due_us, START))
    assert kept == [False, False, True, True]
    assert one.push(work(9), START) is True
    assert one.wake_at(START) == due_us
    one.begin_refill()
    found = [work(n, kind=DeliveryClass.RETRY, due_us=due_us) for n in range(2)]
    assert refilled(one, *found) == []
    assert one.complete is True
    assert one.wake_at(START) == due_us


def test_a_paused_lane_starts_nothing_and_holds_no_timer() -> None:
    one = lane()
    one.push(work(1, due_us=START + SECOND), START)
    one.push(work(2), START)
    one.paused = True
    assert one.pop(START) is None
    assert one.wake_at(START) is None
    assert one.take(work(3)) is False
    one.paused = False
    assert one.pop(START) is not None


def test_retry_after_holds_the_lane_but_not_for_ever() -> None:
    one = lane()
    one.push(work(1), START)
    one.failed(START, started_us=START, slow_down=True, retry_after_s=30.0)
    held_until_us = START + 30 * SECOND
    assert one.pop(held_until_us - 1) is None
    assert one.wake_at(START) == held_until_us
    assert one.take(work(2)) is False
    assert one.pop(held_until_us) is not None
    assert one.wake_at(held_until_us) is None  # nothing waits
    one.push(work(3), START)
    one.failed(START, started_us=START, slow_down=True, retry_after_s=1e9)
    assert one.wake_at(START) == START + MAX_HOLD_US


def test_a_retry_after_without_overload_holds_one_delivery_not_the_lane() -> None:
    one = lane()
    one.push(work(1), START)
    one.failed(START, started_us=START, slow_down=False, retry_after_s=30.0)
    assert one.pop(START) is not None


def test_forgetting_drops_what_waits_and_spares_what_is_in_flight() -> None:
    one = lane(concurrency=1)
    flying, waiting, later = work(1), work(2), work(3, due_us=START + SECOND)
    for each in (flying, waiting, later):
        one.push(each, START)
    assert one.pop(START) is flying
    assert {w.id for w in one.forget()} == {waiting.id, later.id}
    assert list(one.known) == [flying.id]
    assert one.complete is False
    assert one.pop(START + SECOND) is None


def test_what_was_started_in_vain_is_started_first() -> None:
    one = lane()
    first, second = work(1), work(2)
    one.push(first, START)
    one.push(second, START)
    assert one.pop(START) is first
    one.put_back(first)
    assert one.in_flight == 0
    assert drain(one, START) == [first, second]


def test_a_lane_at_its_limit_is_not_woken_for_what_is_due() -> None:
    one = lane(concurrency=1)
    one.push(work(1), START)
    one.push(work(2, due_us=START + SECOND), START)
    one.pop(START)
    assert one.pop(START + 2 * SECOND) is None
    assert one.wake_at(START + 2 * SECOND) is None


def test_a_refill_that_began_before_the_lane_forgot_brings_nothing() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    one.forget()
    assert refilled(one, work(1)) == []
    assert one.needs_refill() is True
    one.begin_refill()
    assert len(refilled(one, work(1))) == 1


def test_a_lane_is_idle_when_it_is_empty_and_healthy() -> None:
    one = lane(concurrency=2)
    assert one.is_idle()
    first = work(1)
    one.push(first, START)
    assert not one.is_idle()
    one.pop(START)
    one.failed(START, started_us=START, slow_down=False, retry_after_s=None)
    finish(one, first)
    assert not one.is_idle()
    one.succeeded()
    assert one.is_idle()
    one.forget()
    assert not one.is_idle()


def test_a_retry_that_is_due_while_a_refill_reads_is_read_by_another() -> None:
    one = lane(window=4)
    works = [work(n) for n in range(4)]
    for each in works:
        one.push(each, START)
    drain(one, START)
    for done in works[:2]:
        finish(one, done)
    one.look_again()
    one.begin_refill()
    one.push(work(5), START)
    # More than half of the window is taken: the database alone keeps it, and it is due now.
    one.landed()
    one.known[b"x" * 16] = work(6)
    assert one.retry(works[2], START, START) == (works[2],)
    one.has_ready(START)
    refilled(one)
    assert not one.complete
