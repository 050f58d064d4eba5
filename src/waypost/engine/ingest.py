"""Ingest, the first hot path: from a request's drafts to committed events and what they are owed.

1. refuse early where the intake is closed or full;
2. route: who wants each event, by the compiled subscriptions in memory; what their filters read of
   the request is kept with the event;
3. commit: events, idempotency keys and owed deliveries in one transaction. The version of the
   routing is compared inside it; where it has moved on, route again. Deliveries that are too many
   for one commit are owed by a marker in it, which names the subscriptions that matched;
4. answer the producer;
5. hand what was committed to the lanes, without reading it again.

Where processes share the database, a routing that is out of date was changed by another one: then
what is in memory catches up first. And a commit that the database keeps waiting is answered as
unknown before the producer gives up; should it come about, what it owes is sent all the same.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from waypost.clock import Clock, IdSource
from waypost.engine.router import Router
from waypost.model.errors import IdempotencyMismatch, StorageFull, Unavailable, WaypostError
from waypost.model.event import NO_ATTRIBUTES, Event
from waypost.model.ids import Id, moved
from waypost.model.project import Principal
from waypost.model.subscription import Subscription
from waypost.policy import timing
from waypost.policy.events import Draft
from waypost.policy.filter_syntax import NOTHING
from waypost.policy.origin import Origin, with_origin
from waypost.policy.routing import Routes
from waypost.storage.changes import Acceptance, Entry, Outcome
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)
_encode = msgspec.msgpack.Encoder().encode

# To ask a class of an enumeration for its member costs as much as a call.
_COMMITTED: Final = Outcome.COMMITTED
_STALE: Final = Outcome.STALE


class Accepted(msgspec.Struct, frozen=True):
    """An accepted event. `duplicate`: the idempotency key had brought it in before."""

    id: Id
    type: str
    payload: bytes
    duplicate: bool


GREAT_FAN_OUT: Final = 500
"""An event that more subscriptions want is expanded behind its acceptance."""

MAX_OWED_ROWS: Final = 5_000
"""So are the events of a request behind the one that brings its deliveries above this."""

_ROUNDS_MAX: Final = 20
"""A request whose routing is out of date so often in a row is refused."""

_LOOK_S: Final = 0.1
"""How often it is looked for acceptances that wait too long."""

_MICROS: Final = 1_000_000

Done = Callable[[list[Accepted] | WaypostError], None]


class Lanes(Protocol):
    """What ingest needs of the dispatcher."""

    def committed(self, subscription_id: Id, delivery_id: Id, due_us: int, event: Event) -> None:
        """Take a delivery that was just committed."""
        ...


class IngestConfig(msgspec.Struct, frozen=True):
    """Limits of the intake.

    Attributes:
        max_waiting: events that may wait for their commit; more are refused with 503.
        idempotency_ttl_s: how long an idempotency key is remembered, seconds.
        patience_s: a commit that takes longer is answered as unknown, on a shared database.
    """

    max_waiting: int = 20_000
    idempotency_ttl_s: int = 7 * 24 * 3600
    patience_s: float = 0.8


class _Asked(msgspec.Struct):
    """A request on its way to its commit; after each stale routing it goes there anew.

    Attributes:
        principal: who sends.
        drafts: the events as they came.
        done: who is answered.
        origin: the request, where filters may read of it.
        rounds: how often it was routed.
        since_us: when it was submitted first, UTC microseconds.
    """

    principal: Principal
    drafts: Sequence[Draft]
    done: Done
    origin: Origin | None
    rounds: int = 1
    since_us: int = 0


class Ingest:
    """Accepts events. For the loop's thread alone.

    Attributes:
        closed: why the intake is closed now, None while it is open.
        waiting: events that wait for their commit.
        accepted: how many events were accepted.
        duplicates: how many repetitions of an idempotency key were answered.
        arrived: told of the project and the types of what was accepted; None while nobody waits.
    """

    def __init__(
        self,
        store: Store,
        router: Router,
        lanes: Lanes,
        clock: Clock,
        ids: IdSource,
        config: IngestConfig,
        fanned_out: Callable[[], None],
    ) -> None:
        """Take what ingest works with.

        `fanned_out` is called when an event was committed whose deliveries are still to be made.
        """
        self._fanned_out = fanned_out
        self._store = store
        self._router = router
        self._lanes = lanes
        self._clock = clock
        self._ids = ids
        self._config = config
        self._ttl_us = config.idempotency_ttl_s * _MICROS
        self._patience_us = int(config.patience_s * _MICROS)
        self._catch_up: Callable[[], Awaitable[None]] | None = None
        self._submitted: deque[Acceptance] = deque()
        self._look: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed: WaypostError | None = None
        self.waiting = 0
        self.accepted = 0
        self.duplicates = 0
        self.arrived: Callable[[Id, Sequence[str]], None] | None = None

    def share(self, catch_up: Callable[[], Awaitable[None]]) -> None:
        """Work on a database that others change as well.

        `catch_up` returns when what they have committed before is in memory.
        """
        self._catch_up = catch_up

    def now_us(self) -> int:
        """Return the present by which events are accepted, UTC microseconds."""
        return self._clock.now_us()

    def close(self, *, full: bool) -> None:
        """Refuse events from now on: the disk is nearly full, or the server is going down."""
        if not full:
            self.closed = Unavailable("the server is going down")
        elif self.closed is None:
            self.closed = StorageFull()

    def open(self) -> None:
        """Accept events again, unless the server is going down."""
        if isinstance(self.closed, StorageFull):
            self.closed = None

    def accept(
        self,
        principal: Principal,
        drafts: Sequence[Draft],
        done: Done,
        origin: Origin | None = None,
    ) -> None:
        """Accept the events of one request: all, or none.

        Args:
            principal: who sends them; they belong to its project.
            drafts: the events, checked.
            done: called once, on the loop: with the accepted events in the order of the drafts,
                after the commit that holds them; or with the reason why none was accepted.
            origin: the request, where filters may read of it.
        """
        if self.closed is not None:
            done(self.closed)
        elif self.waiting and self.waiting + len(drafts) > self._config.max_waiting:
            done(Unavailable())
        else:
            self.waiting += len(drafts)
            self._submit(_Asked(principal, drafts, done, origin))

    def _submit(self, asked: _Asked) -> None:
        principal, drafts, origin = asked.principal, asked.drafts, asked.origin
        project_id = principal.project_id
        routes = self._router.routes(project_id)
        reads = routes.reads
        if reads is not NOTHING and origin is not None:
            drafts = [with_origin(draft, origin, reads) for draft in drafts]
        keyed = fans_out = ordered = False
        rows = 0
        entries = []
        now_us = self._clock.now_us()
        for draft in drafts:
            entry = self._entry(project_id, routes, draft, rows, now_us)
            rows += len(entry.owed)
            keyed = keyed or entry.key is not None
            fans_out = fans_out or entry.fan_out is not None
            ordered = ordered or entry.counter is not None
            entries.append(entry)
        acceptance = Acceptance(
            project_id,
            principal.key_id,
            routes.version,
            entries,
            now_us,
            now_us + self._ttl_us,
            self._committed,
            keyed=keyed,
        )
        acceptance.fans_out = fans_out
        acceptance.ordered = ordered
        asked.since_us = asked.since_us or now_us
        acceptance.context = (asked, drafts)
        if self._catch_up is not None:
            self._watch(acceptance)
        self._store.accept(acceptance)

    def _entry(self, project_id: Id, routes: Routes, draft: Draft, rows: int, now_us: int) -> Entry:
        """Route one event; `rows` deliveries are owed by the request before it."""
        attributes = draft.attributes
        late_us = 0
        if attributes is NO_ATTRIBUTES:
            blob = key = place = None
            matches = routes.match(draft.type, None, draft.payload)
        else:
            blob = _encode(attributes)
            key = attributes.idempotency_key
            place = attributes.ordering_key
            matches = routes.takers(draft.type, draft.payload, attributes)
            if timing.is_put_off(attributes):
                late_us = timing.due_at(attributes, now_us)
        id_at = self._ids.at
        event_id = id_at(now_us)[0]
        later: tuple[Subscription, ...] = ()
        if len(matches) > GREAT_FAN_OUT or rows + len(matches) > MAX_OWED_ROWS:
            later, matches = matches, ()
        owed = []
        for subscription in matches:
            delivery_id, due_us = id_at(now_us)
            if late_us > due_us:
                delivery_id, due_us = moved(delivery_id, late_us), late_us
            owed.append((project_id, delivery_id, event_id, subscription.id, 0, due_us, 0))
        entry = Entry(
            event_id,
            (project_id, event_id, draft.type, draft.payload, blob, routes.version),
            owed,
            key,
            b"" if key is None else draft.fingerprint,
        )
        if later:
            entry.fan_out = _fan_out(project_id, event_id, later)
        # What is put off has no place by its acceptance: it takes one when it is due.
        if place is not None or (routes.strict and late_us <= now_us):
            entry.ordering_key = place
            entry.counter = "" if routes.strict else place
        return entry

    def _committed(self, acceptance: Acceptance) -> None:
        asked, drafts = acceptance.context
        done, outcome = asked.done, acceptance.outcome
        if outcome is _STALE and asked.rounds < _ROUNDS_MAX and done is not _nobody:
            asked.rounds += 1
            if self._catch_up is None:
                self._submit(asked)
            else:
                self._spawn(self._route_anew(asked))
            return
        self.waiting -= len(drafts)
        if outcome is _COMMITTED:
            self._answer(acceptance, drafts, done)
        elif outcome is Outcome.MISMATCH:
            error = IdempotencyMismatch()
            error.at_index = acceptance.at_index
            done(error)
        elif isinstance(acceptance.error, WaypostError):
            done(acceptance.error)
        elif done is _nobody:
            pass  # it was answered before
        else:
            _log.error("accept_failed", outcome=outcome, error=str(acceptance.error))
            done(Unavailable())

    # Where the database is shared.

    def _watch(self, acceptance: Acceptance) -> None:
        self._submitted.append(acceptance)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK_S, self.look)

    def look(self) -> None:
        """Answer what has waited for too long: nobody knows whether it will be committed."""
        before_us = self._clock.now_us() - self._patience_us
        submitted = self._submitted
        while submitted:
            acceptance = submitted[0]
            if acceptance.outcome is None:
                asked, _ = acceptance.context
                if asked.since_us > before_us:
                    break
                done, asked.done = asked.done, _nobody
                done(Unavailable("the database is slow or away; nobody knows what became of it"))
            submitted.popleft()
        self._look = None
        if submitted:
            self._look = asyncio.get_running_loop().call_later(_LOOK_S, self.look)

    async def _route_anew(self, asked: _Asked) -> None:
        assert self._catch_up is not None  # noqa: S101 - it is what brings one here
        left_us = max(asked.since_us + self._patience_us - self._clock.now_us(), 0)
        try:
            await asyncio.wait_for(self._catch_up(), left_us / _MICROS)
        except (Unavailable, TimeoutError):
            self.waiting -= len(asked.drafts)
            asked.done(Unavailable())
        else:
            self._submit(asked)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _answer(self, acceptance: Acceptance, drafts: Sequence[Draft], done: Done) -> None:
        accepted = []
        duplicates = 0
        for entry in acceptance.entries:
            row, first = entry.row, entry.duplicate_of
            if first is None:
                accepted.append(Accepted(entry.event_id, row[2], row[3], duplicate=False))
            else:
                duplicates += 1
                accepted.append(Accepted(first, row[2], row[3], duplicate=True))
        self.accepted += len(accepted) - duplicates
        self.duplicates += duplicates
        try:
            done(accepted)
        finally:
            # It is committed, whether or not the answer could be given.
            self._hand_over(acceptance, drafts)

    def _hand_over(self, acceptance: Acceptance, drafts: Sequence[Draft]) -> None:
        if acceptance.fans_out:
            self._fanned_out()
        if self.arrived is not None:
            self.arrived(acceptance.project_id, [draft.type for draft in drafts])
        committed = self._lanes.committed
        for draft, entry in zip(drafts, acceptance.entries, strict=True):
            if entry.owed and entry.duplicate_of is None:
                project_id, event_id, kind, payload, _, version = entry.row
                event = Event(project_id, event_id, kind, payload, draft.attributes, version)
                for row in entry.owed:
                    committed(row[3], row[1], row[5], event)


def _nobody(_: list[Accepted] | WaypostError) -> None:
    """Stands where the request was answered before its commit."""


def _fan_out(project_id: Id, event_id: Id, matches: tuple[Subscription, ...]) -> tuple[object, ...]:
    """Return the durable marker of deliveries that are too many for one commit."""
    return project_id, event_id, b"".join([s.id for s in matches]), 0
