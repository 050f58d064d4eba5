"""Explaining: where an event is, subscription by subscription, and how a subscription fares."""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from waypost.clock import Clock
from waypost.model import ids
from waypost.model.delivery import Delivery
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.shards import shard_of
from waypost.model.shown import ShownAttempt
from waypost.model.subscription import Subscription
from waypost.policy.health import Figures, figures
from waypost.policy.judging import Condition, Failed, judge
from waypost.policy.telling import tell_attempt, tell_delivery, tell_none
from waypost.policy.waits import LaneStanding, Standing, Wait, waits
from waypost.storage import blocked_keys, events, explaining, health, subscriptions
from waypost.storage.connection import Connection
from waypost.storage.explaining import Known, Listed
from waypost.storage.health import Backlog
from waypost.storage.store import Store

_DAY_US: Final = 24 * 3_600 * 1_000_000

HEALTH_US: Final = _DAY_US
"""The attempts of so long count for the health."""


class ToldAttempt(msgspec.Struct, frozen=True):
    """An attempt that ended, and what it came to in a sentence."""

    attempt: ShownAttempt
    cause: str


class ToldDelivery(msgspec.Struct, frozen=True):
    """A delivery, what it waits for while it is pending, and its latest attempts, newest first."""

    delivery: Delivery
    waits: list[Wait]
    attempts: list[ToldAttempt]


class Told(msgspec.Struct, frozen=True):
    """What there is to say of an event and one subscription.

    Attributes:
        failed: the condition by which it was not owed the event; None where it matched.
        judged_by_then: by the settings that the event was routed by; else by the present ones.
        owner: the process that sends for it; None where there is none now.
        summary: the whole, in a sentence.
        deliveries: the latest, newest first.
    """

    listed: Listed
    failed: Failed | None
    judged_by_then: bool
    owner: str | None
    summary: str
    deliveries: list[ToldDelivery]


class Explanation(msgspec.Struct, frozen=True):
    """Where an event is, for one page of the project's subscriptions."""

    event: Event
    page: Page[Told]


class Health(msgspec.Struct, frozen=True):
    """How a subscription fares.

    Attributes:
        figures: of its latest attempts, since `since_us` (UTC microseconds; None: there are none).
        last_error: its last attempt that failed, with its cause.
        blocked_keys: how many ordering keys wait to be released, counted up to a bound.
        owner: the process that sends for it; None where there is none now.
        lane: how its lane stands, where this process has it.
    """

    subscription: Subscription
    figures: Figures
    since_us: int | None
    backlog: Backlog
    oldest_age_us: int | None
    last_error: ToldAttempt | None
    blocked_keys: int = 0
    owner: str | None = None
    lane: LaneStanding | None = None


class Sends(msgspec.Struct, frozen=True):
    """What this process knows of what it sends.

    Attributes:
        name: what the process is called.
        sending: the deliveries that are in flight here.
        owns: tells whether it sends for a subscription.
        standing: how a subscription's lane stands at a moment, UTC microseconds; None where none
            is in memory here.
    """

    name: str
    sending: Callable[[], Collection[Id]]
    owns: Callable[[Id], bool]
    standing: Callable[[Id, int], LaneStanding | None]


class Explaining:
    """What people ask when something has not arrived."""

    def __init__(self, store: Store, sends: Sends, clock: Clock) -> None:
        """Take what everything is kept in, and what is in memory of what is sent."""
        self._store = store
        self._sends = sends
        self._clock = clock

    async def explain(
        self,
        principal: Principal,
        event_id: Id,
        request: PageRequest,
        only: Id | None = None,
    ) -> Explanation:
        """Tell where an event is.

        Args:
            principal: who asks.
            event_id: the event.
            request: which of the project's subscriptions: those that exist, and those that existed
                when it was accepted.
            only: this subscription alone.

        Raises:
            NotFound: the project has no such event (any more).
        """
        project_id = principal.project_id

        def read(connection: Connection) -> tuple[Event, Known, list[Failed | None]]:
            event = events.get(connection, project_id, event_id)
            known = explaining.read(connection, event, request, only)
            owed = {one.subscription_id for one in known.deliveries}
            # Here and not on the loop: filters may take their time.
            failed = [_judge(event, one, owed=one.id in owed) for one in known.page.items]
            return event, known, failed

        event, known, failed = await self._store.read(read)
        told = [
            self._tell(one, known, why) for one, why in zip(known.page.items, failed, strict=True)
        ]
        return Explanation(event, Page(told, known.page.has_more))

    async def health(self, principal: Principal, subscription_id: Id) -> Health:
        """Tell how a subscription fares.

        Raises:
            NotFound: the project has no such subscription.
        """
        place = (principal.project_id, subscription_id)
        now_us = self._clock.now_us()

        def read(connection: Connection) -> tuple[Health, str | None]:
            subscription = subscriptions.get(connection, *place)
            latest, oldest = health.read_latest(connection, *place, now_us - HEALTH_US)
            backlog = health.read_backlog(connection, *place)
            failure = health.find_last_failure(connection, *place)
            owners = explaining.read_owners(connection, [subscription_id])
            found = Health(
                subscription,
                figures(latest),
                None if oldest is None else ids.moment(oldest),
                backlog,
                None if backlog.oldest is None else max(now_us - ids.moment(backlog.oldest), 0),
                None if failure is None else ToldAttempt(failure, tell_attempt(failure)),
                blocked_keys.count(connection, *place),
            )
            return found, owners.get(shard_of(subscription_id))

        found, named = await self._store.read(read)
        return msgspec.structs.replace(
            found,
            owner=self._owner(subscription_id, named),
            lane=self._sends.standing(subscription_id, now_us),
        )

    def _tell(self, one: Listed, known: Known, failed: Failed | None) -> Told:
        found = [x for x in known.deliveries if x.subscription_id == one.id]
        judged_by_then = one.then is not None
        owner = self._owner(one.id, known.owners.get(shard_of(one.id)))
        told = [self._tell_delivery(x, one, owner, known) for x in found]
        if told:
            summary = tell_delivery(told[0].delivery, told[0].waits)
        else:
            spreading = one.id in known.spreading
            summary = tell_none(failed, spreading=spreading, judged_by_then=judged_by_then)
        return Told(one, failed, judged_by_then, owner, summary, told)

    def _tell_delivery(
        self, delivery: Delivery, of: Listed, owner: str | None, known: Known
    ) -> ToldDelivery:
        waiting: list[Wait] = []
        if delivery.due_us is not None:
            here, now_us = self._sends.owns(of.id), self._clock.now_us()
            lane = self._sends.standing(of.id, now_us) if here else None
            waiting = waits(
                Standing(
                    now_us,
                    delivery.due_us,
                    delivery.attempts,
                    sending=delivery.id in self._sends.sending(),
                    paused=of.paused,
                    suspended=of.suspended,
                    unverified=not of.verified,
                    owner=owner,
                    here=here,
                    lane=lane,
                    held=known.held.get(of.id) if lane is None else lane.held,
                    chained=known.chained.get(delivery.id),
                )
            )
        mine = [x for x in known.attempts if x.delivery_id == delivery.id]
        return ToldDelivery(delivery, waiting, [ToldAttempt(x, tell_attempt(x)) for x in mine])

    def _owner(self, subscription_id: Id, named: str | None) -> str | None:
        return self._sends.name if self._sends.owns(subscription_id) else named


def _judge(event: Event, one: Listed, *, owed: bool) -> Failed | None:
    """Return why a subscription was not owed an event, by the settings of that time if they are."""
    if one.then is not None:
        return judge(one.id, one.then, event, one.endpoint_id)
    if one.id > event.id and not owed:
        return Failed(Condition.CREATED_LATER, "it was made after the event was accepted")
    return judge(one.id, one.now, event, one.endpoint_id)
