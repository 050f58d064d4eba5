"""The dialects: what they bring to the engine, and what they serve over the operations."""

from collections.abc import Mapping

import msgspec
from starlette.routing import Route

from waypost.dialects.buildable.routes import BuildableRoutes, Emit
from waypost.dialects.stedi import delivery as stedi
from waypost.dialects.stedi.routes import StediRoutes
from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.project import Environment, Project
from waypost.operations.access import Access
from waypost.operations.deliveries import Deliveries
from waypost.operations.events import Events
from waypost.operations.projects import Projects
from waypost.operations.repeats import Repeats
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transactions import Transactions
from waypost.policy.format import NATIVE_FORMATS, Format
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces
from waypost.web.fast import FastRoutes


class Environments(dict[Id, Environment]):
    """The environment of each project, which never changes."""

    def add(self, project: Project) -> None:
        """Take a project; its notices of failures are in the same environment."""
        self[project.id] = self[ids.alerts_of(project.id)] = project.environment


def formats(environments: Mapping[Id, Environment]) -> dict[str, Format]:
    """Return the delivery formats by name, of every surface."""
    return {**NATIVE_FORMATS, **stedi.formats(environments)}


class Asked(msgspec.Struct, frozen=True):
    """What dialects ask."""

    access: Access
    surfaces: Surfaces
    aside: Aside
    environments: Environments
    events: Events
    deliveries: Deliveries
    projects: Projects
    repeats: Repeats
    signing_keys: SigningKeys
    subscriptions: Subscriptions
    transactions: Transactions


def routes(ours: Asked, fast: FastRoutes) -> list[Route]:
    """Enter the fast routes of all dialects; return their other ones."""
    Emit(ours.access, ours.events, ours.surfaces, ours.aside).register(fast)
    buildable = BuildableRoutes(ours.access, ours.projects, ours.transactions).dialect()
    destinations = StediRoutes(
        ours.access,
        ours.surfaces,
        ours.events,
        ours.deliveries,
        ours.subscriptions,
        ours.signing_keys,
        ours.repeats,
        ours.environments,
    )
    return [*buildable.routes(ours.access, ours.surfaces), *destinations.routes()]
