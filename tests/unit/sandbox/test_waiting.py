"""Who goes next: whoever has taken least, and nobody for long."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from waypost.sandbox import waiting
from waypost.sandbox.waiting import QUICK_S, Waiting

QUICK, LONG = QUICK_S / 10, QUICK_S * 10


@dataclass
class One:
    """One that waits."""

    line: bytes
    dropped: bool = False


def filled(**counts: int) -> Waiting[One]:
    """Return lines with so many waiting, all of them known to be quick."""
    made: Waiting[One] = Waiting(1000)
    for name in counts:
        made.push(One(name.encode()))
    while one := made.pop(slow=True):
        made.landed(one.line, 0.0)
    for name, count in counts.items():
        for _ in range(count):
            made.push(One(name.encode()))
    return made


def turns(of: Waiting[One], took: dict[str, float], count: int) -> str:
    """Serve so many, one at a time; return whose they were."""
    served = ""
    for _ in range(count):
        one = of.pop(slow=True)
        assert one is not None
        served += one.line.decode()
        of.landed(one.line, took[one.line.decode()])
    return served


def test_the_only_one_is_next() -> None:
    of = filled(a=1)
    one = of.pop(slow=False)
    assert one is not None
    assert one.line == b"a"
    assert of.pop(slow=True) is None
    assert len(of) == 0


def test_lines_take_turns() -> None:
    assert turns(filled(a=9, b=3), {"a": QUICK, "b": QUICK}, 6) == "ababab"


def test_who_takes_long_goes_seldom() -> None:
    served = turns(filled(a=50, b=50), {"a": QUICK, "b": 5 * QUICK}, 24)
    assert served.count("b") == 4


def test_who_comes_late_has_not_saved_up() -> None:
    of = filled(a=20, b=0)
    turns(of, {"a": QUICK}, 10)
    for _ in range(5):
        of.push(One(b"b"))
    assert turns(of, {"a": QUICK, "b": QUICK}, 6) in ("ababab", "bababa")


def test_of_two_the_one_with_fewer_at_work_goes() -> None:
    of = filled(a=5, b=5)
    lines = [one.line for _ in range(4) if (one := of.pop(slow=False))]
    assert sorted(lines) == [b"a", b"a", b"b", b"b"]


def test_a_line_is_slow_until_it_was_quick_and_when_it_is_not() -> None:
    of: Waiting[One] = Waiting(10)
    for _ in range(3):
        of.push(One(b"a"))
    assert of.pop(slow=False) is None
    assert of.pop(slow=True) is not None
    assert of.is_slow(b"a")
    of.landed(b"a", QUICK)
    assert of.pop(slow=False) is not None
    of.landed(b"a", LONG)
    assert of.pop(slow=False) is None
    assert of.pop(slow=True) is not None


def test_a_line_that_turns_quick_while_it_waits_is_found() -> None:
    of: Waiting[One] = Waiting(10)
    of.push(One(b"a"))
    of.push(One(b"a"))
    assert of.pop(slow=True) is not None
    assert of.pop(slow=False) is None
    of.landed(b"a", QUICK)
    assert of.pop(slow=False) is not None


def test_more_than_may_wait_are_refused() -> None:
    of: Waiting[One] = Waiting(2)
    assert [of.push(One(b"a")) for _ in range(3)] == [True, True, False]


def test_who_was_dropped_is_passed_over() -> None:
    of = filled(a=0)
    gone, stays = One(b"a", dropped=True), One(b"a")
    of.push(gone)
    of.push(stays)
    assert of.pop(slow=True) is stays
    of.push(gone)
    assert of.pop(slow=True) is None
    assert len(of) == 0


def test_all_can_be_taken_out() -> None:
    of = filled(a=2, b=1)
    of.push(One(b"a", dropped=True))
    assert sorted(one.line for one in of.clear()) == [b"a", b"a", b"b"]
    assert of.pop(slow=True) is None
    assert of.push(One(b"a"))
    assert of.pop(slow=True) is not None


def test_lines_that_were_idle_longest_are_forgotten() -> None:
    of: Waiting[One] = Waiting(10)
    for number in range(waiting.LINES_KEPT + 5):
        of.push(One(number.to_bytes(4)))
        one = of.pop(slow=True)
        assert one is not None
        of.landed(one.line, QUICK)
    assert len(of._lines) == waiting.LINES_KEPT
    assert (0).to_bytes(4) not in of._lines


@given(st.lists(st.tuples(st.sampled_from("pqd+-"), st.sampled_from("abc"), st.booleans())))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, str, bool]]) -> None:
    of: Waiting[One] = Waiting(20)
    waiting_now: list[One] = []
    at_work: list[One] = []
    for what, name, flag in steps:
        if what == "p":
            one = One(name.encode())
            if of.push(one):
                waiting_now.append(one)
        elif what == "q":
            found = of.pop(slow=flag)
            if found is not None:
                waiting_now.remove(found)
                at_work.append(found)
        elif what == "d" and waiting_now:
            waiting_now.pop(0).dropped = True
        elif at_work:
            of.landed(at_work.pop().line, QUICK if what == "+" else LONG)
    while found := of.pop(slow=True):
        assert not found.dropped
        waiting_now.remove(found)
    assert waiting_now == []
