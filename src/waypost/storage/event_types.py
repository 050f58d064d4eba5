"""Event types: each project's catalogue, replaced as a whole."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from waypost.model.event_type import EventType
from waypost.model.ids import Id
from waypost.storage.schema import event_types


def list_all(connection: Connection, project_id: Id) -> list[EventType]:
    """Return a project's catalogue by name; its size is bounded when it is set."""
    rows = connection.execute(
        select(event_types)
        .where(event_types.c.project_id == project_id)
        .order_by(event_types.c.name)
    )
    return [_event_type(row) for row in rows]


def find(connection: Connection, project_id: Id, name: str) -> EventType | None:
    """Return an entry of a project's catalogue, or None."""
    row = connection.execute(
        select(event_types).where(
            event_types.c.project_id == project_id, event_types.c.name == name
        )
    ).one_or_none()
    return None if row is None else _event_type(row)


def load_names(connection: Connection) -> dict[Id, frozenset[str]]:
    """Return the names in every project's catalogue: for what is kept of them in memory."""
    found: dict[Id, set[str]] = {}
    for row in connection.execute(select(event_types.c.project_id, event_types.c.name)):
        found.setdefault(row.project_id, set()).add(row.name)
    return {project_id: frozenset(names) for project_id, names in found.items()}


def replace(connection: Connection, project_id: Id, catalogue: Sequence[EventType]) -> None:
    """Keep a project's catalogue in place of what it had."""
    connection.execute(delete(event_types).where(event_types.c.project_id == project_id))
    if catalogue:
        connection.execute(
            insert(event_types),
            [
                {
                    "project_id": project_id,
                    "name": entry.name,
                    "description": entry.description,
                    "example": entry.example,
                }
                for entry in catalogue
            ],
        )


def _event_type(row: Row[Any]) -> EventType:
    return EventType(name=row.name, description=row.description, example=row.example)
