"""Convoy's projects: ours, with what only Convoy's clients set kept beside them."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from msgspec import Meta

from waypost.dialects.convoy import config as configs
from waypost.dialects.convoy import things
from waypost.dialects.convoy.answers import KeyOut, NewProjectOut, ProjectOut
from waypost.dialects.convoy.config import GivenConfig, ProjectConfig
from waypost.dialects.convoy.envelope import Answer, born, spelled
from waypost.dialects.convoy.queries import OrganisationQuery
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.page import PageRequest
from waypost.model.project import Principal, Project, Scope
from waypost.model.record import Record
from waypost.operations.keys import Keys, MadeKey, NewKey
from waypost.operations.projects import Projects
from waypost.operations.records import Records

KIND: Final = things.PROJECT
PATH: Final = "/projects"
ONE_PATH: Final = PROJECT_PATH

_PAGE: Final = 1_000
_ONE: Final = PageRequest(1)

Name = Annotated[str, Meta(min_length=1, max_length=256)]
Url = Annotated[str, Meta(max_length=2_048)]


class ProjectIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A project that is asked for."""

    name: Name
    type: Literal["incoming", "outgoing"]
    logo_url: Url | None = None
    config: GivenConfig | None = None


class ProjectChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change; the config is merged in, setting by setting."""

    name: Name | None = None
    logo_url: Url | None = None
    config: GivenConfig | None = None
    type: Literal["incoming", "outgoing"] | None = None


class Home(msgspec.Struct, frozen=True):
    """What is kept of a project for Convoy's clients."""

    type: Literal["incoming", "outgoing"] = "outgoing"
    logo_url: str = ""
    config: ProjectConfig = configs.DEFAULT


class Homes:
    """Reads and keeps what is Convoy's of a project."""

    def __init__(self, records: Records) -> None:
        """Take what it is kept in."""
        self._records = records

    async def of(self, principal: Principal) -> Home:
        """Return what is kept of the caller's project; where nothing is, what it begins with."""
        return home_of(await self._records.find(principal, KIND, principal.project_id))

    def record(self, principal: Principal, home: Home) -> Record:
        """Return it as a record to keep."""
        body = msgspec.json.encode(home)
        return self._records.new(principal, KIND, body, record_id=principal.project_id)


def home_of(record: Record | None) -> Home:
    """Return what a record holds of a project."""
    return Home() if record is None else msgspec.json.decode(record.body, type=Home)


class Keeper(Protocol):
    """What carries out a project's configuration."""

    def check(self, home: Home) -> None:
        """Refuse one that can't be obeyed, by raising InvalidInput."""
        ...

    async def keep_home(
        self, caller: Principal, record: Record, shown: ProjectOut | None, *, follow: bool
    ) -> None:
        """Keep one, told as it is shown, if it is; `follow`: what was made goes by it."""
        ...


Follow = Callable[[Principal, Home], Awaitable[None]]


class ProjectRoutes:
    """Handlers over the operations on projects."""

    def __init__(
        self,
        projects: Projects,
        keys: Keys,
        records: Records,
        homes: Homes,
        keeper: Keeper,
        follow: Follow,
    ) -> None:
        """Take the operations; `follow` has sources go by a project's new configuration."""
        self._projects = projects
        self._keys = keys
        self._records = records
        self._homes = homes
        self._keeper = keeper
        self._follow = follow

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about projects."""
        reads, writes = Scope.SUBSCRIPTIONS_READ, Scope.SUBSCRIPTIONS_WRITE
        return [
            Operation("GET", PATH, reads, self.list_all, query=(OrganisationQuery,)),
            Operation(
                "POST",
                PATH,
                Scope.ADMIN,
                self.create,
                ProjectIn,
                status=201,
                query=(OrganisationQuery,),
            ),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", ONE_PATH, writes, self.update, ProjectChange, status=202),
            Operation("DELETE", ONE_PATH, Scope.ADMIN, self.delete),
        ]

    async def list_all(self, call: Call) -> Answer[list[ProjectOut]]:
        """List the projects that the caller may see: its own, an administrator's all."""
        call.allow("orgID")
        organisation = call.one("orgID")
        if Scope.ADMIN in call.principal.scopes:
            found = (await self._projects.list_page(PageRequest(_PAGE))).items
        else:
            found = [await self._projects.get(call.principal.project_id)]
        shown = [
            await self._shown(_within(call.principal, project), project)
            for project in found
            if organisation in {None, ids.spell_ulid(project.account_id)}
        ]
        return Answer("Projects fetched successfully", shown)

    async def create(self, call: Call) -> Answer[NewProjectOut]:
        """Make a project and a key for it."""
        call.allow("orgID")
        body: ProjectIn = call.body
        home = Home(body.type, body.logo_url or "", configs.merged(configs.DEFAULT, body.config))
        self._keeper.check(home)
        environment = (await self._projects.get(call.principal.project_id)).environment
        made = await self._projects.create(
            call.principal, body.name, environment, strict_types=False
        )
        within = _within(call.principal, made)
        record = self._homes.record(within, home)
        shown = await self._shape(within, made, record)
        await self._keeper.keep_home(within, record, None, follow=False)
        key = await self._keys.create(
            call.principal,
            NewKey(f"{made.name}'s API Key"[:64], project_id=made.id, api=Api.CONVOY),
        )
        data: NewProjectOut = {"api_key": _key_out(key), "project": shown}
        return Answer("Project created successfully", data, 201)

    async def get(self, call: Call) -> Answer[ProjectOut]:
        """Return a project."""
        project = await self._projects.get(call.principal.project_id)
        return Answer("Project fetched successfully", await self._shown(call.principal, project))

    async def update(self, call: Call) -> Answer[ProjectOut]:
        """Change a project; its subscriptions go by it from now on."""
        body: ProjectChange = call.body
        present = await self._homes.of(call.principal)
        home = Home(
            body.type or present.type,
            present.logo_url if body.logo_url is None else body.logo_url,
            configs.merged(present.config, body.config),
        )
        self._keeper.check(home)
        project_id = call.principal.project_id
        project = await self._projects.update(project_id, name=body.name, strict_types=None)
        record, follow = self._homes.record(call.principal, home), home.config != present.config
        data = await self._shape(call.principal, project, record)
        await self._keeper.keep_home(call.principal, record, data, follow=follow)
        if follow:
            await self._follow(call.principal, home)
        return Answer("Project updated successfully", data, 202)

    async def delete(self, call: Call) -> Answer[None]:
        """Delete a project, which has no subscriptions any more."""
        await self._projects.delete(call.principal, call.principal.project_id)
        return Answer("Project deleted successfully")

    async def _shown(self, principal: Principal, project: Project) -> ProjectOut:
        record = await self._records.find(principal, KIND, project.id)
        return await self._shape(principal, project, record)

    async def _shape(
        self, principal: Principal, project: Project, record: Record | None
    ) -> ProjectOut:
        home = home_of(record)
        there = {
            kind: bool((await self._records.list_page(principal, kind, _ONE)).items)
            for kind in (things.SOURCE, things.ENDPOINT, things.SUBSCRIPTION)
        }
        config: Any = configs.shown(home.config)
        return {
            "uid": ids.spell_ulid(project.id),
            "name": project.name,
            "logo_url": home.logo_url,
            "organisation_id": ids.spell_ulid(project.account_id),
            "type": home.type,
            "config": config,
            "statistics": {
                "events_exist": await self._projects.has_events(project.id),
                "sources_exist": there[things.SOURCE],
                "endpoints_exist": there[things.ENDPOINT],
                "subscriptions_exist": there[things.SUBSCRIPTION],
            },
            "retained_events": 0,
            "created_at": born(project.id),
            "updated_at": born(project.id) if record is None else spelled(record.changed_us),
            "deleted_at": None,
        }


def _within(principal: Principal, project: Project) -> Principal:
    return msgspec.structs.replace(principal, project_id=project.id)


def _key_out(made: MadeKey) -> KeyOut:
    return {
        "name": made.key.name,
        "role": {"type": "admin", "project": ids.spell_ulid(made.project.id)},
        "key_type": "project",
        "expires_at": spelled(made.key.expires_at_us),
        "uid": ids.spell_ulid(made.key.id),
        "created_at": born(made.key.id),
        "key": made.text,
    }
