"""Work, as a lane holds it."""

from waypost.model import ids
from waypost.policy.work import Work

START = 1_700_000_000_000_000


def test_the_first_try_goes_by_the_id_of_the_delivery_and_each_further_one_by_its_own() -> None:
    one = Work(ids.make(START, 7), ids.make(START, 1), 0, START, 0)
    assert one.attempt_id == one.id
    one.attempts, one.due_us = 1, START + 5_000_000
    assert ids.moment(one.attempt_id) == one.due_us
    assert one.attempt_id != one.id
