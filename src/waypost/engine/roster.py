"""The roster: whose deliveries this process sends, and how receivers come, change and go.

A receiver comes with the first work for its subscription, if its shard is this process's. It goes
when the subscription is disabled or deleted, which ends what is owed to it; or when its shard goes
to another process, to which all of it stays owed.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import islice
from typing import Final

from waypost.engine.receiver import Receiver
from waypost.engine.receivers import Receivers
from waypost.engine.refiller import work_of
from waypost.engine.sender import Address
from waypost.engine.shards import Shards
from waypost.engine.upkeep import Upkeep
from waypost.model.delivery import Owed
from waypost.model.ids import Id
from waypost.model.project import Project
from waypost.model.shards import Shard
from waypost.model.subscription import SigningKey, Subscription
from waypost.policy.waits import LaneStanding
from waypost.policy.work import Work

_RENEWED: Final = 25
"""So many receivers take the defaults of their project at once, and"""

_APART_S: Final = 0.005
"""so much later the next ones, seconds: others need the loop too."""

Mark = tuple[Receiver, int]
"""A receiver that was in memory, and how many refills of its lane had ended."""


class Roster:
    """For the loop's thread alone.

    Attributes:
        announcer: tells of subscriptions that are stopped, and of what others want to tell.
        left: told of each shard that was given up, once nothing of it is in flight any more.
    """

    def __init__(
        self,
        receivers: Receivers,
        upkeep: Upkeep,
        shards: Shards,
        pump: Callable[[Receiver], None],
        unload: Callable[[Work], None],
    ) -> None:
        """Take what it works on.

        Args:
            receivers: those in memory.
            upkeep: ends what is owed to subscriptions that are no more.
            shards: those of this process.
            pump: starts what may start at a receiver.
            unload: forgets the payload of work that is not going to be sent here.
        """
        self._receivers = receivers
        self._upkeep = upkeep
        self.announcer = upkeep.announcer
        self._shards = shards
        self._pump = pump
        self._unload = unload
        self._leaving: dict[Shard, set[Receiver]] = {}
        self._outdated: dict[Receiver, None] = {}
        self.left: Callable[[Shard], None] = lambda _: None

    @property
    def is_leaving(self) -> bool:
        """Whether something is in flight, or being settled, of a shard that was given up."""
        return bool(self._leaving)

    def standing(self, subscription_id: Id, now_us: int) -> LaneStanding | None:
        """Return how a lane stands; None where none of the subscription is in memory here."""
        receiver = self._receivers.get(subscription_id)
        return None if receiver is None or receiver.leaving else receiver.standing(now_us)

    def owns(self, subscription_id: Id) -> bool:
        """Tell whether this process sends for a subscription."""
        return self._shards.owns(subscription_id)

    def open(
        self, project_id: Id, subscription_id: Id, *, empty: bool = True, first: Id | None = None
    ) -> Receiver | None:
        """Return the receiver of what is owed; None where another process has it, or it is ended.

        It may have been matched before its subscription was disabled or deleted and committed
        behind that, or it came while the receiver is gone: nothing is owed for ever. `first` is the
        delivery, where that is to go before all that waits.
        """
        receiver = self._receivers.get(subscription_id)
        if receiver is None:
            if not self._shards.owns(subscription_id):
                self._shards.wake(project_id, subscription_id, first)
                return None
            receiver = self._receivers.find(project_id, subscription_id, empty=empty)
            if receiver is not None and self._receivers.unparks(receiver.subscription):
                self._unpark(receiver.subscription)
            if receiver is not None and receiver.endings is not None:
                # Suspended, and maybe not all was ended before a crash, or by the former owner.
                self._upkeep.clear(project_id, subscription_id, receiver.lane.known)
        if receiver is None:
            self._upkeep.clear(project_id, subscription_id, ())
        elif receiver.ending is not None:
            self._upkeep.clear(project_id, subscription_id, receiver.lane.known)
            return None
        return receiver

    def address(self, subscription: Subscription) -> Address:
        """Return where and how a subscription is sent to, whoever sends."""
        return self._receivers.address(subscription)

    # What is owed that others have committed.

    def look(self, lanes: Iterable[tuple[Id, Id]]) -> None:
        """Look anew at lanes to which something was committed that is not known here."""
        for project_id, subscription_id in lanes:
            if not self._shards.owns(subscription_id):
                continue
            receiver = self.open(project_id, subscription_id, empty=False)
            if receiver is not None:
                receiver.lane.look_again()
                self._pump(receiver)

    def mark(self, subscription_id: Id, delivery_id: Id) -> Mark | None:
        """Begin to put a delivery that others have committed before all that waits in its lane.

        Returns:
            For `hurry`, once it was read; None where that is not needed: it has come here already,
            or it takes its turn.
        """
        receiver = self._receivers.get(subscription_id)
        if receiver is None or receiver.over or receiver.lane.orders(hurries=True):
            return None
        return None if receiver.lane.advance(delivery_id) else (receiver, receiver.lane.refills)

    def hurry(self, mark: Mark, owed: Owed) -> bool:
        """Put a delivery before all that waits in its lane.

        Args:
            mark: from before it was read.
            owed: the delivery, which was not tried then.

        Returns:
            False where it may have come into the lane since, and left it: it is to be begun anew.
        """
        receiver, refills = mark
        if self._receivers.get(owed.subscription_id) is not receiver or (
            receiver.lane.refills != refills
        ):
            return False
        receiver.lane.hurry(work_of(owed), owed.due_us, read=True)
        self._pump(receiver)
        return True

    def missed(self, newest: Iterable[tuple[Id, Id, Id | None]]) -> None:
        """Look anew at the lanes that do not know what was owed to them last.

        Args:
            newest: (project, subscription, delivery) of the newest deliveries of each lane; None
                where it is owed nothing but retries.
        """
        self.look(
            (project_id, subscription_id)
            for project_id, subscription_id, delivery_id in newest
            if not self._receivers.know(subscription_id, delivery_id)
        )

    # What people change.

    def changed(self, subscription: Subscription, keys: tuple[SigningKey, ...] | None) -> None:
        """Take a subscription's new settings, and its signing keys where they have changed."""
        if keys is not None:
            self._receivers.keys[subscription.id] = keys
        receiver = self._receivers.get(subscription.id)
        if (
            receiver is None
            and self._shards.owns(subscription.id)
            and (
                subscription.disabled_by is not None
                or subscription.suspension is not None
                or self._receivers.unparks(subscription)
                or self._upkeep.is_clearing(subscription.id)
            )
        ):
            # Stopped; or to be sent to again before all was ended: the rest is owed to it.
            receiver = self.open(subscription.project_id, subscription.id, empty=False)
        if receiver is None:
            return
        blocked = receiver.address.terms.blocks
        receiver.take(subscription, self._receivers.address(subscription))
        terms = receiver.address.terms
        for work in receiver.lane.keep_order(terms.ordering):
            self._unload(work)
        if blocked and not terms.blocks:
            # What was read before may end at a key's block, which is no more.
            for work in receiver.lane.forget():
                self._unload(work)
        if self._receivers.unparks(subscription):
            self._unpark(subscription)
        if receiver.failing_since_us != subscription.failing_since_us:
            self._upkeep.unsaved(receiver)
        if receiver.endings is not None:
            self.wind_up(receiver)
        self._pump(receiver)

    def _unpark(self, subscription: Subscription) -> None:
        lane = (subscription.project_id, subscription.id)
        self._upkeep.unparker.add(*lane, partial(self.look, (lane,)))

    def defaults_changed(self, project: Project) -> None:
        """Take a project's defaults, for all of its receivers that there are.

        Nothing starts by those of before any more. The receivers take them a few at a time, since
        each is to be prepared anew, and there may be ten thousand.
        """
        place = (project.id, project.defaults, project.routing_version)
        outdated = self._receivers.set_defaults(*place)
        for receiver in outdated:
            receiver.lane.paused = True
        renews = bool(self._outdated)
        self._outdated.update(dict.fromkeys(outdated))
        if not renews:
            self._renew()

    def _renew(self) -> None:
        """Have some receivers take the defaults, and the others a little later."""
        some = [*islice(self._outdated, _RENEWED)]
        for receiver in some:
            del self._outdated[receiver]
        if self._outdated:
            asyncio.get_running_loop().call_later(_APART_S, self._renew)
        for receiver in some:
            if self._receivers.get(receiver.subscription.id) is receiver:
                self.changed(receiver.subscription, None)

    def stop(self) -> None:
        """Renew nothing more: nothing more is sent."""
        self._outdated.clear()

    def deleted(self, project_id: Id, subscription_id: Id) -> None:
        """Stop sending to a subscription, and cancel what it is owed."""
        self._receivers.keys.pop(subscription_id, None)
        receiver = self._receivers.get(subscription_id)
        if receiver is not None:
            receiver.delete()
            self.wind_up(receiver)
        elif self._shards.owns(subscription_id):
            self._upkeep.clear(project_id, subscription_id, ())

    # Shards go.

    def give_up(self, shards: Collection[Shard]) -> None:
        """Start nothing more of some shards; `left` is told of each when it is quiet."""
        for shard in shards:
            self._shards.epochs[shard] = 0
            self._leaving[shard] = set()
        leaving = [receiver for receiver in self._receivers if receiver.shard in shards]
        for receiver in leaving:
            self._receivers.drop(receiver.subscription.id)
            receiver.leave()
            self._leaving[receiver.shard].add(receiver)
        for receiver in leaving:
            self.wind_up(receiver)
        for shard in shards:
            self._leave_if_quiet(shard)

    def _leave_if_quiet(self, shard: Shard) -> None:
        if shard in self._leaving and not self._leaving[shard]:
            del self._leaving[shard]
            self.left(shard)

    def wind_up(self, receiver: Receiver) -> None:
        """Let go of what waits at a receiver that is over; what is in flight brings it here again.

        Where the subscription is no more, or suspended, what is owed to it is ended as that has it.
        A suspended one keeps its receiver, which may be owed something when it is sent to again.
        """
        for work in receiver.lane.forget():
            self._unload(work)
        known = receiver.lane.known
        subscription = receiver.subscription
        if receiver.leaving:
            if not known and receiver.shard in self._leaving:
                self._leaving[receiver.shard].discard(receiver)
                self._leave_if_quiet(receiver.shard)
            return
        self._upkeep.clear(subscription.project_id, subscription.id, known)
        if not known and receiver.ends_for_good:
            self._receivers.drop(subscription.id)
