"""The dialects: what they bring to the engine, and what they serve over the operations."""

from collections.abc import Mapping

import msgspec
from starlette.routing import Route

from waypost.clock import Clock
from waypost.dialects.buildable.routes import BuildableRoutes, Emit
from waypost.dialects.convoy import routes as convoy
from waypost.dialects.convoy.format import ConvoyFormat
from waypost.dialects.stedi import delivery as stedi
from waypost.dialects.stedi.routes import StediRoutes
from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.project import Environment, Project
from waypost.operations.access import Access
from waypost.operations.deliveries import Deliveries
from waypost.operations.events import Events
from waypost.operations.filters import Filters
from waypost.operations.keys import Keys as ApiKeys
from waypost.operations.projects import Projects
from waypost.operations.records import Records
from waypost.operations.repeats import Repeats
from waypost.operations.replays import Replays
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transactions import Transactions
from waypost.operations.transforms import Transforms
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
    convoy_s = ConvoyFormat()
    return {**NATIVE_FORMATS, convoy_s.name: convoy_s, **stedi.formats(environments)}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What dialects ask."""

    access: Access
    surfaces: Surfaces
    aside: Aside
    clock: Clock
    environments: Environments
    projects: Projects
    keys: ApiKeys
    records: Records
    repeats: Repeats
    subscriptions: Subscriptions
    signing_keys: SigningKeys
    transforms: Transforms
    events: Events
    deliveries: Deliveries
    filters: Filters
    replays: Replays
    transactions: Transactions


def routes(ours: Asked, fast: FastRoutes) -> list[Route]:
    """Enter the fast routes of all dialects; return their other ones."""
    Emit(ours.access, ours.events, ours.surfaces, ours.aside).register(fast)
    buildable = BuildableRoutes(ours.access, ours.projects, ours.transactions).dialect()
    buildable.register(fast, ours.access, ours.surfaces)
    return [*_convoy(ours), *_stedi(ours)]


def _convoy(ours: Asked) -> list[Route]:
    return convoy.routes(
        convoy.Parts(
            access=ours.access,
            surfaces=ours.surfaces,
            clock=ours.clock,
            projects=ours.projects,
            keys=ours.keys,
            records=ours.records,
            subscriptions=ours.subscriptions,
            signing_keys=ours.signing_keys,
            transforms=ours.transforms,
            events=ours.events,
            deliveries=ours.deliveries,
            filters=ours.filters,
            replays=ours.replays,
        )
    )


def _stedi(ours: Asked) -> list[Route]:
    return StediRoutes(
        ours.access,
        ours.surfaces,
        ours.events,
        ours.deliveries,
        ours.subscriptions,
        ours.signing_keys,
        ours.repeats,
        ours.environments,
    ).routes()
