"""Projects and keys: who may do what, and where."""

from enum import StrEnum
from typing import Final

import msgspec

from waypost.model.api import Api
from waypost.model.ids import Id
from waypost.model.subscription import NOTHING_SET, Inheritable

__all__ = [
    "PROJECT_SCOPES",
    "Api",
    "ApiKey",
    "Environment",
    "Principal",
    "Project",
    "Scope",
]


class Environment(StrEnum):
    """What a project is for."""

    TEST = "test"
    PRODUCTION = "production"


class Project(msgspec.Struct, frozen=True):
    """One tenant in one environment, under an account.

    Attributes:
        strict_types: only events of its catalogue's types are taken.
        defaults: what its subscriptions go by where they set nothing themselves.
        routing_version: of the routing that its events are matched by.
    """

    id: Id
    account_id: Id
    name: str
    environment: Environment
    strict_types: bool = False
    defaults: Inheritable = NOTHING_SET
    routing_version: int = 1


class Scope(StrEnum):
    """What a key may do."""

    EVENTS_WRITE = "events.write"
    EVENTS_READ = "events.read"
    SUBSCRIPTIONS_READ = "subscriptions.read"
    SUBSCRIPTIONS_WRITE = "subscriptions.write"
    TRANSACTIONS_WRITE = "transactions.write"
    SOURCES_READ = "sources.read"
    SOURCES_WRITE = "sources.write"
    ADMIN = "admin"


PROJECT_SCOPES: Final = frozenset(
    {
        Scope.EVENTS_WRITE,
        Scope.EVENTS_READ,
        Scope.SUBSCRIPTIONS_READ,
        Scope.SUBSCRIPTIONS_WRITE,
        Scope.TRANSACTIONS_WRITE,
        Scope.SOURCES_READ,
        Scope.SOURCES_WRITE,
    }
)
"""What a key may do where its creation names no scopes: all but administration."""


class ApiKey(msgspec.Struct, frozen=True):
    """A caller's secret, without the secret. Whatever its `api`, it is good on every surface.

    Attributes:
        permissions: what it may do on the surface of its `api`, in that one's words; None where the
            scopes alone tell.
        tenants: the other projects that it is good for.
    """

    id: Id
    project_id: Id
    name: str
    scopes: frozenset[Scope]
    expires_at_us: int | None = None
    revoked_at_us: int | None = None
    api: Api = Api.NATIVE
    permissions: frozenset[str] | None = None
    tenants: tuple[Id, ...] = ()


class Principal(msgspec.Struct, frozen=True):
    """Who is calling: a good key, and the project that the call is about.

    `permissions` and `tenants` are those of the key.
    """

    key_id: Id
    key_name: str
    project_id: Id
    scopes: frozenset[Scope]
    permissions: frozenset[str] | None = None
    tenants: tuple[Id, ...] = ()
