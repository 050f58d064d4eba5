"""API keys: made, shown once, listed without their secrets, revoked."""

from typing import Final

import msgspec

from waypost.clock import Clock, Entropy, IdSource
from waypost.engine.configuration import Configuration
from waypost.model import ids
from waypost.model.api import Api
from waypost.model.errors import InvalidInput, LimitReached
from waypost.model.page import Page, PageRequest
from waypost.model.project import PROJECT_SCOPES, ApiKey, Environment, Principal, Project, Scope
from waypost.operations.access import Access
from waypost.policy import credentials
from waypost.storage import audit, keys, projects
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection

MAX_ACTIVE: Final = 1_000
"""How many good keys a project may have."""
_NAMES: Final = {Environment.TEST: "Test", Environment.PRODUCTION: "Production"}


class NewKey(msgspec.Struct, frozen=True):
    """What a key is asked for.

    Attributes:
        project_id: the project; None for the account's oldest of `environment`, which is made
            where there is none.
        scopes: what it may do; None for everything in its project.
        expires_at_us: from when on it is good for nothing, UTC microseconds.
        api: whose clients it is for.
        permissions: what it may do on the surface of that API, in its words; None for what the
            scopes allow.
        tenants: the projects that it is good for beside the first.
    """

    name: str
    environment: Environment | None = None
    project_id: ids.Id | None = None
    scopes: frozenset[Scope] | None = None
    expires_at_us: int | None = None
    api: Api = Api.NATIVE
    permissions: frozenset[str] | None = None
    tenants: tuple[ids.Id, ...] = ()


class MadeKey(msgspec.Struct, frozen=True):
    """A key just made; `text` is its secret, which is not kept and never shown again."""

    key: ApiKey
    text: str
    project: Project


class Keys:
    """What administrators ask of keys."""

    def __init__(
        self,
        configuration: Configuration,
        access: Access,
        clock: Clock,
        entropy: Entropy,
        source: IdSource,
    ) -> None:
        """Take what changes go through, and the memory that follows them."""
        self._configuration = configuration
        self._store = configuration.store
        self._access = access
        self._clock = clock
        self._entropy = entropy
        self._ids = source

    async def create(self, principal: Principal, new: NewKey) -> MadeKey:
        """Make a key. It is good as soon as this returns.

        Raises:
            InvalidInput: neither project nor environment, or the two do not agree, or it would be
                expired already.
            NotFound: there is no such project.
            LimitReached: the project has `MAX_ACTIVE` good keys.
        """
        now_us = self._clock.now_us()
        if new.expires_at_us is not None and new.expires_at_us <= now_us:
            raise InvalidInput(details=[("expires_at", "must be in the future")])
        key_id, record_id, spare_id = (self._ids.next() for _ in range(3))
        secret = self._entropy.bits(credentials.SECRET_BITS)

        def make(connection: Connection) -> MadeKey:
            project = _project_of(connection, principal, new, spare_id)
            if keys.count_active(connection, project.id, now_us) >= MAX_ACTIVE:
                raise LimitReached(f"A project may have at most {MAX_ACTIVE} active API keys.")
            scopes = PROJECT_SCOPES if new.scopes is None else new.scopes
            for tenant_id in new.tenants:
                projects.get(connection, tenant_id)
            key = ApiKey(
                key_id,
                project.id,
                new.name,
                scopes,
                new.expires_at_us,
                api=new.api,
                permissions=new.permissions,
                tenants=new.tenants,
            )
            text = credentials.spell(project.environment, secret, new.api)
            keys.insert(connection, key, credentials.digest(text.encode()))
            _audit(connection, principal, record_id, "api_key.create", key_id)
            record(connection, Kind.API_KEY, project.id, key_id)
            return MadeKey(key, text, project)

        return await self._configuration.change(make, self._follow)

    async def list_page(self, principal: Principal, request: PageRequest) -> Page[ApiKey]:
        """Return one page of the keys of the caller's project, good or not."""
        return await self._store.read(lambda c: keys.list_page(c, principal.project_id, request))

    async def revoke(self, principal: Principal, key_id: ids.Id) -> None:
        """Let a key of the caller's project be good for nothing, as soon as this returns.

        Raises:
            NotFound: the project has none with this id.
        """
        now_us = self._clock.now_us()
        record_id = self._ids.next()

        def change(connection: Connection) -> None:
            keys.revoke(connection, principal.project_id, key_id, now_us)
            _audit(connection, principal, record_id, "api_key.revoke", key_id)
            record(connection, Kind.API_KEY, principal.project_id, key_id)

        await self._configuration.change(change, lambda _: self._access.revoke(key_id))

    def _follow(self, made: MadeKey) -> None:
        self._access.add_project(made.project.id)
        self._access.add(credentials.digest(made.text.encode()), made.key)


def _project_of(
    connection: Connection, principal: Principal, new: NewKey, spare_id: ids.Id
) -> Project:
    """Return the project that a key is asked for; `spare_id` is for one that has to be made."""
    if new.project_id is not None:
        project = projects.get(connection, new.project_id)
        if new.environment not in (None, project.environment):
            reason = f"the project is for {project.environment.value}"
            raise InvalidInput(details=[("environment", reason)])
        return project
    if new.environment is None:
        raise InvalidInput(details=[("environment", "is required where no project is named")])
    account_id = projects.get(connection, principal.project_id).account_id
    found = projects.find_oldest(connection, account_id, new.environment)
    if found is not None:
        return found
    project = Project(spare_id, account_id, _NAMES[new.environment], new.environment)
    projects.insert(connection, project)
    record(connection, Kind.PROJECT, project.id)
    return project


def _audit(
    connection: Connection, who: Principal, record_id: ids.Id, action: str, key_id: ids.Id
) -> None:
    audit.record(connection, who, record_id, action, ids.spell(ids.KEY, key_id))
