"""A lane that keeps an order, against a model of its queue: whatever the order of events.

What starts is the first of its key that is owed, and nothing of its key is being tried or settled.
"""

import random

import pytest

from waypost.model import ids
from waypost.model.delivery import PARKED
from waypost.model.subscription import Ordering
from waypost.policy.chains import WHOLE, Chains
from waypost.policy.lane import Lane
from waypost.policy.work import Work

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
DEEP = 3


class Row:
    """A delivery as the queue has it."""

    def __init__(self, number: int, key: str | None, due_us: int) -> None:
        self.id = ids.make(START + number, number)
        self.number = number
        self.key = key
        self.kind = 0
        self.due_us = due_us
        self.attempts = 0

    def work(self, key: str | None) -> Work:
        """Return what a lane holds of it."""
        kind = (1 if self.attempts else 0) if self.kind == PARKED else self.kind
        held = Work(self.id, self.id, kind, self.due_us, self.attempts)
        if key is not None:
            held.key, held.sequence = key, self.number
        return held


class Simulation:
    """A lane, its queue, a writer, a reader that parks what stands in the way, and a receiver."""

    def __init__(self, chance: random.Random, mode: Ordering) -> None:
        self.chance = chance
        self.mode = mode
        self.now = START
        self.queue: dict[bytes, Row] = {}
        self.count = 0
        self.restart()

    def restart(self) -> None:
        """Begin with another lane: of what was in flight nothing is known."""
        self.window = self.chance.randint(1, 6)
        self.lane = Lane(self.chance.randint(1, 4), self.window)
        self.lane.order = Chains(self.mode)
        self.flying: dict[bytes, Work] = {}
        self.settling: list[tuple[Work, int | None]] = []
        self.read: dict[str, list[Work]] | None = None
        self.news = 0

    def chain_of(self, row: Row) -> str | None:
        return WHOLE if self.mode is Ordering.STRICT else row.key

    def commit(self) -> None:
        for _ in range(self.chance.choice([1, 1, 3])):
            self.count += 1
            row = Row(self.count, self.chance.choice(["a", "b", "c", None]), self.now)
            self.queue[row.id] = row
            self.news += 1

    def hear(self) -> None:
        if self.news:
            self.news = 0
            self.lane.look_again()

    def begin_refill(self) -> None:
        if not self.lane.needs_refill():
            return
        limit = self.lane.begin_refill() + len(self.lane.known)
        asked = self.lane.ask()
        assert asked is not None
        self.read_at, self.cut = self.now, None
        head: list[Row] = []
        for kind in range(3):
            rows = [row for row in self.queue.values() if row.kind == kind]
            some = sorted(rows, key=lambda row: (row.due_us, row.id))[:limit]
            head += some
            if len(some) == limit:
                self.cut = min(some[-1].due_us, self.cut or some[-1].due_us)
        placed = [r for r in head if self.chain_of(r) is not None and r.id not in self.lane.known]
        self.others = [r.work(None) for r in head if self.chain_of(r) is None]
        self.others.sort(key=lambda work: work.due_us)
        present = {key for r in self.queue.values() if (key := self.chain_of(r)) is not None}
        scanned: list[str] = []
        self.behind = None
        if asked.behind is not None:
            scanned = sorted(key for key in present if key > asked.behind)[: asked.most]
            self.behind = scanned[-1] if len(scanned) == asked.most else None
        found = [self.chain_of(row) or WHOLE for row in placed]
        wanted = dict.fromkeys((*asked.wanted, *scanned, *found))
        self.read = {
            key: [row.work(key) for row in self.rows_of(key)[:DEEP]]
            for key in wanted
            if key not in asked.busy and self.rows_of(key)
        }
        if self.chance.random() < 0.5:
            heads = {works[0].id for works in self.read.values()}
            self.park([row for row in placed if row.id not in heads])

    def rows_of(self, key: str) -> list[Row]:
        rows = [row for row in self.queue.values() if self.chain_of(row) == key]
        return sorted(rows, key=lambda row: row.number)

    def park(self, rows: list[Row]) -> None:
        for row in rows:
            row.kind = PARKED
            row.due_us = self.now if row.attempts else row.due_us

    def end_refill(self) -> None:
        if self.read is None:
            return
        self.lane.end_refill(
            self.others,
            self.read_at,
            read_us=self.now,
            reached_end=self.cut is None or self.cut > self.read_at,
            next_due_us=self.cut,
            chains=list(self.read.values()),
            behind=self.behind,
        )
        self.read = None

    def try_one(self) -> None:
        started = self.lane.pop(self.now)
        if started is not None:
            self.fly(started)
        wake_us = self.lane.wake_at(self.now)
        assert wake_us is None or wake_us > self.now, "an alarm that rings for ever"

    def fly(self, started: Work) -> None:
        row = self.queue.get(started.id)
        assert row is not None, "tried although it is owed no longer"
        assert started.id not in self.flying, "in flight twice"
        assert started.due_us <= self.now, "tried before it was due"
        chain = self.chain_of(row)
        if chain is not None:
            busy = [*self.flying, *(other.id for other, _ in self.settling)]
            assert all(self.chain_of(self.queue[one]) != chain for one in busy), "two at a time"
            assert self.rows_of(chain)[0] is row, "it has overtaken another one of its key"
        self.flying[started.id] = started

    def answer(self) -> None:
        if self.flying:
            landed = self.flying.pop(self.chance.choice(sorted(self.flying)))
            self.lane.landed()
            if self.chance.random() < 0.1:
                self.lane.give_back(landed)  # it was broken off
                return
            wait_s = self.chance.choice([None, None, 0, 3, 60])
            self.settling.append((landed, None if wait_s is None else self.now + wait_s * SECOND))

    def settle(self) -> None:
        if not self.settling:
            return
        landed, due_us = self.settling.pop(self.chance.randrange(len(self.settling)))
        if due_us is None:
            del self.queue[landed.id]
            self.lane.leave(landed.id)
            return
        row = self.queue[landed.id]
        row.kind, row.due_us, row.attempts = 1, due_us, landed.attempts + 1
        self.lane.retry(landed, due_us, self.now)

    def pass_time(self) -> None:
        self.now += self.chance.choice([1, 10]) * SECOND

    def pause_or_resume(self) -> None:
        self.lane.paused = self.chance.random() < 0.2

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
            + [self.pass_time, self.pause_or_resume, self.start_in_vain]
        )
        for _ in range(steps):
            self.chance.choice(moves)()
            if self.chance.random() < 0.005:
                self.restart()
            assert self.lane.in_flight == len(self.flying) <= self.lane.concurrency
            assert len(self.lane.known) <= self.window + self.lane.concurrency + len(self.settling)

    def left_alone(self) -> None:
        """No more commits: the lane delivers everything that is owed, woken by itself alone."""
        self.hear()
        self.lane.paused = False
        for _ in range(20 * (self.count + 5)):
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
            if not self.flying and self.read is None and wake_us is not None:
                self.now = max(self.now, wake_us)
        assert not self.queue, "owed and never tried"


@pytest.mark.parametrize("mode", [Ordering.KEY, Ordering.STRICT])
@pytest.mark.parametrize("steps", [60, 300])
def test_whatever_the_order_of_events_nothing_overtakes_another_of_its_key(
    steps: int, mode: Ordering
) -> None:
    for seed in range(9_000 // steps):
        simulation = Simulation(random.Random(seed), mode)
        try:
            simulation.run(steps)
            simulation.left_alone()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {steps} steps: {error}") from error
