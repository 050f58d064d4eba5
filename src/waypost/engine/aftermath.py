"""The aftermath: what follows for a subscription when one of its deliveries is given up.

Where what is behind it has to wait, that is written first of all: a crash between the two leaves a
delivery that is tried again, never a follower that has gone.

Notices come next: they are written before the settling of the delivery that they tell of, so that
a crash between the two repeats a notice rather than losing it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from waypost.clock import IdSource
from waypost.engine.receiver import Receiver
from waypost.engine.recorder import Try
from waypost.engine.upkeep import Upkeep
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, DeliveryState, Owed
from waypost.model.errors import StorageFull, Unavailable
from waypost.model.failure import Suspension
from waypost.model.ids import Id
from waypost.model.subscription import DisabledBy, End
from waypost.policy import notice
from waypost.policy.failure import failure_name, message_of, trigger_of
from waypost.policy.notice import GivenUp, Tried
from waypost.policy.rate import Allowance
from waypost.policy.settle import GaveUp, Transition
from waypost.policy.throttle import Throttle
from waypost.policy.work import Work
from waypost.storage import alerts, events
from waypost.storage.changes import Settlement
from waypost.storage.connection import Connection
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

_MICROS: Final = 1_000_000
_RETRY_S: Final = 1.0
_ENDS: Final = {DeliveryState.DELIVERED: End.DELIVERED, DeliveryState.FAILED: End.FAILED}

NOTICES: Final = Allowance(per_s=1 / 6, burst=20)
"""Of one subscription so many are written: a receiver that fails makes no flood of its own."""


class Hands(msgspec.Struct, frozen=True):
    """What the aftermath does at the dispatcher.

    Attributes:
        owed: takes deliveries that were just committed.
        pump: starts what may start at a receiver.
        spawn: runs something that a drain waits for.
        unload: forgets the payload of work that left its lane.
        stopping: tells whether a drain waits.
    """

    owed: Callable[[Sequence[Owed]], None]
    pump: Callable[[Receiver], None]
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    unload: Callable[[Work], None]
    stopping: Callable[[], bool]


class _Notice(msgspec.Struct, frozen=True):
    """What is told, and to which hidden subscriptions; `body` is made where it is written."""

    type: str
    body: Callable[[Connection], bytes]
    to: tuple[Id, ...]


class Aftermath:
    """Blocks keys, stops subscriptions, and writes notices. For the loop's thread alone."""

    def __init__(self, hands: Hands, store: Store, upkeep: Upkeep, source: IdSource) -> None:
        """Take what it works on.

        Args:
            hands: the dispatcher's.
            store: where notices and settlements are written.
            upkeep: changes subscriptions.
            source: of ids.
        """
        self._hands = hands
        self._store = store
        self._upkeep = upkeep
        self._ids = source
        self._throttle = Throttle(NOTICES)

    def give_up(
        self,
        receiver: Receiver,
        tried: Try,
        transition: GaveUp,
        settlement: Settlement,
        *,
        ended: bool,
    ) -> None:
        """Settle a delivery that is given up, with all that follows from it.

        `ended`: its subscription was stopped meanwhile, and the delivery ends by that.
        """
        if receiver.blocks(tried.work, transition):
            self._hands.spawn(self._block(receiver, tried, transition, settlement))
        else:
            self._conclude(receiver, tried, transition, settlement, ended=ended)

    async def _block(
        self, receiver: Receiver, tried: Try, transition: GaveUp, settlement: Settlement
    ) -> None:
        """Have what is behind a delivery wait, before its end is known to anybody."""
        for follower in receiver.lane.cut(tried.work):
            self._hands.unload(follower)
        while receiver.blocks(tried.work, transition) and not await self._upkeep.block(tried):
            if self._hands.stopping():
                return  # it stays owed
            await asyncio.sleep(_RETRY_S)
        self._conclude(receiver, tried, transition, settlement, ended=False)

    def _conclude(
        self,
        receiver: Receiver,
        tried: Try,
        transition: GaveUp,
        settlement: Settlement,
        *,
        ended: bool,
    ) -> None:
        stops = transition.disable or (transition.suspend and not receiver.is_suspended)
        if stops and receiver.stop():
            of = receiver.subscription
            if transition.disable is not None:
                stopping = self._upkeep.disable(of, transition.disable)
            else:
                stopping = self._upkeep.suspend(of, _suspension(receiver, tried))
            self._hands.spawn(self._stop(receiver, stopping))
        left_out = None
        if transition.alert and not ended:
            left_out = self._throttle.admit(tried.subscription_id, tried.ended_us / _MICROS)
        told = []
        if left_out is not None:
            body = notice.render(_given_up(receiver, tried, transition, left_out))
            endpoints = receiver.address.terms.failure_handling.alert_endpoints
            to = tuple(one.id for one in endpoints)
            told = [_Notice(notice.TYPE, lambda _: body, to)]
        self._settle(receiver, tried, settlement, told)

    def end(
        self, receiver: Receiver, tried: Try, transition: Transition, settlement: Settlement
    ) -> None:
        """Settle a try that is not given up, with what goes before.

        Where an event is delivered that its key was blocked by, the key is released first: a crash
        between the two repeats the delivery, which those behind it still wait for.
        """

        async def release() -> None:
            await self._upkeep.release(tried)
            self._settle(receiver, tried, settlement)

        if receiver.lane.order is not None and receiver.releases(tried.work, transition):
            _log.info("key_released", subscription=receiver.subscription.id.hex())
            self._hands.spawn(release())
        else:
            self._settle(receiver, tried, settlement)

    def _settle(
        self,
        receiver: Receiver,
        tried: Try,
        settlement: Settlement,
        told: Sequence[_Notice] = (),
    ) -> None:
        """Settle a try, behind the notices that tell of it."""
        notices = [*told, *_reports(receiver, tried, settlement)]
        if notices:
            self._hands.spawn(self._tell(tried.project_id, notices, settlement))
        else:
            self._store.settle(settlement)

    def spent(self, receiver: Receiver) -> None:
        """Disable a subscription whose breaker has opened too often in a row."""
        if receiver.stop():
            disabled = self._upkeep.disable(receiver.subscription, DisabledBy.FAILING)
            self._hands.spawn(self._stop(receiver, disabled))

    async def _stop(self, receiver: Receiver, stopping: Awaitable[bool]) -> None:
        stopped = await stopping
        if not stopped and receiver.stopping:
            receiver.take(receiver.subscription, receiver.address)
            self._hands.pump(receiver)

    async def _tell(
        self, project_id: Id, notices: Sequence[_Notice], settlement: Settlement
    ) -> None:
        """Write notices of a try, and then its settlement."""
        hidden_id = ids.alerts_of(project_id)
        for one in notices:
            event_id = self._ids.next()
            owed = [_owed(hidden_id, event_id, to, *self._ids.next_at()) for to in one.to]
            if not await self._written(partial(_insert, one, hidden_id, event_id, owed), owed):
                return  # it stays owed
        self._store.settle(settlement)

    async def _written(self, write: Callable[[Connection], None], owed: Sequence[Owed]) -> bool:
        """Write a notice; False where that can't be done, and nobody waits any longer."""
        while True:
            try:
                await self._store.write(write, lambda _: self._hands.owed(owed))
            except Unavailable:
                # Nor could the settlement be written now.
                if self._hands.stopping():
                    return False
                await asyncio.sleep(_RETRY_S)
                continue
            except Exception as error:  # noqa: BLE001 - the delivery ends all the same
                if isinstance(error, StorageFull):
                    _log.warning("alert_not_written", error=str(error))
                else:
                    _log.exception("alert_not_written")
            return True


def _owed(
    project_id: ids.Id, event_id: ids.Id, subscription_id: ids.Id, delivery_id: ids.Id, now_us: int
) -> Owed:
    kind = DeliveryClass.FRESH
    return Owed(project_id, delivery_id, event_id, subscription_id, kind, now_us)


def _suspension(receiver: Receiver, tried: Try) -> Suspension:
    outcome = tried.outcome
    trigger = trigger_of(outcome, receiver.policy.triggers) or failure_name(outcome)
    return Suspension(tried.ended_us, tried.work.event_id, trigger, message_of(outcome))


def _given_up(receiver: Receiver, tried: Try, transition: GaveUp, left_out: int) -> GivenUp:
    return GivenUp(
        tried.subscription_id,
        tried.work.event_id,
        tried.outcome,
        receiver.policy.triggers,
        tried.ended_us,
        tried.work.attempts + 1,
        diverted=transition.divert,
        suspended=transition.suspend,
        left_out=left_out,
    )


def _insert(
    told: _Notice, hidden_id: Id, event_id: Id, owed: Sequence[Owed], connection: Connection
) -> None:
    body = told.body(connection)
    alerts.insert_notice(connection, hidden_id, event_id, told.type, body, owed)


def _reports(receiver: Receiver, tried: Try, settlement: Settlement) -> list[_Notice]:
    """Return the notice of a try for whoever is told of each that ended so; empty for none."""
    known = receiver.subscription.notices
    if not known.reports or known.reporter is None:
        return []
    end = _end(settlement)
    if end not in known.reports:
        return []
    of, work = receiver.subscription, tried.work
    told = Tried(
        end=end,
        project_id=of.project_id,
        subscription_id=of.id,
        endpoint_id=of.endpoint_id,
        event_id=work.event_id,
        delivery_id=work.id,
        attempt_id=work.attempt_id,
        number=work.attempts + 1,
        url=of.url,
        outcome=tried.outcome,
        started_us=tried.ended_us - tried.timings.total_us,
        ended_us=tried.ended_us,
        retry_at_us=settlement.retry_at_us,
        reason=None if settlement.delivery is None else settlement.delivery[7],
    )

    def body(connection: Connection) -> bytes:
        place = (of.project_id, work.event_id)
        return notice.render_try(told, work.event or events.get(connection, *place))

    return [_Notice(known.reports[end], body, (known.reporter,))]


def _end(settlement: Settlement) -> End | None:
    """Return how a try ended; None where its delivery was cancelled."""
    if settlement.delivery is None:
        return End.RETRIED
    return _ENDS.get(DeliveryState(settlement.delivery[4]))
