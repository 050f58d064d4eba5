"""The queue: what is owed, read lane by lane, and cleared for subscriptions that are no more."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, or_, select, text

from waypost.model.delivery import PARKED, DeliveryClass, DeliveryState, Owed, Reason
from waypost.model.event import NO_ATTRIBUTES, Attributes, Event
from waypost.model.ids import FIRST, Id, lowest
from waypost.policy.chains import WHOLE, Asked
from waypost.policy.ending import Span
from waypost.storage import chains, holding
from waypost.storage.holding import Held
from waypost.storage.postgres import lanes as postgres_lanes
from waypost.storage.postgres import rows as postgres_rows
from waypost.storage.schema import queue
from waypost.storage.sqlite import hot
from waypost.storage.sqlite.connection import raw

PASSED_OVER_MAX: Final = 256
"""So many known deliveries are passed over by a statement; others are read once more."""

_decode_attributes = msgspec.msgpack.Decoder(Attributes).decode

_LANE = text(
    "SELECT q.id, q.event_id, q.class, q.due_us, q.attempts, q.replay_id, q.ordering_key, "
    "q.sequence, e.type, e.attributes, "
    "e.routing_version, CASE WHEN length(e.payload) <= :payload_max THEN e.payload END AS payload "
    "FROM (SELECT * FROM queue WHERE project_id = :project_id "
    "AND subscription_id = :subscription_id AND class = :class "
    "ORDER BY due_us, id LIMIT :limit) AS q "
    "JOIN events AS e ON e.project_id = :project_id AND e.id = q.event_id "
    "ORDER BY q.due_us, q.id"
)
_LANES = text(
    "WITH RECURSIVE lane (project_id, subscription_id) AS ("
    "SELECT * FROM (SELECT project_id, subscription_id FROM queue "
    "ORDER BY subscription_id LIMIT 1) AS first "
    "UNION ALL SELECT next.* FROM lane CROSS JOIN LATERAL "
    "(SELECT q.project_id, q.subscription_id FROM queue AS q "
    "WHERE q.subscription_id > lane.subscription_id ORDER BY q.subscription_id LIMIT 1) AS next) "
    "SELECT project_id, subscription_id FROM lane"
)
"""For PostgreSQL: SQLite, to which a statement is a call, looks for one lane after the other."""

_NEXT_LANE = text(
    "SELECT project_id, subscription_id FROM queue WHERE "
    "(project_id, subscription_id) > (:project_id, :subscription_id) "
    "ORDER BY project_id, subscription_id LIMIT 1"
)
_EVENT = text(
    "SELECT type, payload, attributes, routing_version FROM events "
    "WHERE project_id = :project_id AND id = :id"
)
_OF_SUBSCRIPTION = {
    dialect: text(
        f"SELECT id, event_id, attempts FROM queue {by_index} "
        "WHERE project_id = :project_id AND subscription_id = :subscription_id "
        "ORDER BY class, due_us LIMIT :limit"
    )
    # What SQLite guesses without statistics is a walk through the project.
    for dialect, by_index in (("sqlite", "INDEXED BY ix_queue_lane"), ("postgresql", ""))
}
_OF_SPAN = {
    dialect: text(
        f"SELECT id, event_id, attempts FROM queue {by_index} "
        "WHERE project_id = :project_id AND subscription_id = :subscription_id "
        # Nothing is due before it is made: so the index passes over what was made before.
        "AND class = :class AND due_us >= :since_us AND id >= :first AND id < :behind "
        "ORDER BY due_us LIMIT :limit"
    )
    for dialect, by_index in (("sqlite", "INDEXED BY ix_queue_lane"), ("postgresql", ""))
}


class LaneRow(msgspec.Struct, frozen=True):
    """A delivery of a lane, with its event.

    Attributes:
        event: None where the payload is too large.
        ordering_key: that of the event.
        sequence: its place in the order of acceptance; None: it has none.
    """

    owed: Owed
    event: Event | None
    ordering_key: str | None = None
    sequence: int | None = None


class LaneHead(msgspec.Struct, frozen=True):
    """The head of a lane's queue, by due time.

    Attributes:
        cut_us: where there are more, the due time from which some may be missing.
        chains: where the lane keeps an order, the beginnings of its chains, by key; what has its
            place in one is not among `rows`.
        parkable: deliveries that have to wait for others.
        blocks: of these keys, those that are blocked, with the events that they are blocked by.
        behind: keys behind this one are still to be looked for; None: none are.
        replays_cut_us: where the lane keeps no order, what `cut_us` is for replays alone; that is
            then for all else.
    """

    rows: list[LaneRow]
    cut_us: int | None
    chains: dict[str, list[LaneRow]] = {}
    parkable: list[Id] = []
    blocks: dict[str, Id] = {}
    behind: str | None = None
    replays_cut_us: int | None = None


class LaneWanted(msgspec.Struct, frozen=True):
    """A lane whose head is to be read.

    Attributes:
        most: how many deliveries of each class at most, beside those that are known.
        known: deliveries that need not be read; they may be all the same.
        asked: what is to be read for the order of the lane; None: it keeps none.
        now_us: the present, UTC microseconds; what is put off has no place in an order before.
    """

    project_id: Id
    subscription_id: Id
    most: int
    known: Collection[Id] = ()
    asked: Asked | None = None
    now_us: int = 0


def read_heads(
    connection: Connection, lanes: Sequence[LaneWanted], *, payload_max: int
) -> list[LaneHead]:
    """Read the most urgent deliveries of lanes.

    Events whose payload is larger than `payload_max` bytes are left out; they are loaded to send.
    """
    if connection.dialect.name == "postgresql":
        heads = _read_heads(connection, lanes, payload_max)
    else:
        heads = [_read_head(connection, lane, payload_max) for lane in lanes]
    return [
        head if lane.asked is None else _in_order(connection, lane, lane.asked, head, payload_max)
        for lane, head in zip(lanes, heads, strict=True)
    ]


def _in_order(
    connection: Connection, lane: LaneWanted, asked: Asked, head: LaneHead, payload_max: int
) -> LaneHead:
    """Return the head of a lane that keeps an order: what has no place, and beginnings of chains.

    To a strict subscription, what has no place goes first, as it came or was due: it was accepted
    before its project's events were numbered, or was put off.
    """
    placed: list[LaneRow] = []
    others: list[LaneRow] = []
    for row in head.rows:
        has_place = row.sequence is not None and (asked.strict or row.ordering_key is not None)
        (placed if has_place else others).append(row)
    placed = [row for row in placed if row.owed.id not in lane.known]
    cut_us = min((us for us in (head.cut_us, head.replays_cut_us) if us is not None), default=None)
    if asked.strict:
        put_off_us = [row.owed.due_us for row in others if _is_put_off(row.owed, lane.now_us)]
        cut_us = min([*put_off_us, *([] if cut_us is None else [cut_us])], default=None)
        first, block = _unplaced(connection, lane, others)
        if first:
            whole = {} if WHOLE in asked.busy else {WHOLE: first}
            blocks = {} if block is None else {WHOLE: block.event_id}
            return LaneHead([], cut_us, whole, [row.owed.id for row in placed], blocks)
        others = []
    found = [chains.Placed(row.owed.id, row.ordering_key, row.sequence) for row in placed]
    read = chains.read(
        connection, lane.project_id, lane.subscription_id, asked, found, payload_max=payload_max
    )
    rows = {
        key: [_lane_row(lane.project_id, lane.subscription_id, row) for row in of_key]
        for key, of_key in read.rows.items()
    }
    return LaneHead(others, cut_us, rows, read.parkable, read.blocks, read.behind)


def _unplaced(
    connection: Connection, lane: LaneWanted, rows: Sequence[LaneRow]
) -> tuple[list[LaneRow], Any]:
    """Return what goes first at a strict subscription, of what has no place; and what blocks it.

    A block stands between what was made until its delivery was, and what came or was due later.
    """
    waiting = [row for row in rows if not _is_put_off(row.owed, lane.now_us)]
    if not waiting:
        return [], None
    waiting.sort(key=lambda row: row.owed.id)
    block = chains.find_block(connection, lane.project_id, lane.subscription_id, WHOLE)
    if block is not None:
        waiting = [
            row
            for row in waiting
            if row.owed.id <= block.delivery_id or row.owed.event_id == block.event_id
        ]
    return waiting[: chains.DEEP_STRICT], block


def _is_put_off(owed: Owed, now_us: int) -> bool:
    """Tell whether a delivery is due later though it was never tried."""
    return owed.attempts == 0 and owed.due_us > now_us


def _read_head(connection: Connection, lane: LaneWanted, payload_max: int) -> LaneHead:
    limit = lane.most + len(lane.known)
    found: list[Any] = []
    for kind in DeliveryClass:
        found += connection.execute(
            _LANE,
            {
                "project_id": lane.project_id,
                "subscription_id": lane.subscription_id,
                "class": int(kind),
                "limit": limit,
                "payload_max": payload_max,
            },
        )
    return _head(lane, found, limit)


def _read_heads(
    connection: Connection, lanes: Sequence[LaneWanted], payload_max: int
) -> list[LaneHead]:
    passed_over: list[Id] = []
    limits: list[int] = []
    for lane in lanes:
        # A few are passed over, which is cheaper than to read them; each row is compared with all.
        few = len(passed_over) + len(lane.known) <= PASSED_OVER_MAX
        passed_over += lane.known if few else ()
        limits.append(lane.most if few else lane.most + len(lane.known))
    wanted = [
        (lane.project_id, lane.subscription_id, limit)
        for lane, limit in zip(lanes, limits, strict=True)
    ]
    parts: list[list[Any]] = [[] for _ in lanes]
    for row in postgres_lanes.heads(connection, wanted, passed_over, payload_max=payload_max):
        parts[row[0] - 1].append(row[1:])
    return [_head(*part) for part in zip(lanes, parts, limits, strict=True)]


def _head(lane: LaneWanted, found: Sequence[Any], limit: int) -> LaneHead:
    """Return the head of a lane, of which at most `limit` rows of each class were read."""
    rows = [_lane_row(lane.project_id, lane.subscription_id, row) for row in found]
    rows.sort(key=_due)
    cuts: dict[DeliveryClass, int] = {}
    for kind in DeliveryClass:
        last_us = [row.owed.due_us for row in rows if row.owed.kind is kind][limit - 1 :]
        if last_us:
            cuts[kind] = last_us[-1]
    replays_cut_us = cuts.pop(DeliveryClass.REPLAY, None)
    return LaneHead(rows, min(cuts.values(), default=None), replays_cut_us=replays_cut_us)


def _due(row: LaneRow) -> tuple[int, Id]:
    return row.owed.due_us, row.owed.id


def _lane_row(project_id: Id, subscription_id: Id, row: Any) -> LaneRow:
    identifier, event_id, kind, due_us, attempts, replay_id, ordering_key, sequence, *rest = row
    name, attributes, version, payload = rest
    if kind == PARKED:
        first = DeliveryClass.FRESH if replay_id is None else DeliveryClass.REPLAY
        kind = DeliveryClass.RETRY if attempts else first
    owed = Owed(
        project_id=project_id,
        id=identifier,
        event_id=event_id,
        subscription_id=subscription_id,
        kind=DeliveryClass(kind),
        due_us=due_us,
        attempts=attempts,
        replay_id=replay_id,
    )
    event = None
    if payload is not None:
        event = Event(project_id, event_id, name, payload, _attributes(attributes), version)
    return LaneRow(owed, event, ordering_key, sequence)


def _attributes(blob: bytes | None) -> Attributes:
    return NO_ATTRIBUTES if blob is None else _decode_attributes(blob)


def find_event(connection: Connection, project_id: Id, event_id: Id) -> Event | None:
    """Return an event with its payload, or None where retention has taken it."""
    row = connection.execute(_EVENT, {"project_id": project_id, "id": event_id}).one_or_none()
    if row is None:
        return None
    attributes = _attributes(row.attributes)
    return Event(project_id, event_id, row.type, row.payload, attributes, row.routing_version)


def find_untried(connection: Connection, places: Sequence[tuple[Id, Id]]) -> list[Owed]:
    """Return those of some deliveries, named by (project, delivery), that were not tried yet."""
    of, by, fresh = queue.c.project_id, queue.c.id, DeliveryClass.FRESH
    named = or_(*((of == project_id) & (by == identifier) for project_id, identifier in places))
    untried = named & (queue.c["class"] == int(fresh)) & (queue.c.attempts == 0)
    return [
        Owed(row.project_id, row.id, row.event_id, row.subscription_id, fresh, row.due_us)
        for row in connection.execute(select(queue).where(untried))
    ]


def list_lanes(connection: Connection) -> list[tuple[Id, Id]]:
    """Return every (project, subscription) that is owed something.

    Sweeps all projects, by one look-up in the index for each lane, however long the queue is.
    """
    if connection.dialect.name == "postgresql":
        return [(row[0], row[1]) for row in connection.execute(_LANES)]
    lanes: list[tuple[Id, Id]] = []
    at: tuple[Id, Id] = (FIRST, FIRST)
    while True:
        row = connection.execute(
            _NEXT_LANE, {"project_id": at[0], "subscription_id": at[1]}
        ).one_or_none()
        if row is None:
            return lanes
        at = (row[0], row[1])
        lanes.append(at)


def insert(
    connection: Connection, owed: Sequence[Owed], held: Mapping[Id, Held] | None = None
) -> None:
    """Put deliveries into the queue, with the places of their events. Call it in a write only.

    Args:
        connection: inside the write.
        owed: deliveries, all of one replay, or of none.
        held: their events, which have their places for ever; None: they are read here.
    """
    if not owed:
        return
    replay_id = owed[0].replay_id
    places = holding.read_places(connection, owed) if held is None else held
    rows = [(*owed_row(one), *holding.place_of(places.get(one.event_id))) for one in owed]
    if connection.dialect.name == "postgresql":
        postgres_rows.insert_queue(connection, rows, replay_id)
    else:
        owing = [(*row, replay_id) for row in rows]
        hot.INSERT_OWED.run(raw(connection).cursor(), owing)


def owed_row(owed: Owed) -> tuple[Any, ...]:
    """Return the row of a delivery that is owed, the replay aside."""
    return (
        owed.project_id,
        owed.id,
        owed.event_id,
        owed.subscription_id,
        int(owed.kind),
        owed.due_us,
        owed.attempts,
    )


def clear(  # noqa: PLR0913 - one statement's arguments
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    *,
    state: DeliveryState,
    reason: Reason,
    divert: bool,
    now_us: int,
    sparing: Collection[Id],
    span: Span | None = None,
    but_replays: bool = False,
    limit: int = 500,
) -> int:
    """End up to `limit` deliveries of a subscription without trying them.

    Args:
        connection: inside a write.
        project_id: the project.
        subscription_id: whose deliveries.
        state: their final state.
        reason: why they were not tried.
        divert: put them into the dead-letter box.
        now_us: the present, UTC microseconds.
        sparing: deliveries that are left as they are, because a try is in flight.
        span: only deliveries that were made in it.
        but_replays: those in the span that somebody has asked for stay owed.
        limit: how many at most.

    Returns:
        How many were ended; 0 when none is left.
    """
    place = (project_id, subscription_id)
    found = _find_owed(connection, place, span, limit + len(sparing), but_replays=but_replays)
    ended = [row for row in found if row.id not in sparing][:limit]
    return _end(
        connection,
        place,
        ended,
        state=state,
        reason=reason,
        divert=divert,
        now_us=now_us,
    )


def expire(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    delivery_ids: Collection[Id],
    *,
    now_us: int,
) -> int:
    """End deliveries of a subscription that are worth nothing any more; return how many.

    Those that are not owed any more, by whomever they were ended, stay as they are.
    """
    found = connection.execute(
        select(queue.c.id, queue.c.event_id, queue.c.attempts).where(
            queue.c.project_id == project_id, queue.c.id.in_(delivery_ids)
        )
    ).all()
    return _end(
        connection,
        (project_id, subscription_id),
        found,
        state=DeliveryState.FAILED,
        reason=Reason.EXPIRED,
        divert=False,
        now_us=now_us,
    )


def _end(
    connection: Connection,
    lane: tuple[Id, Id],
    ended: Sequence[Any],
    *,
    state: DeliveryState,
    reason: Reason,
    divert: bool,
    now_us: int,
) -> int:
    """Take rows out of the queue without a try; return how many."""
    project_id, subscription_id = lane
    if connection.dialect.name == "postgresql":
        return postgres_rows.end_untried(
            connection,
            project_id,
            subscription_id,
            [row.id for row in ended],
            state=int(state),
            reason=reason.value,
            divert=divert,
            now_us=now_us,
        )
    hot.end_untried(
        raw(connection).cursor(),
        project_id,
        subscription_id,
        [(row.id, row.event_id, row.attempts) for row in ended],
        state=int(state),
        reason=reason.value,
        divert=divert,
        now_us=now_us,
    )
    return len(ended)


def _find_owed(
    connection: Connection,
    lane: tuple[Id, Id],
    span: Span | None,
    limit: int,
    *,
    but_replays: bool,
) -> list[Any]:
    place = {"project_id": lane[0], "subscription_id": lane[1], "limit": limit}
    dialect = connection.dialect.name
    if span is None:
        return list(connection.execute(_OF_SUBSCRIPTION[dialect], place))
    since_us, behind_us = span
    made = {"since_us": since_us, "first": lowest(since_us), "behind": lowest(behind_us)}
    return [
        row
        for kind in (*DeliveryClass, PARKED)
        if not (but_replays and kind is DeliveryClass.REPLAY)
        for row in connection.execute(_OF_SPAN[dialect], {**place, **made, "class": int(kind)})
    ]
