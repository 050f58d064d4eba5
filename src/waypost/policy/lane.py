"""A lane: the head of one subscription's queue, and the rules for what may start from it when.

The queue itself is in the database; the lane holds a window of it. Work enters in two ways: just
committed, or by a refill from the database. One refill runs at a time, and three facts keep a
delivery from entering twice or not at all:

* `known` holds every delivery that is in the lane, waiting or in flight, until its settling is
  committed; a refill passes them over.
* what is settled while a refill reads is remembered (`_settled`), because the refill may still
  have read it.
* what is committed meanwhile waits for the end of the refill (`_meanwhile`), which may have read
  it or not. What others have committed, or does not fit, marks the lane `dirty`: the database
  holds more than the refill can have seen, so another refill follows.

The news of a commit may come so late that a refill has read the delivery before, and it was sent
and settled since. So the lane remembers what has entered by refills (`_entered`). What was made
before the end of a refill of which not all is remembered (`_sure_us`) is not taken but looked for
in the database; so is what was made before the first refill behind a forgetting.

A refill that began before the lane was told to forget is dropped: what it read may have been
cancelled since.

Work that is due later may fill half of the window: however much fails, there is room for what can
be tried now.

Just-committed work is taken directly only where the last refill reached the end of the queue and
nothing is dirty; otherwise it would overtake what waits in the database.

Where a subscription's events are sent in order, all of its work enters by refills, and of each key
nothing but the beginning of its chain (`chains`). Of that only the first delivery waits or is in
flight; those behind it are known, and each starts when the one before it has left.

A lane has no clock and does no I/O: the moment is always an argument, in UTC microseconds.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from waypost.model.delivery import DeliveryClass
from waypost.model.flow import Wait, Waits
from waypost.model.subscription import Ordering
from waypost.policy.chains import HELD_US, WHOLE, Asked, Chains
from waypost.policy.pace import Pace
from waypost.policy.work import TURNS, Work

REMEMBERED: Final = 128
"""So many deliveries that have entered by refills are remembered: the news of a commit that comes
later than they leave is late indeed."""


class Lane(Pace):
    """The head of one subscription's queue.

    Attributes:
        known: deliveries that are in the lane, waiting or in flight or being settled.
        refilling: a refill is reading now.
        complete: everything that was due at the last refill is known, and so is what came since.
        order: the chains of its keys; None: it keeps no order.
    """

    __slots__ = (
        "_entered",
        "_forgot",
        "_later",
        "_meanwhile",
        "_next_due_us",
        "_ready",
        "_settled",
        "_stale",
        "_sure_us",
        "_turn",
        "_window",
        "complete",
        "dirty",
        "known",
        "order",
        "refilling",
    )

    def __init__(self, concurrency: int, window: int, *, empty: bool = False) -> None:
        """Make a lane.

        Args:
            concurrency: how many tries may be in flight.
            window: how many deliveries the lane may hold.
            empty: the database is known to owe nothing here, so no refill is needed.
        """
        super().__init__(concurrency)
        self.known: dict[bytes, Work] = {}
        self.refilling = False
        self.complete = empty
        self.dirty = False
        self.order: Chains | None = None
        self._window = window
        self._ready: tuple[deque[Work], deque[Work], deque[Work]] = (deque(), deque(), deque())
        self._later: list[tuple[int, bytes, Work]] = []
        self._settled: set[bytes] = set()
        self._stale = False
        self._next_due_us: int | None = None
        self._meanwhile: list[Work] = []
        self._entered: dict[bytes, int] = {}
        self._forgot = False
        self._sure_us = 0
        self._turn = 0

    # Work enters.

    def push(self, work: Work, now_us: int) -> bool:
        """Take just-committed work, or learn that the database holds more than the lane.

        Returns:
            Whether the work was taken; a refill that is under way may still take it.
        """
        if work.id in self.known or work.id in self._entered:
            # A refill saw the commit before the news of it came here.
            return False
        room = self._window - len(self.known) - len(self._meanwhile)
        if work.due_us <= self._sure_us or room <= 0 or not (self.complete or self.refilling):
            self.look_again()
            return False
        if self.refilling:
            self._meanwhile.append(work)
            return False
        self._enter(work, now_us)
        return True

    def take(self, work: Work) -> bool:
        """Start just-committed work at once, where nothing stands before it: the common case.

        Returns:
            Whether it started; else nothing has changed, and `push` is the way in.
        """
        ready = self._ready
        if (
            not self.complete
            or self.refilling
            or work.due_us <= self._sure_us
            or self.paused
            or not self.gate.clear
            or self.in_flight >= self.limit
            or ready[0]
            or ready[1]
            or ready[2]
            or work.id in self.known
            or work.id in self._entered
            or len(self.known) >= self._window
        ):
            return False
        self.known[work.id] = work
        self.in_flight += 1
        return True

    def is_quiet(self) -> bool:
        """Tell whether nothing waits here, so that nothing needs to be started or awaited."""
        ready = self._ready
        return (
            self.complete
            and not (ready[0] or ready[1] or ready[2])
            and not self._later
            and self._next_due_us is None
        )

    def needs_refill(self) -> bool:
        """Tell whether a refill should start: the database holds more and the lane has room.

        What is due later takes its part of the window, but does not count in the rest: else one
        try that hangs would keep a lane full of retries from what can be tried now.
        """
        later = len(self._later)
        return (
            not self.complete
            and not self.refilling
            and not self.paused
            and len(self.known) < self._window
            and len(self.known) - later <= (self._window - later) // 2
        )

    def look_again(self) -> None:
        """The database may hold more than is known here, and than a refill that runs has read."""
        self.complete = False
        self.dirty = True

    def begin_refill(self) -> int:
        """Start a refill.

        Returns:
            How many of the most urgent due deliveries to read, class by class, beside those that
            the lane knows.
        """
        self.refilling = True
        self.dirty = False
        self._stale = False
        self._settled.clear()
        self._next_due_us = None
        return self._window

    def ask(self) -> Asked | None:
        """Return what the refill that has begun is to read for the order of the lane."""
        return None if self.order is None else self.order.ask(self._window - len(self.known))

    def abort_refill(self) -> None:
        """End a refill that failed: the database still holds more."""
        if self.order is not None:
            self.order.restart()
        self.refilling = False
        self._meanwhile.clear()
        self.complete = False

    def end_refill(
        self,
        found: list[Work],
        now_us: int,
        *,
        read_us: int,
        reached_end: bool,
        next_due_us: int | None,
        chains: Sequence[Sequence[Work]] = (),
        behind: str | None = None,
    ) -> list[Work]:
        """Take what a refill read.

        Args:
            found: deliveries by their due time, the earliest first; some may be due later.
            now_us: the moment that counted as present when the refill read.
            read_us: the present: what was made before may have been read.
            reached_end: `found` holds everything that was due then.
            next_due_us: where `found` was cut, the due time from which it was.
            chains: the beginnings of chains, each by sequence; none of them is empty, or of a key
                that was busy.
            behind: keys behind this one are still to be looked for; None: none are.

        Returns:
            What has entered: of `found`, and of what was committed meanwhile.
        """
        self.refilling = False
        meanwhile, self._meanwhile = self._meanwhile, []
        if self._stale:
            self.complete = False
            return []
        if next_due_us is not None:
            self.know_later(next_due_us)
        entered, left_out = self._let_in(found, now_us)
        reached_end = reached_end and not left_out
        if self.order is not None:
            self.order.scanned(behind, now_us)
            for works in chains:
                entered += self._begin_chain(self.order, works, now_us)
            reached_end = reached_end and self.order.is_read()
        self._remember(entered, read_us)
        if self._forgot:
            # What was cancelled before has not entered: the news of it may come all the same.
            self._forgot = False
            self._sure_us = read_us
            if meanwhile:
                self.look_again()
                meanwhile = []
        if reached_end:
            entered += self._join(meanwhile, now_us)
        self._settled.clear()
        self.complete = reached_end and not self.dirty
        return entered

    def _let_in(self, found: list[Work], now_us: int) -> tuple[list[Work], bool]:
        """Let in what was found, by due time; tell whether some that is due had no room."""
        entered: list[Work] = []
        for work in found:
            if work.id in self.known or work.id in self._settled:
                continue
            room = self._window if work.due_us <= now_us else self._window // 2
            if len(self.known) >= room:
                self.know_later(work.due_us)
                return entered, work.due_us <= now_us
            self._enter(work, now_us)
            entered.append(work)
        return entered, False

    def _begin_chain(self, order: Chains, works: Sequence[Work], now_us: int) -> Sequence[Work]:
        """Let the beginning of a chain in, as far as there is room; return what has entered."""
        head, *others = works
        key = head.key or WHOLE
        if any(work.id in self.known or work.id in self._settled for work in works):
            # It was started before the lane kept this order, and what is behind it has to wait.
            order.hold(key)
            self.know_later(now_us + HELD_US)
            return ()
        room = self._window if head.due_us <= now_us else self._window // 2
        if len(self.known) >= room:
            if head.due_us <= now_us:
                order.want(key)
            else:
                self.know_later(head.due_us)
            return ()
        self._enter(head, now_us)
        followers = others[: max(self._window // 2 - len(self.known), 0)]
        self.known.update((work.id, work) for work in followers)
        order.enter(head, followers)
        return head, *followers

    def _join(self, meanwhile: list[Work], now_us: int) -> list[Work]:
        """Let in what was committed while the refill read, unless the refill has read it."""
        joined: list[Work] = []
        for work in meanwhile:
            if work.id in self.known or work.id in self._settled:
                continue
            if len(self.known) >= self._window:
                self.look_again()
                break
            self._enter(work, now_us)
            joined.append(work)
        return joined

    def _remember(self, entered: list[Work], read_us: int) -> None:
        """Remember what the refill that ended at `read_us` has let in."""
        for work in entered[-REMEMBERED:]:
            self._entered[work.id] = read_us
        if len(entered) > REMEMBERED:
            self._sure_us = read_us
        while len(self._entered) > REMEMBERED:
            self._sure_us = max(self._sure_us, self._entered.pop(next(iter(self._entered))))

    def _enter(self, work: Work, now_us: int) -> None:
        self.known[work.id] = work
        if work.due_us <= now_us:
            self._ready[work.kind].append(work)
        else:
            heappush(self._later, (work.due_us, work.id, work))

    # Work starts and leaves.

    def pop(self, now_us: int) -> Work | None:
        """Start the next delivery that may start now; None where none may."""
        if self.paused:
            return None
        gate = self.gate
        if not gate.clear and gate.free_at(now_us) > now_us:
            return None
        if not self.has_ready(now_us):
            return None
        ready = self._ready
        self._turn = (self._turn + 1) & 7
        for kind in TURNS[self._turn]:
            if ready[kind]:
                self.in_flight += 1
                if not gate.clear:
                    gate.started(now_us)
                return ready[kind].popleft()
        return None

    def _ripen(self, now_us: int) -> None:
        while self._later and self._later[0][0] <= now_us:
            work = heappop(self._later)[2]
            self._ready[work.kind].append(work)
        if self._next_due_us is not None and self._next_due_us <= now_us:
            self._next_due_us = None
            self.look_again()

    def put_back(self, work: Work) -> None:
        """A start came to nothing: the work waits again, before all others of its class."""
        self.in_flight -= 1
        work.started_us = 0
        self.gate.unstarted()
        self._ready[work.kind].appendleft(work)

    def leave(self, identifier: bytes) -> None:
        """A final settling is committed: the delivery is owed no longer."""
        work = self.known.pop(identifier, None)
        if self.refilling:
            self._settled.add(identifier)
        if self.order is not None and work is not None and work.key is not None:
            follower = self.order.leave(work)
            if follower is None:
                self.look_again()
            else:
                heappush(self._later, (follower.due_us, follower.id, follower))

    def give_back(self, work: Work) -> Sequence[Work]:
        """A delivery leaves, and may be owed all the same; return what was dropped with it."""
        dropped = self.cut(work)
        self.leave(work.id)
        self.look_again()
        return dropped

    def cut(self, work: Work) -> Sequence[Work]:
        """Drop what is behind a delivery in its chain, and return it: the database has it."""
        dropped = () if self.order is None else self.order.cut(work)
        for follower in dropped:
            del self.known[follower.id]
        return dropped

    def retry(self, work: Work, due_us: int, now_us: int) -> Sequence[Work]:
        """The settling of a failed try is committed: the delivery is due again at `due_us`.

        Returns:
            What was dropped, where the lane does not keep it: then the database alone has it.
        """
        work.kind = DeliveryClass.RETRY
        work.due_us = due_us
        work.attempts += 1
        work.started_us = 0
        crowded = len(self.known) > self._window // 2
        if self.order is not None and (crowded or self.order.is_stray(work)):
            return work, *self.give_back(work)
        if crowded:
            self.leave(work.id)
            self.know_later(due_us)
            return (work,)
        if due_us <= now_us:
            self._ready[work.kind].append(work)
        else:
            heappush(self._later, (due_us, work.id, work))
        return ()

    def know_later(self, due_us: int) -> None:
        """Learn that the database holds something that is due at `due_us`."""
        if self._next_due_us is None or due_us < self._next_due_us:
            self._next_due_us = due_us

    def forget(self) -> list[Work]:
        """Drop what waits, not what is in flight; the database is the truth.

        Returns:
            What was dropped.
        """
        dropped = [*self._ready[0], *self._ready[1], *self._ready[2]]
        dropped += [work for _, _, work in self._later]
        if self.order is not None:
            dropped += self.order.forget(dropped)
        for work in dropped:
            del self.known[work.id]
        for ready in self._ready:
            ready.clear()
        self._later.clear()
        self._next_due_us = None
        self._meanwhile.clear()
        self._forgot = True
        self._stale = self.refilling
        self.complete = False
        return dropped

    def keep_order(self, mode: Ordering) -> list[Work]:
        """Send in another order from now on, or in none; return what was dropped for it."""
        if mode is (Ordering.NONE if self.order is None else self.order.mode):
            return []
        dropped = self.forget()
        for work in self.known.values():
            work.key = None
        self.order = None if mode is Ordering.NONE else Chains(mode, self.known)
        return dropped

    # When to look again.

    def has_ready(self, now_us: int) -> bool:
        """Tell whether something could start now but for a pause and the process's limits."""
        if self._later or self._next_due_us is not None:
            self._ripen(now_us)
        ready = self._ready
        return bool(ready[0] or ready[1] or ready[2]) and self.in_flight < self.limit

    def wake_at(self, now_us: int) -> int | None:
        """Return when something may become startable by time alone; None where nothing will.

        Call it after `pop` or `has_ready` of the same moment: then the answer is later than that.
        """
        if self.paused:
            return None
        free_us = now_us if self.gate.clear else self.gate.free_at(now_us)
        ready = self._ready
        if free_us > now_us and (ready[0] or ready[1] or ready[2]):
            return free_us
        soonest = self._later[0][0] if self._later else None
        if self._next_due_us is not None and (soonest is None or self._next_due_us < soonest):
            soonest = self._next_due_us
        return soonest if soonest is None else max(soonest, free_us)

    def waits(self, now_us: int) -> Waits | None:
        """Return what holds up all of it; None where nothing does, or nothing waits."""
        if self.complete and len(self.known) == self.in_flight and self._next_due_us is None:
            return None
        return Waits(Wait.PAUSED) if self.paused else self.gate.waits(now_us)

    def oldest_due(self) -> int | None:
        """Return when the delivery was due that has waited longest; None where none waits, or may.

        About: of a lane that holds only a part of its queue, and of what failed and is due again.
        """
        if self.paused or not self.gate.clear:
            return None
        return min((ready[0].due_us for ready in self._ready if ready), default=None)

    def is_idle(self) -> bool:
        """Tell whether nothing would be lost by forgetting the lane: it is empty and healthy."""
        return (
            not self.known
            and self.complete
            and self._next_due_us is None
            and not self.refilling
            and self.is_well()
        )
