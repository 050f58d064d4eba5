"""A reader of the stream misses nothing and reads nothing twice, however late a commit is seen."""

import random

import pytest

from waypost.model import ids
from waypost.model.ids import Id
from waypost.policy import stream
from waypost.policy.stream import LATE_US, Position, read_on

NOW_US = 1_800_000_000_000_000
START = Position(ids.FIRST)


def made(ago_us: int, chance: int = 1) -> Id:
    return ids.make(NOW_US - ago_us, chance)


def test_what_is_old_moves_the_position() -> None:
    found = [made(LATE_US + 3), made(LATE_US + 2), made(LATE_US + 1)]
    assert read_on(START, found, 2, NOW_US) == (found[:2], Position(found[1]))
    assert read_on(Position(found[1]), found[2:], 2, NOW_US) == (found[2:], Position(found[2]))
    assert read_on(START, [], 2, NOW_US) == ([], START)


def test_what_is_young_is_remembered_until_it_is_old() -> None:
    old, early, late = made(LATE_US + 1), made(10, 1), made(5, 2)
    read, position = read_on(START, [old, late], 10, NOW_US)
    assert (read, position.after) == ([old, late], old)
    # One that was accepted before is committed after.
    read, position = read_on(position, [early, late], 10, NOW_US)
    assert (read, position.after) == ([early], old)
    read, position = read_on(position, [early, late], 10, NOW_US + LATE_US)
    assert (read, position) == ([], Position(late))


def test_so_much_is_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SEEN_MAX", 2)
    found = [made(5 - n, n) for n in range(4)]
    read, position = read_on(START, found, 10, NOW_US)
    assert read == found[:2]
    assert read_on(position, found, 10, NOW_US)[0] == []
    read, position = read_on(position, found, 10, NOW_US + LATE_US)
    assert (read, position) == (found[2:], Position(found[3]))


def test_nothing_is_missed_and_nothing_read_twice() -> None:
    chance = random.Random(7)
    now_us, seen, position = NOW_US, [], START
    # Each with the moment at which it can be seen.
    events = [
        (ids.make(at_us, chance.getrandbits(62)), at_us + chance.randrange(LATE_US))
        for at_us in sorted(NOW_US + chance.randrange(20 * LATE_US) for _ in range(500))
    ]
    while now_us < NOW_US + 22 * LATE_US:
        now_us += LATE_US // 3
        size = chance.randrange(1, 20)
        visible = [one for one, at_us in events if at_us <= now_us and one > position.after]
        found = visible[: size + len(position.seen) + 1]
        read, position = read_on(position, found, size, now_us)
        seen += read
    while len(seen) < len(events):
        found = [one for one, _ in events if one > position.after][: 10 + len(position.seen) + 1]
        read, position = read_on(position, found, 10, now_us)
        assert read
        seen += read
    assert sorted(seen) == sorted(one for one, _ in events)
