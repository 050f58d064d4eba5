"""Transactions: consumers that take events themselves, each event once for each of their keys."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from waypost.clock import Clock, IdSource
from waypost.engine.arrivals import Arrivals
from waypost.model import ids
from waypost.model.errors import LimitReached, NotFound
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.transaction import Transaction, TransactionState
from waypost.operations.audience import Audience
from waypost.operations.frontiers import Frontiers
from waypost.policy import transactions as policy
from waypost.policy.transactions import KEYS_MAX, Who
from waypost.storage import events, transactions
from waypost.storage.connection import Connection
from waypost.storage.store import Store
from waypost.storage.transactions import Span, Wanted

__all__ = ["Found", "Held", "Transactions", "Wanted", "Which"]

COUNTED_MAX: Final = 1_000
"""How many events are counted beyond the page that is asked for; more are so many."""

LATE_US: Final = 60_000_000
"""So much after its id was made an event may be committed by another process, at most."""

HAD_MAX: Final = 10_000
"""How many claims are remembered, so that who comes too late is not in the way of the writer."""

LOOK_S: Final = 1.0
"""How often whoever waits looks by itself: leases run out, and a message may be lost."""


class Which(msgspec.Struct, frozen=True):
    """A transaction of an event, by its id or by its key; `type`: the event must be of it."""

    event_id: Id
    id: Id | None = None
    tx_key: str | None = None
    type: str | None = None


class Held(msgspec.Struct, frozen=True):
    """A transaction, and its event."""

    event: Event
    transaction: Transaction


class Found(msgspec.Struct, frozen=True):
    """An event, and all its transactions.

    `expects_more`: somebody has asked for its type lately, and has no transaction here yet.
    """

    event: Event
    transactions: Sequence[Transaction]
    expects_more: bool


class Slice(msgspec.Struct, frozen=True):
    """A part of the events that stand as is asked for; `total` counts `COUNTED_MAX` behind it."""

    found: list[Found]
    total: int


class Transactions:
    """What consumers ask."""

    def __init__(
        self,
        store: Store,
        arrivals: Arrivals,
        audience: Audience,
        clock: Clock,
        source: IdSource,
        retention_us: int | None,
    ) -> None:
        """Take what transactions are kept in, and what wakes those that wait for events.

        Args:
            store: the database.
            arrivals: wakes whoever waits.
            audience: remembers who asks for what.
            clock: for leases.
            source: of ids.
            retention_us: how old events get, microseconds; None: there is no end. Older ones are
                not found here, whether or not they have been deleted yet.
        """
        self._store = store
        self._arrivals = arrivals
        self._audience = audience
        self._clock = clock
        self._ids = source
        self.retention_us = retention_us
        self._frontiers = Frontiers(LATE_US if store.shared else 0)
        self._had: dict[tuple[Id, str], None] = {}

    async def register(self, principal: Principal, which: Which) -> Held:
        """Have a transaction be there before it is claimed.

        Raises:
            NotFound: there is no such event.
            AlreadyClaimed: it has a transaction with this key.
            LimitReached: it has `KEYS_MAX` transactions.
        """
        return await self._make(principal, which, policy.register)

    async def claim(self, principal: Principal, which: Which, lease_us: int | None = None) -> Held:
        """Claim an event: whoever this returns to has it for this key, and nobody else.

        Args:
            principal: who claims it.
            which: the event and the key.
            lease_us: after so long another may claim it, microseconds; None: never.

        Raises:
            NotFound: there is no such event.
            AlreadyClaimed: another has or had it.
            LimitReached: it has `KEYS_MAX` transactions.
        """
        return await self._make(
            principal, which, lambda found, new, who: policy.claim(found, new, who, lease_us)
        )

    async def end(
        self,
        principal: Principal,
        which: Which,
        state: TransactionState,
        output: str | None = None,
        number: int | None = None,
    ) -> Held:
        """Finish or fail a transaction; `number` is that of the claim, None for whichever it is.

        Raises:
            NotFound: there is no such event or transaction.
            NotHeld: it has ended before, or is another's by now.
        """
        who = self._who(principal)
        return await self._change(
            principal, which, lambda found: policy.end(found, state, who, output, number)
        )

    async def settle(self, principal: Principal, which: Which, state: TransactionState) -> Held:
        """Finish or fail a transaction as `end` does; one that has ended so already is left as is.

        Raises:
            NotFound: there is no such event or transaction.
            NotHeld: it has ended otherwise, or nobody has claimed it.
        """
        who = self._who(principal)

        def change(found: Transaction) -> Transaction:
            return found if found.state is state else policy.end(found, state, who)

        return await self._change(principal, which, change)

    async def heartbeat(
        self, principal: Principal, which: Which, number: int, lease_us: int
    ) -> Held:
        """Have the lease of claim `number` run for so long from now on, microseconds.

        Raises:
            NotFound: there is no such event or transaction.
            NotHeld: it has ended, or is another's by now.
        """
        until_us = self._clock.now_us() + lease_us
        return await self._change(
            principal, which, lambda found: policy.extend(found, number, until_us)
        )

    async def get(self, principal: Principal, which: Which) -> Held:
        """Return a transaction.

        Raises:
            NotFound: there is no such event or transaction.
        """
        return await self._store.read(lambda c: Held(*self._find(c, principal.project_id, which)))

    async def list_page(
        self, principal: Principal, event_id: Id, request: PageRequest
    ) -> Page[Transaction]:
        """Return one page of an event's transactions.

        Raises:
            NotFound: there is no such event.
        """
        project_id = principal.project_id

        def read(connection: Connection) -> Page[Transaction]:
            self._demand(connection, project_id, Which(event_id))
            return transactions.list_page(connection, project_id, event_id, request)

        return await self._store.read(read)

    async def event(self, principal: Principal, event_id: Id) -> Found:
        """Return an event with all its transactions.

        Raises:
            NotFound: there is no such event.
        """
        project_id = principal.project_id

        def read(connection: Connection) -> tuple[list[Event], dict[Id, list[Transaction]]]:
            event = self._demand(connection, project_id, Which(event_id))
            return [event], transactions.list_of_events(connection, project_id, [event_id])

        (found,) = self._found(project_id, *await self._store.read(read))
        return found

    async def query(self, principal: Principal, wanted: Wanted, skip: int, size: int) -> Slice:
        """Return `size` of the events that stand as wanted, behind the first `skip` of them.

        They are counted anew each time: what was claimed meanwhile is no longer among them.
        """
        self._audience.asked(principal.project_id, wanted.types, wanted.tx_key)
        return await self._look(principal, wanted, Span(skip, size, COUNTED_MAX))

    async def wait(
        self, principal: Principal, wanted: Wanted, size: int, wait_s: float
    ) -> tuple[list[Event], bool]:
        """Return the first events that stand as wanted, and whether there are more.

        Where there are none, it waits for some to be accepted, in whatever process, or for a lease
        to run out.

        Args:
            principal: who asks.
            wanted: which.
            size: how many at most.
            wait_s: for how long to wait at most, seconds.

        Raises:
            Unavailable: too many wait already.
        """
        self._audience.asked(principal.project_id, wanted.types, wanted.tx_key)
        deadline = self._clock.monotonic() + wait_s
        if not wait_s:
            found = await self._look(principal, wanted, Span(0, size, 1))
            return [one.event for one in found.found], found.total > size
        with self._arrivals.waiting(principal.project_id, wanted.types) as waiting:
            while True:
                found = await self._look(principal, wanted, Span(0, size, 1))
                left = deadline - self._clock.monotonic()
                if found.found or left <= 0 or self._arrivals.is_closed:
                    return [one.event for one in found.found], found.total > size
                self._arrivals.announce()
                await waiting.wait(min(left, LOOK_S))

    async def _look(self, principal: Principal, wanted: Wanted, span: Span) -> Slice:
        project_id, now_us = principal.project_id, self._clock.now_us()
        if self.retention_us is not None:
            begin_us = max(wanted.begin_us, now_us - self.retention_us)
            wanted = msgspec.structs.replace(wanted, begin_us=begin_us)

        start = self._frontiers.start(project_id, wanted)

        def read(
            connection: Connection,
        ) -> tuple[list[Event], dict[Id, list[Transaction]], int, Id | None]:
            found = transactions.find_events(connection, project_id, wanted, now_us, span, start)
            first = found.first
            if first is None and found.total < span.end:
                first = events.newest(connection, project_id)
            return (
                events.list_some(connection, project_id, found.page),
                transactions.list_of_events(connection, project_id, found.page),
                found.total,
                first,
            )

        page, theirs, total, first = await self._store.read(read)
        self._frontiers.learn(project_id, wanted, start, first, now_us)
        return Slice(self._found(project_id, page, theirs), total)

    def _found(
        self,
        project_id: Id,
        page: Sequence[Event],
        theirs: Mapping[Id, Sequence[Transaction]],
    ) -> list[Found]:
        lately = self._audience.lately(project_id, {event.type for event in page})
        found = []
        for event in page:
            mine = theirs.get(event.id, ())
            expects_more = not lately[event.type] <= {one.tx_key for one in mine}
            found.append(Found(event, mine, expects_more))
        return found

    async def _make(
        self,
        principal: Principal,
        which: Which,
        decide: Callable[[Transaction | None, Transaction, Who], Transaction],
    ) -> Held:
        project_id, key = principal.project_id, which.tx_key
        assert key is not None  # noqa: S101 - what is not there yet has no id to be named by
        who = self._who(principal)
        blank = Transaction(
            project_id, which.event_id, key, self._ids.next(), TransactionState.PENDING
        )

        def look(connection: Connection) -> tuple[Event, Transaction | None, Transaction]:
            event, found, count = transactions.find_and_count(
                connection, project_id, which.event_id, key
            )
            self._require(event, which)
            made = decide(found, blank, who)
            if found is None and count >= KEYS_MAX:
                raise LimitReached(f"An event may have at most {KEYS_MAX} transactions.")
            return event, found, made

        def write(connection: Connection) -> Held:
            event, found, made = look(connection)
            transactions.record(connection, found, made)
            return Held(event, made)

        place = (which.event_id, key)
        if place in self._had:
            # Many come too late, all of them to the same event: they are told so by a read, and
            # do not get in the way of those that write.
            await self._store.read(look)
        try:
            return await self._store.write(write)
        finally:
            self._remember(place)

    def _remember(self, place: tuple[Id, str]) -> None:
        """Remember that somebody has claimed an event for a key, or that nobody can."""
        self._had[place] = None
        if len(self._had) > HAD_MAX:
            del self._had[next(iter(self._had))]

    async def _change(
        self, principal: Principal, which: Which, decide: Callable[[Transaction], Transaction]
    ) -> Held:
        def write(connection: Connection) -> Held:
            event, found = self._find(connection, principal.project_id, which)
            changed = decide(found)
            if changed is not found:
                transactions.record(connection, found, changed)
            return Held(event, changed)

        return await self._store.write(write)

    def _find(
        self, connection: Connection, project_id: Id, which: Which
    ) -> tuple[Event, Transaction]:
        if which.id is not None:
            event = self._demand(connection, project_id, which)
            return event, transactions.get(connection, project_id, which.event_id, which.id)
        event, found = transactions.find(connection, project_id, which.event_id, which.tx_key or "")
        self._require(event, which)
        if found is None:
            raise NotFound(ids.KINDS[ids.TRANSACTION])
        return event, found

    def _demand(self, connection: Connection, project_id: Id, which: Which) -> Event:
        """Return an event that has not had its time."""
        event = events.get(connection, project_id, which.event_id)
        self._require(event, which)
        return event

    def _require(self, event: Event, which: Which) -> None:
        """Make sure that an event is of the type that is meant, and has not had its time."""
        if which.type not in {None, event.type} or self._is_over(event.id):
            raise NotFound(ids.KINDS[ids.EVENT])

    def _is_over(self, event_id: Id) -> bool:
        if self.retention_us is None:
            return False
        return ids.moment(event_id) + self.retention_us <= self._clock.now_us()

    def _who(self, principal: Principal) -> Who:
        return Who(principal.key_id, self._clock.now_us())
