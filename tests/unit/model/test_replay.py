import pytest
from msgspec.structs import replace

from waypost.model import ids
from waypost.model.replay import TRANSITIONS, Order, Plan, Replay, ReplayKind, ReplayState


def test_every_state_has_its_row_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(ReplayState)
    assert TRANSITIONS[ReplayState.RUNNING] == set(ReplayState)


def test_a_job_ends_once() -> None:
    final = {state for state, after in TRANSITIONS.items() if not after}
    assert final == {ReplayState.DONE, ReplayState.CANCELLED}


def test_the_words_in_the_database_stay() -> None:
    assert [kind.value for kind in ReplayKind] == [
        "recover",
        "replay_missing",
        "replay",
        "resend_diverted",
    ]
    assert [state.value for state in ReplayState] == [
        "running",
        "paused",
        "done",
        "cancelled",
    ]


@pytest.mark.parametrize(
    "order, at_us, progress, left_us",
    [
        (Order.OLDEST_FIRST, 1_025, 0.25, 300),
        (Order.OLDEST_FIRST, 1_100, 1.0, 0),
        (Order.OLDEST_FIRST, 9_999, 1.0, 0),
        (Order.NEWEST_FIRST, 1_075, 0.25, 300),
        (Order.NEWEST_FIRST, 1_000, 1.0, 0),
    ],
)
def test_progress_is_how_much_of_the_range_is_behind(
    order: Order, at_us: int, progress: float, left_us: int
) -> None:
    plan = Plan(order=order, first_us=1_000, last_us=1_100)
    made = Replay(
        *(ids.FIRST, ids.FIRST, ReplayKind.SELECTED, None, 0, 9_999),
        position=ids.make(at_us, 0),
        plan=plan,
        worked_us=100,
    )
    assert (made.progress(), made.left_us()) == (progress, left_us)


def test_a_job_that_has_not_begun_or_does_not_run_tells_no_end() -> None:
    made = Replay(ids.FIRST, ids.LAST, ReplayKind.SELECTED, None, 0, 9)
    assert (made.progress(), made.left_us()) == (0.0, None)
    assert replace(made, position=ids.LAST).progress() == 0.0
    done = replace(made, state=ReplayState.DONE)
    assert (done.progress(), done.left_us()) == (1.0, None)
    half = replace(made, position=ids.make(5, 0), worked_us=5, plan=Plan(last_us=10))
    assert half.left_us() == 5
    assert replace(half, state=ReplayState.PAUSED).left_us() is None


def test_a_job_belongs_to_the_shard_of_its_subscription_or_its_own() -> None:
    made = Replay(ids.FIRST, ids.LAST, ReplayKind.SELECTED, None, 0, 9)
    assert made.shard_id == ids.LAST
    assert replace(made, subscription_id=ids.FIRST).shard_id == ids.FIRST
