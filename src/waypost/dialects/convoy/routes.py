"""All of Convoy's API, put together."""

from typing import Protocol

from starlette.routing import Route

from waypost.clock import Clock
from waypost.dialects.convoy import refusals
from waypost.dialects.convoy.deliveries import DeliveryRoutes
from waypost.dialects.convoy.endpoints import EndpointRoutes
from waypost.dialects.convoy.event_types import EventTypeRoutes
from waypost.dialects.convoy.events import EventRoutes
from waypost.dialects.convoy.filters import FilterRoutes
from waypost.dialects.convoy.ingest import IngestRoutes
from waypost.dialects.convoy.intake import Intake
from waypost.dialects.convoy.meta_routes import MetaRoutes
from waypost.dialects.convoy.onboarding import OnboardingRoutes
from waypost.dialects.convoy.projects import Homes, ProjectRoutes
from waypost.dialects.convoy.proofs import Probe, ProofRoutes
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.sources import SourceRoutes
from waypost.dialects.convoy.subscriptions import SubscriptionRoutes
from waypost.dialects.convoy.table import Mount, Operation
from waypost.dialects.convoy.views import Views
from waypost.operations.access import Access
from waypost.operations.deliveries import Deliveries
from waypost.operations.event_types import EventTypes
from waypost.operations.events import Events
from waypost.operations.filters import Filters
from waypost.operations.keys import Keys
from waypost.operations.notices import Notices
from waypost.operations.projects import Projects
from waypost.operations.records import Records
from waypost.operations.replays import Replays
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.sources import Sources
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transforms import Transforms
from waypost.web.aside import Aside
from waypost.web.errors import Surfaces
from waypost.web.fast import FastRoutes


class Parts(Protocol):
    """The operations that Convoy's API is a translation of."""

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
    subscriptions: Subscriptions
    signing_keys: SigningKeys
    transforms: Transforms
    events: Events
    deliveries: Deliveries
    filters: Filters
    replays: Replays
    probe: Probe
    base_url: str


def operations(parts: Parts) -> list[Operation]:
    """Return the whole table, and enter what is served the fast way."""
    homes = Homes(parts.records)
    shelf = Shelf(parts.records, homes, parts.subscriptions, parts.signing_keys, parts.notices)
    endpoints = EndpointRoutes(shelf, parts.deliveries, parts.clock)
    filters = FilterRoutes(shelf, parts.filters, parts.transforms, parts.clock)
    sources = SourceRoutes(
        parts.sources, parts.records, homes, filters, parts.events.limits, parts.base_url
    )

    projects = ProjectRoutes(
        parts.projects, parts.keys, parts.records, homes, shelf, sources.follow
    )
    views = Views(shelf, parts.events)
    events = EventRoutes(shelf, parts.events, parts.replays, views, parts.clock)
    deliveries = DeliveryRoutes(
        shelf, parts.deliveries, parts.events, parts.replays, views, parts.clock
    )
    Intake(
        parts.access, parts.surfaces, parts.aside, parts.events, parts.subscriptions, events
    ).register(parts.fast)
    return [
        *projects.operations(),
        *endpoints.operations(),
        *filters.operations(),
        *SubscriptionRoutes(shelf, parts.event_types).operations(),
        *events.operations(),
        *deliveries.operations(),
        *sources.operations(),
        *ProofRoutes(shelf.subscriptions, parts.probe, parts.clock).operations(),
        *EventTypeRoutes(parts.event_types, parts.records).operations(),
        *MetaRoutes(homes, parts.events, parts.deliveries, parts.replays, parts.clock).operations(),
        *OnboardingRoutes(shelf, endpoints).operations(),
        *refusals.operations(),
    ]


def routes(parts: Parts) -> list[Route]:
    """Return what the server serves; from now on errors on Convoy's paths are in its envelope."""
    return [
        *Mount(parts.access, parts.surfaces).routes(operations(parts)),
        *IngestRoutes(parts.sources, parts.aside).routes(parts.surfaces),
    ]
