"""Jobs are kept, found in turn, and moved on step by step."""

import msgspec
import pytest

from tests.support.database import Records
from waypost.model.errors import Conflict, LimitReached, NotFound
from waypost.model.ids import FIRST, LAST
from waypost.model.page import PageRequest
from waypost.model.replay import Order, PastState, Plan, Replay, ReplayKind, ReplayState, Route
from waypost.model.subscription import Subscription
from waypost.storage import replays
from waypost.storage.replays import Move


def job(
    records: Records,
    kind: ReplayKind,
    subscription: Subscription,
    begin_us: int = 0,
    end_us: int | None = None,
) -> Replay:
    """Keep a job whose range ends now, unless told."""
    records.clock.forward(1)
    replay_id, now_us = records.ids.next_at()
    replay = Replay(
        subscription.project_id,
        replay_id,
        kind,
        subscription.id,
        begin_us,
        now_us if end_us is None else end_us,
    )
    replays.insert(records.connection, replay)
    return replay


def test_a_job_comes_back(records: Records) -> None:
    made = job(records, ReplayKind.RECOVER, records.subscription(), 3, 9)
    assert replays.get(records.connection, records.project, made.id) == made
    with pytest.raises(NotFound):
        replays.get(records.connection, records.other, made.id)


def test_jobs_are_listed_by_subscription(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    made = [job(records, ReplayKind.MISSING, of) for of in (one, other, one)]
    page = replays.list_page(records.connection, records.project, PageRequest())
    assert page.items == made[::-1]
    page = replays.list_page(records.connection, records.project, PageRequest(), one.id)
    assert page.items == [made[2], made[0]]


def test_running_jobs_are_found_in_turn(records: Records) -> None:
    one = records.subscription()
    first, second, third = (job(records, ReplayKind.MISSING, one) for _ in range(3))
    assert replays.advance(records.connection, second, Move(FIRST, ReplayState.DONE, 0), 0)
    at = replays.find_running(records.connection, (FIRST, FIRST), 0)
    assert at == first
    at = replays.find_running(records.connection, (first.project_id, first.id), 0)
    assert at == third
    assert replays.find_running(records.connection, (third.project_id, third.id), 0) is None


def test_a_step_is_made_once(records: Records) -> None:
    made = job(records, ReplayKind.MISSING, records.subscription())
    position = records.ids.next()
    assert replays.advance(records.connection, made, Move(position, ReplayState.RUNNING, 4), 0)
    assert not replays.advance(records.connection, made, Move(position, ReplayState.RUNNING, 4), 0)
    after = replays.get(records.connection, records.project, made.id)
    assert (after.position, after.owed) == (position, 4)


def test_a_finished_job_does_not_move(records: Records) -> None:
    made = job(records, ReplayKind.MISSING, records.subscription())
    assert replays.advance(records.connection, made, Move(FIRST, ReplayState.DONE, 0), 0)
    assert not replays.advance(records.connection, made, Move(FIRST, ReplayState.RUNNING, 1), 0)


def test_a_job_comes_back_with_all_that_was_asked_for(records: Records) -> None:
    plan = Plan(
        event_types=("a.*",),
        owner="o",
        of=records.ids.next(),
        state=PastState.DIVERTED,
        content='{"body":{"a":1}}',
        route=Route.AFRESH,
        order=Order.NEWEST_FIRST,
        rate=2.5,
        first_us=1,
        last_us=9,
    )
    made = Replay(
        *(records.project, records.ids.next(), ReplayKind.SELECTED, None, 1, 9),
        position=LAST,
        plan=plan,
        stepped_us=7,
        key="k",
        fingerprint=b"f",
    )
    replays.insert(records.connection, made)
    assert replays.get(records.connection, records.project, made.id) == made
    assert replays.find_by_key(records.connection, records.project, "k") == made
    assert replays.find_by_key(records.connection, records.other, "k") is None


def test_a_step_tells_where_the_job_stands_and_for_how_long_it_has_run(records: Records) -> None:
    made = job(records, ReplayKind.MISSING, records.subscription())
    began_us = records.clock.now_us()
    at, to = records.ids.next(), records.ids.next()
    move = Move(at, ReplayState.RUNNING, 3, to, 7, due_us=5)
    assert replays.advance(records.connection, made, move, began_us + 10)
    after = replays.get(records.connection, records.project, made.id)
    assert (after.position, after.within, after.owed, after.looked) == (at, to, 3, 7)
    assert (after.due_us, after.stepped_us) == (5, began_us + 10)
    assert 0 < after.worked_us <= 10
    # Where the event is done for another subscription by now, the step was made before.
    stale = msgspec.structs.replace(after, within=None)
    assert not replays.advance(records.connection, stale, move, began_us + 20)
    assert replays.advance(records.connection, after, move, began_us + 20)
    again = replays.get(records.connection, records.project, made.id)
    assert (again.worked_us - after.worked_us, again.owed) == (10, 6)


def test_a_job_waits_until_its_step_is_due(records: Records) -> None:
    made = job(records, ReplayKind.MISSING, records.subscription())
    assert replays.foresee(records.connection, 0) == (1, None)
    move = Move(FIRST, ReplayState.RUNNING, due_us=50)
    assert replays.advance(records.connection, made, move, 9)
    start = (FIRST, FIRST)
    assert replays.find_running(records.connection, start, 49) is None
    assert replays.foresee(records.connection, 49) == (0, 50)
    found = replays.find_running(records.connection, start, 50)
    assert found is not None
    assert found.id == made.id
    assert replays.foresee(records.connection, 50) == (1, None)


def test_a_job_is_paused_resumed_and_cancelled(records: Records) -> None:
    made = job(records, ReplayKind.MISSING, records.subscription())
    place = (records.connection, records.project, made.id)
    start = (FIRST, FIRST)
    assert replays.enter(*place, ReplayState.PAUSED, 5).state is ReplayState.PAUSED
    assert replays.enter(*place, ReplayState.PAUSED, 6).stepped_us == 5
    assert replays.find_running(records.connection, start, 9) is None
    move = Move(made.position, ReplayState.DONE)
    assert not replays.advance(records.connection, made, move, 9)
    resumed = replays.enter(*place, ReplayState.RUNNING, 8)
    assert (resumed.state, resumed.stepped_us) == (ReplayState.RUNNING, 8)
    assert replays.find_running(records.connection, start, 9) == resumed
    assert replays.enter(*place, ReplayState.CANCELLED, 9).state is ReplayState.CANCELLED
    for state in (ReplayState.PAUSED, ReplayState.RUNNING):
        with pytest.raises(Conflict, match="cancelled"):
            replays.enter(*place, state, 10)
    with pytest.raises(NotFound):
        replays.enter(records.connection, records.other, made.id, ReplayState.PAUSED, 1)


def test_so_many_jobs_may_be_unfinished(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "UNFINISHED_MAX", 2)
    one = records.subscription()
    first, second = (job(records, ReplayKind.MISSING, one) for _ in range(2))
    replays.enter(records.connection, records.project, first.id, ReplayState.PAUSED, 1)
    with pytest.raises(LimitReached):
        job(records, ReplayKind.MISSING, one)
    replays.enter(records.connection, records.project, second.id, ReplayState.CANCELLED, 1)
    job(records, ReplayKind.MISSING, one)


def test_a_range_is_bounded_by_what_there_is(records: Records) -> None:
    one = records.subscription()
    empty = job(records, ReplayKind.SELECTED, one, 3, 9)
    assert replays.read_bounds(records.connection, empty) == (3, 9)
    first = records.clock.now_us()
    records.event()
    records.clock.forward(5)
    last = records.clock.now_us()
    records.event()
    records.clock.forward(5)
    made = job(records, ReplayKind.SELECTED, one)
    low, high = replays.read_bounds(records.connection, made)
    assert first <= low < last <= high < records.clock.now_us()
