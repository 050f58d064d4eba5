"""The log of changes of the configuration: how processes learn what others have changed.

Each change takes the next version, in its own transaction. The row of the version is locked until
the commit, so versions become visible in their order, and none is missed by whoever goes on from
the last that it has seen.

A version is the moment of the change, or one more than the last. So no number is given twice, even
where the last changes were lost and others were made in their place: when a standby took over that
was behind, or a backup was put back.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, text

from waypost.model.ids import Id
from waypost.storage.cluster import config_changes, config_version
from waypost.storage.moment import now_us

KEPT_US: Final = 3_600_000_000
"""For so long changes can be followed one by one, microseconds; whoever is further behind reads
everything."""


class Kind(StrEnum):
    """What was changed."""

    SUBSCRIPTION = "subscription"
    PROJECT = "project"
    API_KEY = "api_key"
    EVENT_TYPES = "event_types"
    SOURCE = "source"


_COUNT: Final = text(
    "INSERT INTO config_version (id, version) VALUES (1, :at_us) ON CONFLICT (id) DO UPDATE SET "
    "version = CASE WHEN config_version.version < :at_us THEN :at_us "
    "ELSE config_version.version + 1 END RETURNING version"
)

_KINDS: Final = frozenset(kind.value for kind in Kind)


class Change(msgspec.Struct, frozen=True):
    """One thing that has changed; `subject` is the project's own where it has no other id."""

    kind: Kind
    project_id: Id
    subject: Id


def record(connection: Connection, kind: Kind, project_id: Id, subject: Id | None = None) -> None:
    """Record a change, in the transaction that makes it."""
    at_us = connection.execute(select(now_us())).scalar_one()
    version = connection.execute(_COUNT, {"at_us": at_us}).scalar_one()
    connection.execute(
        insert(config_changes).values(
            version=version, kind=kind.value, project_id=project_id, subject=subject, at_us=at_us
        )
    )
    prune(connection, version - KEPT_US)


def current(connection: Connection) -> int:
    """Return the version of the configuration."""
    return connection.execute(select(config_version.c.version)).scalar_one_or_none() or 0


def since(connection: Connection, version: int) -> list[Change] | None:
    """Return what has changed since a version, each thing once, in the order of its last change.

    Returns:
        None where it can't be told, because not all of those changes are kept.
    """
    if current(connection) == version:
        return []
    rows = connection.execute(
        select(config_changes).where(config_changes.c.version >= version).order_by("version")
    ).all()
    if not rows or rows[0].version != version:
        return None
    return _last_of_each(
        Change(Kind(row.kind), row.project_id, row.subject or row.project_id)
        for row in rows[1:]
        # Of what a newer version of the program keeps, nothing is in memory here.
        if row.kind in _KINDS
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
