"""Transactions: the primary key of the table lets only one consumer claim an event for a key."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.page import Page, PageRequest
from waypost.model.transaction import Change, Standing, Transaction, TransactionState
from waypost.storage import events as stored_events
from waypost.storage import pages
from waypost.storage.matching import is_among, is_of_producers
from waypost.storage.schema import events, transactions

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[Change, ...]).decode

_PLACE: Final = (
    transactions.c.project_id == bindparam("at_project"),
    transactions.c.event_id == bindparam("at_event"),
)
_AT: Final = (*_PLACE, transactions.c.tx_key == bindparam("at_key"))
# With the state in words, as the index of leases has it.
_LEASED: Final = and_(
    transactions.c.state == literal_column("'processing'"),
    transactions.c.lease_until_us.is_not(None),
)
_GET: Final = select(transactions).where(*_PLACE, transactions.c.id == bindparam("at_id"))
# One statement reads all that a claim is decided by: it costs more to ask than to look.
_OWN: Final = [column.label(f"tx_{column.name}") for column in transactions.c]
_HELD: Final = (
    select(*events.c, *_OWN)
    .outerjoin_from(events, transactions, and_(*_AT))
    .where(events.c.project_id == bindparam("at_project"), events.c.id == bindparam("at_event"))
)
_COUNTED: Final = _HELD.add_columns(
    select(func.count())
    .select_from(transactions)
    .where(*_PLACE)
    .scalar_subquery()
    .label("tx_count")
)
_OWN_FIRST: Final = len(events.c)
_INSERT: Final = insert(transactions)
_UPDATE: Final = update(transactions).where(*_AT)


class Wanted(msgspec.Struct, frozen=True):
    """Which events are looked for.

    Attributes:
        tx_key: for which key.
        standings: how they stand for it.
        types: of which types; empty for all.
        begin_us: accepted at this moment or later, UTC microseconds.
        after: a position; only newer events.
        admits: tells what a statement can't; None for all.
    """

    tx_key: str
    standings: frozenset[Standing]
    types: tuple[str, ...] = ()
    begin_us: int = 0
    after: Id | None = None
    admits: Callable[[Event], bool] | None = None

    @property
    def first(self) -> Id:
        """The first id that an event may have."""
        first = ids.lowest(self.begin_us)
        return first if self.after is None else max(first, ids.following(self.after))


class Span(msgspec.Struct, frozen=True):
    """A part of what is found: `size` behind the first `skip`; so many `more` are counted."""

    skip: int
    size: int
    more: int = 0

    @property
    def end(self) -> int:
        """How many are looked at, at most."""
        return self.skip + self.size + self.more


class Stretch(msgspec.Struct, frozen=True):
    """What was found.

    Attributes:
        page: the part that was asked for, from oldest to newest.
        total: how many there are, as far as they were counted.
        first: of all that is not before the start, whether or not on the page.
    """

    page: list[Id]
    total: int
    first: Id | None


def find(
    connection: Connection, project_id: Id, event_id: Id, tx_key: str
) -> tuple[Event, Transaction | None]:
    """Return an event, and its transaction of a key or None where it has none.

    Raises:
        NotFound: there is no such event (any more).
    """
    row = _find(connection, _HELD, project_id, event_id, tx_key)
    return stored_events.of_row(row), _own(row)


def find_and_count(
    connection: Connection, project_id: Id, event_id: Id, tx_key: str
) -> tuple[Event, Transaction | None, int]:
    """Do as `find` does, and return how many transactions the event has besides.

    Raises:
        NotFound: there is no such event (any more).
    """
    row = _find(connection, _COUNTED, project_id, event_id, tx_key)
    return stored_events.of_row(row), _own(row), row.tx_count


def _find(
    connection: Connection, query: Select[Any], project_id: Id, event_id: Id, tx_key: str
) -> Row[Any]:
    place = {"at_project": project_id, "at_event": event_id, "at_key": tx_key}
    row = connection.execute(query, place).one_or_none()
    if row is None:
        raise NotFound(ids.KINDS[ids.EVENT])
    return row


def _own(row: Row[Any]) -> Transaction | None:
    own = row[_OWN_FIRST : _OWN_FIRST + len(_OWN)]
    return None if own[0] is None else _transaction(own)


def get(connection: Connection, project_id: Id, event_id: Id, transaction_id: Id) -> Transaction:
    """Return a transaction of an event.

    Raises:
        NotFound: the event has none with this id (any more).
    """
    place = {"at_project": project_id, "at_event": event_id, "at_id": transaction_id}
    row = connection.execute(_GET, place).one_or_none()
    if row is None:
        raise NotFound(ids.KINDS[ids.TRANSACTION])
    return _transaction(row)


def list_page(
    connection: Connection, project_id: Id, event_id: Id, request: PageRequest
) -> Page[Transaction]:
    """Return one page of an event's transactions."""
    query = select(transactions).where(
        transactions.c.project_id == project_id, transactions.c.event_id == event_id
    )
    return pages.read(connection, query, (transactions.c.id,), request, _transaction)


def list_of_events(
    connection: Connection, project_id: Id, event_ids: Sequence[Id]
) -> dict[Id, list[Transaction]]:
    """Return all transactions of some events, by event, oldest first; none: it is absent."""
    found: dict[Id, list[Transaction]] = {}
    if event_ids:
        rows = connection.execute(
            select(transactions)
            .where(transactions.c.project_id == project_id, transactions.c.event_id.in_(event_ids))
            .order_by(transactions.c.id)
        )
        for row in rows:
            found.setdefault(row.event_id, []).append(_transaction(row))
    return found


def record(connection: Connection, former: Transaction | None, new: Transaction) -> None:
    """Write what has become of a transaction. In a write, which has read `former` itself."""
    values = {
        "state": new.state.value,
        "claim": new.claim,
        "started_us": new.started_us,
        "ended_us": new.ended_us,
        "lease_until_us": new.lease_until_us,
        "output": None if new.output is None else new.output.encode(),
        "history": _encode(new.history),
    }
    if former is None:
        place = {
            "project_id": new.project_id,
            "event_id": new.event_id,
            "tx_key": new.tx_key,
            "id": new.id,
        }
        connection.execute(_INSERT, {**place, **values})
        return
    place = {"at_project": new.project_id, "at_event": new.event_id, "at_key": new.tx_key}
    connection.execute(_UPDATE, {**place, **values})


def find_events(
    connection: Connection,
    project_id: Id,
    wanted: Wanted,
    now_us: int,
    span: Span,
    start: Id | None = None,
) -> Stretch:
    """Return events that stand as wanted, from oldest to newest.

    Args:
        connection: where from.
        project_id: whose.
        wanted: which.
        now_us: the present, UTC microseconds: leases before it have run out.
        span: which part of them.
        start: what is older stands otherwise, but for leases that have run out; None: it may not.
    """
    first = wanted.first
    start = first if start is None else start
    lapsed: list[Id] = []
    if start > first and Standing.LAPSED in wanted.standings:
        lapsed = _take(connection, _lapsed(project_id, wanted, now_us, start), wanted, span.end)
    if Standing.ABSENT not in wanted.standings and wanted.admits is None:
        query = _with_one(project_id, wanted, now_us, start)
    else:
        query = _events(project_id, wanted).where(
            events.c.id >= start, _stands(project_id, wanted, now_us)
        )
    if wanted.admits is not None:
        found = _take(connection, query, wanted, span.end - len(lapsed))
        return Stretch(
            (lapsed + found)[span.skip : span.skip + span.size],
            len(lapsed) + len(found),
            found[0] if found else None,
        )
    old = lapsed[span.skip : span.skip + span.size]
    skip, size = max(span.skip - len(lapsed), 0), span.size - len(old)
    rest = Span(skip, size, span.end - len(lapsed) - skip - size)
    behind = _stretch(connection, query, rest)
    return Stretch(old + behind.page, len(lapsed) + behind.total, behind.first)


def _lapsed(project_id: Id, wanted: Wanted, now_us: int, start: Id) -> Select[Any]:
    """Return the query of events before `start` whose leases have run out."""
    # As an expression: by its range the rows would be looked for among all that were claimed.
    place = func.coalesce(transactions.c.event_id, transactions.c.event_id)
    lapsed = select(transactions.c.event_id).where(
        transactions.c.project_id == project_id,
        transactions.c.tx_key == wanted.tx_key,
        _LEASED,
        transactions.c.lease_until_us <= now_us,
        place >= wanted.first,
        place < start,
    )
    return _events(project_id, wanted).where(events.c.id.in_(lapsed))


def _stretch(connection: Connection, query: Select[Any], span: Span) -> Stretch:
    """Return a part of what a query of ids finds; the database skips and counts, row by row."""
    (key,) = query.selected_columns
    page: list[Id] = []
    if span.size:
        page = list(connection.execute(query.offset(span.skip).limit(span.size)).scalars())
    if page:
        behind = query.where(key > page[-1])
        is_full = len(page) == span.size
        more = pages.count(connection, behind, span.more) if is_full else 0
        total = span.skip + len(page) + more
    else:
        total = pages.count(connection, query, span.skip if span.size else span.end)
    first: Id | None = page[0] if page and not span.skip else None
    if total and first is None:
        first = connection.execute(query.limit(1)).scalar()
    return Stretch(page, total, first)


def _events(project_id: Id, wanted: Wanted) -> Select[Any]:
    """Return the query of a project's events of the types that are wanted."""
    columns = [events.c.id]
    if wanted.admits is not None:
        columns = [c for c in events.c if c is not events.c.payload]
    query = select(*columns).where(events.c.project_id == project_id).order_by(events.c.id)
    if wanted.types:
        return query.where(is_among(wanted.types))
    # As with subscriptions: whoever wants all wants what producers send.
    return query.where(is_of_producers())


def _with_one(project_id: Id, wanted: Wanted, now_us: int, start: Id) -> Select[Any]:
    """Return the query of events that must have a transaction: from these, which may be few."""
    its_event = exists().where(
        events.c.project_id == project_id,
        events.c.id == transactions.c.event_id,
        is_among(wanted.types) if wanted.types else is_of_producers(),
    )
    return (
        select(transactions.c.event_id)
        .where(
            transactions.c.project_id == project_id,
            transactions.c.event_id >= start,
            transactions.c.tx_key == wanted.tx_key,
            _stands_so(wanted, now_us),
            its_event,
        )
        .order_by(transactions.c.event_id)
    )


def _take(connection: Connection, query: Select[Any], wanted: Wanted, most: int) -> list[Id]:
    """Return the first that a query finds and that are admitted."""
    if wanted.admits is None:
        return list(connection.execute(query.limit(most)).scalars())
    found: list[Id] = []
    with connection.execute(pages.streamed(connection, query)) as rows:
        for row in rows:
            if len(found) == most:
                break
            if wanted.admits(stored_events.without_payload(row)):
                found.append(row.id)
    return found


def _stands(project_id: Id, wanted: Wanted, now_us: int) -> ColumnElement[bool]:
    """Return the condition of an event that it stands in one of the ways that are wanted."""
    here = exists().where(
        transactions.c.project_id == project_id,
        transactions.c.event_id == events.c.id,
        transactions.c.tx_key == wanted.tx_key,
    )
    if Standing.ABSENT not in wanted.standings:
        return here.where(_stands_so(wanted, now_us))
    # Nothing there that is not wanted: one look-up for both. A lease may be NULL.
    states = _states(wanted)
    processing = transactions.c.state == TransactionState.PROCESSING.value
    unwanted: list[ColumnElement[bool]] = []
    if states:
        unwanted.append(transactions.c.state.not_in(states))
    if Standing.LAPSED in wanted.standings:
        lease = transactions.c.lease_until_us
        unwanted.append(or_(~processing, lease.is_(None), lease > now_us))
    return ~here.where(*unwanted)


def _stands_so(wanted: Wanted, now_us: int) -> ColumnElement[bool]:
    """Return the condition of a transaction that its event stands as is wanted."""
    matching: list[ColumnElement[bool]] = [transactions.c.state.in_(_states(wanted))]
    if Standing.LAPSED in wanted.standings:
        processing = transactions.c.state == TransactionState.PROCESSING.value
        matching.append(and_(processing, transactions.c.lease_until_us <= now_us))
    return or_(*matching)


def _states(wanted: Wanted) -> list[str]:
    return [standing.value for standing in wanted.standings if standing in _BY_STATE]


_BY_STATE: Final = frozenset(
    {Standing.PENDING, Standing.PROCESSING, Standing.FINISHED, Standing.FAILED}
)


def _transaction(values: Sequence[Any]) -> Transaction:
    """Make a transaction of the values of a row, in the order of its table."""
    project_id, event_id, tx_key, own_id, state, claim, started, ended, lease, output, history = (
        values
    )
    return Transaction(
        project_id=project_id,
        event_id=event_id,
        tx_key=tx_key,
        id=own_id,
        state=TransactionState(state),
        claim=claim,
        started_us=started,
        ended_us=ended,
        lease_until_us=lease,
        output=None if output is None else bytes(output).decode(),
        history=_decode(history),
    )
