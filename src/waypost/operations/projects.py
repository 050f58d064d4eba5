"""Projects: the tenants of this installation, each in one environment.

Deleting a project asks that its subscriptions are deleted first: what they are owed is then
cancelled where everybody can see it, and a project never takes deliveries with it unseen.
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from waypost.clock import Clock, IdSource
from waypost.engine.configuration import Configuration
from waypost.model import ids
from waypost.model.errors import Conflict
from waypost.model.page import Page, PageRequest
from waypost.model.project import Environment, Principal, Project
from waypost.operations.access import Access
from waypost.operations.alerts import Alerts, Asked, Changed
from waypost.policy import settings
from waypost.policy.settings import DefaultSettings, SubscriptionRules
from waypost.storage import audit, facts, keys, ordering, projects
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection

DEFAULT_NAME: Final = "Default"

_UNSET: Final = DefaultSettings()


class Projects:
    """What administrators ask of projects."""

    def __init__(
        self,
        configuration: Configuration,
        access: Access,
        alerts: Alerts,
        rules: SubscriptionRules,
        changed: Callable[[Project], None],
        clock: Clock,
        source: IdSource,
    ) -> None:
        """Take what changes go through and what follows them in memory.

        Args:
            configuration: what changes go through.
            access: knows which projects there are.
            alerts: keeps the alert endpoints of their defaults.
            rules: what defaults are held to.
            changed: told of each project as it is now, on the loop.
            clock: the time.
            source: of ids.
        """
        self._configuration = configuration
        self._store = configuration.store
        self._access = access
        self._alerts = alerts
        self._rules = rules
        self._changed = changed
        self._clock = clock
        self._ids = source

    async def load(self) -> None:
        """Bring what is kept of projects and keys in memory to what the database holds."""
        found, secrets = await self._store.read(lambda c: (projects.list_all(c), keys.list_all(c)))
        self._access.load((project.id for project in found), secrets)
        for project in found:
            self._changed(project)

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

    async def has_events(self, project_id: ids.Id) -> bool:
        """Tell whether a project has any events."""
        return await self._store.read(lambda c: projects.has_events(c, project_id))

    async def list_page(self, request: PageRequest) -> Page[Project]:
        """Return one page of all projects."""
        return await self._store.read(lambda c: projects.list_page(c, request))

    async def create(
        self,
        principal: Principal,
        name: str,
        environment: Environment,
        *,
        strict_types: bool,
        defaults: DefaultSettings = _UNSET,
    ) -> Project:
        """Make a project in the account of the caller's.

        Raises:
            InvalidInput: a default is not allowed.
        """
        settings.check_defaults(defaults, self._rules)
        account = await self.get(principal.project_id)
        project = self._new(
            name, environment, account_id=account.account_id, strict_types=strict_types
        )
        record_id = self._ids.next()
        asked = self._alerts.ask(defaults)

        def make(connection: Connection) -> tuple[Project, Changed]:
            made, alerts = self._with_defaults(connection, project, defaults, asked)
            projects.insert(connection, made)
            _audit(connection, principal, record_id, "project.create", made.id)
            record(connection, Kind.PROJECT, made.id)
            return made, alerts

        return (await self._configuration.change(make, self._follow_both))[0]

    async def update(
        self,
        project_id: ids.Id,
        *,
        name: str | None,
        strict_types: bool | None,
        defaults: DefaultSettings = _UNSET,
    ) -> Project:
        """Change what is given; None leaves as it is.

        Raises:
            NotFound: there is none with this id.
            InvalidInput: a default is not allowed.
        """
        settings.check_defaults(defaults, self._rules)
        asked = self._alerts.ask(defaults)

        def change(connection: Connection) -> tuple[Project, Changed]:
            project = projects.get(connection, project_id)
            changed = replace(
                project,
                name=project.name if name is None else name,
                strict_types=project.strict_types if strict_types is None else strict_types,
            )
            changed, alerts = self._with_defaults(connection, changed, defaults, asked)
            reordered = ordering.follow(connection, project_id, project.defaults, changed.defaults)
            projects.update(connection, changed)
            if reordered:
                version = projects.bump_routing(connection, project_id)
                changed = replace(changed, routing_version=version)
            record(connection, Kind.PROJECT, project_id)
            return changed, alerts

        return (await self._configuration.change(change, self._follow_both))[0]

    async def delete(self, principal: Principal, project_id: ids.Id) -> None:
        """Delete a project and revoke its keys; its events stay until retention takes them.

        Who was told of it, by alerts or by notices, is not any more.

        Raises:
            NotFound: there is none with this id.
            Conflict: it is the default project, or it has subscriptions.
        """
        now_us = self._clock.now_us()
        record_id = self._ids.next()

        def remove(connection: Connection) -> Changed:
            projects.get(connection, project_id)
            if facts.find(connection, facts.DEFAULT_PROJECT) == project_id.hex():
                raise Conflict("The default project cannot be deleted.")
            if projects.has_subscriptions(connection, project_id):
                raise Conflict("The project has event subscriptions: delete them first.")
            projects.delete(connection, project_id, now_us)
            gone = self._alerts.delete_all(connection, project_id, now_us)
            keys.revoke_all(connection, project_id, now_us)
            _audit(connection, principal, record_id, "project.delete", project_id)
            record(connection, Kind.PROJECT, project_id)
            return gone

        def after(gone: Changed) -> None:
            self._access.remove_project(project_id)
            self._alerts.follow(gone)

        await self._configuration.change(remove, after)

    def _with_defaults(
        self, connection: Connection, project: Project, wanted: DefaultSettings, asked: Asked
    ) -> tuple[Project, Changed]:
        merged = settings.merge(project.defaults, wanted)
        settings.check_together(merged, "defaults.")
        handling, changed = self._alerts.keep(
            connection,
            project.id,
            project.defaults.failure_handling,
            merged.failure_handling,
            asked,
            "defaults.failure_handling",
        )
        return replace(project, defaults=replace(merged, failure_handling=handling)), changed

    def _new(
        self,
        name: str,
        environment: Environment,
        *,
        account_id: ids.Id,
        strict_types: bool = False,
    ) -> Project:
        return Project(self._ids.next(), account_id, name, environment, strict_types)

    def _follow_both(self, change: tuple[Project, Changed]) -> None:
        self._alerts.follow(change[1])
        self._follow(change[0])

    def _follow(self, project: Project) -> None:
        self._access.add_project(project.id)
        self._changed(project)


def _audit(
    connection: Connection, who: Principal, record_id: ids.Id, action: str, project_id: ids.Id
) -> None:
    audit.record(connection, who, record_id, action, ids.spell(ids.PROJECT, project_id))
