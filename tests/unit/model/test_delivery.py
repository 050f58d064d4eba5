from waypost.model.delivery import TRANSITIONS, DeliveryState


def test_every_state_has_its_row() -> None:
    assert set(TRANSITIONS) == set(DeliveryState)


def test_every_state_is_reached_from_the_first() -> None:
    reached = {DeliveryState.PENDING}
    while new := {after for state in reached for after in TRANSITIONS[state]} - reached:
        reached |= new
    assert reached == set(DeliveryState)


def test_a_delivery_leaves_the_queue_once() -> None:
    final = {state for state, after in TRANSITIONS.items() if not after}
    assert final == set(DeliveryState) - {DeliveryState.PENDING}
    assert TRANSITIONS[DeliveryState.PENDING] == set(DeliveryState)


def test_the_numbers_in_the_database_stay() -> None:
    assert {state.name: state.value for state in DeliveryState} == {
        "PENDING": 0,
        "DELIVERED": 1,
        "FAILED": 2,
        "CANCELLED": 3,
    }
