"""The oracle of a cluster finds every sort of fault in a story that is right but for that one."""

from collections.abc import Sequence

import pytest

from tests.torture.audit import DELIVERED, Kept
from tests.torture.cast import Role
from tests.torture.cluster.faults import Fault, Kind
from tests.torture.cluster.judgement import Judgement, judge
from tests.torture.cluster.sends import Send
from tests.torture.ledger import Posted, Received
from tests.torture.oracle import Receipt, Shown, Story

LEASE_S = 2.0
CEILING = 2
A, B = 101, 102
SUBSCRIPTION = "5b"
KILL = Fault(Kind.KILLED, A, 10.0, 10.0)
FREEZE = Fault(Kind.FROZEN, A, 10.0, 13.0)
OUTAGE = Fault(Kind.DATABASE, None, 10.0, 11.0)


def story(*times: tuple[float, float | None], events: int = 1) -> Story:
    """Tell of events that came at these times, and were answered at those, each time all."""
    receipts = [
        Receipt(
            Received(seq, "steady", f"evt_{n}", n, at, signed=True, intact=True),
            0,
            None if ended_at is None else 200,
            ended_at,
        )
        for n in range(events)
        for seq, (at, ended_at) in enumerate(times)
    ]
    kept = Kept(
        [],
        {f"evt_{n}": n for n in range(events)},
        {(f"evt_{n}", "ep_s"): [DELIVERED] for n in range(events)},
        set(),
        0,
        0,
    )
    posts = [Posted(n, "plain.tick", None, None, 0.0) for n in range(events)]
    shown = Shown(set(), set(), set())
    return Story({"ep_s": Role("steady")}, posts, [], receipts, [], kept, shown, CEILING)


def send(worker: int, epoch: int, at: float) -> Send:
    """Tell of one try."""
    return Send(worker, SUBSCRIPTION, "d1", 7, epoch, at)


def judged(told: Story, faults: Sequence[Fault] = (), sends: Sequence[Send] = ()) -> Judgement:
    """Judge a story of two workers."""
    return judge(told, faults, sends, workers=2, lease_s=LEASE_S)


def test_a_right_story_is_right() -> None:
    told = judged(story((1.0, 1.1)), sends=[send(A, 1, 1.0)])
    assert told.verdict.violations == []
    assert (told.verdict.received, told.verdict.repeats, told.handovers) == (1, 0, 0)


def test_what_comes_again_for_no_reason_is_doubled() -> None:
    told = judged(story((1.0, 1.1), (2.0, 2.1)), [KILL])
    assert told.verdict.kinds == {"doubled"}


@pytest.mark.parametrize("fault", [KILL, FREEZE, OUTAGE])
@pytest.mark.parametrize("first", [(9.9, None), (9.9, 10.5), (9.8, 9.9)])
def test_a_fault_explains_what_was_under_way(
    fault: Fault, first: tuple[float, float | None]
) -> None:
    told = judged(story(first, (12.5, 12.6)), [fault])
    assert told.verdict.violations == []
    assert (told.verdict.repeats, told.verdict.allowed) == (1, 1)


@pytest.mark.parametrize("fault", [KILL, FREEZE, OUTAGE])
def test_a_fault_explains_nothing_that_was_over_before(fault: Fault) -> None:
    assert judged(story((1.0, 1.1), (8.0, 8.5)), [fault]).verdict.kinds == {"doubled"}


@pytest.mark.parametrize("fault", [KILL, FREEZE, OUTAGE])
def test_a_fault_explains_nothing_that_began_after_it(fault: Fault) -> None:
    assert judged(story((14.0, 14.1), (15.0, 15.1)), [fault]).verdict.kinds == {"doubled"}


def test_more_repeats_than_could_be_in_flight_are_too_many() -> None:
    told = story((9.9, None), (12.5, 12.6), events=CEILING + 1)
    assert judged(told, [KILL]).verdict.kinds == {"too many repeats"}
    assert judged(told, [OUTAGE]).verdict.kinds == set()


def test_a_handover_is_right() -> None:
    told = judged(story((1.0, 1.1)), sends=[send(A, 1, 1.0), send(B, 2, 2.0), send(A, 3, 3.0)])
    assert told.verdict.violations == []
    assert told.handovers == 2


def test_who_sends_on_beyond_its_epoch_is_a_second_owner() -> None:
    sends = [send(A, 1, 1.0), send(B, 2, 2.0), send(A, 1, 2.1)]
    assert judged(story((1.0, 1.1)), sends=sends).verdict.kinds == {"two owners"}


def test_two_workers_of_one_epoch_are_two_owners() -> None:
    sends = [send(A, 1, 1.0), send(B, 1, 2.0)]
    assert judged(story((1.0, 1.1)), sends=sends).verdict.kinds == {"two owners"}


def test_a_thawed_worker_may_let_one_out() -> None:
    sends = [send(A, 1, 9.0), send(B, 2, 12.5), send(A, 1, 13.1)]
    assert judged(story((1.0, 1.1)), [FREEZE], sends).verdict.violations == []


def test_a_thawed_worker_may_not_go_on() -> None:
    once = [send(A, 1, 9.0), send(B, 2, 12.5), send(A, 1, 13.1)]
    for more in (send(A, 1, 13.2), send(A, 1, 14.0)):
        told = judged(story((1.0, 1.1)), [FREEZE], [*once, more])
        assert told.verdict.kinds == {"two owners"}


def test_who_was_not_frozen_is_not_excused() -> None:
    sends = [send(A, 2, 12.5), send(B, 1, 13.1)]
    assert judged(story((1.0, 1.1)), [FREEZE], sends).verdict.kinds == {"two owners"}


def test_healing_is_the_time_from_the_kill_to_the_next_send() -> None:
    told = judged(story((1.0, 1.1)), [KILL], [send(A, 1, 9.9), send(B, 2, 12.4)])
    assert told.healed_s == [pytest.approx(2.4)]
    assert told.verdict.violations == []


def test_healing_that_takes_too_long_is_a_fault() -> None:
    told = judged(story((1.0, 1.1)), [KILL], [send(A, 1, 9.9), send(B, 2, 14.4)])
    assert told.verdict.kinds == {"not healed"}


def test_healing_is_not_judged_where_another_fault_came_between() -> None:
    told = judged(
        story((1.0, 1.1)),
        [KILL, Fault(Kind.DATABASE, None, 12.0, 13.0)],
        [send(A, 1, 9.9), send(B, 2, 14.4)],
    )
    assert told.healed_s == []
