"""Upkeep of subscriptions: how they fare is saved, those that must stop are stopped and cleared."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

import structlog
from msgspec.structs import replace

from waypost.clock import Clock, IdSource
from waypost.engine.announcer import Announcer
from waypost.engine.configuration import Configuration
from waypost.engine.job import log_failed
from waypost.engine.lane_keeper import LaneKeeper
from waypost.engine.receiver import Receiver
from waypost.engine.recorder import Try
from waypost.engine.router import Router
from waypost.engine.shards import Shards
from waypost.engine.unparker import Unparker
from waypost.model.delivery import BlockedKey
from waypost.model.failure import Suspension
from waypost.model.ids import Id
from waypost.model.subscription import NOTHING_SET, DisabledBy, Subscription
from waypost.policy.chains import WHOLE
from waypost.policy.ending import Endings, endings_of
from waypost.policy.terms import terms_of
from waypost.storage import (
    blocked_keys,
    configuration,
    former_routes,
    projects,
    queue,
    subscriptions,
)
from waypost.storage.configuration import Kind
from waypost.storage.connection import Connection

_log = structlog.get_logger(__name__)

_SAVE_EVERY_US: Final = 1_000_000
_RETRY_S: Final = 1.0


class Upkeep:
    """Changes subscriptions on the dispatcher's behalf, behind its back.

    Attributes:
        lanes: keeps how their lanes fare.
        announcer: tells of those that are stopped.
        unparker: has found again what an order of before had put aside.
    """

    def __init__(
        self,
        configuration: Configuration,
        router: Router,
        shards: Shards,
        clock: Clock,
        changed: Callable[[Subscription], None],
        source: IdSource,
    ) -> None:
        """Take what changes go through, and whom to tell of a subscription that was disabled."""
        self.announcer = Announcer(source)
        self._configuration = configuration
        self._store = configuration.store
        self._router = router
        self._shards = shards
        self._clock = clock
        self._changed = changed
        self.lanes = LaneKeeper(configuration.store, clock)
        self._unsaved: dict[Id, Receiver] = {}
        self._forgotten = 0
        self._saved_us = 0
        self._clearing: dict[Id, Collection[Id]] = {}
        self._once_more: set[Id] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.unparker = Unparker(configuration.store, router, shards, self._spawn)

    def unsaved(self, receiver: Receiver) -> None:
        """Remember that how a receiver fares has changed."""
        self.lanes.unsaved(receiver)
        known = self._router.find(receiver.subscription.project_id, receiver.subscription.id)
        if known is None or known.failing_since_us != receiver.failing_since_us:
            self._unsaved[receiver.subscription.id] = receiver

    def run_once(self) -> None:
        """Save what has changed, at most once a second."""
        now_us = self._clock.now_us()
        if (self._unsaved or self.lanes) and now_us - self._saved_us >= _SAVE_EVERY_US:
            self._saved_us = now_us
            self._spawn(self._save())

    async def save(self) -> None:
        """Save what has changed now, so that whoever sends to a subscription next goes on by it."""
        if self._unsaved or self.lanes:
            await self._save()

    def forget_unsaved(self) -> None:
        """Save nothing of what has changed: other processes know better by now."""
        self._unsaved.clear()
        self.lanes.forget()
        self._forgotten += 1

    async def _save(self) -> None:
        await self.lanes.save()
        if self._unsaved:
            await self._save_failing()

    async def _save_failing(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        forgotten = self._forgotten
        states = [
            (r.subscription.project_id, r.subscription.id, r.failing_since_us)
            for r in unsaved.values()
        ]

        def save(connection: Connection) -> None:
            for project_id, subscription_id, since_us in states:
                subscriptions.set_failing_since(connection, project_id, subscription_id, since_us)

        try:
            await self._store.write(save)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next save tries again
            log_failed("upkeep_save_failed", error)
            if self._forgotten == forgotten:
                self._unsaved = {**unsaved, **self._unsaved}
            return
        for project_id, subscription_id, since_us in states:
            present = self._router.find(project_id, subscription_id)
            if present is not None:
                self._router.refresh(replace(present, failing_since_us=since_us))

    async def disable(self, subscription: Subscription, by: DisabledBy) -> bool:
        """Disable a subscription; from the commit on nothing is owed to it any more.

        Returns:
            False where it is what it was: this could not be written, or its address, of which the
            receiver's answers speak, has been changed meanwhile, maybe by another process.
        """
        _log.warning("subscription_disabled", by=by.value, subscription=subscription.id.hex())
        place = (subscription.project_id, subscription.id)
        return await self._stop(subscription, lambda c: subscriptions.set_disabled(c, *place, by))

    async def suspend(self, subscription: Subscription, why: Suspension) -> bool:
        """Suspend a subscription; from the commit on nothing is sent to it.

        Returns:
            False where it is what it was, as by `disable`.
        """
        _log.warning("subscription_suspended", why=why.trigger, subscription=subscription.id.hex())
        place = (subscription.project_id, subscription.id)
        return await self._stop(subscription, lambda c: subscriptions.set_suspended(c, *place, why))

    async def _stop(
        self, subscription: Subscription, change: Callable[[Connection], Subscription | None]
    ) -> bool:
        place = (subscription.project_id, subscription.id)
        now_us, event_id = self._clock.now_us(), self.announcer.new_id()

        def write(connection: Connection) -> tuple[int, Subscription] | None:
            present = subscriptions.find(connection, *place)
            if present is None or present.url != subscription.url:
                return None
            found = change(connection) or present
            configuration.record(connection, Kind.SUBSCRIPTION, *place)
            version = projects.bump_routing(connection, place[0])
            if found.disabled_by is not present.disabled_by:
                former_routes.end(connection, present, version, now_us)
            self.announcer.announce_change(connection, present, found, event_id, now_us)
            return version, found

        def after(result: tuple[int, Subscription] | None) -> None:
            if result is not None:
                self.announcer.follow()
                self._router.apply(*result)
                self._changed(result[1])

        try:
            return await self._configuration.change(write, after) is not None
        except Exception as error:  # noqa: BLE001 - its next failure stops it again
            log_failed("upkeep_stop_failed", error)
            return False

    async def block(self, tried: Try) -> bool:
        """Block the key of a delivery that is about to be given up.

        Returns:
            False where that could not be written.
        """
        work = tried.work
        place = (tried.project_id, tried.subscription_id, work.key or WHOLE, work.sequence)
        key = BlockedKey(*place, work.id, work.event_id, tried.ended_us)
        try:
            await self._store.write(lambda c: blocked_keys.block(c, key, work.attempts))
        except Exception as error:  # noqa: BLE001 - what is behind it may not go before
            log_failed("upkeep_block_failed", error)
            return False
        return True

    async def release(self, tried: Try) -> None:
        """Release the key that is blocked by the event of a delivery which succeeds now."""
        place = (tried.project_id, tried.subscription_id, tried.work.key or WHOLE)
        try:
            await self._store.write(
                lambda c: blocked_keys.release(c, *place, by=tried.work.event_id)
            )
        except Exception as error:  # noqa: BLE001 - a person may release it
            log_failed("upkeep_release_failed", error)

    def clear(self, project_id: Id, subscription_id: Id, sparing: Collection[Id]) -> None:
        """End what a disabled, deleted or suspended subscription is owed, in chunks.

        Args:
            project_id: the project.
            subscription_id: the subscription.
            sparing: deliveries in flight, which settle by themselves; looked at anew each time.
        """
        if subscription_id in self._clearing:
            # What is to be ended now may have come behind the part that is being read.
            self._once_more.add(subscription_id)
        else:
            self._spawn(self._clear(project_id, subscription_id))
        self._clearing[subscription_id] = sparing

    def is_clearing(self, subscription_id: Id) -> bool:
        """Tell whether something that a subscription is owed may still have to be ended."""
        return subscription_id in self._clearing

    async def _clear(self, project_id: Id, subscription_id: Id) -> None:
        try:
            # The shard's next owner goes on by itself with what is left.
            while self._shards.owns(subscription_id) and (
                await self._clear_chunk(project_id, subscription_id)
                or subscription_id in self._once_more
            ):
                self._once_more.discard(subscription_id)
        finally:
            self._once_more.discard(subscription_id)
            del self._clearing[subscription_id]

    async def _clear_chunk(self, project_id: Id, subscription_id: Id) -> int:
        now_us = self._clock.now_us()
        sparing = frozenset(self._clearing[subscription_id])

        def write(connection: Connection) -> int:
            # As the transaction finds it: enabled again, what comes from now on is owed to it.
            endings = _endings(connection, project_id, subscription_id)
            if endings is None:
                return 0
            for ending, span in endings.parts():
                ended = queue.clear(
                    connection,
                    project_id,
                    subscription_id,
                    state=ending.state,
                    reason=ending.reason,
                    divert=ending.divert,
                    now_us=now_us,
                    sparing=sparing,
                    span=span,
                    # What somebody asks for while it is suspended goes out when it is not any more.
                    but_replays=span is not None and span[0] == endings.since_us,
                )
                if ended:
                    return ended
            return 0

        try:
            return await self._store.write(write)
        except Exception as error:  # noqa: BLE001 - nothing may stay owed for ever
            log_failed("upkeep_clear_failed", error)
            await asyncio.sleep(_RETRY_S)
            return 1

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Save what has changed; break off clearing, which goes on at the next start."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.save()


def _endings(connection: Connection, project_id: Id, subscription_id: Id) -> Endings | None:
    present = subscriptions.find(connection, project_id, subscription_id)
    defaults = projects.defaults(connection, project_id)
    handling = terms_of(NOTHING_SET if present is None else present, defaults).failure_handling
    return endings_of(present, handling)
