"""The chains of a lane: what is asked for, what follows on what, and what is looked at again."""

import pytest

from waypost.model import ids
from waypost.model.subscription import Ordering
from waypost.policy.chains import FIRST, HELD_US, KEYS_AT_ONCE, RESCAN_US, WHOLE, Chains
from waypost.policy.lane import Lane
from waypost.policy.work import Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def work(number: int, key: str | None = "a", due_us: int = START) -> Work:
    made = Work(ids.make(START + number, number), ids.make(START, number), 0, due_us, 0)
    made.key, made.sequence = key, number
    return made


def lane(window: int = 100, mode: Ordering = Ordering.KEY) -> Lane:
    one = Lane(50, window)
    one.order = Chains(mode)
    return one


def refill(one: Lane, *chains: list[Work], now_us: int = START) -> list[Work]:
    one.begin_refill()
    one.ask()
    return one.end_refill(
        [], now_us, read_us=now_us, reached_end=True, next_due_us=None, chains=chains
    )


def started(one: Lane, now_us: int = START) -> list[int]:
    found = []
    while (each := one.pop(now_us)) is not None:
        found.append(each.sequence)
    return found


def test_of_each_chain_the_first_starts_and_the_next_when_it_has_left() -> None:
    one = lane()
    first = [work(1), work(2), work(3)]
    refill(one, first, [work(4, "b")])
    assert started(one) == [1, 4]
    for done, follower in ((first[0], [2]), (first[1], [3]), (first[2], [])):
        one.landed()
        assert started(one) == []
        one.leave(done.id)
        assert started(one) == follower
    asked = one.ask()
    assert asked is not None
    assert (asked.wanted, asked.busy) == (("a",), frozenset("b"))


def test_a_retry_keeps_its_place_before_the_others() -> None:
    one = lane()
    first = [work(1), work(2)]
    refill(one, first)
    assert started(one) == [1]
    one.landed()
    assert not one.retry(first[0], START + SECOND, START)
    assert started(one) == []
    assert started(one, START + SECOND) == [1]


def test_what_is_given_back_takes_what_was_to_follow_it_along() -> None:
    one = lane()
    first = [work(1), work(2), work(3)]
    refill(one, first)
    assert started(one) == [1]
    one.landed()
    assert list(one.give_back(first[0])) == first[1:]
    assert (one.known, started(one), one.needs_refill()) == ({}, [], True)
    asked = one.ask()
    assert asked is not None
    assert asked.wanted == ("a",)


def test_a_retry_in_a_crowded_lane_is_to_be_given_back() -> None:
    one = lane(window=2)
    refill(one, [work(1)], [work(2, "b")])
    assert started(one) == [1, 2]
    one.landed()
    crowded = next(iter(one.known.values()))
    assert list(one.retry(crowded, START + SECOND, START)) == [crowded]
    assert crowded.id not in one.known


def test_a_chain_for_which_there_is_no_room_is_wanted_until_there_is() -> None:
    one = lane(window=1)
    refill(one, [work(1)], [work(2, "b")])
    assert list(one.known) == [work(1).id]
    assert not one.complete
    later = lane(window=1)
    refill(later, [work(1, due_us=START + SECOND)])
    assert later.known == {}
    assert later.complete
    assert later.wake_at(START) == START + SECOND


def test_a_chain_that_begins_with_what_is_in_flight_from_before_waits_for_it() -> None:
    one = Lane(50, 100, empty=True)
    stray = work(1, None)
    assert one.take(stray)
    assert one.keep_order(Ordering.KEY) == []
    refill(one, [work(1), work(2)])
    assert started(one) == []
    assert one.wake_at(START) == START + HELD_US
    one.landed()
    assert list(one.retry(stray, START, START)) == [stray], "the database has its place"
    refill(one, [work(1), work(2)])
    assert started(one) == [1]


def test_what_was_about_to_start_when_the_order_came_takes_its_place_in_it() -> None:
    one = Lane(50, 100, empty=True)
    stray = work(2, None)
    assert one.take(stray)
    assert one.keep_order(Ordering.KEY) == []
    assert list(one.put_back(stray)) == [stray], "the database has its place"
    assert (started(one), one.in_flight, one.known) == ([], 0, {})
    works = [work(1), work(2)]
    refill(one, works)
    assert started(one) == [1]
    assert one.order is not None
    assert not one.order.is_stray(works[1]), "it is sent in the order now"


def test_another_order_drops_what_waits_by_the_old_one() -> None:
    one = lane()
    works = [work(1), work(2)]
    refill(one, works, [work(3, "b")])
    assert one.pop(START) is works[0]
    assert {each.sequence for each in one.keep_order(Ordering.STRICT)} == {2, 3}
    assert one.keep_order(Ordering.STRICT) == []
    assert list(one.known) == [works[0].id]
    one.landed()
    one.leave(works[0].id)
    refill(one, [work(2, WHOLE), work(3, WHOLE)])
    assert started(one) == [2]
    one.keep_order(Ordering.NONE)
    assert one.order is None


def test_all_keys_are_looked_for_at_the_start_and_once_in_a_while() -> None:
    chains = Chains(Ordering.KEY)
    assert chains.ask(5).behind == FIRST
    chains.scanned("k", START)
    assert (chains.ask(5).behind, chains.is_read()) == ("k", False)
    chains.scanned(None, START)
    assert (chains.ask(5).behind, chains.is_read()) == (None, True)
    chains.scanned(None, START + RESCAN_US - 1)
    assert chains.is_read()
    chains.scanned(None, START + RESCAN_US)
    assert chains.ask(5).behind == FIRST
    chains.scanned(None, START + RESCAN_US)
    chains.restart()
    assert chains.ask(5).behind == FIRST


def test_a_strict_chain_is_looked_for_at_the_start() -> None:
    chains = Chains(Ordering.STRICT)
    assert chains.ask(5).wanted == (WHOLE,)
    chains.scanned(None, START)
    assert chains.ask(5).wanted == ()


@pytest.mark.parametrize("room, most", [(0, 1), (3, 3), (10**6, KEYS_AT_ONCE)])
def test_no_more_chains_are_asked_for_than_there_is_room_for(room: int, most: int) -> None:
    chains = Chains(Ordering.KEY, empty=True)
    for n in range(KEYS_AT_ONCE + 1):
        chains.want(str(n))
    assert len(chains.ask(room).wanted) == chains.ask(room).most == most
