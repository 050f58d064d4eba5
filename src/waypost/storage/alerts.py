"""Notices of failures: events and deliveries in the hidden project of a project."""

from collections.abc import Sequence

from sqlalchemy import Connection, insert, text

from waypost.model.delivery import Owed
from waypost.model.ids import Id, moment
from waypost.model.project import Environment
from waypost.storage import fan_outs, queue
from waypost.storage.schema import events

_VERSION = 1
_MAKE_PROJECT = text(
    "INSERT INTO projects (id, account_id, name, environment, strict_types, routing_version,"
    " deleted_at_us) VALUES (:id, :id, 'alerts', :environment, 0, :version, :at_us)"
    " ON CONFLICT (id) DO NOTHING"
)


def make_project(connection: Connection, project_id: Id) -> None:
    """Make a hidden project, unless it is there.

    It is made deleted: nobody can ask for it, and what it holds has its time as of any project.
    """
    connection.execute(
        _MAKE_PROJECT,
        {
            "id": project_id,
            "environment": Environment.PRODUCTION.value,
            "version": _VERSION,
            "at_us": moment(project_id),
        },
    )


def insert_notice(
    connection: Connection,
    project_id: Id,
    event_id: Id,
    event_type: str,
    payload: bytes,
    owed: Sequence[Owed],
) -> None:
    """Keep a notice, an event of a hidden project, and owe it."""
    _insert(connection, project_id, event_id, event_type, payload)
    queue.insert(connection, owed)


def fan_out_notice(
    connection: Connection,
    project_id: Id,
    event_id: Id,
    event_type: str,
    payload: bytes,
    takers: Sequence[Id],
) -> None:
    """Keep a notice; its deliveries to some hidden subscriptions are made behind the commit."""
    _insert(connection, project_id, event_id, event_type, payload)
    if takers:
        fan_outs.insert(connection, project_id, event_id, takers)


def _insert(
    connection: Connection, project_id: Id, event_id: Id, event_type: str, payload: bytes
) -> None:
    connection.execute(
        insert(events).values(
            project_id=project_id,
            id=event_id,
            type=event_type,
            payload=payload,
            attributes=None,
            routing_version=_VERSION,
        )
    )
