"""Mails: system events that are still to be told by e-mail."""

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from waypost.model.ids import Id
from waypost.storage.schema import events, mails


class Mail(msgspec.Struct, frozen=True):
    """A system event to be told; `attempts` counts the tries that have failed."""

    project_id: Id
    event_id: Id
    type: str
    payload: bytes
    attempts: int


def owe(connection: Connection, project_id: Id, event_id: Id, recipient: str | None = None) -> None:
    """Have an event told by e-mail: to an address, or to the operators."""
    connection.execute(
        insert(mails).values(
            project_id=project_id, event_id=event_id, due_us=0, attempts=0, recipient=recipient
        )
    )


def recipients(connection: Connection, now_us: int, limit: int) -> list[str | None]:
    """Return to whom mails are due, those first that have waited longest; None: the operators."""
    first = func.min(mails.c.due_us)
    rows = connection.execute(
        select(mails.c.recipient)
        .where(mails.c.due_us <= now_us)
        .group_by(mails.c.recipient)
        .order_by(first, mails.c.recipient)
        .limit(limit)
    )
    return [row.recipient for row in rows]


def find_due(
    connection: Connection, now_us: int, limit: int, recipient: str | None = None
) -> list[Mail]:
    """Return mails to somebody that are due, those first that have waited longest.

    Of any project; no recipient: those to the operators.
    """
    rows = connection.execute(
        select(
            mails.c.project_id, mails.c.event_id, mails.c.attempts, events.c.type, events.c.payload
        )
        .join(
            events,
            (events.c.project_id == mails.c.project_id) & (events.c.id == mails.c.event_id),
        )
        .where(mails.c.due_us <= now_us, mails.c.recipient.is_not_distinct_from(recipient))
        .order_by(mails.c.due_us, mails.c.event_id)
        .limit(limit)
    )
    return [Mail(row.project_id, row.event_id, row.type, row.payload, row.attempts) for row in rows]


def done(connection: Connection, project_id: Id, event_id: Id) -> None:
    """Forget a mail: it was sent, or is given up."""
    connection.execute(delete(mails).where(*_is(project_id, event_id)))


def put_off(connection: Connection, project_id: Id, event_id: Id, due_us: int) -> None:
    """Try a mail again at a moment, UTC microseconds: it could not be sent."""
    connection.execute(
        update(mails)
        .where(*_is(project_id, event_id))
        .values(due_us=due_us, attempts=mails.c.attempts + 1)
    )


def _is(project_id: Id, event_id: Id) -> tuple[Any, Any]:
    return mails.c.project_id == project_id, mails.c.event_id == event_id
