"""Buildable's six operations: what comes is read, asked of ours, and answered in its shapes."""

from functools import partial
from typing import Final

from waypost.dialects.buildable import wire
from waypost.dialects.buildable.wire import (
    EventOut,
    Home,
    InitIn,
    NameIn,
    NameOut,
    PageOut,
    QueryIn,
    Selection,
    TransactIn,
    TransactionOut,
    UpdateIn,
)
from waypost.dialects.surface import Dialect, Operation, refuse
from waypost.model.errors import NotAuthenticated, NotFound, WaypostError
from waypost.model.ids import Id
from waypost.model.project import Principal, Project, Scope
from waypost.model.transaction import TransactionState
from waypost.operations.access import Access
from waypost.operations.events import Accepted, Events, Places
from waypost.operations.projects import Projects
from waypost.operations.transactions import Found, Held, Transactions, Wanted, Which
from waypost.policy.credentials import digest
from waypost.policy.events import Draft, needs_scan
from waypost.policy.origin import Origin
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces
from waypost.web.fast import FastRequest, FastRoute, FastRoutes

EMIT_PATH: Final = "/emit"

_PLACES: Final = Places("", "event")
_SECRET: Final = wire.HEADER.encode()


class Emit:
    """`/emit`, as a fast route."""

    def __init__(self, access: Access, events: Events, surfaces: Surfaces, aside: Aside) -> None:
        """Take what says who may, what takes events in, and what renders errors."""
        self._access = access
        self._events = events
        self._surfaces = surfaces
        self._aside = aside

    def register(self, routes: FastRoutes) -> None:
        """Enter the route."""
        limits = self._events.limits
        refuse = self._surfaces.refusals(EMIT_PATH)
        path = EMIT_PATH.encode()
        routes.add(FastRoute(b"POST", path, self.post, limits.max_body_bytes, refuse))

    def post(self, request: FastRequest) -> None:
        """Take in an event."""
        try:
            caller = _recognise(self._access, request.header(_SECRET))
            self._access.spend(caller, reads=False)
            principal = self._access.authorize(caller, Scope.EVENTS_WRITE, None)
            read = partial(wire.read_emit, request.body, self._events.limits, principal)
            if needs_scan(request.body) or self._aside.holds(principal.key_id):
                self._aside.run(principal.key_id, read, partial(self._read, request, principal))
                return
            self._accept(request, principal, read())
        except WaypostError as error:
            self._refuse(request, error)

    def _read(self, request: FastRequest, principal: Principal, read: Draft | Exception) -> None:
        """Go on with what was read aside."""
        if isinstance(read, Draft):
            try:
                self._accept(request, principal, read)
            except WaypostError as error:
                self._refuse(request, error)
        else:
            self._refuse(request, read)

    def _accept(self, request: FastRequest, principal: Principal, draft: Draft) -> None:
        origin = Origin(request.headers, EMIT_PATH)
        done = partial(self._answer, request)
        self._events.accept(principal, [draft], _PLACES, done, origin)

    def _answer(self, request: FastRequest, outcome: list[Accepted] | WaypostError) -> None:
        if isinstance(outcome, WaypostError):
            self._refuse(request, outcome)
        else:
            request.respond(200, wire.emitted(outcome[0].id))

    def _refuse(self, request: FastRequest, error: Exception) -> None:
        refuse(request, wire.render, self._surfaces, error)


class BuildableRoutes:
    """The other five."""

    def __init__(self, access: Access, projects: Projects, transactions: Transactions) -> None:
        """Take the operations."""
        self._access = access
        self._projects = projects
        self._transactions = transactions
        self._known: dict[Id, Project] = {}

    def dialect(self) -> Dialect:
        """Return all that the server has to know of it."""
        reads, claims = Scope.EVENTS_READ, Scope.TRANSACTIONS_WRITE
        operations = [
            Operation("/query", reads, QueryIn, self.query, reads=True),
            Operation("/update", claims, UpdateIn, self.update, errors=(404, 409)),
            Operation("/init", claims, InitIn, self.init, errors=(404, 409)),
            Operation("/transact", claims, TransactIn, self.transact, errors=(404, 409)),
            Operation(
                "/get-full-event-name", reads, NameIn, self.full_name, reads=True, errors=(404,)
            ),
        ]
        paths = [EMIT_PATH, *(one.path for one in operations)]
        return Dialect(wire.render, paths, self._caller, operations)

    async def query(self, caller: Principal, body: QueryIn) -> PageOut:
        """Find events by how they stand for a key."""
        home = await self._home(caller)
        named = wire.read_name(body.event_name, home)
        if not named.is_here:
            return PageOut([], 0, body.page, body.page_size, 0)
        selection = Selection(named, body.platform, body.label, home.label)
        wanted = Wanted(
            body.tx_key,
            wire.standings_of(body.tx_state),
            (named.type,),
            begin_us=wire.begin_us(body.since),
            admits=None if selection.is_any else selection.admits,
        )
        size = body.page_size
        found = await self._transactions.query(caller, wanted, (body.page - 1) * size, size)
        rows = [self._shape(one, home) for one in found.found]
        return PageOut(rows, found.total, body.page, size, -(-found.total // size))

    async def update(self, caller: Principal, body: UpdateIn) -> EventOut:
        """Set the state of a transaction; `processing` is a claim like any other."""
        home = await self._home(caller)
        which = self._which(home, body.key, body.tx_key, body.event_name)
        if body.tx_state == "processing":
            await self._transactions.claim(caller, which)
        else:
            await self._transactions.settle(caller, which, TransactionState(body.tx_state))
        return self._shape(await self._transactions.event(caller, which.event_id), home)

    async def init(self, caller: Principal, body: InitIn) -> TransactionOut:
        """Claim an event for a key."""
        home = await self._home(caller)
        which = self._which(home, body.key, body.tx_key, body.event_name)
        return self._shape_held(await self._transactions.claim(caller, which))

    async def transact(self, caller: Principal, body: TransactIn) -> TransactionOut:
        """Finish or fail a transaction."""
        home = await self._home(caller)
        which = self._which(home, body.key, body.tx_key, body.event_name)
        state = TransactionState(body.state)
        return self._shape_held(await self._transactions.end(caller, which, state, body.output))

    async def full_name(self, caller: Principal, body: NameIn) -> NameOut:
        """Spell an event's name in full."""
        home = await self._home(caller)
        named = wire.read_name(body.event_name, home)
        if not named.is_here:
            raise NotFound("event name")
        return NameOut(wire.full_name(named, home, body.platform, body.label))

    def _caller(self, request: FastRequest) -> Principal:
        return _recognise(self._access, request.header(_SECRET))

    async def _home(self, caller: Principal) -> Home:
        project = self._known.get(caller.project_id)
        if project is None:
            # Account and environment of a project never change.
            project = self._known[caller.project_id] = await self._projects.get(caller.project_id)
        return wire.home_of(project, caller)

    def _which(self, home: Home, key: str, tx_key: str, event_name: str | None) -> Which:
        event_id = wire.read_key(key)
        if event_name is None:
            return Which(event_id, tx_key=tx_key)
        named = wire.read_name(event_name, home)
        if not named.is_here:
            raise NotFound("event")
        return Which(event_id, tx_key=tx_key, type=named.type)

    def _shape(self, found: Found, home: Home) -> EventOut:
        return wire.event_out(
            found.event,
            found.transactions,
            home,
            self._transactions.retention_us,
            expects_more=found.expects_more,
        )

    def _shape_held(self, held: Held) -> TransactionOut:
        retention_us = self._transactions.retention_us
        return wire.transaction_out(held.event, held.transaction, retention_us)


def _recognise(access: Access, secret: bytes | None) -> Principal:
    if not secret:
        raise NotAuthenticated(f"Missing {wire.HEADER} header")
    try:
        return access.recognise(digest(secret.strip()))
    except NotAuthenticated as error:
        raise NotAuthenticated("Invalid secret") from error
