"""The receivers in memory: one for each subscription that there is, or just was, work for."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from waypost.engine.receiver import Receiver
from waypost.engine.router import Router
from waypost.engine.sender import Address, Sender
from waypost.engine.shards import Shards
from waypost.model.ids import Id
from waypost.model.shards import shard_of
from waypost.model.subscription import Inheritable, SigningKey, Subscription
from waypost.policy.background import Background
from waypost.policy.lane import Lane

_LOOKED_AT: Final = 500
"""So many are looked at by one call of `forget_idle`."""


class Receivers:
    """Makes receivers when there is work, and forgets them when there are too many.

    There are receivers only of subscriptions in shards that this process owns. An enabled one
    without a receiver is owed nothing that is known here: it is forgotten only then.

    Attributes:
        keys: the signing keys of every subscription.
    """

    def __init__(
        self, router: Router, sender: Sender, shards: Shards, *, window: int, limit: int
    ) -> None:
        """Take what receivers are made of.

        Args:
            router: the subscriptions as they are now.
            sender: prepares their addresses.
            shards: those that this process owns.
            window: deliveries that one lane holds at most.
            limit: receivers in memory above which those that are idle are forgotten.
        """
        self._router = router
        self._sender = sender
        self._shards = shards
        self._window = window
        self._limit = limit
        self._by_id: dict[Id, Receiver] = {}
        self.background = Background()
        self.keys: dict[Id, tuple[SigningKey, ...]] = {}
        self.get = self._by_id.get

    def __len__(self) -> int:
        """Return how many are in memory."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[Receiver]:
        """Yield those that are in memory now, whatever becomes of them meanwhile."""
        return iter(tuple(self._by_id.values()))

    def load(self, keys: Mapping[Id, tuple[SigningKey, ...]]) -> None:
        """Take the signing keys of every subscription, at start."""
        self.keys = dict(keys)

    def find(self, project_id: Id, subscription_id: Id, *, empty: bool) -> Receiver | None:
        """Return a subscription's receiver, made where there is none; None where it is no more.

        The subscription is in a shard that this process owns.

        Args:
            project_id: the project.
            subscription_id: the subscription.
            empty: a receiver that is made is known to be owed nothing else.

        Returns:
            None where the subscription is disabled or deleted and has no receiver.
        """
        receiver = self._by_id.get(subscription_id)
        if receiver is None:
            present = self._router.find(project_id, subscription_id)
            if present is not None and present.disabled_by is None:
                shard = shard_of(subscription_id)
                empty = empty and shard not in self._shards.unseen
                address = self.address(present)
                lane = Lane(
                    address.terms.concurrency,
                    self._window,
                    empty=empty,
                    background=self.background,
                )
                epoch = self._shards.epochs[shard]
                receiver = Receiver(present, address, lane, epoch)
                state = self._router.lane_states.pop(subscription_id, None)
                if state is not None:
                    receiver.resume(state)
                self._by_id[subscription_id] = receiver
        return receiver

    def set_defaults(self, project_id: Id, defaults: Inheritable, version: int) -> list[Receiver]:
        """Take a project's defaults; return the receivers that are to go by others from now on.

        `version`: of its routing.
        """
        if not self._router.set_defaults(project_id, defaults, version):
            return []
        return [one for one in self if one.subscription.project_id == project_id]

    def unparks(self, subscription: Subscription) -> bool:
        """Tell whether some of what a subscription is owed may be parked by an order of before."""
        return self._router.unparks(subscription)

    def address(self, subscription: Subscription) -> Address:
        """Prepare where and how a subscription's deliveries are sent now."""
        defaults = self._router.defaults(subscription.project_id)
        return self._sender.address(subscription, self.keys.get(subscription.id, ()), defaults)

    def drop(self, subscription_id: Id) -> None:
        """Forget a receiver; there may be none."""
        self._by_id.pop(subscription_id, None)

    def know_work(self, subscription_id: Id) -> bool:
        """Tell whether a receiver knows of anything that is owed to it."""
        receiver = self._by_id.get(subscription_id)
        return receiver is not None and bool(receiver.lane.known)

    def know(self, subscription_id: Id, delivery_id: Id | None) -> bool:
        """Tell whether a receiver knows of a delivery, or that there are some it does not know.

        None asks for any delivery.
        """
        receiver = self._by_id.get(subscription_id)
        if receiver is None:
            return False
        lane = receiver.lane
        return (
            lane.replays_left
            or not lane.complete
            or (bool(lane.known) if delivery_id is None else delivery_id in lane.known)
        )

    def oldest_due(self) -> int | None:
        """Return when the delivery was due that has waited longest; None where nothing waits."""
        waiting = (receiver.lane.oldest_due() for receiver in self._by_id.values())
        return min((due_us for due_us in waiting if due_us is not None), default=None)

    def forget_idle(self) -> None:
        """Where there are too many, forget some of those that are idle."""
        if len(self._by_id) <= self._limit:
            return
        for subscription_id, receiver in tuple(islice(self._by_id.items(), _LOOKED_AT)):
            # Those that stay go to the end: the next call looks at others.
            del self._by_id[subscription_id]
            known = self._router.find(receiver.subscription.project_id, subscription_id)
            saved = known is not None and known.failing_since_us == receiver.failing_since_us
            if not (saved and receiver.is_idle()):
                self._by_id[subscription_id] = receiver
