"""The aftermath: what follows for a subscription when one of its deliveries is given up.

Where what is behind it has to wait, that is written first of all: a crash between the two leaves a
delivery that is tried again, never a follower that has gone.

Notices come next: they are written before the settling of the delivery that they tell of, so that
a crash between the two repeats a notice rather than losing it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec
import structlog

from waypost.clock import IdSource
from waypost.engine.receiver import Receiver
from waypost.engine.recorder import Try
from waypost.engine.upkeep import Upkeep
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.errors import StorageFull, Unavailable
from waypost.model.failure import Suspension
from waypost.model.subscription import DisabledBy
from waypost.policy import notice
from waypost.policy.failure import failure_name, message_of, trigger_of
from waypost.policy.notice import GivenUp
from waypost.policy.rate import Allowance
from waypost.policy.settle import GaveUp
from waypost.policy.throttle import Throttle
from waypost.policy.work import Work
from waypost.storage import alerts
from waypost.storage.changes import Settlement
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)

_MICROS: Final = 1_000_000
_RETRY_S: Final = 1.0

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
        if left_out is None:
            self._store.settle(settlement)
        else:
            given_up = _given_up(receiver, tried, transition, left_out)
            self._hands.spawn(self._alert(receiver, given_up, settlement))

    def release(self, receiver: Receiver, tried: Try, settlement: Settlement) -> None:
        """Settle a delivered event that its key was blocked by, and release the key before.

        So a crash between the two repeats the delivery, which those behind it still wait for.
        """

        async def settle() -> None:
            await self._upkeep.release(tried)
            self._store.settle(settlement)

        _log.info("key_released", subscription=receiver.subscription.id.hex())
        self._hands.spawn(settle())

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

    async def _alert(self, receiver: Receiver, given_up: GivenUp, settlement: Settlement) -> None:
        """Write notices of a delivery that is given up, and then its settlement."""
        endpoints = receiver.address.terms.failure_handling.alert_endpoints
        body = notice.render(given_up)
        project_id = ids.alerts_of(receiver.subscription.project_id)
        event_id = self._ids.next()
        owed = [
            _owed(project_id, event_id, endpoint.id, *self._ids.next_at()) for endpoint in endpoints
        ]
        while True:
            try:
                await self._store.write(
                    lambda c: alerts.insert_notice(
                        c, project_id, event_id, notice.TYPE, body, owed
                    ),
                    lambda _: self._hands.owed(owed),
                )
            except Unavailable:
                # Nor could the settlement be written now.
                if self._hands.stopping():
                    return  # it stays owed
                await asyncio.sleep(_RETRY_S)
                continue
            except Exception as error:  # noqa: BLE001 - the delivery ends all the same
                if isinstance(error, StorageFull):
                    _log.warning("alert_not_written", error=str(error))
                else:
                    _log.exception("alert_not_written")
            break
        self._store.settle(settlement)


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
