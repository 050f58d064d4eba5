"""Replays start one by one while anything live comes in, and as fast as they can else."""

from waypost.model import ids
from waypost.policy.background import GAP_US, QUIET_US, Background
from waypost.policy.lane import Lane
from waypost.policy.work import Work

NOW = 1_700_000_000_000_000
LIVE, REPLAY = 0, 2


def lane(background: Background, replays: int = 3) -> Lane:
    made = Lane(8, 32, empty=True, background=background)
    for number in range(replays):
        assert made.push(work(number, REPLAY), NOW)
    return made


def work(number: int, kind: int) -> Work:
    identifier = ids.make(NOW + number, number)
    return Work(identifier, identifier, kind, NOW, 0)


def test_when_nothing_is_live_there_is_no_gap() -> None:
    background = Background()
    one = lane(background)
    assert [one.pop(NOW) is not None for _ in range(4)] == [True, True, True, False]
    assert one.wake_at(NOW) is None


def test_beside_what_is_live_there_is_one_and_then_a_gap() -> None:
    background = Background()
    background.live_us = NOW
    one = lane(background)
    assert one.pop(NOW) is not None
    assert one.pop(NOW) is None
    # From then on it may start behind a live one; twice as late it starts by itself.
    assert one.wake_at(NOW) == NOW + 2 * GAP_US
    assert one.pop(NOW + GAP_US - 1) is None
    assert one.pop(NOW + GAP_US) is not None


def test_the_gap_is_over_all_lanes() -> None:
    background = Background()
    background.live_us = NOW
    one, two = lane(background), lane(background)
    assert one.pop(NOW) is not None
    assert two.pop(NOW) is None
    assert two.wake_at(NOW) == NOW + 2 * GAP_US


def test_what_is_live_knows_no_gap() -> None:
    background = Background()
    background.live_us = NOW
    one = lane(background)
    for number in range(10, 14):
        one.push(work(number, LIVE), NOW)
    found = [one.pop(NOW) for _ in range(6)]
    assert [work.kind for work in found if work is not None].count(LIVE) == 4
    assert [work.kind for work in found if work is not None].count(REPLAY) == 1


def test_it_is_quiet_after_a_while() -> None:
    background = Background()
    background.live_us = NOW
    assert not background.is_quiet(NOW + QUIET_US - 1)
    assert background.is_quiet(NOW + QUIET_US)
    one = lane(background)
    later = NOW + QUIET_US
    assert [one.pop(later) is not None for _ in range(3)] == [True, True, True]


def test_only_what_becomes_of_replays_waits_and_only_for_what_is_live() -> None:
    background = Background()
    background.live_us = NOW
    assert background.yields(work(1, REPLAY), NOW)
    assert not background.yields(work(1, LIVE), NOW)
    assert not background.yields(work(1, REPLAY), NOW + QUIET_US)


def test_a_rate_may_ask_for_a_smaller_gap() -> None:
    background = Background()
    background.live_us, background.gap_us = NOW, GAP_US // 5
    one = lane(background)
    assert one.pop(NOW) is not None
    assert one.wake_at(NOW) == NOW + GAP_US // 5
