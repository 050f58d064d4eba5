"""Each thing that keeps a delivery back is told, and nothing that does not."""

import pytest
from msgspec.structs import replace

from waypost.model.flow import Wait, Waits
from waypost.policy.waits import Chained, LaneStanding, Standing, waits

NOW_US = 1_800_000_000_000_000
SOON = "2027-01-15T08:00:05"
DUE = Standing(NOW_US, NOW_US, 2, owner="a:1", lane=LaneStanding(0, 64, 64))


def kinds(standing: Standing) -> list[str]:
    return [wait.kind for wait in waits(standing)]


def test_what_is_due_and_may_start_waits_for_its_turn() -> None:
    assert kinds(DUE) == ["turn"]


def test_what_is_in_flight_waits_for_nothing_else() -> None:
    [wait] = waits(replace(DUE, sending=True, paused=True))
    assert (wait.kind, wait.until_us) == ("in_flight", None)
    assert "attempt 3" in wait.reason


def test_a_retry_waits_until_it_is_due() -> None:
    [wait] = waits(replace(DUE, due_us=NOW_US + 5_000_000))
    assert (wait.kind, wait.until_us) == ("next_attempt", NOW_US + 5_000_000)
    assert "attempt 3" in wait.reason
    assert SOON in wait.reason


@pytest.mark.parametrize(
    "standing, kind",
    [
        (replace(DUE, paused=True), "paused"),
        (replace(DUE, owner=None, here=False, lane=None), "owner"),
        (replace(DUE, here=False, lane=None), "owner"),
        (replace(DUE, suspended=True), "suspended"),
        (replace(DUE, unverified=True), "unverified"),
        (replace(DUE, held=Waits(Wait.BREAKER_OPEN, NOW_US + 1)), "breaker_open"),
        (replace(DUE, held=Waits(Wait.RETRY_AFTER, NOW_US + 1)), "retry_after"),
        (replace(DUE, held=Waits(Wait.OUTSIDE_HOURS, NOW_US + 1)), "outside_hours"),
        (replace(DUE, held=Waits(Wait.RATE_LIMIT)), "rate_limit"),
        (replace(DUE, lane=LaneStanding(64, 64, 64)), "concurrency"),
        (replace(DUE, lane=LaneStanding(0, 1, 64, suspect=True)), "slow_slot"),
        (replace(DUE, chained=Chained("a", 1)), "order"),
        (replace(DUE, chained=Chained("a", blocked=True)), "blocked_key"),
        (replace(DUE, chained=Chained("a")), "turn"),
    ],
)
def test_each_wait_has_its_word(standing: Standing, kind: str) -> None:
    assert kinds(standing) == [kind]


def test_a_pause_of_the_receiver_ends_by_itself() -> None:
    [wait] = waits(replace(DUE, held=Waits(Wait.RETRY_AFTER, NOW_US + 5_000_000)))
    assert wait.until_us == NOW_US + 5_000_000
    assert SOON in wait.reason
    assert kinds(replace(DUE, held=Waits(Wait.RETRY_AFTER, NOW_US))) == ["turn"]


@pytest.mark.parametrize(
    "what, flag",
    [(Wait.PAUSED, "paused"), (Wait.SUSPENDED, "suspended"), (Wait.UNVERIFIED, "unverified")],
)
def test_what_people_end_is_told_once_and_by_the_subscription(what: Wait, flag: str) -> None:
    assert kinds(replace(DUE, held=Waits(what))) == ["turn"]
    assert kinds(replace(DUE, held=Waits(what), **{flag: True})) == [flag]


def test_a_lane_that_was_slowed_down_says_so() -> None:
    [wait] = waits(replace(DUE, lane=LaneStanding(1, 1, 64)))
    assert wait.reason == (
        "1 of 1 attempts at once are in flight (slowed down from 64, because it failed)"
    )


def test_several_are_told_together() -> None:
    several = replace(DUE, paused=True, due_us=NOW_US + 1, lane=LaneStanding(2, 2, 2))
    assert kinds(several) == ["paused", "next_attempt", "concurrency"]


def test_another_process_is_named() -> None:
    [wait] = waits(replace(DUE, here=False, lane=None))
    assert "a:1" in wait.reason


@pytest.mark.parametrize(
    "chained, reason",
    [
        (Chained("card-7", 4), 'it is behind 4 of ordering key "card-7", at position 5'),
        (Chained(None, 1), "it is behind 1 of the event subscription's order, at position 2"),
        (
            Chained("k", 9, exact=False),
            'it is behind more than 9 of ordering key "k"',
        ),
    ],
)
def test_the_place_in_an_order_is_told(chained: Chained, reason: str) -> None:
    [wait] = waits(replace(DUE, chained=chained))
    assert wait.reason == reason


def test_a_blocked_key_is_named_and_a_long_one_cut() -> None:
    [wait, behind] = waits(replace(DUE, chained=Chained("k" * 500, 2, blocked=True)))
    assert wait.kind == "blocked_key"
    assert len(wait.reason) < 250
    assert behind.kind == "order"
    [wait] = waits(replace(DUE, chained=Chained(None, blocked=True)))
    assert wait.reason.startswith("the order of the event subscription is blocked")
