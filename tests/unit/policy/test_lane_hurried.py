"""What somebody waits for goes before what else a lane holds, and nothing is taken twice for it."""

import pytest

from tests.unit.policy.test_lane import START, drain, finish, lane, refilled, work
from waypost.model.subscription import Ordering
from waypost.policy.lane import HURRIED_MAX, Lane
from waypost.policy.window import REMEMBERED


def backlog(window: int = 4) -> Lane:
    """Return a lane that is full, with more in the database."""
    one = lane(concurrency=1, window=window)
    for n in range(window + 5):
        one.push(work(n), START)
    assert not one.complete
    return one


def test_it_goes_before_a_backlog_and_as_soon_as_there_is_a_place() -> None:
    one = backlog()
    [first] = drain(one, START)
    probe = work(50)
    assert one.hurry(probe, START)
    assert drain(one, START) == [], "it keeps to the concurrency"
    finish(one, first)
    assert drain(one, START) == [probe]


def test_of_several_none_is_left_out() -> None:
    one = backlog()
    probes = [work(50 + n) for n in range(3)]
    assert all(one.hurry(each, START) for each in probes)
    started = []
    for _ in range(3):
        [each] = drain(one, START)
        started.append(each)
        finish(one, each)
    assert set(started) == set(probes)


def test_so_many_hurry_at_once_and_the_others_wait_their_turn() -> None:
    one = backlog()
    taken = [one.hurry(work(50 + n), START) for n in range(HURRIED_MAX + 5)]
    assert taken == [True] * HURRIED_MAX + [False] * 5


def test_a_refill_that_reads_it_as_well_takes_it_once() -> None:
    one = backlog()
    probe = work(50)
    drain(one, START)
    one.begin_refill()
    assert one.hurry(probe, START)
    assert probe not in refilled(one, probe, read_us=START)
    assert list(one.known).count(probe.id) == 1


@pytest.mark.parametrize("count", [1, REMEMBERED + 1])
def test_what_a_refill_may_have_brought_before_its_news_is_not_taken_again(count: int) -> None:
    one = lane(window=1_000)
    one.look_again()
    one.begin_refill()
    works = [work(n) for n in range(count)]
    refilled(one, *works, read_us=START + 100)
    for each in drain(one, START):
        finish(one, each)
    one.look_again()
    assert not one.hurry(work(0), START)
    assert not one.complete


def test_what_was_cancelled_before_its_news_is_not_taken() -> None:
    one = backlog()
    one.forget()
    assert not one.hurry(work(50), START)


def test_what_hurries_has_no_place_among_keys_but_in_a_strict_order() -> None:
    one = lane()
    assert not one.orders(hurries=False)
    for mode, passes in ((Ordering.KEY, True), (Ordering.STRICT, False)):
        one.keep_order(mode)
        assert one.orders(hurries=False)
        assert one.orders(hurries=True) is not passes


def test_what_a_refill_has_brought_before_its_news_goes_before_the_others() -> None:
    one = lane(concurrency=1)
    for n in range(5):
        one.push(work(n), START)
    [first] = drain(one, START)
    probe = one.known[work(3).id]
    assert not one.hurry(work(3), START), "it is here already"
    finish(one, first)
    [started] = drain(one, START)
    assert started is probe
    assert one.advance(probe.id), "what is being tried stays as it is"
    assert not one.advance(work(50).id)
    finish(one, started)
    assert drain(one, START) == [one.known[work(1).id]]


def test_what_was_read_behind_the_last_refill_is_taken_however_much_has_entered() -> None:
    one = lane(concurrency=1, window=1_000)
    one.look_again()
    one.begin_refill()
    works = [work(n) for n in range(REMEMBERED + 1)]
    refilled(one, *works, read_us=START + 1_000)
    [first] = drain(one, START)
    probe = work(500)
    assert not one.hurry(probe, START)
    assert one.hurry(probe, START, read=True)
    finish(one, first)
    assert drain(one, START) == [probe]


def test_what_was_read_and_may_be_cancelled_since_is_not_taken() -> None:
    one = backlog()
    one.forget()
    assert not one.hurry(work(50), START, read=True)
