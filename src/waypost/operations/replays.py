"""Replays: one event again, what failed, what was missed, what is selected; and examples."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from waypost.clock import IdSource
from waypost.engine.ingest import Accepted, Ingest
from waypost.engine.planner import Planner
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.errors import (
    Conflict,
    IdempotencyMismatch,
    InvalidInput,
    InvalidSetting,
    WaypostError,
)
from waypost.model.event import Attributes, Event
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.replay import Order, Plan, Replay, ReplayKind, ReplayState, Route
from waypost.model.subscription import Subscription
from waypost.operations.event_types import Catalogue, example_of
from waypost.policy import filters
from waypost.policy.events import Draft, is_type
from waypost.policy.routing import wants
from waypost.policy.settings import type_faults
from waypost.policy.system_events import NAMES, is_system, require_some, system_types
from waypost.storage import (
    diverted,
    event_types,
    events,
    idempotency,
    queue,
    replays,
    selecting,
    subscriptions,
)
from waypost.storage.connection import Connection
from waypost.storage.selecting import Pair, Selection
from waypost.storage.store import Store

__all__ = ["DryRun", "Examples", "Replays", "Sample", "Selection", "Wanted"]

EXAMPLE_TYPE: Final = "example"
"""The type of an example where nobody says which: no catalogue, no type that is asked for."""


SAMPLES: Final = 10
"""So many deliveries a dry run names."""

_DRY_STEPS: Final = 20
"""So many steps a dry run looks ahead."""


class Wanted(msgspec.Struct, frozen=True):
    """A job that is asked for.

    Attributes:
        begin_us: with `end_us` the range `[begin, end)`, UTC microseconds; None: as far as there
            is, and what is yet to come: now.
        to: the subscription that is owed it all, with the route TO.
        key: an idempotency key.
    """

    kind: ReplayKind
    plan: Plan
    begin_us: int | None = None
    end_us: int | None = None
    to: Id | None = None
    key: str | None = None

    def fingerprint(self) -> bytes:
        """Return what tells one request from another."""
        asked = msgspec.structs.replace(self, key=None)
        return hashlib.sha256(msgspec.json.encode(asked)).digest()


class Sample(msgspec.Struct, frozen=True):
    """One of the deliveries that a job would owe."""

    event_id: Id
    event_type: str
    subscription_id: Id


class DryRun(msgspec.Struct, frozen=True):
    """What a job would owe.

    Attributes:
        looked: at how many events, or diverted events, was looked.
        complete: that were all; else there are more.
        by_subscription: how many deliveries to whom.
    """

    looked: int
    complete: bool
    events: int
    deliveries: int
    by_subscription: dict[Id, int]
    samples: list[Sample]


class Replays:
    """What people ask to be sent again, and what becomes of it."""

    def __init__(
        self,
        store: Store,
        owed: Callable[[Sequence[Owed]], None],
        wake: Callable[[], None],
        source: IdSource,
        router: Router,
    ) -> None:
        """Take what jobs are kept in, who sends what is owed anew, and who does the jobs."""
        self._store = store
        self._planner = Planner(store, router)
        self._router = router
        self._owed = owed
        self._wake = wake
        self._ids = source

    async def owe(
        self, principal: Principal, event_id: Id, subscription_ids: Sequence[Id]
    ) -> list[Owed]:
        """Owe an event once more, now, to those of some subscriptions that are not disabled.

        Raises:
            NotFound: the project has no such event (any more).
        """
        project_id = principal.project_id
        stamps = [(to, *self._ids.next_at()) for to in subscription_ids]

        def write(connection: Connection) -> list[Owed]:
            events.demand(connection, project_id, event_id)
            owed = []
            for to, delivery_id, now_us in stamps:
                subscription = subscriptions.find(connection, project_id, to)
                if subscription is not None and subscription.disabled_by is None:
                    kind = DeliveryClass.REPLAY
                    owed.append(Owed(project_id, delivery_id, event_id, to, kind, now_us))
            queue.insert(connection, owed)
            pairs = [(event_id, one.subscription_id) for one in owed]
            diverted.take_back(connection, project_id, pairs)
            return owed

        return await self._store.write(write, self._owed)

    def afresh(self, event: Event) -> list[Id]:
        """Return who would be owed an event if it came now."""
        routes = self._router.routes(event.project_id)
        return [one.id for one in routes.takers(event.type, event.payload, event.attributes)]

    async def resend(self, principal: Principal, event_id: Id, subscription_id: Id) -> None:
        """Owe an event to a subscription once more, now, whatever its filter says.

        Raises:
            NotFound: the project has no such event (any more), or no such subscription.
            Conflict: the subscription is disabled.
        """
        project_id = principal.project_id
        delivery_id, now_us = self._ids.next_at()
        owed = Owed(
            project_id, delivery_id, event_id, subscription_id, DeliveryClass.REPLAY, now_us
        )

        def write(connection: Connection) -> None:
            events.demand(connection, project_id, event_id)
            require_enabled(connection, project_id, subscription_id)
            queue.insert(connection, [owed])
            diverted.take_back(connection, project_id, [(event_id, subscription_id)])

        await self._store.write(write, lambda _: self._owed([owed]))

    async def start(
        self,
        principal: Principal,
        kind: ReplayKind,
        subscription_id: Id,
        begin_us: int | None,
        end_us: int | None,
    ) -> Replay:
        """Start a job.

        `recover` owes every event whose delivery was given up in the range and that was not
        delivered since the range began; `replay_missing` owes every event of the range that was
        never owed. Both owe what the subscription's filter takes, and nothing that is pending.

        Args:
            principal: who asks.
            kind: what to owe again.
            subscription_id: to whom.
            begin_us: the first moment of the range, UTC microseconds; None: as far as there is.
            end_us: the end of the range, itself not in it; None, and what is yet to come: now.

        Raises:
            NotFound: the project has no such subscription.
            Conflict: the subscription is disabled.
        """
        replay = self._job(principal, Wanted(kind, Plan(), begin_us, end_us, subscription_id))

        def write(connection: Connection) -> Replay:
            require_enabled(connection, principal.project_id, subscription_id)
            bounded = _bounded(connection, replay)
            replays.insert(connection, bounded)
            return bounded

        return await self._store.write(write, lambda _: self._wake())

    async def ask(self, principal: Principal, wanted: Wanted) -> Replay:
        """Start a job of a selection of events, or of diverted events.

        The same request again with its idempotency key is the same job.

        Raises:
            InvalidInput: what is wanted contradicts itself; says where.
            InvalidSetting: the filter of the content can't be obeyed.
            IdempotencyMismatch: the key was used for another request.
            NotFound: the project has no such subscription.
            Conflict: the subscription that is owed it all is disabled.
            LimitReached: too many jobs of the project are not finished.
        """
        _check(wanted)
        replay = self._job(principal, wanted)

        def write(connection: Connection) -> Replay:
            if wanted.key is not None:
                known = replays.find_by_key(connection, replay.project_id, wanted.key)
                if known is not None:
                    if known.fingerprint != replay.fingerprint:
                        raise IdempotencyMismatch
                    return known
            _require_known(connection, replay)
            bounded = _bounded(connection, replay)
            replays.insert(connection, bounded)
            return bounded

        return await self._store.write(write, lambda _: self._wake())

    async def dry_run(self, principal: Principal, wanted: Wanted) -> DryRun:
        """Return what a job would owe; nothing is kept. Raises what `ask` does."""
        _check(wanted)
        replay = self._job(principal, wanted)
        await self._store.read(lambda c: _require_known(c, replay))
        looked, is_complete = 0, False
        pairs: list[Pair] = []
        for _ in range(_DRY_STEPS):
            step = await self._planner.plan(replay)
            looked += step.looked
            pairs += step.pairs
            is_complete = step.ended
            if is_complete:
                break
            replay = msgspec.structs.replace(replay, position=step.position, within=step.within)
        named = pairs[:SAMPLES]
        event_ids = [event_id for event_id, _ in named]
        types = await self._store.read(
            lambda c: events.types_of(c, principal.project_id, event_ids)
        )
        return DryRun(
            looked,
            is_complete,
            len({event_id for event_id, _ in pairs}),
            len(pairs),
            dict(Counter(to for _, to in pairs)),
            [Sample(event_id, types.get(event_id, ""), to) for event_id, to in named],
        )

    async def count(
        self, principal: Principal, selection: Selection, *, key: str | None = None
    ) -> int:
        """Count the events that a job of a selection would look at to owe them to somebody.

        A large number is not exact, nor one of an owner or of sources among very many events.

        Args:
            principal: who asks.
            selection: which events.
            key: only the event that holds this idempotency key.
        """
        project_id = principal.project_id

        def read(connection: Connection) -> int:
            if key is None:
                return selecting.count(connection, project_id, selection)
            first = idempotency.find(connection, project_id, key)
            return 0 if first is None else selecting.count(connection, project_id, selection, first)

        return await self._store.read(read)

    async def pause(self, principal: Principal, replay_id: Id) -> Replay:
        """Let a job make no more steps until it is resumed; what it has owed stays owed.

        Raises:
            NotFound: the project has none with this id.
            Conflict: it is finished.
        """
        return await self._enter(principal, replay_id, ReplayState.PAUSED)

    async def resume(self, principal: Principal, replay_id: Id) -> Replay:
        """Let a paused job go on where it was. Raises what `pause` does."""
        return await self._enter(principal, replay_id, ReplayState.RUNNING)

    async def cancel(self, principal: Principal, replay_id: Id) -> Replay:
        """End a job where it is; what it has owed stays owed. Raises what `pause` does."""
        return await self._enter(principal, replay_id, ReplayState.CANCELLED)

    async def _enter(self, principal: Principal, replay_id: Id, state: ReplayState) -> Replay:
        now_us = ids.moment(self._ids.next())
        return await self._store.write(
            lambda c: replays.enter(c, principal.project_id, replay_id, state, now_us),
            lambda _: self._wake(),
        )

    def _job(self, principal: Principal, wanted: Wanted) -> Replay:
        replay_id, now_us = self._ids.next_at()
        begin_us, end_us = wanted.begin_us, wanted.end_us
        newest_first = wanted.plan.order is Order.NEWEST_FIRST
        return Replay(
            project_id=principal.project_id,
            id=replay_id,
            kind=wanted.kind,
            subscription_id=wanted.to,
            begin_us=0 if begin_us is None else max(begin_us, 0),
            end_us=now_us if end_us is None else min(max(end_us, 0), now_us),
            position=ids.LAST if newest_first else ids.FIRST,
            plan=wanted.plan,
            stepped_us=now_us,
            key=wanted.key,
            fingerprint=wanted.fingerprint() if wanted.key else None,
        )

    async def get(self, principal: Principal, replay_id: Id) -> Replay:
        """Return a job.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._store.read(lambda c: replays.get(c, principal.project_id, replay_id))

    async def list_page(
        self, principal: Principal, request: PageRequest, subscription_id: Id | None = None
    ) -> Page[Replay]:
        """Return one page of the project's jobs, or of one subscription's."""
        return await self._store.read(
            lambda c: replays.list_page(c, principal.project_id, request, subscription_id)
        )


class Examples:
    """Sends examples, for whoever sets a receiver up."""

    def __init__(self, store: Store, ingest: Ingest, catalogue: Catalogue) -> None:
        """Take the store, what takes events in, and the event types that strict projects take."""
        self._store = store
        self._ingest = ingest
        self._catalogue = catalogue

    async def send(self, principal: Principal, subscription_id: Id, event_type: str | None) -> Id:
        """Accept an event that is marked as an example and owed to one subscription alone.

        Its payload is the catalogue's example of the type, or an object with nothing but the type.

        Args:
            principal: who asks.
            subscription_id: to whom, whatever its filter says.
            event_type: None for the first that the subscription asks for.

        Returns:
            The id of the event.

        Raises:
            NotFound: the project has no such subscription.
            Conflict: the subscription is disabled.
            InvalidInput: it is no event type, or not in the catalogue of a strict project.
        """
        project_id = principal.project_id
        if event_type is not None:
            if not is_type(event_type):
                raise InvalidInput(details=[("event_type", "is not an event type")])
            if is_system(event_type):
                require_some(event_type, "event_type")
            else:
                self._catalogue.require(project_id, event_type, "event_type")

        def read(connection: Connection) -> tuple[str, bytes | None]:
            subscription = require_enabled(connection, project_id, subscription_id)
            name = event_type or _first_type(connection, subscription)
            known = next((one for one in system_types() if one.name == name), None)
            entry = known or event_types.find(connection, project_id, name)
            return name, None if entry is None else entry.example

        name, example = await self._store.read(read)
        attributes = Attributes(targets=(subscription_id,), example=True)
        accepted = await self._accept(principal, Draft(name, example_of(name, example), attributes))
        return accepted.id

    async def _accept(self, principal: Principal, draft: Draft) -> Accepted:
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

        def done(result: list[Accepted] | WaypostError) -> None:
            if answer.cancelled():
                return
            if isinstance(result, WaypostError):
                answer.set_exception(result)
            else:
                answer.set_result(result[0])

        self._ingest.accept(principal, [draft], done)
        return await answer


def _check(wanted: Wanted) -> None:
    """Refuse what contradicts itself.

    Raises:
        InvalidInput: says where.
        InvalidSetting: the filter of the content can't be obeyed.
    """
    plan = wanted.plan
    details = [(f"filter.{path}", reason) for path, reason in type_faults(plan.event_types)]
    begin_us, end_us = wanted.begin_us, wanted.end_us
    if begin_us is not None and end_us is not None and end_us <= begin_us:
        details.append(("filter.end", "must be later than filter.begin"))
    if (plan.route is Route.TO) != (wanted.to is not None):
        verb = "is required" if wanted.to is None else "must be left out"
        details.append(("to", f"{verb} with the route {plan.route.value}"))
    if details:
        raise InvalidInput(details=details)
    if plan.content is not None:
        try:
            filters.compiled(plan.content)
        except InvalidSetting as error:
            moved = [(_inside(path), reason) for path, reason in error.details]
            raise InvalidSetting(details=moved) from error


def _inside(path: str) -> str:
    """Return where a part of a filter stands in the request for a replay."""
    return f"filter.content{path.removeprefix('filter')}"


def _require_known(connection: Connection, replay: Replay) -> None:
    """Make sure that the subscriptions that a job names are there.

    Raises:
        NotFound: the project has no such subscription, or never had.
        Conflict: the one that is owed it all is disabled.
    """
    if replay.subscription_id is not None:
        require_enabled(connection, replay.project_id, replay.subscription_id)
    if replay.plan.of is not None:
        subscriptions.demand_ever(connection, replay.project_id, replay.plan.of)


def _bounded(connection: Connection, replay: Replay) -> Replay:
    """Return a job that knows from where to where there is anything to look at."""
    first_us, last_us = replays.read_bounds(connection, replay)
    plan = msgspec.structs.replace(replay.plan, first_us=first_us, last_us=last_us)
    return msgspec.structs.replace(replay, plan=plan)


def require_enabled(connection: Connection, project_id: Id, subscription_id: Id) -> Subscription:
    """Return a subscription that may be owed something.

    Raises:
        NotFound: the project has none with this id.
        Conflict: it is disabled.
    """
    subscription = subscriptions.get(connection, project_id, subscription_id)
    if subscription.disabled_by is not None:
        raise Conflict("The event subscription is disabled.")
    return subscription


def _first_type(connection: Connection, subscription: Subscription) -> str:
    """Return a type that a subscription asks for: one it names, else one that is known."""
    named = (name for name in subscription.event_types or () if is_type(name))
    catalogue = event_types.list_all(connection, subscription.project_id)
    names = [*(entry.name for entry in catalogue), *NAMES]
    wanted = (name for name in names if wants(subscription, name, None))
    return next(named, None) or next(wanted, None) or EXAMPLE_TYPE
