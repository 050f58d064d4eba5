"""The lane against a model of the queue that it is the head of: whatever the order of events."""

import random

import pytest

from waypost.model import ids
from waypost.model.flow import STANDARD_BREAKER, RateLimit
from waypost.policy.lane import Lane
from waypost.policy.work import Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND


class Simulation:
    """A lane, the queue that it is the head of, one writer, one reader and a receiver.

    Steps come in any order that the real parts could make: news of a commit comes after the commit,
    in the order of commits, however late; a refill reads one snapshot.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = START
        self.window = chance.randint(1, 6)
        self.lane = Lane(chance.randint(1, 4), self.window, empty=True)
        if chance.random() < 0.3:
            self.lane.gate.set(RateLimit(chance.randint(1, 3)), STANDARD_BREAKER, None)
        self.queue: dict[bytes, tuple[int, int, int]] = {}  # id -> kind, due, attempts
        self.news: list[tuple[bytes, int, int]] = []  # id, kind, due
        self.reading: list[Work] | None = None
        self.cut: int | None = None
        self.replays_cut = False
        self.read_at = 0
        self.flying: dict[bytes, Work] = {}
        self.settling: list[tuple[Work, int | None]] = []
        self.count = 0
        self.ended = False

    def commit(self) -> None:
        if self.ended:
            return
        for _ in range(self.chance.choice([1, 1, 3])):
            self.count += 1
            identifier = ids.make(START + self.count, self.count)
            kind = self.chance.choice([0, 0, 2])
            self.queue[identifier] = (kind, self.now, 0)
            self.news.append((identifier, kind, self.now))

    def hear(self) -> None:
        while self.news:
            identifier, kind, due_us = self.news.pop(0)
            fresh = Work(identifier, identifier, kind, due_us, 0)
            if kind == 0 and self.lane.take(fresh):
                self.fly(fresh)
            else:
                self.lane.push(fresh, self.now)

    def begin_refill(self) -> None:
        if not self.lane.needs_refill():
            return
        limit = self.lane.begin_refill()
        self.reading, self.cut, self.read_at = [], None, self.now
        self.replays_cut = False
        for kind in range(3):
            rows = sorted((due, i, n) for i, (k, due, n) in self.queue.items() if k == kind)[:limit]
            self.reading += [Work(i, i, kind, due, n) for due, i, n in rows]
            if kind == 2:
                self.replays_cut = len(rows) == limit
            elif len(rows) == limit:
                self.cut = rows[-1][0] if self.cut is None else min(self.cut, rows[-1][0])
        self.reading.sort(key=lambda w: w.due_us)

    def end_refill(self) -> None:
        if self.reading is None:
            return
        reached_end = self.cut is None or self.cut > self.read_at
        self.lane.end_refill(
            self.reading,
            self.read_at,
            read_us=self.now,
            reached_end=reached_end,
            next_due_us=self.cut,
            replays_left=self.replays_cut,
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
