"""The throttle: a burst, then the rate; what is left out is counted; nothing is kept for ever."""

from waypost.policy.rate import Allowance
from waypost.policy.throttle import _TIDIED_AT, Throttle


def test_a_burst_is_told_and_then_one_in_a_while() -> None:
    throttle = Throttle(Allowance(0.1, 3))
    assert [throttle.admit("a", 0.0) for _ in range(6)] == [0, 0, 0, None, None, None]
    assert throttle.admit("b", 0.0) == 0
    assert throttle.admit("a", 9.9) is None
    assert throttle.admit("a", 10.0) == 4
    assert throttle.admit("a", 20.0) == 0


def test_what_is_full_again_takes_no_memory() -> None:
    throttle = Throttle(Allowance(1.0, 1))
    for key in range(10 * _TIDIED_AT):
        assert throttle.admit(key, float(key)) == 0
        assert throttle.admit(key, float(key)) is None
    assert len(throttle._full_at) <= _TIDIED_AT + 1
    assert len(throttle._left_out) <= _TIDIED_AT + 1


def test_those_in_use_are_kept_however_many() -> None:
    throttle = Throttle(Allowance(0.001, 1))
    for key in range(3 * _TIDIED_AT):
        throttle.admit(key, 0.0)
    assert [throttle.admit(key, 1.0) for key in range(3 * _TIDIED_AT)] == [None] * 3 * _TIDIED_AT
