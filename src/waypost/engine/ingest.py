"""Ingest, the first hot path: from a request's drafts to committed events and what they are owed.

1. refuse early where the intake is closed or full;
2. route: who wants each event, by the compiled subscriptions in memory;
3. commit: events, idempotency keys and owed deliveries in one transaction. The version of the
   routing is compared inside it; where it has moved on, route again. Deliveries that are too many
   for one commit are owed by a marker in it, which names the subscriptions that matched;
4. answer the producer;
5. hand what was committed to the lanes, without reading it again.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from waypost.clock import Clock, IdSource
from waypost.engine.router import Router
from waypost.model.errors import IdempotencyMismatch, StorageFull, Unavailable, WaypostError
from waypost.model.event import NO_ATTRIBUTES, Event
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.subscription import Subscription
from waypost.policy.events import Draft
from waypost.policy.routing import Routes
from waypost.storage.changes import Acceptance, Entry, Outcome
from waypost.storage.store import Store

_log = structlog.get_logger(__name__)
_encode = msgspec.msgpack.Encoder().encode


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

Done = Callable[[list[Accepted] | WaypostError], None]


class Lanes(Protocol):
    """What ingest needs of the dispatcher."""

    def committed(
        self, subscription: Subscription, delivery_id: Id, due_us: int, event: Event
    ) -> None:
        """Take a delivery that was just committed."""
        ...


class IngestConfig(msgspec.Struct, frozen=True):
    """Limits of the intake.

    Attributes:
        max_waiting: events that may wait for their commit; more are refused with 503.
        idempotency_ttl_s: how long an idempotency key is remembered, seconds.
    """

    max_waiting: int = 20_000
    idempotency_ttl_s: int = 7 * 24 * 3600


class _Request:
    """One request on its way through the commit."""

    __slots__ = ("done", "drafts", "matches", "principal", "rounds")

    def __init__(self, principal: Principal, drafts: Sequence[Draft], done: Done) -> None:
        self.principal = principal
        self.drafts = drafts
        self.done = done
        self.matches: list[tuple[Subscription, ...]] = []
        self.rounds = 0


class Ingest:
    """Accepts events. For the loop's thread alone.

    Attributes:
        closed: why the intake is closed now, None while it is open.
        accepted: how many events were accepted.
        duplicates: how many repetitions of an idempotency key were answered.
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
        self._ttl_us = config.idempotency_ttl_s * 1_000_000
        self.closed: WaypostError | None = None
        self.accepted = 0
        self.duplicates = 0

    def close(self, *, full: bool) -> None:
        """Refuse events from now on: the disk is nearly full, or the server is going down."""
        self.closed = StorageFull() if full else Unavailable("the server is going down")

    def open(self) -> None:
        """Accept events again."""
        self.closed = None

    def accept(self, principal: Principal, drafts: Sequence[Draft], done: Done) -> None:
        """Accept the events of one request: all, or none.

        Args:
            principal: who sends them; they belong to its project.
            drafts: the events, checked.
            done: called once, on the loop: with the accepted events in the order of the drafts,
                after the commit that holds them; or with the reason why none was accepted.
        """
        waiting = self._store.committer.waiting
        if self.closed is not None:
            done(self.closed)
        elif waiting and waiting + len(drafts) > self._config.max_waiting:
            done(Unavailable())
        else:
            self._submit(_Request(principal, drafts, done))

    def _submit(self, request: _Request) -> None:
        project_id = request.principal.project_id
        routes = self._router.routes(project_id)
        now_us = self._clock.now_us()
        request.matches = []
        request.rounds += 1
        keyed = False
        entries = []
        rows = 0
        for draft in request.drafts:
            matches = _match(routes, draft)
            rows += len(matches)
            if len(matches) > GREAT_FAN_OUT or rows > MAX_OWED_ROWS:
                entry = self._entry(project_id, routes.version, draft, ())
                entry.fan_out = _fan_out(project_id, entry.event_id, matches)
                matches = ()
            else:
                entry = self._entry(project_id, routes.version, draft, matches)
            request.matches.append(matches)
            keyed = keyed or draft.attributes.idempotency_key is not None
            entries.append(entry)
        acceptance = Acceptance(
            project_id,
            request.principal.key_id,
            routes.version,
            entries,
            now_us,
            now_us + self._ttl_us,
            self._committed,
            keyed=keyed,
        )
        acceptance.context = request
        acceptance.fans_out = rows > GREAT_FAN_OUT and any(e.fan_out for e in entries)
        self._store.accept(acceptance)

    def _entry(
        self, project_id: Id, version: int, draft: Draft, matches: tuple[Subscription, ...]
    ) -> Entry:
        next_at = self._ids.next_at
        event_id = next_at()[0]
        attributes = draft.attributes
        blob = None if attributes is NO_ATTRIBUTES else _encode(attributes)
        key = attributes.idempotency_key
        owed = []
        for subscription in matches:
            delivery_id, due_us = next_at()
            owed.append((project_id, delivery_id, event_id, subscription.id, 0, due_us, 0))
        return Entry(
            event_id,
            (project_id, event_id, draft.type, draft.payload, blob, version),
            owed,
            key,
            b"" if key is None else draft.fingerprint,
        )

    def _committed(self, acceptance: Acceptance) -> None:
        request: _Request = acceptance.context
        outcome = acceptance.outcome
        if outcome is Outcome.COMMITTED:
            self._answer(request, acceptance)
        elif outcome is Outcome.STALE and request.rounds < _ROUNDS_MAX:
            self._submit(request)
        elif outcome is Outcome.MISMATCH:
            error = IdempotencyMismatch()
            error.at_index = acceptance.at_index
            request.done(error)
        elif isinstance(acceptance.error, WaypostError):
            request.done(acceptance.error)
        else:
            _log.error("accept_failed", outcome=outcome, error=str(acceptance.error))
            request.done(Unavailable())

    def _answer(self, request: _Request, acceptance: Acceptance) -> None:
        accepted = []
        for draft, entry in zip(request.drafts, acceptance.entries, strict=True):
            duplicate_of = entry.duplicate_of
            self.accepted += duplicate_of is None
            self.duplicates += duplicate_of is not None
            accepted.append(
                Accepted(
                    duplicate_of or entry.event_id,
                    draft.type,
                    draft.payload,
                    duplicate_of is not None,
                )
            )
        try:
            request.done(accepted)
        finally:
            # It is committed, whether or not the answer could be given.
            self._hand_over(request, acceptance)

    def _hand_over(self, request: _Request, acceptance: Acceptance) -> None:
        if acceptance.fans_out:
            self._fanned_out()
        for draft, entry, matches in zip(
            request.drafts, acceptance.entries, request.matches, strict=True
        ):
            if entry.duplicate_of is None and matches:
                project_id, event_id, kind, payload, _, version = entry.row
                event = Event(project_id, event_id, kind, payload, draft.attributes, version)
                for subscription, row in zip(matches, entry.owed, strict=True):
                    self._lanes.committed(subscription, row[1], row[5], event)


def _fan_out(project_id: Id, event_id: Id, matches: tuple[Subscription, ...]) -> tuple[object, ...]:
    """Return the durable marker of deliveries that are too many for one commit."""
    return project_id, event_id, b"".join([s.id for s in matches]), 0


def _match(routes: Routes, draft: Draft) -> tuple[Subscription, ...]:
    attributes = draft.attributes
    if attributes.targets:
        return routes.aimed(attributes.targets)
    return routes.match(draft.type, attributes.owner)
