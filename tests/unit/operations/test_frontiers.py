"""How far events are had under a key is learnt from looks, and never goes back or too far."""

import pytest

from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.transaction import CLAIMABLE, Standing
from waypost.operations import frontiers as subject
from waypost.operations.frontiers import UNORDERED_US, Frontiers
from waypost.storage.transactions import Wanted

PROJECT = ids.make(1, 1)
S_US = 1_000_000
NOW_US = 1_000 * S_US
ALL = Wanted("k", CLAIMABLE)
FIRST = ALL.first


def at(seconds: float, number: int = 5) -> Id:
    """An event of that moment."""
    return ids.make(int(seconds * S_US), number)


def start_us(frontiers: Frontiers, wanted: Wanted = ALL) -> int:
    return ids.moment(frontiers.start(PROJECT, wanted))


def learnt(found: Id | None, *, late_us: int = 0, wanted: Wanted = ALL) -> Frontiers:
    made = Frontiers(late_us)
    made.learn(PROJECT, wanted, wanted.first, found, NOW_US)
    return made


def test_the_next_look_begins_a_little_before_what_was_found_first() -> None:
    assert start_us(Frontiers(0)) == 0
    assert start_us(learnt(at(500))) == 500 * S_US - UNORDERED_US
    assert start_us(learnt(None)) == 0


def test_what_other_processes_may_still_commit_is_looked_at_again() -> None:
    assert start_us(learnt(at(500), late_us=600 * S_US)) == 400 * S_US


@pytest.mark.parametrize(
    "other",
    [
        Wanted("other", CLAIMABLE),
        Wanted("k", CLAIMABLE, ("a",)),
        Wanted("k", frozenset({Standing.ABSENT})),
    ],
)
def test_it_is_of_one_key_and_of_what_was_asked_for(other: Wanted) -> None:
    assert start_us(learnt(at(500)), other) == 0
    assert ids.moment(learnt(at(500)).start(ids.make(2, 2), ALL)) == 0


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted("k", frozenset({Standing.FINISHED})),
        Wanted("k", frozenset({Standing.LAPSED})),
        Wanted("k", CLAIMABLE | {Standing.PROCESSING}),
        Wanted("k", CLAIMABLE, admits=lambda _: True),
    ],
)
def test_nothing_is_learnt_from_what_may_change_or_was_picked(wanted: Wanted) -> None:
    assert start_us(learnt(at(500), wanted=wanted), wanted) == 0


def test_it_only_moves_on() -> None:
    made = learnt(at(500))
    made.learn(PROJECT, ALL, made.start(PROJECT, ALL), at(700), NOW_US)
    assert start_us(made) == 700 * S_US - UNORDERED_US
    made.learn(PROJECT, ALL, FIRST, at(600), NOW_US)
    assert start_us(made) == 700 * S_US - UNORDERED_US


def test_a_look_from_later_on_leaves_no_gap() -> None:
    late = Wanted("k", CLAIMABLE, begin_us=800 * S_US)
    made = learnt(at(500))
    assert start_us(made, late) == 800 * S_US
    made.learn(PROJECT, late, made.start(PROJECT, late), at(900), NOW_US)
    assert start_us(made) == 500 * S_US - UNORDERED_US


def test_a_look_from_earlier_on_begins_anew() -> None:
    late = Wanted("k", CLAIMABLE, begin_us=800 * S_US)
    made = learnt(at(900), wanted=late)
    assert start_us(made) == 0
    assert start_us(made, late) == 900 * S_US - UNORDERED_US
    made.learn(PROJECT, ALL, made.start(PROJECT, ALL), at(300), NOW_US)
    assert start_us(made) == 300 * S_US - UNORDERED_US
    assert start_us(made, late) == 800 * S_US


def test_few_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "REMEMBERED_MAX", 2)
    made = Frontiers(0)
    for key in "abc":
        made.learn(PROJECT, Wanted(key, CLAIMABLE), FIRST, at(500), NOW_US)
    assert [start_us(made, Wanted(key, CLAIMABLE)) > 0 for key in "abc"] == [False, True, True]
