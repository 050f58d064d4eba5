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
_FIND: Final = select(transactions).where(*_PLACE, transactions.c.tx_key == bindparam("at_key"))
# With the state in words, as the index of leases has it.
_LEASED: Final = and_(
    transactions.c.state == literal_column("'processing'"),
    transactions.c.lease_until_us.is_not(None),
)
_GET: Final = select(transactions).where(*_PLACE, transactions.c.id == bindparam("at_id"))
_COUNT: Final = select(func.count()).select_from(transactions).where(*_PLACE)
_INSERT: Final = insert(transactions)
_UPDATE: Final = update(transactions).where(*_PLACE, transactions.c.tx_key == bindparam("at_key"))


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


def find(connection: Connection, project_id: Id, event_id: Id, tx_key: str) -> Transaction | None:
    """Return an event's transaction of a key, or None where it has none."""
    place = {"at_project": project_id, "at_event": event_id, "at_key": tx_key}
    row = connection.execute(_FIND, place).one_or_none()
    return None if row is None else _transaction(row)


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


def count(connection: Connection, project_id: Id, event_id: Id) -> int:
    """Return how many transactions an event has."""
    place = {"at_project": project_id, "at_event": event_id}
    return int(connection.execute(_COUNT, place).scalar_one())


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
    most: int,
    start: Id | None = None,
) -> list[Id]:
    """Return the events that stand as wanted, from oldest to newest.

    Args:
        connection: where from.
        project_id: whose.
        wanted: which.
        now_us: the present, UTC microseconds: leases before it have run out.
        most: how many at most.
        start: what is older stands otherwise, but for leases that have run out; None: it may not.
    """
    first = wanted.first
    start = first if start is None else start
    found: list[Id] = []
    if start > first and Standing.LAPSED in wanted.standings:
        # As an expression: by its range the rows would be looked for among all that were claimed.
        place = func.coalesce(transactions.c.event_id, transactions.c.event_id)
        lapsed = select(transactions.c.event_id).where(
            transactions.c.project_id == project_id,
            transactions.c.tx_key == wanted.tx_key,
            _LEASED,
            transactions.c.lease_until_us <= now_us,
            place >= first,
            place < start,
        )
        behind = _events(project_id, wanted).where(events.c.id.in_(lapsed))
        found = _take(connection, behind, wanted, most)
    if Standing.ABSENT not in wanted.standings and wanted.admits is None:
        query = _with_one(project_id, wanted, now_us, start)
    else:
        query = _events(project_id, wanted).where(
            events.c.id >= start, _stands(project_id, wanted, now_us)
        )
    return found + _take(connection, query, wanted, most - len(found))


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


def _transaction(row: Row[Any]) -> Transaction:
    return Transaction(
        project_id=row.project_id,
        event_id=row.event_id,
        tx_key=row.tx_key,
        id=row.id,
        state=TransactionState(row.state),
        claim=row.claim,
        started_us=row.started_us,
        ended_us=row.ended_us,
        lease_until_us=row.lease_until_us,
        output=None if row.output is None else bytes(row.output).decode(),
        history=_decode(row.history),
    )
