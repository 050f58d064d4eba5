"""The window of a lane: what it holds of its queue, and how refills fill it.

One refill runs at a time, and three facts keep a delivery from entering twice or not at all:

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
be tried now. So may replays, and how many more of them the database holds (`replays_left`) says
nothing of the rest: what is live never waits for a replay to make room.

Just-committed work is taken directly only where the last refill reached the end of the queue, but
for replays, and nothing is dirty; otherwise it would overtake what waits in the database.

Where a subscription's events are sent in order, all of its work enters by refills, and of each key
nothing but the beginning of its chain (`chains`). Of that only the first delivery waits or is in
flight; those behind it are known, and each starts when the one before it has left.
"""

from collections import deque
from collections.abc import Sequence
from heapq import heappush
from typing import Final

from waypost.model.delivery import DeliveryClass
from waypost.policy.chains import HELD_US, WHOLE, Asked, Chains
from waypost.policy.pace import Pace
from waypost.policy.work import Work

_REPLAY: Final = int(DeliveryClass.REPLAY)

REMEMBERED: Final = 128
"""So many deliveries that have entered by refills are remembered: the news of a commit that comes
later than they leave is late indeed."""


class Window(Pace):
    """What a lane holds of its queue.

    Attributes:
        known: deliveries that are in the lane, waiting or in flight or being settled.
        refilling: a refill is reading now.
        refills: how many refills have ended.
        complete: everything that was due at the last refill is known, and so is what came since;
            but for replays.
        replays_left: the database may hold replays that are not known here.
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
        "_window",
        "complete",
        "dirty",
        "known",
        "order",
        "refilling",
        "refills",
        "replays_left",
    )

    def __init__(self, concurrency: int, window: int, *, empty: bool = False) -> None:
        """Make an empty one.

        Args:
            concurrency: how many tries may be in flight.
            window: how many deliveries the lane may hold.
            empty: the database is known to owe nothing here, so no refill is needed.
        """
        super().__init__(concurrency)
        self.known: dict[bytes, Work] = {}
        self.refilling = False
        self.refills = 0
        self.complete = empty
        self.dirty = False
        self.replays_left = False
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

    def _takes_replay(self) -> bool:
        """Tell whether there is room for a replay, and none before it in the database alone."""
        return not self.replays_left and self._has_room_for_replay()

    def _has_room_for_replay(self) -> bool:
        waiting, known = len(self._ready[_REPLAY]), len(self.known)
        return waiting < max(self._window // 2, 1) and known < self._window

    def needs_refill(self) -> bool:
        """Tell whether a refill should start: the database holds more and the lane has room.

        What is due later, and replays, take their part of the window, but do not count in the rest:
        else one try that hangs would keep a lane full of retries from what can be tried now.
        """
        if self.refilling or self.paused or len(self.known) >= self._window:
            return False
        replays = len(self._ready[_REPLAY])
        aside = len(self._later) + replays
        if len(self.known) - aside > max(self._window - aside, 0) // 2:
            return False
        return not self.complete or (self.replays_left and replays <= self._window // 8)

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
        self.replays_left = False
        self._stale = False
        self._settled.clear()
        self._next_due_us = None
        # For replays alone a few do: what is live comes in behind a refill.
        return max(self._window // 4, 1) if self.complete else self._window

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
        replays_left: bool = False,
        chains: Sequence[Sequence[Work]] = (),
        behind: str | None = None,
    ) -> list[Work]:
        """Take what a refill read.

        Args:
            found: deliveries by their due time, the earliest first; some may be due later.
            now_us: the moment that counted as present when the refill read.
            read_us: the present: what was made before may have been read.
            reached_end: `found` holds everything that was due then, but for replays.
            next_due_us: where that was cut, the due time from which it was.
            replays_left: there are replays that `found` does not hold.
            chains: the beginnings of chains, each by sequence; none of them is empty, or of a key
                that was busy.
            behind: keys behind this one are still to be looked for; None: none are.

        Returns:
            What has entered: of `found`, and of what was committed meanwhile.
        """
        self.refilling = False
        self.refills += 1
        meanwhile, self._meanwhile = self._meanwhile, []
        if self._stale:
            self.complete = False
            return []
        self.replays_left = self.replays_left or replays_left
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
        if self.order is None:
            live = [work for work in found if work.kind != DeliveryClass.REPLAY]
            if len(live) < len(found):
                entered, left_out = self._let_in(live, now_us)
                return entered + self._let_replays_in(found, now_us), left_out
        entered = []
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

    def _let_replays_in(self, found: list[Work], now_us: int) -> list[Work]:
        """Let in the replays among what was found, as far as there is room."""
        entered: list[Work] = []
        for work in found:
            if (
                work.kind != DeliveryClass.REPLAY
                or work.id in self.known
                or work.id in self._settled
            ):
                continue
            if not self._has_room_for_replay():
                self.replays_left = True
                break
            self._enter(work, now_us)
            entered.append(work)
        return entered

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
            if (
                work.kind == DeliveryClass.REPLAY
                and self.order is None
                and not self._takes_replay()
            ):
                self.replays_left = True
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

    def know_later(self, due_us: int) -> None:
        """Learn that the database holds something that is due at `due_us`."""
        if self._next_due_us is None or due_us < self._next_due_us:
            self._next_due_us = due_us
