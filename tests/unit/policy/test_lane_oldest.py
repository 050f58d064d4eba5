"""How long a lane has kept somebody waiting."""

from waypost.policy.lane import Lane
from waypost.policy.work import Work


def work(number: int, kind: int, due_us: int) -> Work:
    return Work(number.to_bytes(16), bytes(16), kind, due_us, 0)


def test_the_oldest_of_all_classes_that_waits_counts() -> None:
    lane = Lane(1, 100, empty=True)
    assert lane.oldest_due() is None
    for number, (kind, due_us) in enumerate([(0, 5), (1, 3), (0, 7), (2, 4), (0, 900)]):
        lane.push(work(number, kind, due_us), 10)
    assert lane.oldest_due() == 3
    lane.paused = True
    assert lane.oldest_due() is None


def test_what_is_in_flight_waits_no_longer() -> None:
    lane = Lane(1, 100, empty=True)
    lane.push(work(1, 0, 5), 10)
    assert lane.pop(10) is not None
    assert lane.oldest_due() is None
