"""The dialects that are not fast routes alone: what each is made of, and its formats."""

from collections.abc import Mapping
from typing import Final, Protocol

from starlette.routing import Route

from waypost.clock import Clock
from waypost.dialects.convoy import chat
from waypost.dialects.convoy import routes as convoy
from waypost.dialects.convoy.format import ConvoyFormat
from waypost.dialects.convoy.meta import MetaFormat
from waypost.dialects.convoy.proofs import Probe
from waypost.dialects.socotra import formats as socotra
from waypost.dialects.socotra.reading import DivertedHandlers, EventHandlers
from waypost.dialects.socotra.routes import SocotraRoutes
from waypost.dialects.socotra.tokens import Tokens
from waypost.dialects.socotra.webhook_routes import WebhookHandlers
from waypost.dialects.stedi import delivery as stedi
from waypost.dialects.stedi.routes import StediRoutes
from waypost.model import ids
from waypost.model.ids import Id
from waypost.model.project import Environment, Project
from waypost.operations.access import Access
from waypost.operations.deliveries import Deliveries
from waypost.operations.diverted import Diverted
from waypost.operations.event_types import EventTypes
from waypost.operations.events import Events
from waypost.operations.filters import Filters
from waypost.operations.keys import Keys
from waypost.operations.notices import Notices
from waypost.operations.projects import Projects
from waypost.operations.records import Records
from waypost.operations.repeats import Repeats
from waypost.operations.replays import Replays
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.sources import Sources
from waypost.operations.subscriptions import Subscriptions
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


NOTICES: Final = frozenset({MetaFormat.name, *chat.FORMATS})
"""Formats of notices, which know no other events: nobody may ask for them."""


def formats(environments: Mapping[Id, Environment]) -> dict[str, Format]:
    """Return every delivery format, by name."""
    return {
        **NATIVE_FORMATS,
        **socotra.FORMATS,
        ConvoyFormat.name: ConvoyFormat(),
        MetaFormat.name: MetaFormat(),
        **chat.FORMATS,
        **stedi.formats(environments),
    }


class Operations(Protocol):
    """What all surfaces share."""

    access: Access
    surfaces: Surfaces
    aside: Aside
    fast: FastRoutes
    clock: Clock
    projects: Projects
    keys: Keys
    records: Records
    notices: Notices
    sources: Sources
    event_types: EventTypes
    probe: Probe
    base_url: str
    subscriptions: Subscriptions
    signing_keys: SigningKeys
    transforms: Transforms
    events: Events
    deliveries: Deliveries
    diverted: Diverted
    filters: Filters
    replays: Replays
    repeats: Repeats
    environments: Environments


def dialect_routes(shared: Operations, socotra_interval_s: float) -> list[Route]:
    """Return the routes of all dialects; see the setting of that name."""
    return [*_socotra(shared, socotra_interval_s), *convoy.routes(shared), *_stedi(shared)]


def _socotra(shared: Operations, interval_s: float) -> list[Route]:
    access, surfaces = shared.access, shared.surfaces
    operations = [
        *EventHandlers(shared.events).operations(),
        *DivertedHandlers(shared.diverted, shared.subscriptions).operations(),
        *WebhookHandlers(shared.subscriptions, shared.signing_keys, interval_s).operations(),
    ]
    tokens = Tokens(access, shared.keys, surfaces)
    return [tokens.route(), *SocotraRoutes(access, surfaces).routes(operations)]


def _stedi(shared: Operations) -> list[Route]:
    return StediRoutes(
        shared.access,
        shared.surfaces,
        shared.events,
        shared.deliveries,
        shared.subscriptions,
        shared.signing_keys,
        shared.repeats,
        shared.environments,
    ).routes()
