"""What a job of a selection finds: events in a range, and what became of them before.

Events are read in slices by primary key, oldest or newest first. What hangs on them is read by the
event, so a slice costs what its own events cost, however much else there is.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    bindparam,
    func,
    literal,
    select,
    text,
)

from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event
from waypost.model.ids import Id
from waypost.model.replay import Order, PastState, Replay, Route
from waypost.policy.routing import ALL, takes_type
from waypost.storage import pages
from waypost.storage.deliveries import FEW
from waypost.storage.matching import (
    INDEXED_BY,
    is_of_producers,
    is_of_sources,
    may_be_of_owner,
)
from waypost.storage.schema import deliveries, diverted_events, events, fan_outs

SLICE: Final = 1_000
"""How many events one step of a job looks at, at most."""

_LOADED: Final = 100
"""How many of them with their payloads."""

_NULL: Final = b"null"

COUNTED_MAX: Final = 10_000
"""So far the events of a selection are counted."""

LOOKED_MAX: Final = 30_000
"""So many events are looked at for those of an owner, or of a source."""

# Statements of each step are made once: to make one takes longer than to execute it.
_key: Final = events.c.id
_ROWS: Final = (
    select(*(column for column in events.c if column is not events.c.payload))
    .where(events.c.project_id == bindparam("of_project"))
    .limit(bindparam("most"))
)
# One bound on each side: of two, the database would search by either.
_SLICE: Final = {
    Order.OLDEST_FIRST: _ROWS.where(_key >= bindparam("near"), _key < bindparam("far")).order_by(
        _key
    ),
    Order.NEWEST_FIRST: _ROWS.where(_key < bindparam("near"), _key >= bindparam("far")).order_by(
        _key.desc()
    ),
}
_PAST: Final = (
    select(
        deliveries.c.event_id,
        deliveries.c.subscription_id,
        deliveries.c.state,
        select(diverted_events.c.id)
        .where(
            diverted_events.c.project_id == deliveries.c.project_id,
            diverted_events.c.id == deliveries.c.id,
        )
        .exists()
        .label("diverted"),
    )
    .where(
        deliveries.c.project_id == bindparam("of_project"),
        deliveries.c.event_id.in_(bindparam("event_ids", expanding=True)),
    )
    .order_by(deliveries.c.event_id, deliveries.c.id)
)
# Not a column but a term: no index of subscriptions is of use here.
_PAST_OF: Final = _PAST.where(
    deliveries.c.subscription_id.is_not_distinct_from(bindparam("of_subscription"))
)
_SPREADING: Final = select(fan_outs.c.event_id, fan_outs.c.subscriptions).where(
    fan_outs.c.project_id == bindparam("of_project"),
    fan_outs.c.event_id.in_(bindparam("event_ids", expanding=True)),
)

_PAST_STATES: Final = {
    int(state): PastState[state.name]
    for state in DeliveryState
    if state.name in PastState.__members__
}

Pair = tuple[Id, Id]
"""An event and a subscription."""

_PENDING = {
    dialect: text(
        f"SELECT event_id, subscription_id FROM queue {by.format('ix_queue_event')}"
        " WHERE project_id = :project_id AND event_id IN :event_ids"
    ).bindparams(bindparam("event_ids", expanding=True))
    for dialect, by in INDEXED_BY.items()
}

_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode


class Slice(msgspec.Struct, frozen=True):
    """What stands behind a job's position, in its order.

    Attributes:
        found: the events that meet the plan's types and owner.
        looked_at: the ids of all events that were looked at to find them.
        ended: there is nothing behind it.
    """

    found: list[Event]
    looked_at: list[Id]
    ended: bool

    @property
    def looked(self) -> int:
        """How many events were looked at."""
        return len(self.looked_at)

    @property
    def position(self) -> Id | None:
        """The last event that was looked at; None where there was none."""
        return self.looked_at[-1] if self.looked_at else None

    def place(self, event_id: Id) -> int:
        """Return how many events were looked at up to one of them."""
        return self.looked_at.index(event_id) + 1


class Past(msgspec.Struct, frozen=True):
    """What became of the last delivery of an event to a subscription."""

    event_id: Id
    subscription_id: Id
    state: PastState


class Selection(msgspec.Struct, frozen=True):
    """Events that are counted; what is None or empty does not narrow.

    Attributes:
        begin_us: the range `[begin, end)` of their acceptance, UTC microseconds.
        end_us: see `begin_us`.
        sources: that came in by one of these.
        among: of which a delivery to one of these subscriptions has ended.
    """

    begin_us: int
    end_us: int
    owner: str | None = None
    sources: tuple[Id, ...] = ()
    among: tuple[Id, ...] = ()

    @property
    def begin(self) -> Id:
        """The first id that an event may have."""
        return ids.lowest(max(self.begin_us, 0))

    @property
    def end(self) -> Id:
        """The first id behind them."""
        return ids.lowest(max(self.end_us, 0))


def count(
    connection: Connection, project_id: Id, selection: Selection, only: Id | None = None
) -> int:
    """Count the events of a selection, `COUNTED_MAX` at most.

    Args:
        connection: where from.
        project_id: whose.
        selection: which.
        only: this event alone, if it is among them.
    """
    if only is not None and not selection.begin <= only < selection.end:
        return 0
    found = _selected(connection, project_id, selection, only)
    if selection.owner is None:
        return pages.count(connection, select(literal(1)).select_from(found), COUNTED_MAX)
    # No statement tells for certain whose an event is.
    total = 0
    with connection.execute(pages.streamed(connection, select(found.c.attributes))) as rows:
        for row in rows:
            total += _decode_attributes(row.attributes).owner == selection.owner
            if total == COUNTED_MAX:
                break
    return total


def _selected(
    connection: Connection, project_id: Id, selection: Selection, only: Id | None
) -> FromClause:
    """Return the attributes of the events of a selection, and of a few that look like these."""
    if selection.among:
        owed = _owed_to(connection, project_id, selection, only)
        its_event = (events.c.project_id == project_id, events.c.id == owed.c.event_id)
        attributes = select(events.c.attributes).where(*its_event).scalar_subquery()
        query = select(attributes.label("attributes")).select_from(owed)
    else:
        place = _in_range(events.c.id, selection, only)
        # As in their list: system events are not among them.
        query = select(events.c.attributes).where(
            events.c.project_id == project_id, *place, is_of_producers()
        )
    if selection.owner is None and not selection.sources:
        return query.subquery("selected")
    first = events.c.id if not selection.among else owed.c.event_id
    looked = query.order_by(first).limit(LOOKED_MAX).subquery("looked")
    found = select(looked)
    if selection.sources:
        found = found.where(is_of_sources(selection.sources, looked.c.attributes))
    if selection.owner is not None:
        found = found.where(may_be_of_owner(selection.owner, looked.c.attributes))
    return found.subquery("selected")


def _owed_to(
    connection: Connection, project_id: Id, selection: Selection, only: Id | None
) -> FromClause:
    """Return the events of which a delivery to one of some subscriptions has ended.

    As with their list, the deliveries of a few are found by the index of subscriptions.
    """
    to = deliveries.c.subscription_id
    of_project = select(deliveries.c.event_id).where(deliveries.c.project_id == project_id)
    few = of_project.where(to.in_(selection.among)).limit(FEW + 1).subquery()
    if connection.execute(select(func.count()).select_from(few)).scalar_one() <= FEW:
        query = select(few.c.event_id).where(*_in_range(few.c.event_id, selection, only))
    else:
        # As a term on SQLite: else that index would be taken. PostgreSQL knows how many they are.
        shared = connection.dialect.name == "postgresql"
        query = of_project.where(
            (to if shared else func.coalesce(to, to)).in_(selection.among),
            *_in_range(deliveries.c.event_id, selection, only),
        )
    # In their order and no more than are counted, or else PostgreSQL tells all of them apart first.
    (event_id,) = query.selected_columns
    looked = selection.owner is not None or selection.sources
    most = LOOKED_MAX if looked else COUNTED_MAX
    return query.distinct().order_by(event_id).limit(most).subquery("owed")


def _in_range(
    key: ColumnElement[Id], selection: Selection, only: Id | None
) -> tuple[ColumnElement[bool], ...]:
    if only is not None:
        return (key.between(only, only),)
    return (key >= selection.begin, key < selection.end)


def read_slice(
    connection: Connection, replay: Replay, *, with_payload: bool, most: int | None = None
) -> Slice:
    """Read the next events of a job.

    The event at its position is among them where it is not done for all subscriptions.

    Args:
        connection: where from.
        replay: the job.
        with_payload: else each payload is `null`, and stays where it is.
        most: so many events at most; None: `SLICE`.
    """
    limit = SLICE if most is None else min(most, SLICE)
    near, far = _bounds(replay)
    rows = connection.execute(
        _SLICE[replay.plan.order],
        {"of_project": replay.project_id, "near": near, "far": far, "most": limit},
    ).all()
    looked_at = [row.id for row in rows]
    whole = Slice(
        [event for event in map(_event, rows) if _is_meant(replay, event)],
        looked_at,
        ended=len(rows) < limit,
    )
    if not with_payload:
        return whole
    loaded = _load(connection, replay.project_id, whole.found[:_LOADED])
    if len(loaded) == len(whole.found):
        return msgspec.structs.replace(whole, found=loaded)
    return Slice(loaded, looked_at[: whole.place(loaded[-1].id)], ended=False)


def _bounds(replay: Replay) -> tuple[Id, Id]:
    """Return where a job goes on, in its order, and where its range ends."""
    at = replay.position
    begin, end = ids.lowest(replay.begin_us), ids.lowest(replay.end_us)
    if replay.plan.order is Order.OLDEST_FIRST:
        first = at if replay.within is not None else ids.following(at)
        return max(first, begin), end
    last = ids.following(at) if replay.within is not None else at
    return min(last, end), begin


def _is_meant(replay: Replay, event: Event) -> bool:
    plan = replay.plan
    # Who is sent what it need not have asked for is sent no system events, unless they are named.
    every = () if plan.route is not Route.TO else (ALL,)
    wanted = plan.event_types or every
    if wanted and not takes_type(wanted, event.type):
        return False
    return plan.owner is None or event.attributes.owner == plan.owner


def _load(connection: Connection, project_id: Id, found: Sequence[Event]) -> list[Event]:
    """Return the first of these events with their payloads: at least one, and not too heavy."""
    loaded: list[Event] = []
    weight = 0
    for event in found:
        payload = connection.execute(
            select(events.c.payload).where(
                events.c.project_id == project_id, events.c.id == event.id
            )
        ).scalar_one_or_none()
        loaded.append(msgspec.structs.replace(event, payload=payload or event.payload))
        weight += len(loaded[-1].payload)
        if weight >= pages.PAGE_BYTES:
            break
    return loaded


def read_past(
    connection: Connection, project_id: Id, event_ids: Sequence[Id], of: Id | None = None
) -> list[Past]:
    """Return what became of these events' last deliveries that ended, pair by pair.

    Args:
        connection: where from.
        project_id: whose.
        event_ids: the events.
        of: only to this subscription; None: to all.
    """
    if not event_ids:
        return []
    wanted = {"of_project": project_id, "event_ids": list(event_ids)}
    if of is None:
        rows = connection.execute(_PAST, wanted)
    else:
        rows = connection.execute(_PAST_OF, {**wanted, "of_subscription": of})
    last = {
        (event_id, to): _past_state(state, diverted=diverted)
        for event_id, to, state, diverted in rows
    }
    return [Past(*pair, state) for pair, state in last.items()]


def read_pending(connection: Connection, project_id: Id, event_ids: Sequence[Id]) -> set[Pair]:
    """Return which of these events are owed to whom, or are about to be."""
    if not event_ids:
        return set()
    rows = connection.execute(
        _PENDING[connection.dialect.name],
        {"project_id": project_id, "event_ids": list(event_ids)},
    )
    pending: set[Pair] = {(event_id, to) for event_id, to in rows}
    return pending | read_spreading(connection, project_id, event_ids)


def read_spreading(connection: Connection, project_id: Id, event_ids: Sequence[Id]) -> set[Pair]:
    """Return to whom the fan-outs of these events bring them, or have brought them."""
    spreading = connection.execute(
        _SPREADING, {"of_project": project_id, "event_ids": list(event_ids)}
    )
    return {
        (event_id, them[at : at + ids.ID_BYTES])
        for event_id, them in spreading
        for at in range(0, len(them), ids.ID_BYTES)
    }


def _past_state(state: int, *, diverted: bool) -> PastState:
    if state == DeliveryState.FAILED:
        return PastState.DIVERTED if diverted else PastState.FAILED
    return _PAST_STATES[state]


def _event(row: Any) -> Event:
    attributes = NO_ATTRIBUTES if row.attributes is None else _decode_attributes(row.attributes)
    return Event(row.project_id, row.id, row.type, _NULL, attributes, row.routing_version)
