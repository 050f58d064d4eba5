"""The oracle finds every sort of fault in a story that is right but for that one."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.torture import oracle
from tests.torture.audit import CANCELLED, DELIVERED, FAILED, Kept
from tests.torture.cast import Role
from tests.torture.ledger import HANGS, Answered, Ended, Line, Posted, Received, Replied
from tests.torture.oracle import Shown, Verdict

STEADY = Role("steady")
FLAKY = Role("flaky", types=("order.*",), may_fail=True)
KEYED = Role("keyed", ordering="key")
STRICT = Role("strict", ordering="strict")
ROLES = {"ep_s": STEADY, "ep_f": FLAKY}


@dataclass
class Telling:
    """One life with a kill, one with a stop, and two events: a plain one and an order."""

    sent: list[Line] = field(default_factory=list)
    arrived: list[Line] = field(default_factory=list)
    kept: Kept = field(default_factory=lambda: Kept([], {}, {}, set(), 0, 0))
    pending: set[tuple[str, str]] = field(default_factory=set)
    hidden: set[tuple[str, str]] = field(default_factory=set)
    ceiling: int = 1
    seq: int = 0
    roles: dict[str, Role] = field(default_factory=lambda: ROLES)

    def post(self, n: int, kind: str = "plain.tick", key: str | None = None) -> None:
        self.sent.append(Posted(n, kind, key, None, 0.0))
        self.answer(n, f"evt_{n}")
        self.kept.events[f"evt_{n}"] = n

    def answer(self, n: int, token: str, status: int = 202, *, duplicate: bool = False) -> None:
        self.sent.append(Answered(n, 0.1, status, token, duplicate))

    def receive(
        self,
        n: int,
        role: str = "steady",
        at: float = 1.0,
        status: int | None = 200,
        *,
        after_s: float = 0.01,
        token: str | None = None,
        signed: bool = True,
        intact: bool = True,
    ) -> None:
        self.seq += 1
        token = token or f"evt_{n}"
        self.arrived.append(Received(self.seq, role, token, n, at, signed, intact))
        if status is not None:
            self.arrived.append(Replied(self.seq, at + after_s, status))

    def settle(self, n: int, subscription: str, *states: int, diverted: bool = False) -> None:
        self.kept.finals[f"evt_{n}", subscription] = list(states)
        if diverted:
            self.kept.diverted.add((f"evt_{n}", subscription))

    def end(self, at: float, *, killed: bool = True) -> None:
        self.arrived.append(Ended(at, killed))

    def verdict(self) -> Verdict:
        failed = {key for key, states in self.kept.finals.items() if FAILED in states}
        diverted = self.kept.diverted - self.hidden
        shown = Shown(self.pending, failed, diverted)
        story = oracle.tell(self.sent, self.arrived, self.roles, self.kept, shown, self.ceiling)
        return oracle.judge(story)


def delivered(at: float = 1.0, kill_at: float = 10.0) -> Telling:
    """Tell of one event that was delivered in the first life."""
    telling = Telling()
    telling.post(1)
    telling.receive(1, at=at)
    telling.settle(1, "ep_s", DELIVERED)
    telling.end(kill_at)
    return telling


def given_up() -> Telling:
    """Tell of an order that one of two receivers failed twice."""
    telling = Telling()
    telling.post(2, "order.created")
    telling.receive(2)
    telling.settle(2, "ep_s", DELIVERED)
    telling.receive(2, "flaky", status=500)
    telling.receive(2, "flaky", at=1.2, status=503)
    telling.settle(2, "ep_f", FAILED, diverted=True)
    telling.end(10.0)
    return telling


def test_a_right_story_is_right() -> None:
    for telling in (delivered(), given_up()):
        verdict = telling.verdict()
        assert verdict.violations == []
        assert (verdict.kills, verdict.acked, verdict.repeats) == (1, 1, 0)


def not_kept(telling: Telling) -> None:
    del telling.kept.events["evt_1"]
    telling.arrived.clear()
    telling.end(10.0)


def never_arrived(telling: Telling) -> None:
    telling.arrived.clear()
    telling.end(10.0)


def nowhere(telling: Telling) -> None:
    never_arrived(telling)
    telling.kept.finals.clear()


def unsettled(telling: Telling) -> None:
    telling.kept.finals.clear()


def steady_given_up(telling: Telling) -> None:
    never_arrived(telling)
    telling.settle(1, "ep_s", FAILED, diverted=True)


def cancelled(telling: Telling) -> None:
    never_arrived(telling)
    telling.settle(1, "ep_s", CANCELLED)


def owed_twice(telling: Telling) -> None:
    telling.settle(1, "ep_s", DELIVERED, DELIVERED)


def pending(telling: Telling) -> None:
    telling.kept.pending = 1


def still_replaying(telling: Telling) -> None:
    telling.kept.jobs = 1


def shown_as_pending(telling: Telling) -> None:
    telling.pending.add(("evt_1", "ep_s"))


def corrupt(telling: Telling) -> None:
    telling.kept.sound.append("row 3 missing from index")


def refused(telling: Telling) -> None:
    telling.sent.append(Posted(8, "plain.tick", None, None, 0.0))
    telling.answer(8, "", 500)


def two_events(telling: Telling) -> None:
    telling.kept.events["evt_9"] = 1
    telling.settle(1, "ep_s", DELIVERED)
    telling.kept.finals["evt_9", "ep_s"] = [DELIVERED]
    telling.arrived.insert(0, Received(90, "steady", "evt_9", 1, 1.0, signed=True, intact=True))
    telling.arrived.insert(1, Replied(90, 1.1, 200))


def new_twice(telling: Telling) -> None:
    telling.answer(1, "evt_1")


def torn(telling: Telling) -> None:
    telling.sent.append(Posted(5, "plain.tick", None, 5, 0.0))
    telling.sent.append(Posted(1, "plain.tick", None, 5, 0.0))


def never_posted(telling: Telling) -> None:
    telling.sent.clear()


def unknown_token(telling: Telling) -> None:
    telling.receive(1, token="evt_77")


def wrong_role(telling: Telling) -> None:
    telling.arrived.insert(0, Received(90, "flaky", "evt_1", 1, 1.0, signed=True, intact=True))
    telling.arrived.insert(1, Replied(90, 1.1, 200))


def wrong_row(telling: Telling) -> None:
    telling.settle(1, "ep_f", DELIVERED)


def altered(telling: Telling) -> None:
    telling.arrived.clear()
    telling.receive(1, intact=False)
    telling.end(10.0)


def unsigned(telling: Telling) -> None:
    telling.arrived.clear()
    telling.receive(1, signed=False)
    telling.end(10.0)


@pytest.mark.parametrize(
    "fault, kind",
    [
        (not_kept, "lost"),
        (never_arrived, "lost"),
        (nowhere, "lost"),
        (steady_given_up, "lost"),
        (cancelled, "lost"),
        (unsettled, "unsettled"),
        (owed_twice, "fan-out"),
        (pending, "pending"),
        (still_replaying, "pending"),
        (shown_as_pending, "pending"),
        (corrupt, "corrupt"),
        (refused, "refused"),
        (two_events, "split"),
        (new_twice, "split"),
        (torn, "torn"),
        (never_posted, "invented"),
        (unknown_token, "invented"),
        (wrong_role, "misrouted"),
        (wrong_row, "misrouted"),
        (altered, "altered"),
        (unsigned, "unsigned"),
    ],
)
def test_each_fault_is_found(fault: Callable[[Telling], None], kind: str) -> None:
    telling = delivered()
    fault(telling)
    assert telling.verdict().kinds == {kind}


def test_what_was_given_up_must_stand_in_the_dead_letter_box() -> None:
    telling = given_up()
    telling.kept.diverted.clear()
    assert telling.verdict().kinds == {"lost"}


def test_the_api_must_show_what_was_given_up() -> None:
    telling = given_up()
    telling.hidden.add(("evt_2", "ep_f"))
    assert telling.verdict().kinds == {"hidden"}


def test_a_server_that_goes_down_may_refuse() -> None:
    telling = delivered()
    telling.sent.append(Posted(8, "plain.tick", None, None, 0.0))
    telling.answer(8, "", 503)
    assert telling.verdict().violations == []


def test_a_post_without_an_answer_may_be_an_event_or_not() -> None:
    telling = delivered()
    telling.sent.append(Posted(7, "plain.tick", None, None, 0.0))
    telling.sent.append(Posted(8, "plain.tick", None, None, 0.0))
    telling.kept.events["evt_8"] = 8
    telling.receive(8, at=11.0)
    telling.settle(8, "ep_s", DELIVERED)
    telling.end(20.0, killed=False)
    assert telling.verdict().violations == []


def test_a_repeated_key_is_answered_as_a_duplicate() -> None:
    telling = delivered()
    telling.answer(1, "evt_1", duplicate=True)
    assert telling.verdict().violations == []


def repeated(at: float, kill_at: float, status: int | None = 200, after_s: float = 0.01) -> Telling:
    """Tell of one event that arrived before a kill, and again after it."""
    telling = Telling()
    telling.post(1)
    telling.receive(1, at=at, status=status, after_s=after_s)
    telling.end(kill_at)
    telling.receive(1, at=kill_at + 1)
    telling.settle(1, "ep_s", DELIVERED)
    telling.end(kill_at + 5, killed=False)
    return telling


@pytest.mark.parametrize(
    "at, status, after_s",
    [
        (9.5, 200, 0.01),  # it arrived within the last second
        (5.0, 200, 4.5),  # it was answered within the last second
        (5.0, None, 0.0),  # it was never answered
        (5.0, 0, 5.01),  # the kill broke it off
    ],
)
def test_a_kill_allows_a_repeat(at: float, status: int | None, after_s: float) -> None:
    verdict = repeated(at, 10.0, status, after_s).verdict()
    assert verdict.violations == []
    assert (verdict.repeats, verdict.allowed, verdict.worst) == (1, 1, 1)


def test_a_kill_does_not_allow_a_repeat_of_what_was_long_settled() -> None:
    verdict = repeated(8.5, 10.0).verdict()
    assert verdict.kinds == {"doubled"}
    assert (verdict.repeats, verdict.allowed) == (1, 0)


def test_a_stop_allows_no_repeat() -> None:
    telling = repeated(9.9, 10.0)
    telling.arrived = [
        Ended(line.at, killed=False) if isinstance(line, Ended) else line
        for line in telling.arrived
    ]
    assert telling.verdict().kinds == {"doubled"}


def test_a_life_allows_no_repeat_within_itself() -> None:
    telling = delivered()
    telling.arrived.pop()
    telling.receive(1, at=9.9)
    telling.end(10.0)
    assert telling.verdict().kinds == {"doubled"}


@pytest.mark.parametrize("status", [500, 302, 410, HANGS, 0])
def test_what_failed_may_come_again_at_any_time(status: int) -> None:
    telling = Telling()
    telling.post(1)
    telling.receive(1, status=status)
    telling.receive(1, at=3.0)
    telling.settle(1, "ep_s", DELIVERED)
    telling.end(10.0)
    verdict = telling.verdict()
    assert verdict.violations == []
    assert verdict.repeats == 0


def test_a_kill_allows_no_more_repeats_than_were_in_flight() -> None:
    telling = Telling(ceiling=2)
    for n in (1, 2, 3):
        telling.post(n)
        telling.receive(n, at=9.9)
        telling.settle(n, "ep_s", DELIVERED)
    telling.end(10.0)
    telling.receive(1, at=11.0)
    telling.receive(2, at=11.0)
    telling.end(20.0)
    assert telling.verdict().violations == []
    telling.arrived.pop()
    telling.receive(3, at=11.0)
    telling.end(20.0)
    assert telling.verdict().kinds == {"too many repeats"}


def test_what_was_failed_and_then_recovered_has_two_deliveries() -> None:
    telling = Telling()
    telling.post(1)
    telling.receive(1, status=500)
    telling.receive(1, at=3.0)
    telling.settle(1, "ep_s", FAILED, DELIVERED)
    telling.end(10.0)
    assert telling.verdict().violations == []


def in_order(
    role: Role, receipts: list[tuple[int, int]], places: tuple[int, int, int] = (1, 2, 3)
) -> Verdict:
    """Tell of three events that were posted one after the other, the first and the last of a key.

    `receipts`: which of them arrived, and what was answered, in order; `places`: their numbers.
    """
    telling = Telling(roles={"ep_o": role})
    telling.kept.places = {}
    for n, place in zip((1, 2, 3), places, strict=True):
        chain = "b" if n == 2 else "a"
        telling.sent.append(Posted(n, "plain.tick", None, None, float(n), chain))
        telling.sent.append(Answered(n, n + 0.1, 202, f"evt_{n}", False))
        telling.kept.events[f"evt_{n}"] = n
        telling.kept.places[f"evt_{n}"] = place
        telling.settle(n, "ep_o", DELIVERED)
    for at, (n, status) in enumerate(receipts):
        telling.receive(n, role.name, at=float(at), status=status)
    telling.end(100.0)
    return telling.verdict()


@pytest.mark.parametrize(
    "receipts, of_key, of_all",
    [
        ([(1, 200), (2, 200), (3, 200)], None, None),
        ([(2, 200), (1, 200), (3, 200)], None, "inversion"),
        ([(1, 503), (2, 200), (1, 200), (3, 200)], None, "overtaken"),
        ([(3, 200), (1, 200), (2, 200)], "inversion", "inversion"),
        ([(1, 503), (3, 200), (1, 200), (2, 200)], "overtaken", "inversion"),
        ([(1, 503), (1, 200), (2, 503), (2, 200), (3, 200)], None, None),
    ],
)
def test_what_comes_out_of_order_is_found(
    receipts: list[tuple[int, int]], of_key: str | None, of_all: str | None
) -> None:
    assert in_order(STEADY, receipts).violations == []
    for role, kind in ((KEYED, of_key), (STRICT, of_all)):
        assert in_order(role, receipts).kinds == ({kind} if kind else set())


def test_a_repeat_of_what_was_taken_is_no_inversion() -> None:
    """As a process does that was frozen while it sent: receipts are judged by the first ones."""
    verdict = in_order(KEYED, [(1, 200), (3, 200), (1, 200), (2, 200)])
    assert verdict.kinds == {"doubled"}


def test_numbers_that_contradict_the_producers_are_found() -> None:
    receipts = [(3, 200), (1, 200), (2, 200)]
    assert in_order(KEYED, receipts, (3, 2, 1)).kinds == {"misnumbered"}
    assert in_order(KEYED, [(1, 200), (2, 200), (3, 200)], (2, 1, 3)).kinds == set()


def test_an_event_with_a_key_has_a_number() -> None:
    telling = Telling(roles={"ep_o": KEYED})
    telling.sent.append(Posted(1, "plain.tick", None, None, 0.0, "a"))
    telling.answer(1, "evt_1")
    telling.kept.events["evt_1"] = 1
    telling.receive(1, "keyed")
    telling.settle(1, "ep_o", DELIVERED)
    telling.end(10.0)
    assert telling.verdict().kinds == {"misnumbered"}
