"""The receivers in memory: one for each subscription that there is, or just was, work for."""

from collections.abc import Mapping
from itertools import islice
from typing import Final

from waypost.engine.receiver import Receiver
from waypost.engine.router import Router
from waypost.engine.sender import Address, Sender
from waypost.model.ids import Id
from waypost.model.subscription import SigningKey, Subscription
from waypost.policy.lane import Lane

_LOOKED_AT: Final = 500
"""So many are looked at by one call of `forget_idle`."""


class Receivers:
    """Makes receivers when there is work, and forgets them when there are too many.

    An enabled subscription without a receiver is owed nothing: it is forgotten only then.

    Attributes:
        keys: the signing keys of every subscription.
    """

    def __init__(self, router: Router, sender: Sender, *, window: int, limit: int) -> None:
        """Take what receivers are made of.

        Args:
            router: the subscriptions as they are now.
            sender: prepares their addresses.
            window: deliveries that one lane holds at most.
            limit: receivers in memory above which those that are idle are forgotten.
        """
        self._router = router
        self._sender = sender
        self._window = window
        self._limit = limit
        self._by_id: dict[Id, Receiver] = {}
        self.keys: dict[Id, tuple[SigningKey, ...]] = {}
        self.get = self._by_id.get

    def __len__(self) -> int:
        """Return how many are in memory."""
        return len(self._by_id)

    def load(self, keys: Mapping[Id, tuple[SigningKey, ...]]) -> None:
        """Take the signing keys of every subscription, at start."""
        self.keys = dict(keys)

    def find(self, project_id: Id, subscription_id: Id, *, empty: bool) -> Receiver | None:
        """Return a subscription's receiver, made where there is none; None where it is no more.

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
                lane = Lane(present.concurrency, self._window, empty=empty)
                receiver = Receiver(present, self.address(present), lane)
                self._by_id[subscription_id] = receiver
        return receiver

    def address(self, subscription: Subscription) -> Address:
        """Prepare where and how a subscription's deliveries are sent now."""
        return self._sender.address(subscription, self.keys.get(subscription.id, ()))

    def drop(self, subscription_id: Id) -> None:
        """Forget a receiver; there may be none."""
        self._by_id.pop(subscription_id, None)

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
