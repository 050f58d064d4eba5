"""Probes: an example that is sent now, and waited for.

It goes the way of every event: accepted, kept, and sent by whichever process sends to that
subscription. So what has become of it is asked of the database, until there is an answer.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from waypost.model.delivery import Delivery, DeliveryState
from waypost.model.errors import Conflict, NotPermitted, Unavailable
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Principal, Scope
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.model.subscription import Inheritable
from waypost.operations.replays import Examples, require_enabled
from waypost.policy.terms import terms_of
from waypost.storage import attempts, deliveries
from waypost.storage.connection import Connection
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.store import Store

AT_ONCE: Final = 32
"""How many may be waited for at once."""

PATIENCE_S: Final = 5.0
"""How much longer than the subscription's deadline an answer is waited for."""

_FIRST_LOOK_S: Final = 0.01
_LOOK_S: Final = 0.25
_ENDED: Final = (AttemptStatus.SUCCESS, AttemptStatus.FAILED)


class Probe(msgspec.Struct, frozen=True):
    """What has become of a probe.

    Attributes:
        delivery: what its event is owed as.
        attempt: the first; pending or being sent where there was no answer in time, None where
            none was made: the subscription's transform has skipped the event.
    """

    delivery: Delivery
    attempt: ShownAttempt | None

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing to wait for any more."""
        if self.attempt is None:
            return self.delivery.state is not DeliveryState.PENDING
        return self.attempt.status in _ENDED


class Probes:
    """Sends probes."""

    def __init__(
        self,
        store: Store,
        examples: Examples,
        defaults: Callable[[Id], Inheritable],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Take what it works with.

        Args:
            store: what has become of a probe is read there.
            examples: sends them.
            defaults: tells what a project's subscriptions go by where they set nothing.
            patience_s: how much longer than the subscription's deadline an answer is waited for.
        """
        self._store = store
        self._defaults = defaults
        self._examples = examples
        self._patience_s = patience_s
        self._waited_for = 0

    async def send(
        self, principal: Principal, subscription_id: Id, event_type: str | None
    ) -> Probe:
        """Send an example to a subscription, and wait for the end of its first attempt.

        Args:
            principal: who asks.
            subscription_id: to whom, whatever its filter says.
            event_type: None for the first that the subscription asks for.

        Raises:
            NotFound: the project has no such subscription.
            Conflict: nothing is sent to it: it is disabled, paused, suspended, or not
                verified.
            InvalidInput: it is no event type, or not in the catalogue of a strict project.
            NotPermitted: the caller may not read events.
            Unavailable: too many are waited for.
        """
        if Scope.EVENTS_READ not in principal.scopes:
            raise NotPermitted
        if self._waited_for >= AT_ONCE:
            raise Unavailable("Too many test events are waited for; try again later.")
        self._waited_for += 1
        try:
            timeout_s = await self._demand(principal.project_id, subscription_id)
            event_id = await self._examples.send(principal, subscription_id, event_type)
            return await self._wait(principal, event_id, timeout_s + self._patience_s)
        finally:
            self._waited_for -= 1

    async def _demand(self, project_id: Id, subscription_id: Id) -> float:
        """Refuse where nothing would be sent; return the deadline of an attempt, seconds."""
        subscription = await self._store.read(
            lambda c: require_enabled(c, project_id, subscription_id)
        )
        if subscription.paused:
            raise Conflict("The event subscription is paused.")
        if subscription.suspension is not None:
            raise Conflict("The event subscription is suspended.")
        if not subscription.is_verified:
            raise Conflict("The URL of the event subscription is not verified.")
        return terms_of(subscription, self._defaults(project_id)).timeout_s

    async def _wait(self, principal: Principal, event_id: Id, timeout_s: float) -> Probe:
        loop = asyncio.get_running_loop()
        until_s, look_s = loop.time() + timeout_s, _FIRST_LOOK_S
        while True:
            probe = await self._store.read(
                partial(_find, project_id=principal.project_id, event_id=event_id)
            )
            if probe.has_ended or loop.time() >= until_s:
                return probe
            await asyncio.sleep(look_s)
            look_s = min(2 * look_s, _LOOK_S)


def _find(connection: Connection, project_id: Id, event_id: Id) -> Probe:
    which = DeliveryFilter(event_id=event_id)
    (delivery,) = deliveries.list_page(connection, project_id, PageRequest(size=1), which).items
    # A subscription that fails at once may be tried again before it is looked at.
    shown = attempts.list_of_event(connection, project_id, event_id, PageRequest(), None, ())
    first = next((one for one in shown.items if one.number == 1), None)
    return Probe(delivery, first)
