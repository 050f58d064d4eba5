"""Receipts: the repetitions of an event's idempotency key; written by the hot path."""

from typing import Final

from sqlalchemy import Connection, select

from waypost.model import ids
from waypost.model.event import Receipt
from waypost.storage.schema import receipts

SHOWN: Final = 100
"""How many receipts of an event are shown: the latest."""


def list_latest(connection: Connection, project_id: ids.Id, event_id: ids.Id) -> list[Receipt]:
    """Return the latest receipts of an event, newest first."""
    rows = connection.execute(
        select(receipts)
        .where(receipts.c.project_id == project_id, receipts.c.event_id == event_id)
        .order_by(receipts.c.id.desc())
        .limit(SHOWN)
    )
    return [Receipt(ids.moment(row.id), row.key_id, bool(row.same_body)) for row in rows]
