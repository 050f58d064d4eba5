"""Projects. A deleted one keeps its row, so that its id is never given again."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, exists, select
from sqlalchemy import insert as insert_into
from sqlalchemy import update as change

from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import Environment, Project
from waypost.model.subscription import NOTHING_SET, Inheritable
from waypost.storage import pages
from waypost.storage.schema import events, projects, subscriptions

_FIRST_VERSION = 1

_read_defaults = msgspec.json.Decoder(Inheritable).decode


def get(connection: Connection, project_id: ids.Id) -> Project:
    """Return a project.

    Raises:
        NotFound: there is none with this id, or it was deleted.
    """
    found = find(connection, project_id)
    if found is None:
        raise NotFound(ids.KINDS[ids.PROJECT])
    return found


def find(connection: Connection, project_id: ids.Id) -> Project | None:
    """Return a project, or None where there is none with this id (any more)."""
    row = connection.execute(_present().where(projects.c.id == project_id)).one_or_none()
    return None if row is None else _project(row)


def defaults(connection: Connection, project_id: ids.Id) -> Inheritable:
    """Return what a project's subscriptions go by where they set nothing; of none, nothing."""
    project = find(connection, project_id)
    return NOTHING_SET if project is None else project.defaults


def list_page(connection: Connection, request: PageRequest) -> Page[Project]:
    """Return one page of the projects."""
    return pages.read(connection, _present(), (projects.c.id,), request, _project)


def list_all(connection: Connection) -> list[Project]:
    """Return every project: for what is kept of them in memory, never for an answer."""
    return [_project(row) for row in connection.execute(_present())]


def routing_versions(connection: Connection) -> dict[ids.Id, int]:
    """Return the version of every project's routing, of deleted ones too."""
    rows = connection.execute(select(projects.c.id, projects.c.routing_version))
    return {row.id: row.routing_version for row in rows}


def routing_version(connection: Connection, project_id: ids.Id) -> int:
    """Return the version of a project's routing."""
    chosen = select(projects.c.routing_version).where(projects.c.id == project_id)
    return int(connection.execute(chosen).scalar_one())


def find_oldest(
    connection: Connection, account_id: ids.Id, environment: Environment
) -> Project | None:
    """Return the account's oldest project of an environment, or None."""
    row = connection.execute(
        _present()
        .where(projects.c.account_id == account_id, projects.c.environment == environment)
        .order_by(projects.c.id)
        .limit(1)
    ).one_or_none()
    return None if row is None else _project(row)


def insert(connection: Connection, project: Project) -> None:
    """Keep a new project; its routing is at the first version."""
    connection.execute(
        insert_into(projects).values(
            id=project.id,
            account_id=project.account_id,
            name=project.name,
            environment=project.environment.value,
            strict_types=int(project.strict_types),
            defaults=_defaults(project),
            routing_version=_FIRST_VERSION,
        )
    )
    _versions(connection)[project.id] = _FIRST_VERSION


def update(connection: Connection, project: Project) -> None:
    """Keep a project's changed name, strictness and defaults."""
    connection.execute(
        change(projects)
        .where(projects.c.id == project.id)
        .values(
            name=project.name,
            strict_types=int(project.strict_types),
            defaults=_defaults(project),
        )
    )


def delete(connection: Connection, project_id: ids.Id, at_us: int) -> None:
    """Mark a project deleted."""
    connection.execute(
        change(projects).where(projects.c.id == project_id).values(deleted_at_us=at_us)
    )


def has_subscriptions(connection: Connection, project_id: ids.Id) -> bool:
    """Whether the project has a subscription that is not deleted."""
    present = exists().where(
        subscriptions.c.project_id == project_id, subscriptions.c.deleted_at_us.is_(None)
    )
    return bool(connection.execute(select(present)).scalar_one())


def has_events(connection: Connection, project_id: ids.Id) -> bool:
    """Whether the project has an event."""
    return bool(
        connection.execute(select(exists().where(events.c.project_id == project_id))).scalar_one()
    )


def bump_routing(connection: Connection, project_id: ids.Id) -> int:
    """Count one change of a project's routing; return the version that holds from now on.

    Every change of what an event would be matched to calls this in its own transaction: what was
    matched by an earlier version is not committed any more.
    """
    version = connection.execute(
        change(projects)
        .where(projects.c.id == project_id)
        .values(routing_version=projects.c.routing_version + 1)
        .returning(projects.c.routing_version)
    ).scalar_one()
    _versions(connection)[project_id] = version
    return int(version)


def _versions(connection: Connection) -> dict[ids.Id, int]:
    """Return where the committer looks, after the commit, for versions that changed in it."""
    versions: dict[ids.Id, int] = connection.info.setdefault("routing", {})
    return versions


def _present() -> Any:
    return select(projects).where(projects.c.deleted_at_us.is_(None))


def _project(row: Row[Any]) -> Project:
    return Project(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        environment=Environment(row.environment),
        strict_types=bool(row.strict_types),
        defaults=NOTHING_SET if row.defaults is None else _read_defaults(row.defaults),
        routing_version=row.routing_version,
    )


def _defaults(project: Project) -> str | None:
    if project.defaults == NOTHING_SET:
        return None
    return msgspec.json.encode(project.defaults).decode()
