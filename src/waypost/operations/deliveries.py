"""Deliveries and attempts: what is owed, what became of it, and each try."""

from collections.abc import Callable, Collection, Mapping
from typing import Final

import msgspec

from waypost.engine.sender import Address
from waypost.model import ids
from waypost.model.delivery import Delivery
from waypost.model.event import Event
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.model.subscription import SigningKey, Subscription
from waypost.policy.format import Format, Outgoing
from waypost.storage import attempts, deliveries, events, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.store import Store

__all__ = ["Deliveries", "DeliveryFilter", "position"]

position = deliveries.position

MASKED: Final = "***"
_SECRET: Final = frozenset({"webhook-signature"})
_NO_KEY: Final = bytes(32)
"""Signs what is not sent: the signature is masked, so any key will do."""


class Deliveries:
    """What people ask of deliveries."""

    def __init__(
        self,
        store: Store,
        sending: Callable[[], Collection[ids.Id]],
        formats: Mapping[str, Format],
    ) -> None:
        """Take what they are kept in.

        Args:
            store: the store.
            sending: tells which deliveries are in flight now, of all projects.
            formats: the delivery formats by name, of every surface.
        """
        self._store = store
        self._sending = sending
        self._formats = formats

    async def list_page(
        self, principal: Principal, request: PageRequest, which: DeliveryFilter
    ) -> Page[Delivery]:
        """Return one page of the project's deliveries, by event and then by delivery.

        Positions are those of `position`; the range of time is that of the events.

        Raises:
            NotFound: `which` names an event that the project does not have (any more).
        """
        project_id = principal.project_id

        def read(connection: Connection) -> Page[Delivery]:
            if which.event_id is not None:
                events.demand(connection, project_id, which.event_id)
            return deliveries.list_page(connection, project_id, request, which)

        return await self._store.read(read)

    async def attempts_of_event(
        self,
        principal: Principal,
        event_id: ids.Id,
        request: PageRequest,
        status: AttemptStatus | None = None,
    ) -> Page[ShownAttempt]:
        """Return one page of an event's attempts, made and to come.

        Raises:
            NotFound: the project has no such event (any more).
        """
        project_id = principal.project_id
        sending = self._sending()

        def read(connection: Connection) -> Page[ShownAttempt]:
            events.demand(connection, project_id, event_id)
            return attempts.list_of_event(
                connection, project_id, event_id, request, status, sending
            )

        return await self._store.read(read)

    async def attempts_of_subscription(
        self,
        principal: Principal,
        subscription_id: ids.Id,
        request: PageRequest,
        status: AttemptStatus | None = None,
    ) -> Page[ShownAttempt]:
        """Return one page of a subscription's attempts, made and to come.

        Raises:
            NotFound: the project has no such subscription.
        """
        project_id = principal.project_id
        sending = self._sending()

        def read(connection: Connection) -> Page[ShownAttempt]:
            subscriptions.get(connection, project_id, subscription_id)
            return attempts.list_of_subscription(
                connection, project_id, subscription_id, request, status, sending
            )

        return await self._store.read(read)

    async def last_started(
        self, principal: Principal, subscription_ids: Collection[ids.Id]
    ) -> dict[ids.Id, int]:
        """Return when subscriptions were last sent something, UTC microseconds, where they were."""
        return await self._store.read(
            lambda c: attempts.last_started(c, principal.project_id, subscription_ids)
        )

    async def attempt(
        self, principal: Principal, event_id: ids.Id, attempt_id: ids.Id
    ) -> tuple[ShownAttempt, dict[str, str] | None]:
        """Return an attempt and the headers of its request.

        The headers are rendered now, by the subscription's present settings, with whatever could
        be a secret masked: the signature and the values of the subscription's own headers. What a
        transform makes of the payload is not told. None where the subscription was deleted.

        Raises:
            NotFound: the project has no such event (any more), or the event no such attempt.
        """
        project_id = principal.project_id
        sending = self._sending()

        def read(
            connection: Connection,
        ) -> tuple[ShownAttempt, Event, Subscription | None]:
            event = events.get(connection, project_id, event_id)
            found = attempts.get(connection, project_id, event_id, attempt_id, sending)
            to = subscriptions.find(connection, project_id, found.subscription_id)
            return found, event, to

        found, event, to = await self._store.read(read)
        return found, None if to is None else self._headers(found, event, to)

    def _headers(
        self, attempt: ShownAttempt, event: Event, subscription: Subscription
    ) -> dict[str, str]:
        form = self._formats[subscription.format]
        masked = msgspec.structs.replace(
            subscription, headers=dict.fromkeys(subscription.headers, MASKED)
        )
        rendered = form.render(
            Outgoing(
                event,
                ids.spell(ids.EVENT, event.id),
                attempt.delivery_id,
                attempt.id,
                attempt.number,
                ids.moment(attempt.id) // 1_000_000,
                (SigningKey(ids.FIRST, subscription.signing, _NO_KEY),),
                subscription.id,
            )
        )
        lines = Address(masked, (), form).start.partition(b"\r\n")[2] + rendered.head
        headers = dict(line.split(": ", 1) for line in lines.decode("latin-1").splitlines() if line)
        if subscription.transform is None:
            headers["content-length"] = str(len(rendered.body))
        return headers | dict.fromkeys(_SECRET & headers.keys(), MASKED)
