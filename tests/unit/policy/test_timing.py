"""When deliveries are due, and when they expire."""

import pytest

from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.policy.timing import AHEAD_MAX_S, check, due_at, expires_at, is_put_off, is_timed

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
DELIVERY = ids.make(NOW, 5)


@pytest.mark.parametrize(
    "attributes, due_us",
    [
        (NO_ATTRIBUTES, NOW),
        (Attributes(deliver_at_us=NOW + 5), NOW + 5),
        (Attributes(deliver_at_us=NOW - 5), NOW - 5),
        (Attributes(deliver_in_s=1.5), NOW + 1_500_000),
        (Attributes(deliver_in_s=0.0), NOW),
    ],
)
def test_an_event_is_due_when_it_says(attributes: Attributes, due_us: int) -> None:
    assert due_at(attributes, NOW) == due_us


def test_tells_which_events_say_something_of_their_time() -> None:
    assert not is_timed(Attributes(owner="o"))
    assert is_timed(Attributes(deliver_at_us=0))
    assert is_timed(Attributes(deliver_in_s=0.0))
    assert is_timed(Attributes(deliver_before_us=0))


def test_tells_which_events_are_put_off() -> None:
    assert is_put_off(Attributes(deliver_in_s=60.0))
    assert is_put_off(Attributes(deliver_at_us=0))
    assert not is_put_off(Attributes(deliver_before_us=5))


def test_the_id_of_a_delivery_that_is_put_off_carries_its_moment() -> None:
    late = ids.moved(DELIVERY, NOW + 60 * SECOND)
    assert ids.moment(late) == NOW + 60 * SECOND
    assert late > DELIVERY
    assert late != ids.moved(ids.make(NOW, 6), NOW + 60 * SECOND)


@pytest.mark.parametrize(
    "before_s, within_s, expires_s",
    [
        (None, 0, None),
        (None, 30, 30),
        (60, 0, 60),
        (60, 30, 30),
        (60, 90, 60),
        (-60, 0, None),  # made behind it, by somebody who wants it all the same
        (-60, 30, 30),
        (0, 0, None),
    ],
)
def test_the_earlier_limit_holds(
    before_s: int | None, within_s: int, expires_s: int | None
) -> None:
    before_us = None if before_s is None else NOW + before_s * SECOND
    found = expires_at(DELIVERY, Attributes(deliver_before_us=before_us), within_s * SECOND)
    assert found == (0 if expires_s is None else NOW + expires_s * SECOND)


@pytest.mark.parametrize(
    "attributes",
    [
        NO_ATTRIBUTES,
        Attributes(deliver_at_us=NOW - 1),
        Attributes(deliver_at_us=NOW + AHEAD_MAX_S * SECOND),
        Attributes(deliver_before_us=NOW + 1),
        Attributes(deliver_at_us=NOW + 1, deliver_before_us=NOW + 2),
    ],
)
def test_times_that_can_be_met_are_taken(attributes: Attributes) -> None:
    check(attributes, NOW, "")


@pytest.mark.parametrize(
    "attributes, path",
    [
        (Attributes(deliver_at_us=NOW + AHEAD_MAX_S * SECOND + 1), "deliver_at"),
        (Attributes(deliver_before_us=NOW), "deliver_before"),
        (Attributes(deliver_at_us=NOW + 2, deliver_before_us=NOW + 2), "deliver_before"),
        (Attributes(deliver_in_s=60.0, deliver_before_us=NOW + 2), "deliver_before"),
    ],
)
def test_times_that_cannot_be_met_are_refused_with_their_place(
    attributes: Attributes, path: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        check(attributes, NOW, "events[3].")
    assert [at for at, _ in refused.value.details] == [f"events[3].{path}"]
