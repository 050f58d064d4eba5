from waypost.model.replay import TRANSITIONS, ReplayKind, ReplayState


def test_every_state_has_its_row_and_is_reached() -> None:
    assert set(TRANSITIONS) == set(ReplayState)
    assert TRANSITIONS[ReplayState.RUNNING] == set(ReplayState)


def test_a_job_ends_once() -> None:
    final = {state for state, after in TRANSITIONS.items() if not after}
    assert final == {ReplayState.DONE, ReplayState.CANCELLED}


def test_the_words_in_the_database_stay() -> None:
    assert [kind.value for kind in ReplayKind] == ["recover", "replay_missing"]
    assert [state.value for state in ReplayState] == ["running", "done", "cancelled"]
