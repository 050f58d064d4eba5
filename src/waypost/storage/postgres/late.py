"""Late settlements: of deliveries that were settled before, tried again since, or taken over.

A late 2xx settles what is still owed; any other late result is only recorded. It is recorded under
an id of its own: two owners may both have made the first try, which has the delivery's id.
"""

import hashlib
from typing import Final

from waypost.model import ids
from waypost.model.delivery import DeliveryState
from waypost.storage.changes import Settlement
from waypost.storage.postgres.arrays import BYTEA, INT2, INT4, INT8, UUID
from waypost.storage.postgres.session import Session, Statement

_DELIVERED: Final = DeliveryState.DELIVERED.value

_FIND: Final = Statement(
    "late_find",
    """
SELECT 1 FROM deliveries WHERE project_id = $1 AND event_id = $2 AND id = $3
  AND subscription_id = $8 AND timings = $4 AND finished_us = $5
UNION ALL
SELECT 1 FROM attempts WHERE project_id = $1 AND event_id = $2 AND id = $6
  AND subscription_id = $8 AND delivery_id = $3 AND timings = $4 AND number = $7
""",
    [UUID, UUID, UUID, BYTEA, INT8, UUID, INT4, UUID],
)
"""Looks for the settlement itself, written by a statement whose answer was lost. The subscription
is named so that each index by which a plan may go leads to one row."""

_RECORD: Final = Statement(
    "late_record",
    f"""
WITH gone AS (
  DELETE FROM queue WHERE project_id = $1 AND id = $3 AND $7 = 1
  RETURNING subscription_id, attempts + 1 AS number
), ended AS (
  INSERT INTO deliveries (project_id, event_id, id, subscription_id, state, attempts, finished_us)
  SELECT $1, $2, $3, subscription_id, {_DELIVERED}, number, $8 FROM gone
), recorded AS (
  INSERT INTO attempts (project_id, event_id, id, delivery_id, subscription_id, number, state,
    status_code, response, timings, resent)
  SELECT $1, $2, $4, $3, $5, coalesce((SELECT number FROM gone), $6), $9, $10, $11, $12, $13
  ON CONFLICT (project_id, event_id, id) DO NOTHING
)
SELECT 1 FROM gone
""",
    [*(UUID, UUID, UUID, UUID, UUID, INT4, INT2, INT8, INT2, INT2), *(BYTEA, BYTEA, INT2)],
)


def record(session: Session, settlement: Settlement) -> bool:
    """Write what a late settlement brings.

    Returns:
        Whether the settlement holds after all: it settled what was owed, now or before.
    """
    if not settlement.attempt:
        return False  # there is no try to tell of
    one, attempt = settlement, settlement.attempt
    finished_us = 0 if one.delivery is None else one.delivery[6]
    found = session.run(
        _FIND,
        [
            *(one.project_id, one.event_id, one.delivery_id, attempt[10], _int8(finished_us)),
            *(attempt[2], _int4(attempt[5]), attempt[4]),
        ],
    )
    if found.ntuples:
        return True
    delivered = one.delivery is not None and one.delivery[4] == _DELIVERED
    settled = session.run(
        _RECORD,
        [
            *(one.project_id, one.event_id, one.delivery_id, own_id(one), attempt[4]),
            *(_int4(attempt[5]), _int2(int(delivered)), _int8(finished_us)),
            *(_int2(attempt[6]), _int2(attempt[7]), attempt[8], attempt[10], _int2(attempt[11])),
        ],
    )
    return bool(settled.ntuples)


def own_id(settlement: Settlement) -> ids.Id:
    """Return the id under which a late attempt is recorded: the same, however often it is asked."""
    attempt = settlement.attempt
    digest = hashlib.blake2b(b"late", digest_size=8)
    for part in (attempt[2], attempt[8], attempt[10], _int8(settlement.epoch)):
        digest.update(part or b"")
    chance = int.from_bytes(digest.digest(), "big") & ids.MAX_CHANCE
    return ids.make(ids.moment(attempt[2]), chance)


def _int2(value: int) -> bytes:
    return value.to_bytes(2, "big", signed=True)


def _int4(value: int) -> bytes:
    return value.to_bytes(4, "big", signed=True)


def _int8(value: int) -> bytes:
    return value.to_bytes(8, "big", signed=True)
