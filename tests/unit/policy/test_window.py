"""The window of a lane: replays fill half of it, and never stand in the way of what is live."""

import pytest

from waypost.model import ids
from waypost.policy.background import GAP_US
from waypost.policy.lane import Lane
from waypost.policy.work import Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
LIVE, RETRY, REPLAY = range(3)


def work(number: int, kind: int = REPLAY) -> Work:
    identifier = ids.make(START + number, number)
    return Work(identifier, identifier, kind, START, 0)


@pytest.fixture
def lane() -> Lane:
    """Have a lane for which more replays were committed than it takes."""
    made = Lane(1, 8, empty=True)
    assert [made.push(work(number), START) for number in range(6)] == [True] * 4 + [False] * 2
    return made


def popped(lane: Lane, now_us: int = START) -> int:
    found = lane.pop(now_us)
    assert found is not None
    lane.landed()
    lane.leave(found.id)
    return found.kind


def test_more_replays_than_fit_are_left_to_the_database(lane: Lane) -> None:
    assert lane.replays_left
    assert lane.complete
    assert not lane.is_quiet()
    assert lane.waits(START) is None


def test_what_is_live_enters_past_them(lane: Lane) -> None:
    assert [lane.push(work(10 + n, LIVE), START) for n in range(4)] == [True] * 4
    assert [popped(lane, START + n * GAP_US) for n in range(6)].count(LIVE) == 4


def test_they_are_looked_for_when_few_are_left(lane: Lane) -> None:
    assert not lane.needs_refill()
    while lane.has_ready(START):
        assert popped(lane) == REPLAY
    assert lane.needs_refill()
    lane.begin_refill()
    rest = [work(4), work(5)]
    entered = lane.end_refill(rest, START, read_us=START, reached_end=True, next_due_us=None)
    assert entered == rest
    assert (lane.complete, lane.replays_left, lane.needs_refill()) == (True, False, False)


def test_a_replay_that_a_refill_may_have_seen_does_not_keep_live_work_waiting() -> None:
    lane = Lane(1, 8, empty=True)
    lane.begin_refill()
    lane.push(work(1, LIVE), START)
    lane.forget()
    lane.end_refill([], START, read_us=START + 100, reached_end=True, next_due_us=None)
    lane.begin_refill()
    lane.end_refill([], START + 100, read_us=START + 100, reached_end=True, next_due_us=None)
    assert lane.complete
    assert not lane.push(work(2), START + 100), "it was made before the refill"
    assert (lane.complete, lane.replays_left) == (True, True)
    live = work(500, LIVE)
    live.due_us = START + 500
    assert lane.push(live, START + 500)


def test_a_refill_for_replays_alone_reads_a_few(lane: Lane) -> None:
    assert (lane.replays_left, lane.begin_refill()) == (True, 2)
    lane.abort_refill()
    assert lane.begin_refill() == 8


def test_live_work_is_looked_for_although_they_fill_their_half(lane: Lane) -> None:
    lane.look_again()
    assert lane.needs_refill()


def test_a_refill_lets_live_work_in_first_and_of_replays_half() -> None:
    lane = Lane(1, 8)
    lane.begin_refill()
    found = [*(work(number) for number in range(8)), *(work(10 + n, RETRY) for n in range(3))]
    entered = lane.end_refill(found, START, read_us=START, reached_end=True, next_due_us=None)
    assert [one.kind for one in entered] == [RETRY] * 3 + [REPLAY] * 4
    assert lane.complete
    assert lane.replays_left


def test_replays_that_are_cut_leave_the_rest_complete() -> None:
    lane = Lane(1, 8)
    lane.begin_refill()
    how = {"read_us": START, "reached_end": True, "next_due_us": None}
    lane.push(work(7, LIVE), START)
    lane.push(work(6), START)
    entered = lane.end_refill([work(1)], START, replays_left=True, **how)  # type: ignore[arg-type] # mixed values
    assert [one.kind for one in entered] == [REPLAY, LIVE], "another replay would overtake"
    assert lane.complete
    assert lane.replays_left
