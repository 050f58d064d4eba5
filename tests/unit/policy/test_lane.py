"""The lane, under a simulated clock and against a model of the queue that it is the head of."""

import random

import pytest

from waypost.model import ids
from waypost.model.delivery import DeliveryClass
from waypost.policy.lane import FAILURES_TO_THROTTLE, MAX_HOLD_US, TURNS, Lane, Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


def work(number: int, *, kind: DeliveryClass = DeliveryClass.FRESH, due_us: int = START) -> Work:
    return Work(ids.make(START + number, number), ids.make(START, number), int(kind), due_us, 0)


def lane(*, concurrency: int = 4, window: int = 100) -> Lane:
    return Lane(concurrency, window, empty=True)


def drain(one: Lane, now_us: int) -> list[Work]:
    started = []
    while (found := one.pop(now_us)) is not None:
        started.append(found)
    return started


def finish(one: Lane, done: Work) -> None:
    one.landed()
    one.leave(done.id)


def test_starts_work_in_the_order_in_which_it_came() -> None:
    one = lane()
    works = [work(n) for n in range(3)]
    for each in works:
        assert one.push(each, START)
    assert drain(one, START) == works


def test_starts_no_more_than_its_concurrency() -> None:
    one = lane(concurrency=2)
    for n in range(5):
        one.push(work(n), START)
    first = drain(one, START)
    assert len(first) == 2
    assert one.has_ready(START) is False
    finish(one, first[0])
    assert len(drain(one, START)) == 1


def test_a_place_is_free_when_the_try_has_ended_but_the_delivery_stays_known() -> None:
    one = lane(concurrency=1)
    first, second = work(1), work(2)
    one.push(first, START)
    one.push(second, START)
    assert one.pop(START) is first
    one.landed()
    assert first.id in one.known
    assert one.pop(START) is second


def test_work_that_is_due_later_waits_and_says_when() -> None:
    one = lane()
    later = work(1, due_us=START + 5 * SECOND)
    one.push(later, START)
    assert one.pop(START) is None
    assert one.wake_at(START) == later.due_us
    assert one.pop(later.due_us - 1) is None
    assert one.pop(later.due_us) is later


def test_first_tries_go_before_retries_but_retries_keep_a_share() -> None:
    one = lane(concurrency=1000)
    for n in range(40):
        one.push(work(n), START)
        one.push(work(100 + n, kind=DeliveryClass.RETRY), START)
        one.push(work(200 + n, kind=DeliveryClass.REPLAY), START)
    started = [DeliveryClass(one.pop(START).kind) for _ in range(40)]  # type: ignore[union-attr]
    shares = {kind: started.count(kind) for kind in DeliveryClass}
    assert shares == {
        DeliveryClass.FRESH: 25,
        DeliveryClass.RETRY: 10,
        DeliveryClass.REPLAY: 5,
    }


def test_every_turn_lets_every_class_go_in_the_end() -> None:
    assert len(TURNS) == 8
    assert all(sorted(turn) == sorted(DeliveryClass) for turn in TURNS)


def test_a_full_lane_leaves_the_rest_to_the_database_and_asks_for_it_when_there_is_room() -> None:
    one = lane(concurrency=10, window=4)
    taken = [one.push(work(n), START) for n in range(6)]
    assert taken == [True] * 4 + [False] * 2
    assert one.needs_refill() is False
    started = drain(one, START)
    finish(one, started[0])
    finish(one, started[1])
    assert one.needs_refill() is True


def test_nothing_overtakes_what_waits_in_the_database() -> None:
    one = lane(window=2)
    for n in range(3):
        one.push(work(n), START)
    for started in drain(one, START):
        finish(one, started)
    assert one.push(work(9), START) is False
    assert one.take(work(10)) is False


def test_a_refill_passes_over_what_is_known_and_what_was_settled_while_it_read() -> None:
    one = lane(window=4)
    works = [work(n) for n in range(4)]
    for each in works:
        one.push(each, START)
    one.push(work(50), START)
    first = drain(one, START)
    assert first == works
    finish(one, works[0])
    finish(one, works[1])
    one.begin_refill()
    finish(one, works[2])
    found = [work(n) for n in (2, 3, 50)]
    entered = one.end_refill(found, START, reached_end=True, next_due_us=None)
    assert [w.id for w in entered] == [work(50).id]
    assert one.complete is True


def test_a_commit_during_a_refill_calls_for_another() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    assert one.push(work(1), START) is False
    one.end_refill([], START, reached_end=True, next_due_us=None)
    assert one.complete is False
    assert one.needs_refill() is True


def test_news_of_a_commit_that_a_refill_has_seen_already_adds_nothing() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    one.end_refill([work(1)], START, reached_end=True, next_due_us=None)
    assert one.push(work(1), START) is False
    assert one.take(work(1)) is False
    assert len(drain(one, START)) == 1


def test_a_refill_that_was_cut_later_on_wakes_the_lane_there() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    cut_us = START + 60 * SECOND
    one.end_refill([], START, reached_end=True, next_due_us=cut_us)
    assert one.wake_at(START) == cut_us
    assert one.pop(cut_us) is None
    assert one.needs_refill() is True


def test_a_try_that_hangs_does_not_keep_a_lane_full_of_retries_from_what_is_due() -> None:
    one = lane(concurrency=10, window=8)
    for n in range(4):
        one.push(work(n, due_us=START + 300 * SECOND), START)
    one.push(work(9), START)
    assert len(drain(one, START)) == 1
    one.complete = False
    assert one.needs_refill() is True
    assert one.begin_refill() == 13


def test_a_refill_that_failed_is_asked_for_again() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    assert one.needs_refill() is False
    one.abort_refill()
    assert one.needs_refill() is True


def test_a_retry_is_tried_when_it_is_due() -> None:
    one = lane()
    first = work(1)
    one.push(first, START)
    one.pop(START)
    one.landed()
    due_us = START + 5 * SECOND
    attempt_id = first.attempt_id
    assert one.retry(first, due_us, START) is True
    assert one.pop(due_us - 1) is None
    assert one.pop(due_us) is first
    assert first.attempts == 1
    assert first.kind == DeliveryClass.RETRY
    assert first.attempt_id != attempt_id


def test_retries_that_are_due_later_leave_room_for_what_can_be_tried_now() -> None:
    one = lane(concurrency=4, window=4)
    failing = [work(n) for n in range(4)]
    due_us = START + 3600 * SECOND
    for each in failing:
        one.push(each, START)
    assert drain(one, START) == failing
    kept = []
    for each in failing:
        one.landed()
        kept.append(one.retry(each, due_us, START))
    assert kept == [False, False, True, True]
    assert one.push(work(9), START) is True
    assert one.wake_at(START) == due_us
    one.begin_refill()
    found = [work(n, kind=DeliveryClass.RETRY, due_us=due_us) for n in range(2)]
    assert one.end_refill(found, START, reached_end=True, next_due_us=None) == []
    assert one.complete is True
    assert one.wake_at(START) == due_us


def test_a_paused_lane_starts_nothing_and_holds_no_timer() -> None:
    one = lane()
    one.push(work(1, due_us=START + SECOND), START)
    one.push(work(2), START)
    one.paused = True
    assert one.pop(START) is None
    assert one.wake_at(START) is None
    assert one.take(work(3)) is False
    one.paused = False
    assert one.pop(START) is not None


@pytest.mark.parametrize("asked", [True, False])
def test_a_failing_receiver_is_throttled_and_a_recovering_one_ramps_up(asked: bool) -> None:
    one = lane(concurrency=8)
    for n in range(1 if asked else FAILURES_TO_THROTTLE):
        assert one.limit == 8, n
        one.failed(START, slow_down=asked, retry_after_s=None)
    limits = [one.limit]
    for _ in range(4):
        one.succeeded()
        limits.append(one.limit)
    assert limits == [1, 2, 4, 8, 8]


def test_retry_after_holds_the_lane_but_not_for_ever() -> None:
    one = lane()
    one.push(work(1), START)
    one.failed(START, slow_down=True, retry_after_s=30.0)
    held_until_us = START + 30 * SECOND
    assert one.pop(held_until_us - 1) is None
    assert one.wake_at(START) == held_until_us
    assert one.take(work(2)) is False
    assert one.pop(held_until_us) is not None
    one.failed(START, slow_down=True, retry_after_s=1e9)
    assert one.wake_at(START) == START + MAX_HOLD_US


def test_a_retry_after_without_overload_holds_one_delivery_not_the_lane() -> None:
    one = lane()
    one.push(work(1), START)
    one.failed(START, slow_down=False, retry_after_s=30.0)
    assert one.pop(START) is not None


def test_forgetting_drops_what_waits_and_spares_what_is_in_flight() -> None:
    one = lane(concurrency=1)
    flying, waiting, later = work(1), work(2), work(3, due_us=START + SECOND)
    for each in (flying, waiting, later):
        one.push(each, START)
    assert one.pop(START) is flying
    assert {w.id for w in one.forget()} == {waiting.id, later.id}
    assert list(one.known) == [flying.id]
    assert one.complete is False
    assert one.pop(START + SECOND) is None


def test_a_new_concurrency_holds_at_once_unless_the_lane_is_throttled() -> None:
    one = lane(concurrency=4)
    one.resize(8)
    assert one.limit == 8
    one.failed(START, slow_down=True, retry_after_s=None)
    one.resize(16)
    assert (one.limit, one.concurrency) == (1, 16)


def test_what_was_started_in_vain_is_started_first() -> None:
    one = lane()
    first, second = work(1), work(2)
    one.push(first, START)
    one.push(second, START)
    assert one.pop(START) is first
    one.put_back(first)
    assert one.in_flight == 0
    assert drain(one, START) == [first, second]


def test_a_lane_at_its_limit_is_not_woken_for_what_is_due() -> None:
    one = lane(concurrency=1)
    one.push(work(1), START)
    one.push(work(2, due_us=START + SECOND), START)
    one.pop(START)
    assert one.pop(START + 2 * SECOND) is None
    assert one.wake_at(START + 2 * SECOND) is None


def test_a_refill_that_began_before_the_lane_forgot_brings_nothing() -> None:
    one = lane()
    one.complete = False
    one.begin_refill()
    one.forget()
    assert one.end_refill([work(1)], START, reached_end=True, next_due_us=None) == []
    assert one.needs_refill() is True
    one.begin_refill()
    assert len(one.end_refill([work(1)], START, reached_end=True, next_due_us=None)) == 1


def test_a_lane_is_idle_when_it_is_empty_and_healthy() -> None:
    one = lane(concurrency=2)
    assert one.is_idle()
    first = work(1)
    one.push(first, START)
    assert not one.is_idle()
    one.pop(START)
    one.failed(START, slow_down=False, retry_after_s=None)
    finish(one, first)
    assert not one.is_idle()
    one.succeeded()
    assert one.is_idle()
    one.forget()
    assert not one.is_idle()


class Simulation:
    """A lane, the queue that it is the head of, one writer, one reader and a receiver.

    Steps come in any order that the real parts could make: news of a commit comes after the commit,
    in the order of commits, and before the next commit; a refill reads one snapshot.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = START
        self.window = chance.randint(1, 6)
        self.lane = Lane(chance.randint(1, 4), self.window, empty=True)
        self.queue: dict[bytes, tuple[int, int, int]] = {}  # id -> kind, due, attempts
        self.news: list[tuple[bytes, int]] = []
        self.reading: list[Work] | None = None
        self.cut: int | None = None
        self.read_at = 0
        self.flying: dict[bytes, Work] = {}
        self.settling: list[tuple[Work, int | None]] = []
        self.count = 0
        self.ended = False

    def commit(self) -> None:
        self.hear()
        if self.ended:
            return
        for _ in range(self.chance.choice([1, 1, 3])):
            self.count += 1
            identifier = ids.make(START + self.count, self.count)
            self.queue[identifier] = (0, self.now, 0)
            self.news.append((identifier, self.now))

    def hear(self) -> None:
        while self.news:
            identifier, due_us = self.news.pop(0)
            fresh = Work(identifier, identifier, 0, due_us, 0)
            if self.lane.take(fresh):
                self.fly(fresh)
            else:
                self.lane.push(fresh, self.now)

    def begin_refill(self) -> None:
        if not self.lane.needs_refill():
            return
        limit = self.lane.begin_refill()
        self.reading, self.cut, self.read_at = [], None, self.now
        for kind in range(3):
            rows = sorted((due, i, n) for i, (k, due, n) in self.queue.items() if k == kind)[:limit]
            self.reading += [Work(i, i, kind, due, n) for due, i, n in rows]
            if len(rows) == limit:
                self.cut = rows[-1][0] if self.cut is None else min(self.cut, rows[-1][0])
        self.reading.sort(key=lambda w: w.due_us)

    def end_refill(self) -> None:
        if self.reading is None:
            return
        reached_end = self.cut is None or self.cut > self.read_at
        self.lane.end_refill(
            self.reading, self.read_at, reached_end=reached_end, next_due_us=self.cut
        )
        self.reading = None

    def try_one(self) -> None:
        started = self.lane.pop(self.now)
        if started is not None:
            self.fly(started)
        wake_us = self.lane.wake_at(self.now)
        assert wake_us is None or wake_us > self.now, "an alarm that rings for ever"

    def fly(self, started: Work) -> None:
        assert started.id in self.queue, "tried although it is owed no longer"
        assert started.id not in self.flying, "in flight twice"
        assert all(started.id != other.id for other, _ in self.settling), "tried while it settles"
        assert (started.kind, started.due_us, started.attempts) == self.queue[started.id]
        assert started.due_us <= self.now, "tried before it was due"
        self.flying[started.id] = started

    def answer(self) -> None:
        if not self.flying:
            return
        landed = self.flying.pop(self.chance.choice(sorted(self.flying)))
        self.lane.landed()
        wait_s = self.chance.choice([None, None, 0, 3, 60])
        self.settling.append((landed, None if wait_s is None else self.now + wait_s * SECOND))

    def settle(self) -> None:
        if not self.settling:
            return
        self.hear()
        landed, due_us = self.settling.pop(self.chance.randrange(len(self.settling)))
        if due_us is None:
            del self.queue[landed.id]
            self.lane.leave(landed.id)
        else:
            self.queue[landed.id] = (1, due_us, landed.attempts + 1)
            self.lane.retry(landed, due_us, self.now)
            if self.ended:
                self.clear()

    def pass_time(self) -> None:
        self.now += self.chance.choice([1, 10]) * SECOND

    def pause_or_resume(self) -> None:
        self.lane.paused = self.ended or self.chance.random() < 0.2

    def end_or_enable(self) -> None:
        """Disable the subscription, which clears its queue but for what is in flight; or enable."""
        self.hear()
        self.ended = self.lane.paused = self.chance.random() < 0.5
        if self.ended:
            self.clear()

    def clear(self) -> None:
        self.lane.forget()
        self.queue = {i: row for i, row in self.queue.items() if i in self.lane.known}

    def start_in_vain(self) -> None:
        started = self.lane.pop(self.now)
        if started is not None:
            self.lane.put_back(started)

    def run(self, steps: int) -> None:
        moves = (
            [self.commit] * 3
            + [self.hear, self.begin_refill, self.begin_refill, self.end_refill]
            + [self.try_one] * 4
            + [self.answer] * 4
            + [self.settle] * 4
            + [self.pass_time, self.pause_or_resume, self.start_in_vain, self.end_or_enable]
        )
        for _ in range(steps):
            self.chance.choice(moves)()
            assert self.lane.in_flight == len(self.flying) <= self.lane.concurrency
            held = self.window + self.lane.concurrency + len(self.settling)
            assert len(self.lane.known) <= held

    def left_alone(self) -> None:
        """No more commits: the lane delivers everything that is owed, woken by itself alone."""
        self.hear()
        self.ended = self.lane.paused = False
        for _ in range(20 * (self.count + 5)):
            self.hear()
            self.end_refill()
            for landed in list(self.flying.values()):
                del self.flying[landed.id]
                self.lane.landed()
                self.settling.append((landed, None))
            while self.settling:
                self.settle()
            self.begin_refill()
            self.try_one()
            wake_us = self.lane.wake_at(self.now)
            if not self.flying and self.reading is None and wake_us is not None:
                self.now = max(self.now, wake_us)
        assert not self.queue, "owed and never tried"


@pytest.mark.parametrize("steps", [20, 60, 400])
def test_whatever_the_order_of_events_nothing_is_tried_twice_or_never(steps: int) -> None:
    for seed in range(60_000 // steps):
        simulation = Simulation(random.Random(seed))
        try:
            simulation.run(steps)
            simulation.left_alone()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {steps} steps: {error}") from error
