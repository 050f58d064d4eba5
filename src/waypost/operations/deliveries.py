"""Deliveries and attempts: what is owed, what became of it, and each try."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from waypost.engine.sender import Address
from waypost.model import ids
from waypost.model.delivery import Delivery
from waypost.model.errors import NotFound
from waypost.model.event import Event
from waypost.model.flow import BreakerState
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.model.subscription import SigningKey, Subscription
from waypost.policy.format import Format, Outgoing, format_of
from waypost.storage import attempts, deliveries, events, health, lane_states, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.store import Store

__all__ = ["Deliveries", "DeliveryFilter", "position"]

position = deliveries.position

MASKED: Final = "***"
_NO_KEY: Final = bytes(32)
"""Signs what is not sent: the signature is masked, so any key will do."""


_STRICTNESS: Final = (BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN)


class Tally(msgspec.Struct, frozen=True):
    """How many deliveries there are, and what became of the latest attempts.

    Attributes:
        deliveries: owed and ended; a large number may be larger.
        succeeded: attempts since some moment, of the latest 1,000.
        failed: the same.
        breaker: the state of its circuit breaker; of several, the one that lets through least.
    """

    deliveries: int = 0
    succeeded: int = 0
    failed: int = 0
    breaker: BreakerState = BreakerState.CLOSED

    def __add__(self, other: "Tally") -> "Tally":
        """Return both together."""
        return Tally(
            self.deliveries + other.deliveries,
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            max(self.breaker, other.breaker, key=_STRICTNESS.index),
        )

    @property
    def failure_rate(self) -> float:
        """Which share of the attempts has failed, in percent; 0 where there were none."""
        attempts = self.succeeded + self.failed
        return 100 * self.failed / attempts if attempts else 0.0


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

    async def count(
        self, principal: Principal, request: PageRequest, parts: Sequence[DeliveryFilter]
    ) -> int:
        """Count the project's deliveries of some kinds, none in two, up to the size of a page.

        Raises:
            NotFound: a part names an event that the project does not have (any more).
        """
        project_id = principal.project_id

        def read(connection: Connection) -> int:
            total = 0
            for which in parts:
                if which.event_id is not None:
                    events.demand(connection, project_id, which.event_id)
                total += deliveries.count(connection, project_id, request, which)
                if total >= request.size:
                    break
            return min(total, request.size)

        return await self._store.read(read)

    async def find(
        self, principal: Principal, delivery_id: ids.Id, subscription_ids: Sequence[ids.Id]
    ) -> Delivery:
        """Return a delivery to one of some subscriptions, or one that is still owed to anybody.

        Raises:
            NotFound: there is none.
        """
        found = await self._store.read(
            lambda c: deliveries.find(c, principal.project_id, delivery_id, subscription_ids)
        )
        if found is None:
            raise NotFound(ids.KINDS[ids.DELIVERY])
        return found

    async def attempts_of(
        self, principal: Principal, of: Sequence[Delivery], most: int
    ) -> list[ShownAttempt]:
        """Return the latest attempts of some deliveries of one event that ended, newest first."""
        if not of:
            return []
        return await self._store.read(
            lambda c: attempts.list_of_deliveries(c, principal.project_id, of[0].event_id, of, most)
        )

    async def last_of(
        self, principal: Principal, event_ids: Sequence[ids.Id], subscription_id: ids.Id
    ) -> dict[ids.Id, tuple[Delivery, ShownAttempt | None]]:
        """Return the latest delivery of each of some events to a subscription, with its last try.

        Those that were not owed to it are left out.
        """
        project_id = principal.project_id

        def read(connection: Connection) -> dict[ids.Id, tuple[Delivery, ShownAttempt | None]]:
            found: dict[ids.Id, tuple[Delivery, ShownAttempt | None]] = {}
            for one in event_ids:
                last = deliveries.list_of_event(connection, project_id, one, [subscription_id], 1)
                if last:
                    of = last[:1]
                    tried = attempts.list_of_deliveries(connection, project_id, one, of, 1)
                    found[one] = (of[0], tried[0] if tried else None)
            return found

        return await self._store.read(read)

    def is_sending(self, delivery_id: ids.Id) -> bool:
        """Tell whether a delivery is in flight here now."""
        return delivery_id in self._sending()

    async def tallies(
        self,
        principal: Principal,
        subscription_ids: Sequence[ids.Id],
        since_us: int,
        until_us: int | None = None,
    ) -> dict[ids.Id, Tally]:
        """Return how each of some subscriptions fares; attempts count since a moment.

        `since_us` is in UTC microseconds, and so is `until_us`, from which on none counts.
        """
        project_id = principal.project_id

        def read(connection: Connection) -> dict[ids.Id, Tally]:
            found = {}
            for one in subscription_ids:
                latest, _ = health.read_latest(connection, project_id, one, since_us, until_us)
                succeeded = sum(attempt.succeeded for attempt in latest)
                count = health.count_deliveries(connection, project_id, one)
                state = lane_states.find(connection, project_id, one)
                breaker = BreakerState.CLOSED if state is None else state.breaker
                found[one] = Tally(count, succeeded, len(latest) - succeeded, breaker)
            return found

        return await self._store.read(read) if subscription_ids else {}

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
        form = format_of(self._formats, subscription.format, subscription.format_settings)
        assert form is not None  # noqa: S101 - no other is set
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
        return {**headers, form.signature_header: MASKED}
