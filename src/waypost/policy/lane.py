"""A lane: the head of one subscription's queue, and the rules for what may start from it when.

The queue itself is in the database; the lane holds a window of it (`waypost.policy.window`). Work
enters in two ways: just committed, or by a refill from the database. Just-committed work is taken
directly only where the last refill reached the end of the queue, but for replays, and nothing is
dirty; otherwise it would overtake what waits in the database.

A lane has no clock and does no I/O: the moment is always an argument, in UTC microseconds.
"""

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final

from waypost.model.delivery import DeliveryClass
from waypost.model.flow import Wait, Waits
from waypost.model.subscription import Ordering
from waypost.policy.background import Background
from waypost.policy.chains import Chains
from waypost.policy.window import Window
from waypost.policy.work import TURNS, Work

HURRIED_MAX: Final = 32
"""So many deliveries may be in a lane beside its window, because somebody waits for them."""

_FRESH: Final = int(DeliveryClass.FRESH)
_REPLAY: Final = int(DeliveryClass.REPLAY)


class Lane(Window):
    """The head of one subscription's queue: its window, and what starts from it when."""

    __slots__ = ("_background", "_turn")

    def __init__(
        self,
        concurrency: int,
        window: int,
        *,
        empty: bool = False,
        background: Background | None = None,
    ) -> None:
        """Make a lane.

        Args:
            concurrency: how many tries may be in flight.
            window: how many deliveries the lane may hold.
            empty: the database is known to owe nothing here, so no refill is needed.
            background: when replays may start, for all lanes of the process; None: at any time.
        """
        super().__init__(concurrency, window, empty=empty)
        self._background = background or Background()
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
        unsure = work.due_us <= self._sure_us or not (self.complete or self.refilling)
        if work.kind == DeliveryClass.REPLAY and self.order is None:
            if unsure or not self._takes_replay():
                # What is live goes on: a refill for replays alone has time.
                self.replays_left = True
                return False
        elif unsure or room <= 0:
            self.look_again()
            return False
        if self.refilling:
            self._meanwhile.append(work)
            return False
        self._enter(work, now_us)
        return True

    def orders(self, *, hurries: bool) -> bool:
        """Tell whether just-committed work has a place in the lane's order, or may have one.

        What hurries has no ordering key.
        """
        order = self.order
        return order is not None and not (hurries and order.mode is Ordering.KEY)

    def hurry(self, work: Work, now_us: int, *, read: bool = False) -> bool:
        """Take just-committed work before all that waits, which somebody is waiting for.

        Where a refill may have taken it before, or too many have hurried, it goes as other work.

        Args:
            work: the work; if it waits here already, it goes before the others.
            now_us: the present, UTC microseconds.
            read: it was found in the database behind the last refill: none has taken it before.

        Returns:
            Whether the work was taken.
        """
        if self.advance(work.id):
            return False
        sure = read or (work.due_us > self._sure_us and work.id not in self._entered)
        if not sure or self._forgot or len(self.known) >= self._window + HURRIED_MAX:
            return self.push(work, now_us)
        self.known[work.id] = work
        self._ready[_FRESH].appendleft(work)
        return True

    def advance(self, identifier: bytes) -> bool:
        """Put a delivery before all that waits, if it waits here.

        Returns:
            Whether it is known here.
        """
        if (work := self.known.get(identifier)) is None:
            return False
        if work in (ready := self._ready[_FRESH]):
            ready.remove(work)
            ready.appendleft(work)
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
            and not self.replays_left
            and not (ready[0] or ready[1] or ready[2])
            and not self._later
            and self._next_due_us is None
        )

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
                if kind == _REPLAY:
                    if self._background.free_at(now_us) > now_us:
                        continue
                    self._background.started(now_us)
                elif kind == _FRESH:
                    self._background.live_us = now_us
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

    def put_back(self, work: Work) -> Sequence[Work]:
        """A start came to nothing: the work waits again, before all others of its class.

        Returns:
            What was dropped: it was started before the lane kept this order, so the database alone
            has its place.
        """
        self.in_flight -= 1
        work.started_us = 0
        self.gate.unstarted()
        if self.order is not None and self.order.is_stray(work):
            return work, *self.give_back(work)
        self._ready[work.kind].appendleft(work)
        return ()

    def leave(self, identifier: bytes) -> None:
        """A final settling is committed: the delivery is owed no longer."""
        work = self.known.pop(identifier, None)
        if self.refilling:
            self._settled.add(identifier)
        if self.order is not None and work is not None:
            follower = self.order.leave(work)
            if follower is not None:
                heappush(self._later, (follower.due_us, follower.id, follower))
            elif work.key is not None:
                self.look_again()

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
        self.replays_left = False
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
        if ready[_REPLAY]:
            next_us = self._background.last_at(now_us)
            if next_us > now_us and (soonest is None or next_us < soonest):
                soonest = next_us
        return soonest if soonest is None else max(soonest, free_us)

    def waits(self, now_us: int) -> Waits | None:
        """Return what holds up all of it; None where nothing does, or nothing waits."""
        known = self.complete and not self.replays_left and len(self.known) == self.in_flight
        if known and self._next_due_us is None:
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
            and not self.replays_left
            and self._next_due_us is None
            and not self.refilling
            and self.is_well()
        )
