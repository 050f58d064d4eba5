"""The log of changes of the configuration: how processes learn what others have changed.

Each change counts up one version, in its own transaction. The row of the version is locked until
the commit, so versions become visible in their order, and none is missed by whoever goes on from
the last that it has seen.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, text

from waypost.model.ids import Id
from waypost.storage.moment import now_us
from waypost.storage.schema import config_changes, config_version

KEPT: Final = 10_000
"""So many changes can be followed one by one; whoever is further behind reads everything."""

_PRUNE_EVERY: Final = 100
_COUNT: Final = text(
    "INSERT INTO config_version (id, version) VALUES (1, 1) "
    "ON CONFLICT (id) DO UPDATE SET version = config_version.version + 1 RETURNING version"
)


class Kind(StrEnum):
    """What was changed."""

    SUBSCRIPTION = "subscription"
    PROJECT = "project"
    API_KEY = "api_key"
    EVENT_TYPES = "event_types"


class Change(msgspec.Struct, frozen=True):
    """One thing that has changed; `subject` is the project's own where it has no other id."""

    kind: Kind
    project_id: Id
    subject: Id


def record(connection: Connection, kind: Kind, project_id: Id, subject: Id | None = None) -> None:
    """Record a change, in the transaction that makes it."""
    version = connection.execute(_COUNT).scalar_one()
    connection.execute(
        insert(config_changes).values(
            version=version, kind=kind.value, project_id=project_id, subject=subject, at_us=now_us()
        )
    )
    if version % _PRUNE_EVERY == 0:
        prune(connection, version - KEPT)


def current(connection: Connection) -> int:
    """Return the version of the configuration."""
    return connection.execute(select(config_version.c.version)).scalar_one_or_none() or 0


def since(connection: Connection, version: int) -> list[Change] | None:
    """Return what has changed since a version, each thing once, in the order of its last change.

    Returns:
        None where it can't be told, because not all of those changes are kept.
    """
    rows = connection.execute(
        select(config_changes).where(config_changes.c.version > version).order_by("version")
    ).all()
    if not rows:
        return [] if current(connection) == version else None
    if rows[0].version != version + 1:
        return None
    return _last_of_each(
        Change(Kind(row.kind), row.project_id, row.subject or row.project_id) for row in rows
    )


def prune(connection: Connection, version: int) -> None:
    """Forget the changes up to a version."""
    connection.execute(delete(config_changes).where(config_changes.c.version <= version))


def _last_of_each(changes: Iterable[Change]) -> list[Change]:
    found: dict[Change, None] = {}
    for change in changes:
        found.pop(change, None)
        found[change] = None
    return list(found)
