"""Projects: the tenants of this installation, each in one environment.

Deleting a project asks that its subscriptions are deleted first: what they are owed is then
cancelled where everybody can see it, and a project never takes deliveries with it unseen.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from waypost.clock import Clock, IdSource
from waypost.engine.configuration import Configuration
from waypost.model import ids
from waypost.model.errors import Conflict
from waypost.model.page import Page, PageRequest
from waypost.model.project import Environment, Principal, Project
from waypost.operations.access import Access
from waypost.storage import audit, facts, keys, projects
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection

DEFAULT_NAME: Final = "Default"


class Projects:
    """What administrators ask of projects."""

    def __init__(
        self,
        configuration: Configuration,
        access: Access,
        strict: Callable[[ids.Id, bool], None],
        clock: Clock,
        source: IdSource,
    ) -> None:
        """Take what changes go through and what follows them in memory.

        `strict` is told of each project whether it takes only events of its catalogue's types.
        """
        self._configuration = configuration
        self._store = configuration.store
        self._access = access
        self._strict = strict
        self._clock = clock
        self._ids = source

    async def load(self) -> None:
        """Bring what is kept of projects and keys in memory to what the database holds."""
        found, secrets = await self._store.read(lambda c: (projects.list_all(c), keys.list_all(c)))
        self._access.load((project.id for project in found), secrets)
        for project in found:
            self._strict(project.id, project.strict_types)

    async def ensure_default(self) -> Project:
        """Return the project of calls that name none; the first call makes it, for tests."""
        found = await self._store.read(lambda c: facts.find(c, facts.DEFAULT_PROJECT))
        if found is not None:
            return await self.get(bytes.fromhex(found))
        project = self._new(DEFAULT_NAME, Environment.TEST, account_id=self._ids.next())

        def make(connection: Connection) -> Project:
            found = facts.find(connection, facts.DEFAULT_PROJECT)
            if found is not None:
                # Another process was the first.
                return projects.get(connection, bytes.fromhex(found))
            projects.insert(connection, project)
            facts.record(connection, facts.DEFAULT_PROJECT, project.id.hex())
            record(connection, Kind.PROJECT, project.id)
            return project

        return await self._store.write(make, self._follow)

    async def get(self, project_id: ids.Id) -> Project:
        """Return a project.

        Raises:
            NotFound: there is none with this id.
        """
        return await self._store.read(lambda c: projects.get(c, project_id))

    async def list_page(self, request: PageRequest) -> Page[Project]:
        """Return one page of all projects."""
        return await self._store.read(lambda c: projects.list_page(c, request))

    async def create(
        self, principal: Principal, name: str, environment: Environment, *, strict_types: bool
    ) -> Project:
        """Make a project in the account of the caller's."""
        account = await self.get(principal.project_id)
        project = self._new(
            name, environment, account_id=account.account_id, strict_types=strict_types
        )
        record_id = self._ids.next()

        def make(connection: Connection) -> None:
            projects.insert(connection, project)
            _audit(connection, principal, record_id, "project.create", project.id)
            record(connection, Kind.PROJECT, project.id)

        await self._configuration.change(make, lambda _: self._follow(project))
        return project

    async def update(
        self, project_id: ids.Id, *, name: str | None, strict_types: bool | None
    ) -> Project:
        """Change what is given; None leaves as it is.

        Raises:
            NotFound: there is none with this id.
        """

        def change(connection: Connection) -> Project:
            project = projects.get(connection, project_id)
            changed = msgspec.structs.replace(
                project,
                name=project.name if name is None else name,
                strict_types=project.strict_types if strict_types is None else strict_types,
            )
            projects.update(connection, changed)
            record(connection, Kind.PROJECT, project_id)
            return changed

        return await self._configuration.change(change, self._follow)

    async def delete(self, principal: Principal, project_id: ids.Id) -> None:
        """Delete a project and revoke its keys; its events stay until retention takes them.

        Raises:
            NotFound: there is none with this id.
            Conflict: it is the default project, or it has subscriptions.
        """
        now_us = self._clock.now_us()
        record_id = self._ids.next()

        def remove(connection: Connection) -> None:
            projects.get(connection, project_id)
            if facts.find(connection, facts.DEFAULT_PROJECT) == project_id.hex():
                raise Conflict("The default project cannot be deleted.")
            if projects.has_subscriptions(connection, project_id):
                raise Conflict("The project has event subscriptions: delete them first.")
            projects.delete(connection, project_id, now_us)
            keys.revoke_all(connection, project_id, now_us)
            _audit(connection, principal, record_id, "project.delete", project_id)
            record(connection, Kind.PROJECT, project_id)

        await self._configuration.change(remove, lambda _: self._access.remove_project(project_id))

    def _new(
        self,
        name: str,
        environment: Environment,
        *,
        account_id: ids.Id,
        strict_types: bool = False,
    ) -> Project:
        return Project(self._ids.next(), account_id, name, environment, strict_types)

    def _follow(self, project: Project) -> None:
        self._access.add_project(project.id)
        self._strict(project.id, project.strict_types)


def _audit(
    connection: Connection, who: Principal, record_id: ids.Id, action: str, project_id: ids.Id
) -> None:
    audit.record(connection, who, record_id, action, ids.spell(ids.PROJECT, project_id))
