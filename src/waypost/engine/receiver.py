"""A receiver: what this process holds of one subscription that it sends for."""

from typing import Final

from waypost.engine.sender import Address
from waypost.model.delivery import Reason
from waypost.model.flow import BreakerState, LaneState, Wait, Waits
from waypost.model.ids import is_of_alerts
from waypost.model.shards import shard_of
from waypost.model.subscription import Ordering, Subscription
from waypost.policy.chains import Chains
from waypost.policy.ending import DELETED, Ending, Endings, endings_of
from waypost.policy.failure import policy_of
from waypost.policy.lane import Lane
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import DELIVERED, GaveUp, Transition
from waypost.policy.verification import allowed
from waypost.policy.waits import LaneStanding
from waypost.policy.work import Work

_DELIVERED: Final = OutcomeKind.DELIVERED


class Receiver:
    """A subscription's lane, its address and how it fares.

    Attributes:
        policy: what is done about what fails.
        endings: set while something of what is owed is to end untried: the subscription is
            disabled, deleted, or suspended.
        ending: of these, that of what comes.
        leaving: its shard is another process's now, or soon: nothing is tried here any more.
        over: nothing is tried, and what waits is not to be held here.
        of_alerts: its deliveries are notices of failures.
        failing_since_us: when the present series of nothing but failures began, UTC microseconds.
        stopping: it is about to be disabled; nothing is tried.
        suspect: its last try ran into its deadline: it uses slow slots only.
        within_us: how old a delivery may be to be tried, microseconds; 0: as old as it is.
        waits: what held up its lane when it was looked at last.
        queued: it waits for a free slot, in the line of one of the two kinds.
        reports: somebody is told of each of its tries, or of some.
        shard: the subscription's shard, and
        epoch: under which this process owns it.
        armed_us: when its timer goes off, UTC microseconds; None where none is set.
    """

    __slots__ = (
        "address",
        "armed_us",
        "ending",
        "endings",
        "epoch",
        "failing_since_us",
        "lane",
        "leaving",
        "of_alerts",
        "over",
        "policy",
        "queued",
        "reports",
        "shard",
        "stopping",
        "subscription",
        "suspect",
        "waits",
        "within_us",
    )

    def __init__(
        self, subscription: Subscription, address: Address, lane: Lane, epoch: int = 1
    ) -> None:
        """Make the receiver of a subscription whose shard this process owns under an epoch."""
        self.lane = lane
        self.shard = shard_of(subscription.id)
        self.epoch = epoch
        self.leaving = False
        self.queued = False
        self.suspect = False
        self.stopping = False
        self.armed_us: int | None = None
        self.waits: Waits | None = None
        self.endings: Endings | None = None
        self.ending: Ending | None = None
        self.of_alerts = is_of_alerts(subscription.project_id)
        self.failing_since_us = subscription.failing_since_us
        self.subscription = subscription
        ordering = address.terms.ordering
        if ordering is not Ordering.NONE:
            lane.order = Chains(ordering, empty=lane.complete and not lane.replays_left)
        self.take(subscription, address)

    def take(self, subscription: Subscription, address: Address) -> None:
        """Take the subscription's present settings."""
        before, terms = self.subscription, address.terms
        endings = endings_of(subscription, terms.failure_handling)
        resumes = before.suspension is not None and subscription.suspension is None
        if resumes or (self.ending is not None and endings is None):
            # Else what is known here is newer than what was saved of it.
            self.failing_since_us = subscription.failing_since_us
        self.subscription = subscription
        self.address = address
        self.policy = policy_of(
            terms.failure_handling, terms.retry_schedule_s, lasting=self.of_alerts
        )
        self.endings = endings
        self.ending = None if endings is None else endings.incoming
        self.over = self.leaving or endings is not None
        self.stopping = False
        self.reports = bool(subscription.notices.reports)
        self.lane.resize(terms.concurrency)
        self.within_us = (terms.deliver_before_s or 0) * 1_000_000
        rate = allowed(terms.rate_limit, subscription.verification)
        self.lane.gate.set(rate, terms.breaker, terms.sending_hours)
        if resumes:
            self.lane.ramp()
        held = subscription.suspension is not None or not subscription.is_verified
        self.lane.paused = subscription.paused or held or self.over

    def resume(self, state: LaneState) -> None:
        """Go on as it was known to fare: another process sent to it, or this one before."""
        lane = self.lane
        if state.breaker is not BreakerState.CLOSED:
            lane.gate.resume(state.opened_until_us, state.openings)
        lane.limit = min(state.limit or lane.concurrency, lane.concurrency)
        self.waits = waits = state.waits
        if waits is not None and waits.what is Wait.RETRY_AFTER:
            lane.gate.hold(waits.until_us or 0)

    def state(self, now_us: int) -> LaneState | None:
        """Return how it fares, and what its lane waits for; None where there is nothing to tell."""
        lane, circuit = self.lane, self.lane.gate.circuit
        limit = lane.limit if lane.limit < lane.concurrency else None
        if limit is None and self.waits is None and circuit.state is BreakerState.CLOSED:
            return None
        return LaneState(
            circuit.state, circuit.until_us, circuit.openings, limit, self.waits, now_us
        )

    def observe(self, outcome: Outcome, started_us: int, now_us: int) -> bool:
        """Let the lane know what came of a try that started at `started_us`.

        Returns:
            Whether how it fares has changed: that is to be saved.
        """
        lane, since_us = self.lane, self.failing_since_us
        if outcome.kind is _DELIVERED:
            self.suspect = False
            self.failing_since_us = None
            limit, opened = lane.limit, lane.gate.circuit.until_us
            lane.succeeded()
            same = limit == lane.limit and opened == lane.gate.circuit.until_us
            return since_us is not None or not same
        limit, openings = lane.limit, lane.gate.circuit.openings
        self.suspect = outcome.timeout
        lane.failed(
            now_us,
            started_us=started_us,
            slow_down=outcome.slow_down or outcome.timeout,
            retry_after_s=outcome.retry_after_s,
        )
        if since_us is None:
            self.failing_since_us = now_us
        same = limit == lane.limit and openings == lane.gate.circuit.openings
        return since_us is None or not same

    def is_spent(self) -> bool:
        """Tell whether its breaker has opened so often in a row that it is to be disabled."""
        return self.lane.gate.circuit.is_spent()

    def delete(self) -> None:
        """The subscription was deleted: nothing is tried any more."""
        self.endings, self.ending = DELETED, DELETED.incoming
        self.stopping = False
        self.over = self.lane.paused = True

    def leave(self) -> None:
        """Its shard is to be another process's: nothing is tried here any more."""
        self.leaving = self.over = self.lane.paused = True

    def stop(self) -> bool:
        """It is to be disabled or suspended: nothing is tried until that is written or has failed.

        Returns:
            False where it is being stopped, or has been for good, already.
        """
        if self.stopping or self.ends_for_good:
            return False
        self.stopping = self.lane.paused = True
        return True

    def blocks(self, work: Work, transition: GaveUp) -> bool:
        """Tell whether what is behind a delivery has to wait when that is given up.

        What stops the whole subscription blocks no key beside; nor does what has ended by that, or
        what has come to be worth nothing.
        """
        return (
            work.key is not None
            and self.address.terms.blocks
            and not (transition.disable or transition.suspend)
            and transition.reason is not Reason.EXPIRED
            and (self.endings is None or self.endings.of(work.id) is None)
        )

    def standing(self, now_us: int) -> LaneStanding:
        """Return how its lane stands, for people."""
        lane = self.lane
        return LaneStanding(
            in_flight=lane.in_flight,
            limit=lane.limit,
            concurrency=lane.concurrency,
            held=lane.gate.waits(now_us),
            suspect=self.suspect,
        )

    def releases(self, work: Work, transition: Transition) -> bool:
        """Tell whether a key is blocked by an event that has been delivered now."""
        order = self.lane.order
        return order is not None and transition is DELIVERED and order.releases(work)

    @property
    def ends_for_good(self) -> bool:
        """Whether the subscription is disabled or deleted, so that all it is owed ends."""
        return self.endings is not None and not self.endings.since_us

    @property
    def is_suspended(self) -> bool:
        """Whether its own failure handling has suspended it."""
        return self.subscription.suspension is not None

    def is_idle(self) -> bool:
        """Tell whether nothing would be lost by forgetting it, but for `failing_since_us`."""
        return not self.suspect and not self.queued and self.lane.is_idle()
