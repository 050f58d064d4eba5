"""The dispatcher, the second hot path: from what is owed to what is settled.

1. work enters a lane: just committed, or by a refill from the database;
2. a lane's next work starts where the process has a free slot; what it lacks is prepared;
3. send: render, sign and post;
4. decide: a pure function of the answer;
5. settle: the delivery's change and its attempt, in one commit;
6. after that commit the work leaves its lane, or waits there for its next try.

Only subscriptions in shards that this process owns are sent to; for the others the process that
owns theirs is woken. A slot is held until the settling is committed, so that no more deliveries
than there are slots can be repeated after a crash. A try that takes longer than a second moves to a
slow slot: receivers that hang do not hold the slots of those that answer.
"""

import asyncio
import sys
from collections.abc import Collection, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

import structlog
from msgspec.structs import replace

from waypost.clock import Clock, Entropy, IdSource
from waypost.engine import recorder
from waypost.engine.aftermath import Aftermath, Hands
from waypost.engine.alarms import Alarms
from waypost.engine.configuration import Configuration
from waypost.engine.expiry import Expiry
from waypost.engine.preparer import INTERNAL, Preparer, Runner
from waypost.engine.receiver import Receiver
from waypost.engine.receivers import Receivers
from waypost.engine.recorder import Try
from waypost.engine.refiller import NO_EVENTS, Refiller, work_of
from waypost.engine.roster import Roster
from waypost.engine.router import Router
from waypost.engine.sender import Address, Headers, Sender
from waypost.engine.shards import Shards, all_shards
from waypost.engine.slots import DispatcherConfig, Flight, Slots
from waypost.engine.upkeep import Upkeep
from waypost.model.delivery import DeliveryState, Owed, Reason, Timings
from waypost.model.event import NO_ATTRIBUTES, Event
from waypost.model.exchange import Exchange, FailureKind, Reply
from waypost.model.ids import Id, moment
from waypost.model.shards import Shard
from waypost.model.subscription import SigningKey, Subscription
from waypost.policy import outcome as outcomes
from waypost.policy.lane import Lane
from waypost.policy.outcome import Outcome, OutcomeKind
from waypost.policy.settle import (
    DELIVERED,
    GaveUp,
    RetryAt,
    Skipped,
    Transition,
    internal_failure,
    settle,
    within,
)
from waypost.policy.timing import expires_at, is_put_off
from waypost.policy.work import Work
from waypost.storage.changes import Settlement

_log = structlog.get_logger(__name__)

SLOW_AFTER_US: Final = 1_000_000
_SWEEP_S: Final = 0.25
_KEEP_EVENT_US: Final = 10_000_000
"""Work that is due later than this does not keep its event in memory."""

_DELIVERED: Final = OutcomeKind.DELIVERED
_STATE_DELIVERED: Final = int(DeliveryState.DELIVERED)


class Dispatcher:
    """Sends what is owed. For the loop's thread alone.

    Attributes:
        delivered: how many deliveries were delivered.
        retried: how many tries failed and are followed by another.
        given_up: how many deliveries failed for good.
        held_bytes: payload bytes of work that is in memory.
        roster: whose deliveries are sent here.
        background: how replays are kept from slowing down what is live.
        lull: when they are least in its way.
    """

    def __init__(
        self,
        configuration: Configuration,
        router: Router,
        sender: Sender,
        clock: Clock,
        entropy: Entropy,
        config: DispatcherConfig,
        runner: Runner,
        shards: Shards | None = None,
    ) -> None:
        """Take what it works with; no `shards`: it sends to all. Nothing is sent before `start`."""
        self._loop = loop = asyncio.get_running_loop()
        self._store = store = configuration.store
        self._shards = shards = shards or all_shards()
        self._sender = sender
        self._clock = clock
        self._entropy = entropy
        self._config = config
        self._receivers = Receivers(
            router, sender, shards, window=config.window, limit=config.lanes
        )
        self.background = self._receivers.background
        self._flight = Flight(config.max_in_flight, config.max_slow)
        self._fast, self._slow = self._flight.fast, self._flight.slow
        self.lull = self._flight.lull
        self._alarms = Alarms(loop, clock, self._pump)
        self._refiller = Refiller(loop, store, clock, config.window, self._refilled)
        self._preparer = Preparer(self._refiller, runner)
        ids = IdSource(clock, entropy)
        self._upkeep = Upkeep(configuration, router, shards, clock, self.subscription_changed, ids)
        hands = Hands(self.owed, self._pump, self._spawn, self._unload, lambda: self.stopping)
        self._aftermath = Aftermath(hands, store, self._upkeep, ids)
        self.roster = Roster(self._receivers, self._upkeep, shards, self._pump, self._unload)
        self._expiry = Expiry(loop, store, clock, self._expired, self._put_back)
        self._sweeper: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.stopping = False
        self.delivered = self.retried = self.given_up = self.held_bytes = 0

    @property
    def in_flight_count(self) -> int:
        """How many tries are in flight or being settled."""
        return len(self._flight)

    @property
    def lane_count(self) -> int:
        """How many lanes are in memory."""
        return len(self._receivers)

    def sending(self) -> frozenset[Id]:
        """Return the deliveries of which a try is in flight or being settled."""
        return self._flight.ids()

    # 1. Work enters.

    async def start(
        self, keys: Mapping[Id, tuple[SigningKey, ...]], lanes: Sequence[tuple[Id, Id]]
    ) -> None:
        """Go on with everything that is owed.

        Args:
            keys: the signing keys of every subscription.
            lanes: every (project, subscription) that is owed something.
        """
        self._receivers.load(keys)
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        self.resume(lanes)

    def resume(self, lanes: Sequence[tuple[Id, Id]]) -> None:
        """Look anew at lanes that are owed something, those aside that know of work already."""
        self.roster.look(lane for lane in lanes if not self._receivers.know_work(lane[1]))

    def committed(self, subscription_id: Id, delivery_id: Id, due_us: int, event: Event) -> None:
        """Take a delivery that was just committed with its event."""
        receiver = self._receivers.get(subscription_id)
        if receiver is None or receiver.ending is not None:
            first = delivery_id if event.attributes.example else None
            receiver = self.roster.open(event.project_id, subscription_id, first=first)
            if receiver is None:
                return
        lane = receiver.lane
        put_off = event.attributes is not NO_ATTRIBUTES and is_put_off(event.attributes)
        if put_off or (lane.order and lane.orders(hurries=event.attributes.example)):
            # What comes before it may have been committed by others: the database tells.
            lane.know_later(due_us) if put_off else lane.look_again()
            self._pump(receiver)
            return
        size = len(event.payload)
        keep = self.held_bytes + size <= self._config.payload_bytes
        work = Work(delivery_id, event.id, 0, due_us, 0, event if keep else None)
        now_us = self.background.live_us = self._clock.now_us()
        if self._may_send() and self._slots(receiver).free and lane.take(work):
            self.held_bytes += size if keep else 0
            self._begin(receiver, work, now_us)
            return
        enter = lane.hurry if event.attributes.example else lane.push
        if enter(work, due_us) and keep:
            self.held_bytes += size
        self._pump(receiver)

    def owed(self, owed: Sequence[Owed], events: Mapping[Id, Event] = NO_EVENTS) -> None:
        """Take deliveries that ingest has not committed, and of their events what was read."""
        for one in owed:
            if (receiver := self.roster.open(one.project_id, one.subscription_id)) is None:
                continue
            now_us = self._clock.now_us()
            if one.due_us > now_us + _KEEP_EVENT_US:
                receiver.lane.know_later(one.due_us)
            elif receiver.lane.order is not None:
                receiver.lane.look_again()
            elif receiver.lane.push(work := work_of(one, events.get(one.event_id)), now_us):
                self._refilled(receiver, (work,))
                continue
            self._pump(receiver)

    def _refilled(self, receiver: Receiver, entered: Sequence[Work]) -> None:
        soon_us = self._clock.now_us() + _KEEP_EVENT_US
        for work in entered:
            if work.event is not None:
                size = len(work.event.payload)
                if work.due_us > soon_us or self.held_bytes + size > self._config.payload_bytes:
                    work.event = None
                else:
                    self.held_bytes += size
        self._pump(receiver)

    # 2. Work starts.

    def _pump(self, receiver: Receiver, at_most: int = sys.maxsize) -> None:
        """Start what may start now, and see to it that the rest starts later."""
        if not self._may_send():
            return
        now_us = self._clock.now_us()
        lane = receiver.lane
        kind = self._slots(receiver)
        while at_most and kind.free:
            work = lane.pop(now_us)
            if work is None:
                break
            at_most -= 1
            self._begin(receiver, work, now_us)
        else:
            if lane.has_ready(now_us):
                kind.waiting.add(receiver)
        if (not lane.complete or lane.replays_left) and lane.needs_refill():
            self._refiller.refill(receiver)
        if (wake_us := lane.wake_at(now_us)) is not None:
            self._alarms.set(receiver, wake_us)
        if not lane.gate.clear or lane.paused or receiver.waits is not None:
            self._upkeep.lanes.look(receiver, now_us)

    def _serve(self, kind: Slots) -> None:
        """Give free slots of a kind to those who wait for one: in turn, one each."""
        while kind.free and kind.waiting and not self.stopping:
            receiver = kind.waiting.next()
            # Which kind it needs may have changed since.
            self._pump(receiver, at_most=1 if self._slots(receiver) is kind else sys.maxsize)

    def go_on(self) -> None:
        """Start what may start: for a while nothing was allowed to."""
        for receiver in self._receivers:
            self._pump(receiver)

    def _may_send(self) -> bool:
        return self._clock.monotonic() <= self._shards.until and not self.stopping

    def _slots(self, receiver: Receiver) -> Slots:
        return self._slow if receiver.suspect else self._fast

    def _begin(self, receiver: Receiver, work: Work, now_us: int) -> None:
        self._flight.start(work, now_us, slow=receiver.suspect)
        if work.event is None or receiver.subscription.transform is not None:
            self._spawn(self._prepare(receiver, work))
        else:
            self._send(receiver, work, work.event, now_us)

    async def _prepare(self, receiver: Receiver, work: Work) -> None:
        made = await self._preparer.prepare(receiver, work)
        if isinstance(made, Outcome | Skipped):
            self._unsent(receiver, work, made)
        elif made is None or receiver.lane.paused or not self._may_send():
            self._put_back(receiver, work)
        else:
            self._send(receiver, work, made.event, self._clock.now_us(), made.headers)

    def _put_back(self, receiver: Receiver, work: Work) -> None:
        for dropped in receiver.lane.put_back(work):
            self._unload(dropped)
        self._leave(receiver, work)
        self._pump(receiver)

    # 3. Send.

    def _send(
        self, receiver: Receiver, work: Work, event: Event, now_us: int, headers: Headers = None
    ) -> None:
        if receiver.within_us or event.attributes is not NO_ATTRIBUTES:
            work.expires_us = expires_at(work.id, event.attributes, receiver.within_us)
            if 0 < work.expires_us <= now_us:
                self._expiry.add(receiver, work)
                return
        try:
            done = partial(self._answered, receiver, work, receiver.address)
            self._sender.send(receiver.address, work, event, now_us, done, headers)
        except Exception:  # noqa: BLE001 - so does this
            _log.exception("send_failed")
            # Later, as any other end of a try: concluding it starts the next one.
            self._loop.call_soon(self._unsent, receiver, work)

    # 4. Decide.

    def _answered(self, receiver: Receiver, work: Work, to: Address, exchange: Exchange) -> None:
        work.call = None
        receiver.lane.landed()
        if not isinstance(exchange, Reply) and exchange.kind is FailureKind.ABORTED:
            # Nothing is known of it and nobody is to blame: it stays owed as it is.
            self._give_back(receiver, work)
            self._leave(receiver, work)
            self._pump(receiver)
            return
        now_us = self._clock.now_us()
        outcome = outcomes.classify(exchange, now_us)
        if outcome.gone and to is not receiver.address:
            # It speaks of an address that has been changed since.
            outcome = replace(outcome, gone=False)
        delivered = outcome.kind is _DELIVERED
        transition = DELIVERED if delivered else self._decide(receiver, work, outcome, now_us)
        if receiver.observe(outcome, work.started_us, now_us):
            self._upkeep.unsaved(receiver)
            if receiver.is_spent():
                self._aftermath.spent(receiver)
        of, timings, resent = receiver.subscription, exchange.timings, exchange.resent
        tried = Try(of.project_id, of.id, work, outcome, timings, resent, now_us)
        self._settle(receiver, tried, transition)

    def _decide(self, receiver: Receiver, work: Work, outcome: Outcome, now_us: int) -> Transition:
        transition = settle(
            work.attempts,
            outcome,
            receiver.policy,
            now_us,
            jitter=self._entropy.fraction(),
            failing_since_us=receiver.failing_since_us,
            disable_after_us=self._config.disable_after_us,
            made_us=moment(work.id),
        )
        if work.expires_us and isinstance(transition, RetryAt):
            return within(transition, work.expires_us)
        return transition

    def _unsent(self, receiver: Receiver, work: Work, why: Outcome | Skipped = INTERNAL) -> None:
        """Nothing was sent, and not by the receiver's doing: three times, then diverted."""
        receiver.lane.unsent()
        now_us = self._clock.now_us()
        if isinstance(why, Outcome):
            work.faults += 1
            receiver.suspect |= why.timeout
            # Faults are counted in memory, tries in the queue: none goes on beyond its schedule.
            count = max(work.faults, work.attempts + 1 - len(receiver.policy.schedule_s))
            chance, alert = self._entropy.fraction(), receiver.policy.alert
            transition: Transition = internal_failure(count, now_us, chance, alert=alert)
        else:
            transition, why = why, INTERNAL
        of = receiver.subscription
        tried = Try(of.project_id, of.id, work, why, Timings(), False, now_us)
        self._settle(receiver, tried, transition)

    # 5. Settle.

    def _settle(self, receiver: Receiver, tried: Try, transition: Transition) -> None:
        endings = receiver.endings
        ending = None if endings is None else endings.of(tried.work.id)
        settlement = recorder.settlement(tried, transition, ending, self._settled)
        settlement.context = (receiver, tried.work)
        settlement.shard, settlement.epoch = receiver.shard, receiver.epoch
        if type(transition) is GaveUp:
            self._aftermath.give_up(receiver, tried, transition, settlement, ended=bool(ending))
        elif receiver.reports or receiver.lane.order is not None:
            self._aftermath.end(receiver, tried, transition, settlement)
        elif self.background.yields(tried.work, tried.ended_us):
            self._store.settle_along(settlement)
        else:
            self._store.settle(settlement)
        if receiver.lane.has_ready(tried.ended_us):
            self._pump(receiver)

    # 6. After the commit.

    def _settled(self, settlement: Settlement) -> None:
        receiver, work = settlement.context
        lane: Lane = receiver.lane
        if settlement.late:
            self._give_back(receiver, work)  # it may have been put off by somebody else
        elif settlement.retry_at_us is None:
            lane.leave(work.id)
            self._unload(work)
            self._count(receiver, settlement)
        else:
            self.retried += 1
            now_us, due_us = self._clock.now_us(), settlement.retry_at_us
            for dropped in lane.retry(work, due_us, now_us):
                self._unload(dropped)
            if due_us > now_us + _KEEP_EVENT_US:
                self._unload(work)
        self._leave(receiver, work)
        if not lane.is_quiet():
            self._pump(receiver)

    def _leave(self, receiver: Receiver, work: Work) -> None:
        freed = self._flight.end(work)
        if receiver.over:
            self.roster.wind_up(receiver)
        if freed.waiting:
            self._serve(freed)

    def _count(self, receiver: Receiver, settlement: Settlement) -> None:
        delivery = None if receiver.of_alerts else settlement.delivery
        if delivery is not None and delivery[4] == _STATE_DELIVERED:
            self.delivered += 1
        elif delivery is not None and delivery[7] != Reason.SKIPPED:
            self.given_up += 1

    def _give_back(self, receiver: Receiver, work: Work) -> None:
        """Let go of a delivery that may still be owed, and of what was to follow it."""
        for one in (work, *receiver.lane.give_back(work)):
            self._unload(one)

    def _unload(self, work: Work) -> None:
        if work.event is not None:
            self.held_bytes -= len(work.event.payload)
            work.event = None

    def _expired(self, receiver: Receiver, work: Work) -> None:
        receiver.lane.unsent()
        receiver.lane.leave(work.id)
        self._unload(work)
        self.given_up += 1
        self._leave(receiver, work)
        self._pump(receiver)

    # What people and receivers change.

    def subscription_changed(
        self, subscription: Subscription, keys: tuple[SigningKey, ...] | None = None
    ) -> None:
        """Take a subscription's new settings: every try that starts from now on goes by them.

        Args:
            subscription: as the database holds it now.
            keys: its signing keys, where they have changed.
        """
        self.roster.changed(subscription, keys)

    # Shards that come and go.

    @property
    def is_leaving(self) -> bool:
        """Whether something is in flight, or being settled, of a shard that was given up."""
        return self.roster.is_leaving

    def give_up(self, shards: Collection[Shard]) -> None:
        """Start nothing more of some shards; the roster's `left` is told when each is quiet."""
        self.roster.give_up(shards)

    def lose(self, shards: Collection[Shard]) -> None:
        """Others may own the shards of this process from now on: break off everything at once."""
        self._upkeep.forget_unsaved()
        self.roster.give_up(shards)
        broken_off = self._flight.abort()
        _log.warning("shards_lost", shards=len(shards), broken_off=broken_off)

    async def save(self) -> None:
        """Save how receivers fare, for whoever sends to them next."""
        await self._upkeep.save()

    def lag_us(self, now_us: int) -> int:
        """Return for how long the oldest delivery that is due has waited for its start."""
        return max(now_us - (self._receivers.oldest_due() or now_us), 0)

    # Once in a while.

    def _sweep(self) -> None:
        """Move tries that take long out of the fast slots; forget lanes that are empty."""
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        self._flight.move_long(self._clock.now_us() - SLOW_AFTER_US)
        self._serve(self._fast)
        self._upkeep.run_once()
        self._receivers.forget_idle()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, timeout_s: float) -> None:
        """Start nothing more; wait for what is in flight, and break off what takes too long.

        When this returns every try that had an answer is settled.
        """
        self.stopping = True
        self.roster.stop()
        self._alarms.stop()
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._flight.drain(timeout_s)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._expiry.stop()
        await self._refiller.stop()
        await self._upkeep.stop()
