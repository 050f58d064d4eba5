"""Chains: what is owed of one ordering key, by sequence; and those who wait behind a blocked one.

A delivery that stands in the way of others is parked: it is of a class that no refill reads, and is
found again by its key alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, select, text

from waypost.model.delivery import PARKED
from waypost.model.ids import ID_BYTES, Id
from waypost.model.subscription import Ordering
from waypost.policy.chains import WHOLE, Asked
from waypost.policy.waits import Chained
from waypost.storage import ordering
from waypost.storage.order_tables import blocked_keys

DEEP: Final = 16
"""So many deliveries of a key are read at once; and"""

DEEP_STRICT: Final = 64
"""so many of a strict subscription, which has one chain."""

COUNTED: Final = 10_000
"""Up to so many deliveries are counted that go before one."""

_COLUMNS: Final = (
    "q.id, q.event_id, q.class, q.due_us, q.attempts, q.replay_id, q.ordering_key, q.sequence,"
    " e.type, e.attributes, e.routing_version,"
    " CASE WHEN length(e.payload) <= :payload_max THEN e.payload END AS payload"
)
_EVENT: Final = "JOIN events AS e ON e.project_id = :project_id AND e.id = q.event_id"
_OF_LANE: Final = (
    "queue.project_id = :project_id AND queue.subscription_id = :subscription_id"
    " AND queue.sequence IS NOT NULL"
)
_TO_COME: Final = {
    dialect: (
        f" AND queue.sequence < coalesce((SELECT f.sequence FROM fan_outs AS f {{by}}"
        " WHERE f.project_id = :project_id AND f.sequence IS NOT NULL {of_key}"
        f" AND {place} > f.position * {ID_BYTES} ORDER BY f.sequence LIMIT 1), {2**63 - 1})"
    )
    for dialect, place in (
        ("sqlite", "instr(f.subscriptions, :subscription_id)"),
        ("postgresql", "position(:to IN f.subscriptions)"),
    )
}
"""Up to the first event that a great fan-out has still to bring to the subscription: what was
accepted behind that waits for it. Asked in the statement that reads a chain, so that both are of
one moment."""

_CHAINS: Final = {
    "sqlite": text(
        f"SELECT {_COLUMNS} FROM json_each(:keys) AS k CROSS JOIN queue AS q"
        " ON q.project_id = :project_id AND q.id IN (SELECT queue.id FROM queue"
        f" INDEXED BY ix_queue_key WHERE {_OF_LANE} AND queue.ordering_key = k.value"
        + _TO_COME["sqlite"].format(
            by="INDEXED BY ix_fan_outs_key", of_key="AND f.ordering_key = k.value"
        )
        + f" ORDER BY queue.sequence, queue.id LIMIT :deep) {_EVENT}"
    ),
    "postgresql": text(
        f"SELECT {_COLUMNS} FROM jsonb_array_elements_text(CAST(:keys AS jsonb)) AS k (value)"
        " CROSS JOIN LATERAL (SELECT queue.* FROM queue"
        f" WHERE {_OF_LANE} AND queue.ordering_key = k.value"
        + _TO_COME["postgresql"].format(by="", of_key="AND f.ordering_key = k.value")
        + f" ORDER BY queue.sequence, queue.id LIMIT :deep) AS q {_EVENT}"
    ),
}
_CHAIN: Final = {
    dialect: text(
        f"SELECT {_COLUMNS} FROM (SELECT queue.* FROM queue {by} WHERE {_OF_LANE}"
        + _TO_COME[dialect].format(by=by_sequence, of_key="")
        + f" ORDER BY queue.sequence, queue.id LIMIT :deep) AS q {_EVENT}"
    )
    for dialect, by, by_sequence in (
        ("sqlite", "INDEXED BY ix_queue_sequence", "INDEXED BY ix_fan_outs_sequence"),
        ("postgresql", "", ""),
    )
}
_KEYS: Final = {
    dialect: text(
        f"WITH RECURSIVE keys (name) AS (SELECT min(queue.ordering_key) FROM queue {by}"
        f" WHERE {_OF_LANE} AND queue.ordering_key > :behind UNION ALL"
        f" SELECT (SELECT min(queue.ordering_key) FROM queue {by} WHERE {_OF_LANE}"
        " AND queue.ordering_key > keys.name) FROM keys WHERE keys.name IS NOT NULL)"
        " SELECT name FROM keys WHERE name IS NOT NULL LIMIT :most"
    )
    for dialect, by in (("sqlite", "INDEXED BY ix_queue_key"), ("postgresql", ""))
}
_BLOCKED: Final = select(
    blocked_keys.c.ordering_key,
    blocked_keys.c.sequence,
    blocked_keys.c.delivery_id,
    blocked_keys.c.event_id,
).where(
    blocked_keys.c.project_id == bindparam("project_id"),
    blocked_keys.c.subscription_id == bindparam("subscription_id"),
    blocked_keys.c.ordering_key.in_(bindparam("keys", expanding=True)),
)


class Placed(msgspec.Struct, frozen=True):
    """A delivery that a refill has found, as far as its place is concerned.

    Attributes:
        ordering_key: of its event.
        sequence: its place in the order of acceptance; None: it has none.
    """

    id: Id
    ordering_key: str | None
    sequence: int | None


class Read(msgspec.Struct, frozen=True):
    """What was read for the order of a lane.

    Attributes:
        rows: by key, the beginning of each chain that was read and may be sent, by sequence.
        blocks: of these keys, those that are blocked, with the events that they are blocked by.
        parkable: of what was found, the deliveries that are not the first of an open chain.
        behind: keys behind this one are still to be looked for; None: none are.
    """

    rows: dict[str, list[Any]]
    blocks: dict[str, Id]
    parkable: list[Id]
    behind: str | None


def read(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    asked: Asked,
    found: Sequence[Placed],
    *,
    payload_max: int,
) -> Read:
    """Read the chains of the keys that are asked for, and of those that are found.

    Args:
        connection: where to look.
        project_id: the project.
        subscription_id: whose lane.
        asked: what the lane asks for.
        found: what a refill has found that has a place in a chain.
        payload_max: payloads that are larger are left out.
    """
    lane = {"project_id": project_id, "subscription_id": subscription_id}
    scanned, behind = _scan(connection, lane, asked)
    of_found = (WHOLE if asked.strict else one.ordering_key or WHOLE for one in found)
    keys_of = dict.fromkeys((*asked.wanted, *scanned, *of_found))
    wanted = [key for key in keys_of if key not in asked.busy]
    if not wanted:
        return Read({}, {}, [one.id for one in found], behind)
    chains: dict[str, list[Any]] = {}
    dialect = connection.dialect.name
    named = {**lane, "payload_max": payload_max}
    if dialect == "postgresql":
        named["to"] = subscription_id  # as bytes, which on SQLite ids are anyway
    if asked.strict:
        chains[WHOLE] = list(connection.execute(_CHAIN[dialect], {**named, "deep": DEEP_STRICT}))
    else:
        keys = msgspec.json.encode(wanted).decode()
        for row in connection.execute(_CHAINS[dialect], {**named, "deep": DEEP, "keys": keys}):
            chains.setdefault(row.ordering_key, []).append(row)
    blocked = connection.execute(_BLOCKED, {**lane, "keys": wanted}).all()
    opened = _open(chains, {row.ordering_key: row.sequence for row in blocked})
    blocks = {row.ordering_key: row.event_id for row in blocked if row.ordering_key in opened}
    heads = {rows[0].id for rows in opened.values()}
    return Read(opened, blocks, [one.id for one in found if one.id not in heads], behind)


def find_block(
    connection: Connection, project_id: Id, subscription_id: Id, ordering_key: str
) -> Any:
    """Return the delivery that blocks a key; None where it is not blocked."""
    lane = {"project_id": project_id, "subscription_id": subscription_id}
    return connection.execute(_BLOCKED, {**lane, "keys": [ordering_key]}).one_or_none()


def _scan(
    connection: Connection, lane: dict[str, Any], asked: Asked
) -> tuple[Sequence[str], str | None]:
    """Return the next keys of what is owed, and behind which one to go on."""
    if asked.behind is None:
        return (), None
    named = {**lane, "behind": asked.behind, "most": asked.most}
    keys = connection.execute(_KEYS[connection.dialect.name], named).scalars().all()
    return keys, keys[-1] if len(keys) == asked.most else None


def _open(chains: dict[str, list[Any]], until: dict[str, int]) -> dict[str, list[Any]]:
    """Return what of chains may be sent, by sequence: of a blocked one, up to its block."""
    opened: dict[str, list[Any]] = {}
    for key, rows in chains.items():
        last = until.get(key)
        free = [row for row in rows if last is None or row.sequence <= last]
        if free:
            opened[key] = sorted(free, key=_place)
    return opened


def _place(row: Any) -> tuple[int, Id]:
    return row.sequence, row.id


def park(
    connection: Connection,
    project_id: Id,
    subscription_id: Id,
    delivery_ids: Iterable[Id],
    now_us: int,
) -> None:
    """Park deliveries of a subscription, if it still keeps an order. Call it in a write only.

    One that was tried before is due as soon as its turn comes.
    """
    # Locked against its change: what is parked when it keeps no order any more is found by nobody.
    terms = ordering.held(connection, project_id, subscription_id)
    if terms is None or terms.ordering is Ordering.NONE:
        return
    connection.execute(
        _PARK,
        [
            {"project_id": project_id, "id": one, "parked": PARKED, "now_us": now_us}
            for one in delivery_ids
        ],
    )


_PARK: Final = text(
    "UPDATE queue SET class = :parked, due_us = CASE WHEN attempts = 0 THEN due_us ELSE :now_us END"
    " WHERE queue.project_id = :project_id AND queue.id = :id AND queue.sequence IS NOT NULL"
)
_OPEN: Final = "CASE WHEN attempts > 0 THEN 1 WHEN replay_id IS NULL THEN 0 ELSE 2 END"
"""The class of a delivery that is parked no more."""

_UNPARK: Final = {
    dialect: text(
        f"UPDATE queue SET class = {_OPEN} WHERE queue.project_id = :project_id"
        f" AND queue.id IN (SELECT queue.id FROM queue {by}"
        " WHERE queue.project_id = :project_id AND queue.subscription_id = :subscription_id"
        f" AND queue.class = {PARKED} LIMIT :most)"
    )
    for dialect, by in (("sqlite", "INDEXED BY ix_queue_lane"), ("postgresql", ""))
}
_UNPARK_KEYLESS: Final = {
    dialect: text(
        f"UPDATE queue SET class = {_OPEN} WHERE queue.project_id = :project_id"
        f" AND queue.id IN (SELECT queue.id FROM queue {by} WHERE {_OF_LANE}"
        f" AND queue.ordering_key IS NULL AND queue.class = {PARKED} LIMIT :most)"
    )
    for dialect, by in (("sqlite", "INDEXED BY ix_queue_key"), ("postgresql", ""))
}
_UNPARK_FIRST: Final = text(
    f"UPDATE queue SET class = {_OPEN}"
    f" WHERE queue.project_id = :project_id AND queue.class = {PARKED} AND queue.id ="
    f" (SELECT queue.id FROM queue WHERE {_OF_LANE}"
    " AND (:ordering_key = '' OR queue.ordering_key = :ordering_key)"
    " ORDER BY queue.sequence, queue.id LIMIT 1)"
)


def unpark(
    connection: Connection, project_id: Id, subscription_id: Id, *, keyless: bool, most: int
) -> int:
    """Let refills find what is parked by an order that was changed. Call it in a write only.

    Args:
        connection: inside the write.
        project_id: the project.
        subscription_id: whose deliveries.
        keyless: only those without an ordering key, which one that is sent to by key finds so.
        most: so many at most.

    Returns:
        How many were found; fewer than `most` when none is left.
    """
    statements = _UNPARK_KEYLESS if keyless else _UNPARK
    found = connection.execute(
        statements[connection.dialect.name],
        {"project_id": project_id, "subscription_id": subscription_id, "most": most},
    )
    return found.rowcount


def unpark_first(
    connection: Connection, project_id: Id, subscription_id: Id, ordering_key: str
) -> None:
    """Let refills find the first delivery of a chain, and by it the chain."""
    connection.execute(
        _UNPARK_FIRST,
        {
            "project_id": project_id,
            "subscription_id": subscription_id,
            "ordering_key": ordering_key,
        },
    )


def find_place(
    connection: Connection, project_id: Id, subscription_id: Id, mode: Ordering, delivery_id: Id
) -> Chained | None:
    """Return the place of a delivery in the order of its subscription; None where it has none.

    Those before it are counted up to `COUNTED`.
    """
    lane = {"project_id": project_id, "subscription_id": subscription_id}
    found = {"project_id": project_id, "id": delivery_id}
    row = connection.execute(_PLACE_OF, found).one_or_none()
    is_strict = mode is Ordering.STRICT
    if mode is Ordering.NONE or row is None or (row.ordering_key is None and not is_strict):
        return None
    key = WHOLE if is_strict else row.ordering_key
    place = {"sequence": row.sequence, "id": delivery_id, "key": key, "most": COUNTED + 1}
    count = connection.execute(_AHEAD[is_strict][connection.dialect.name], {**lane, **place})
    ahead = count.scalar_one()
    block = find_block(connection, project_id, subscription_id, key)
    blocked = block is not None and row.sequence > block.sequence
    return Chained(key or None, min(ahead, COUNTED), ahead <= COUNTED, blocked)


_PLACE_OF: Final = text(
    "SELECT queue.ordering_key, queue.sequence FROM queue WHERE queue.project_id = :project_id"
    " AND queue.id = :id AND queue.sequence IS NOT NULL"
)
_AHEAD: Final = {
    is_strict: {
        dialect: text(
            f"SELECT count(*) FROM (SELECT 1 FROM queue {by} WHERE {_OF_LANE} {of_key}"
            " AND queue.sequence <= :sequence AND (queue.sequence < :sequence OR queue.id < :id)"
            " LIMIT :most) AS before"
        )
        for dialect, by in (("sqlite", f"INDEXED BY {index}"), ("postgresql", ""))
    }
    for is_strict, index, of_key in (
        (False, "ix_queue_key", "AND queue.ordering_key = :key"),
        (True, "ix_queue_sequence", "AND :key = ''"),
    )
}
