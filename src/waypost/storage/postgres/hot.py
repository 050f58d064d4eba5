"""The few statements that run for every event, written by hand for PostgreSQL.

Each does everything for a whole batch, in one statement and so in one transaction: its rows come as
arrays, one for each column.

A plan is made once for a session, and the table that it looks rows up in may be empty then. To the
planner it is as good, then, to go through all of the table and look for each row in the batch; and
that stays the plan when the table holds a million rows. So the first column of its primary key is
compared with `= ANY (ARRAY[…])` of one element. Tables can't be merged by that, so there is nothing
that the order of the whole index would be good for, and no plan but to look in it for each row of
the batch. No other index fits: see `schema`.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from psycopg.pq.abc import PGresult

from waypost.model.delivery import DeliveryState
from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.postgres.arrays import (
    ARRAY_OF,
    BYTEA,
    INT2,
    INT4,
    INT8,
    TEXT,
    UUID,
    byteas,
    int2s,
    int4s,
    int8s,
    texts,
    uuids,
)
from waypost.storage.postgres.session import Statement

Values = list[bytes | None]

_ROUTING: Final = (UUID, INT8)
_EVENTS: Final = (UUID, UUID, TEXT, BYTEA, BYTEA, INT8)
_OWED: Final = (UUID, UUID, UUID, UUID, INT2, INT8, INT4)
_FAN_OUTS: Final = (UUID, UUID, BYTEA, INT4)
_KEYS: Final = (UUID, TEXT, UUID, BYTEA, INT8)
_COUNTERS: Final = (UUID, TEXT, INT8)
_PLACES: Final = (INT4, INT8, TEXT, INT4, INT8, TEXT, INT4, INT8)

_ACCEPT: Final = """
WITH stale AS MATERIALIZED (
  SELECT 1 FROM unnest($1, $2) AS g(project_id, version)
  LEFT JOIN projects AS p ON p.id = ANY (ARRAY[g.project_id])
  WHERE p.routing_version IS DISTINCT FROM g.version
){keys}{counted}, written AS (
  INSERT INTO events (project_id, id, type, payload, attributes, routing_version{event_into})
  SELECT g.project_id, g.id, g.type, g.payload, g.attributes, g.routing_version{event_place}
  FROM unnest($3, $4, $5, $6, $7, $8{event_given})
    AS g(project_id, id, type, payload, attributes, routing_version{event_names})
  WHERE NOT EXISTS (SELECT FROM stale){event_won}
), owed AS (
  INSERT INTO queue
    (project_id, id, event_id, subscription_id, class, due_us, attempts{owed_into})
  SELECT g.project_id, g.id, g.event_id, g.subscription_id, g.class, g.due_us,
    g.attempts{owed_place}
  FROM unnest($9, $10, $11, $12, $13, $14, $15{owed_given})
    AS g(project_id, id, event_id, subscription_id, class, due_us, attempts{owed_names})
  WHERE NOT EXISTS (SELECT FROM stale){owed_won}
), fanned AS (
  INSERT INTO fan_outs (project_id, event_id, subscriptions, position{fanned_into})
  SELECT g.project_id, g.event_id, g.subscriptions, g.position{fanned_place}
  FROM unnest($16, $17, $18, $19{fanned_given})
    AS g(project_id, event_id, subscriptions, position{fanned_names})
  WHERE NOT EXISTS (SELECT FROM stale){fanned_won}
)
SELECT NULL::uuid AS won WHERE EXISTS (SELECT FROM stale){won}
"""
_CLAIM: Final = """, given AS MATERIALIZED (
  SELECT * FROM unnest(${0}, ${1}, ${2}, ${3}, ${4})
    AS g(project_id, key, event_id, fingerprint, expires_at_us)
), claimed AS (
  INSERT INTO idempotency_keys AS k (project_id, key, event_id, fingerprint, expires_at_us)
  SELECT * FROM given WHERE NOT EXISTS (SELECT FROM stale)
  ON CONFLICT (project_id, key) DO UPDATE SET event_id = excluded.event_id,
    fingerprint = excluded.fingerprint, expires_at_us = excluded.expires_at_us
    WHERE k.expires_at_us <= ${5}
  RETURNING event_id
), lost AS MATERIALIZED (
  SELECT event_id FROM given EXCEPT SELECT event_id FROM claimed
)"""
# Whoever holds a counter's row is the next to commit, so numbers are given in the order of commits.
# The counters come in the order of their key, which the numbers of their rows go by as well.
_COUNT: Final = """, places AS (
  INSERT INTO ordering_counters AS c (project_id, name, last)
  SELECT g.project_id, g.name, {now} + g.count FROM unnest($20, $21, $22)
    AS g(project_id, name, count)
  WHERE NOT EXISTS (SELECT FROM stale) ORDER BY g.project_id, g.name COLLATE "C"
  ON CONFLICT (project_id, name) DO UPDATE
    SET last = greatest(c.last + excluded.last - {now}, excluded.last)
  RETURNING project_id, name, last
), counters AS MATERIALIZED (
  SELECT array_agg(last ORDER BY project_id, name) AS lasts FROM places
)""".format(now="(extract(epoch FROM now()) * 1000000)::bigint")
_PLACE: Final = ", (SELECT lasts FROM counters)[g.counter] - g.back"
_UNORDERED: Final = dict.fromkeys(
    [
        *("counted", "event_into", "event_place", "event_given", "event_names"),
        *("owed_into", "owed_place", "owed_given", "owed_names"),
        *("fanned_into", "fanned_place", "fanned_given", "fanned_names"),
    ],
    "",
)
_ORDERED: Final = {
    "counted": _COUNT,
    "event_into": ", sequence",
    "event_place": _PLACE,
    "event_given": ", $23, $24",
    "event_names": ", counter, back",
    "owed_into": ", ordering_key, sequence",
    "owed_place": f", g.ordering_key{_PLACE}",
    "owed_given": ", $25, $26, $27",
    "owed_names": ", ordering_key, counter, back",
    "fanned_into": ", ordering_key, sequence",
    "fanned_place": f", g.ordering_key{_PLACE}",
    "fanned_given": ", $28, $29, $30",
    "fanned_names": ", ordering_key, counter, back",
}
_UNKEYED: Final = dict.fromkeys(["keys", "event_won", "owed_won", "fanned_won", "won"], "")
_KEYED: Final = {
    "event_won": " AND g.id NOT IN (SELECT event_id FROM lost)",
    "owed_won": " AND g.event_id NOT IN (SELECT event_id FROM lost)",
    "fanned_won": " AND g.event_id NOT IN (SELECT event_id FROM lost)",
    "won": " UNION ALL SELECT event_id FROM claimed",
}
_ACCEPT_TYPES: Final = [ARRAY_OF[one] for one in (*_ROUTING, *_EVENTS, *_OWED, *_FAN_OUTS)]
_ORDER_TYPES: Final = [ARRAY_OF[one] for one in (*_COUNTERS, *_PLACES)]
_CLAIM_TYPES: Final = [*(ARRAY_OF[one] for one in _KEYS), INT8]

ACCEPT: Final = Statement("accept", _ACCEPT.format(**_UNKEYED, **_UNORDERED), _ACCEPT_TYPES)
"""Writes a batch, unless the routing of one was stale: then it returns one row, and nothing is
written. The routing is compared as it is when the statement begins: what was routed before a
change that is committed by then is not written."""

ACCEPT_KEYED: Final = Statement(
    "accept_keyed",
    _ACCEPT.format(keys=_CLAIM.format(*range(20, 26)), **_KEYED, **_UNORDERED),
    [*_ACCEPT_TYPES, *_CLAIM_TYPES],
)
"""The same with idempotency keys: also returns the events whose key was free, or had expired. An
event whose key is held by another is not written. Keys come sorted, so that two batches wait for
each other in one order."""

ACCEPT_ORDERED: Final = Statement(
    "accept_ordered",
    _ACCEPT.format(**_UNKEYED, **_ORDERED),
    [*_ACCEPT_TYPES, *_ORDER_TYPES],
)
"""As `ACCEPT`, and numbers those events that have a place in an order, by the rows of their
counters."""

ACCEPT_KEYED_ORDERED: Final = Statement(
    "accept_keyed_ordered",
    _ACCEPT.format(keys=_CLAIM.format(*range(31, 37)), **_KEYED, **_ORDERED),
    [*_ACCEPT_TYPES, *_ORDER_TYPES, *_CLAIM_TYPES],
)
"""Both. The number of an event whose key was held by another is given to none."""

VERSIONS: Final = Statement(
    "versions",
    "SELECT id, routing_version FROM projects WHERE id = ANY ($1)",
    [ARRAY_OF[UUID]],
)
"""Returns the routing versions of some projects."""

REPEATED: Final = Statement(
    "repeated",
    """
WITH held AS MATERIALIZED (
  SELECT g.project_id, k.event_id, g.id, g.key_id, (k.fingerprint = g.fingerprint) AS same
  FROM unnest($1, $2, $3, $4, $5) AS g(project_id, key, id, key_id, fingerprint)
  JOIN idempotency_keys AS k ON k.project_id = ANY (ARRAY[g.project_id]) AND k.key = g.key
), noted AS (
  INSERT INTO receipts (project_id, event_id, id, key_id, same_body)
  SELECT project_id, event_id, id, key_id, same::int FROM held
)
SELECT id, event_id, same FROM held
""",
    [ARRAY_OF[one] for one in (UUID, TEXT, UUID, UUID, BYTEA)],
)
"""Writes a receipt for each event whose key was held, and returns whose it is and whether the
bodies are the same."""

_DELIVERY: Final = (
    "project_id, event_id, id, subscription_id, state, attempts, finished_us, reason,"
    " status_code, response, timings, resent"
)
_ATTEMPT: Final = (
    "project_id, event_id, id, delivery_id, subscription_id, number, state, status_code,"
    " response, same_as, timings, resent"
)

_ROW: Final = "q.project_id = ANY (ARRAY[g.project_id]) AND q.id = g.id"

DELIVERED: Final = Statement(
    "delivered",
    f"""
WITH gone AS (
  DELETE FROM queue AS q
  USING unnest($1, $2, $3, $4, $5, $6, $7) WITH ORDINALITY
    AS g(project_id, id, finished_us, status_code, response, timings, resent, place)
  WHERE {_ROW} AND q.attempts = 0
  RETURNING g.place, q.project_id, q.event_id, q.id, q.subscription_id, g.finished_us,
    g.status_code, g.response, g.timings, g.resent
), ended AS (
  INSERT INTO deliveries ({_DELIVERY})
  SELECT project_id, event_id, id, subscription_id, {DeliveryState.DELIVERED.value}, 1,
    finished_us, NULL, status_code, response, timings, resent
  FROM gone
)
SELECT CASE WHEN count(*) <> $8 THEN coalesce(array_agg(place::int4), '{{}}') END FROM gone
""",
    [*(ARRAY_OF[one] for one in (UUID, UUID, INT8, INT2, BYTEA, BYTEA, INT2)), INT8],
)
"""Settles first tries that delivered. Whoever made the try, it was delivered: no epoch is compared.
Where some were not found untried, returns the places, from 1, of the others."""

_SAME: Final = """
    (SELECT a.id FROM attempts AS a WHERE a.project_id = t.project_id
       AND a.event_id = t.event_id AND a.id = t.id AND a.subscription_id = t.subscription_id
       AND a.response = t.response)
    UNION ALL
    (SELECT l.id FROM (
       SELECT a.id, a.delivery_id, a.response FROM attempts AS a
       WHERE a.project_id = t.project_id AND a.event_id = t.event_id ORDER BY a.id DESC LIMIT 100
     ) AS l WHERE l.delivery_id = t.id AND l.response = t.response)
    LIMIT 1"""
"""The same answer, given before: looks at the first try, which has the delivery's id, and at the
event's latest; where an event has many subscriptions there are too many to look through."""

_ENDED: Final = (
    "g.place, q.project_id, q.event_id, q.id, q.subscription_id,"
    " g.attempts + (g.attempt_state <> 0)::int AS number, g.state, g.at_us, g.reason, g.divert,"
    " g.attempt_id, g.attempt_state, g.status_code, g.response, g.timings, g.resent"
)
_UNTRIED: Final = (None, None, bytes(16), None, None, 0, 0, 0, None, None, None, 0)
"""In place of the row of an attempt where none was made: no attempt has the state 0."""

_OURS: Final = f"{_ROW} AND q.attempts = g.attempts AND s.shard = g.shard AND s.epoch = g.epoch"

OTHERS: Final = Statement(
    "others",
    f"""
WITH given AS MATERIALIZED (
  SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
    WITH ORDINALITY AS g(project_id, id, attempts, state, at_us, reason, divert, attempt_id,
      attempt_state, status_code, response, timings, resent, shard, epoch, place)
), gone AS (
  DELETE FROM queue AS q USING given AS g, shards AS s
  WHERE {_OURS} AND g.state <> 0
  RETURNING {_ENDED}
), put_off AS (
  UPDATE queue AS q SET class = 1, due_us = g.at_us, attempts = q.attempts + 1
  FROM given AS g, shards AS s
  WHERE {_OURS} AND g.state = 0
  RETURNING {_ENDED}
), ended AS (
  INSERT INTO deliveries ({_DELIVERY})
  SELECT project_id, event_id, id, subscription_id, state, number, at_us, reason,
    NULL, NULL, NULL, NULL
  FROM gone
), diverted AS (
  INSERT INTO diverted_events
    (project_id, id, event_id, subscription_id, reason, diverted_us, attempts)
  SELECT project_id, id, event_id, subscription_id, reason, at_us, number
  FROM gone WHERE divert = 1
), tried AS MATERIALIZED (
  SELECT * FROM gone UNION ALL SELECT * FROM put_off
), recorded AS (
  INSERT INTO attempts ({_ATTEMPT})
  SELECT t.project_id, t.event_id, t.attempt_id, t.id, t.subscription_id, t.number,
    t.attempt_state, t.status_code, CASE WHEN same.id IS NULL THEN t.response END, same.id,
    t.timings, t.resent
  FROM tried AS t LEFT JOIN LATERAL (
    SELECT f.id FROM ({_SAME}
    ) AS f WHERE t.number > 1 AND length(t.response) >= 64
  ) AS same ON true
  WHERE t.attempt_state <> 0
)
SELECT CASE WHEN count(*) <> $16 THEN coalesce(array_agg(place::int4), '{{}}') END FROM tried
""",
    [
        *(ARRAY_OF[one] for one in (UUID, UUID, INT4, INT2, INT8, TEXT, INT2, UUID)),
        *(ARRAY_OF[one] for one in (INT2, INT2, BYTEA, BYTEA, INT2, INT2, INT8)),
        INT8,
    ],
)
"""Settles all other tries, and what ends without one: a final state, or 0 and when it is due again.
An attempt's state is 0 where there was none. Compares the number of
attempts and the epoch of the shard; where some did not fit, returns the places of the others."""


def accept_values(acceptances: Sequence[Acceptance]) -> Values:
    """Return the parameters of `ACCEPT`."""
    routing = sorted({(one.project_id, one.routing_version) for one in acceptances})
    entries = [entry for one in acceptances for entry in one.entries]
    events = list(zip(*[entry.row for entry in entries], strict=True))
    owed = _columns([row for entry in entries for row in entry.owed], len(_OWED))
    fanned = _columns([e.fan_out for e in entries if e.fan_out is not None], len(_FAN_OUTS))
    return [
        uuids([one[0] for one in routing]),
        int8s([one[1] for one in routing]),
        uuids(events[0]),
        uuids(events[1]),
        texts(events[2]),
        byteas(events[3]),
        byteas(events[4]),
        int8s(events[5]),
        uuids(owed[0]),
        uuids(owed[1]),
        uuids(owed[2]),
        uuids(owed[3]),
        int2s(owed[4]),
        int8s(owed[5]),
        int4s(owed[6]),
        uuids(fanned[0]),
        uuids(fanned[1]),
        byteas(fanned[2]),
        int4s(fanned[3]),
    ]


def order_values(acceptances: Sequence[Acceptance]) -> Values:
    """Return the further parameters of the statements that number events."""
    entries = [(one.project_id, entry) for one in acceptances for entry in one.entries]
    counts = Counter((p, entry.counter) for p, entry in entries if entry.counter is not None)
    counters = sorted(counts)
    number = {counter: place for place, counter in enumerate(counters, 1)}
    left = dict(counts)
    places: list[tuple[int, int]] = []
    for project_id, entry in entries:
        if entry.counter is None:
            places.append((0, 0))
        else:
            left[project_id, entry.counter] -= 1
            places.append((number[project_id, entry.counter], left[project_id, entry.counter]))
    placed = [(e, (e.ordering_key, *at)) for (_, e), at in zip(entries, places, strict=True)]
    owed = _columns([place for entry, place in placed for _ in entry.owed], 3)
    fanned = _columns([place for entry, place in placed if entry.fan_out is not None], 3)
    return [
        uuids([project_id for project_id, _ in counters]),
        texts([name for _, name in counters]),
        int8s([counts[counter] for counter in counters]),
        int4s([place for place, _ in places]),
        int8s([back for _, back in places]),
        texts(owed[0]),
        int4s(owed[1]),
        int8s(owed[2]),
        texts(fanned[0]),
        int4s(fanned[1]),
        int8s(fanned[2]),
    ]


def versions_values(project_ids: Sequence[bytes]) -> Values:
    """Return the parameters of `VERSIONS`."""
    return [uuids(project_ids)]


def claim_values(keyed: Sequence[tuple[Any, ...]], now_us: int) -> Values:
    """Return the further parameters of `ACCEPT_KEYED`.

    Args:
        keyed: project, key, event, fingerprint and expiry; sorted, and no key twice.
        now_us: keys that have expired by then are free.
    """
    columns = _columns(keyed, len(_KEYS))
    return [
        uuids(columns[0]),
        texts(columns[1]),
        uuids(columns[2]),
        byteas(columns[3]),
        int8s(columns[4]),
        now_us.to_bytes(8, "big", signed=True),
    ]


def repeated_values(rows: Sequence[tuple[Any, ...]]) -> Values:
    """Return the parameters of `REPEATED`: project, key, event, API key and fingerprint of each."""
    columns = _columns(rows, 5)
    return [
        uuids(columns[0]),
        texts(columns[1]),
        uuids(columns[2]),
        uuids(columns[3]),
        byteas(columns[4]),
    ]


def delivered_values(settlements: Sequence[Settlement]) -> Values:
    """Return the parameters of `DELIVERED`."""
    attempts = [one.attempt for one in settlements]
    return [
        uuids([one.project_id for one in settlements]),
        uuids([one.delivery_id for one in settlements]),
        int8s([one.delivery[6] for one in settlements if one.delivery is not None]),
        int2s([row[7] for row in attempts]),
        byteas([row[8] for row in attempts]),
        byteas([row[10] for row in attempts]),
        int2s([row[11] for row in attempts]),
        len(settlements).to_bytes(8, "big"),
    ]


def others_values(settlements: Sequence[Settlement]) -> Values:
    """Return the parameters of `OTHERS`."""
    attempts = [one.attempt or _UNTRIED for one in settlements]
    ends = [
        (0, one.retry_at_us, None)
        if one.delivery is None
        else (one.delivery[4], one.delivery[6], one.delivery[7])
        for one in settlements
    ]
    return [
        uuids([one.project_id for one in settlements]),
        uuids([one.delivery_id for one in settlements]),
        int4s([one.attempts for one in settlements]),
        int2s([end[0] for end in ends]),
        int8s([end[1] or 0 for end in ends]),
        texts([end[2] for end in ends]),
        int2s([int(one.diverted is not None) for one in settlements]),
        uuids([row[2] for row in attempts]),
        int2s([row[6] for row in attempts]),
        int2s([row[7] for row in attempts]),
        byteas([row[8] for row in attempts]),
        byteas([row[10] for row in attempts]),
        int2s([row[11] for row in attempts]),
        int2s([one.shard for one in settlements]),
        int8s([one.epoch for one in settlements]),
        len(settlements).to_bytes(8, "big"),
    ]


def places(result: PGresult) -> set[int] | None:
    """Return the places, from 0, of what was settled; None where all was."""
    value = result.get_value(0, 0)
    if value is None:
        return None
    # Behind the header of an array of one dimension: each element's length, 4, and the element.
    return {int.from_bytes(value[at : at + 4], "big") - 1 for at in range(24, len(value), 8)}


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> Sequence[Sequence[Any]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width
