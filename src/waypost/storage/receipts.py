"""Receipts: the repetitions of an event's idempotency key; written by the hot path."""

from typing import Final

from sqlalchemy import Connection, select

from waypost.model import ids
from waypost.model.event import Receipt
from waypost.model.page import Page, PageRequest
from waypost.storage import pages
from waypost.storage.schema import receipts

SHOWN: Final = 100
"""How many receipts of an event are shown: the latest."""


def list_page(
    connection: Connection, project_id: ids.Id, request: PageRequest
) -> Page[tuple[ids.Id, ids.Id]]:
    """Return one page of a project's receipts: their own ids, and those of their events."""
    query = select(receipts.c.id, receipts.c.event_id).where(receipts.c.project_id == project_id)
    return pages.read(
        connection, query, (receipts.c.id,), request, lambda row: (row.id, row.event_id)
    )


def find(connection: Connection, project_id: ids.Id, receipt_id: ids.Id) -> ids.Id | None:
    """Return the event of a receipt; None where there is no such receipt (any more)."""
    chosen = select(receipts.c.event_id).where(
        receipts.c.project_id == project_id, receipts.c.id == receipt_id
    )
    found: ids.Id | None = connection.execute(chosen).scalar_one_or_none()
    return found


def list_latest(connection: Connection, project_id: ids.Id, event_id: ids.Id) -> list[Receipt]:
    """Return the latest receipts of an event, newest first."""
    rows = connection.execute(
        select(receipts)
        .where(receipts.c.project_id == project_id, receipts.c.event_id == event_id)
        .order_by(receipts.c.id.desc())
        .limit(SHOWN)
    )
    return [Receipt(ids.moment(row.id), row.key_id, bool(row.same_body)) for row in rows]
