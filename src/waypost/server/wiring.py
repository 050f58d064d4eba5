"""The wiring: every part is made here, and told of the others."""

import asyncio
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from starlette.routing import Route
from starlette.types import ASGIApp

from waypost import __version__
from waypost.api import app as api
from waypost.api.blocked_keys import BlockedKeyRoutes
from waypost.api.deliveries import DeliveryRoutes
from waypost.api.diverted import DivertedRoutes
from waypost.api.event_types import EventTypeRoutes
from waypost.api.events import EventRoutes
from waypost.api.explaining import ExplainingRoutes
from waypost.api.filters import FilterRoutes
from waypost.api.health import Health
from waypost.api.intake import Intake
from waypost.api.jwks import JwksRoutes
from waypost.api.keys import KeyRoutes
from waypost.api.operation import Operation
from waypost.api.probes import ProbeRoutes
from waypost.api.projects import ProjectRoutes
from waypost.api.replays import ReplayRoutes
from waypost.api.retention import RetentionRoutes
from waypost.api.sources import SourceRoutes
from waypost.api.subscriptions import SubscriptionRoutes
from waypost.api.transactions import TransactionRoutes
from waypost.api.transforms import TransformRoutes
from waypost.clock import AlignedClock
from waypost.config import Config, Role
from waypost.dialects.buildable.openapi import document as buildable_document
from waypost.dialects.buildable.routes import BuildableRoutes, Emit
from waypost.dialects.convoy.proofs import Probe
from waypost.egress.transport import Transport
from waypost.engine.arrivals import Arrivals
from waypost.engine.authenticator import Authenticator
from waypost.engine.configuration import Configuration
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.expander import Expander
from waypost.engine.ingest import Ingest
from waypost.engine.job import Job
from waypost.engine.ownership import OwnershipConfig
from waypost.engine.pruner import Pruner
from waypost.engine.reconciler import Reconciler, look
from waypost.engine.replayer import Replayer
from waypost.engine.router import Router
from waypost.engine.sender import Sender
from waypost.engine.sharing import Links, Sharing
from waypost.engine.verifier import Verifier
from waypost.engine.waker import Topic
from waypost.model.ids import Id
from waypost.model.project import Project
from waypost.model.subscription import SigningKey, Subscription
from waypost.operations.access import Access
from waypost.operations.alerts import Alerts
from waypost.operations.audience import Audience
from waypost.operations.blocked_keys import BlockedKeys
from waypost.operations.deliveries import Deliveries
from waypost.operations.diverted import Diverted
from waypost.operations.event_types import Catalogue, EventTypes
from waypost.operations.events import Events
from waypost.operations.explaining import Explaining, Sends
from waypost.operations.filters import Filters
from waypost.operations.following import (
    CatalogueMemory,
    KeyMemory,
    ProjectMemory,
    SubscriptionMemory,
)
from waypost.operations.keys import Keys
from waypost.operations.notices import Notices
from waypost.operations.probes import Probes
from waypost.operations.projects import Projects
from waypost.operations.records import Records
from waypost.operations.repeats import Repeats
from waypost.operations.replays import Examples, Replays
from waypost.operations.retention import Retention
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.sources import Sources
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transactions import Transactions
from waypost.operations.transforms import Transforms
from waypost.policy.events import EventLimits
from waypost.policy.settings import SubscriptionRules
from waypost.sandbox.pool import Pool
from waypost.server import configs
from waypost.server.dialects import NOTICES, dialect_routes
from waypost.server.telling import tellers
from waypost.server.tools import Tools
from waypost.storage import projects, subscriptions
from waypost.storage.configuration import Kind
from waypost.storage.connection import Connection
from waypost.storage.store import Store
from waypost.storage.vault import Vault
from waypost.web import openapi
from waypost.web.aside import Aside
from waypost.web.errors import ErrorCounts, Surfaces
from waypost.web.fast import FastRoutes
from waypost.web.front import HttpFront
from waypost.web.limits import HttpLimits

_MICROS: Final = 1_000_000
SigningKeysOfAll = dict[Id, tuple[SigningKey, ...]]
"""The signing keys of every subscription, by its id."""


class Engine:
    """What runs by itself."""

    def __init__(
        self, config: Config, store: Store, tools: Tools, links: Links | None = None
    ) -> None:
        """Make it; nothing is sent before `start`.

        `links` are the other ways to a database that processes share.
        """
        loop = asyncio.get_running_loop()
        self._store = store
        self._started = False
        sharing = None
        if links is not None:
            sharing = Sharing(store, links, tools.clock, notify=config.notify)
        self.sharing = sharing
        self.configuration = Configuration(store) if sharing is None else sharing.configuration
        self._drain_s = config.drain_timeout
        self.router = Router()
        self.transport = Transport(
            loop,
            rules=config.egress_allow,
            clock=tools.clock,
            ca_file=None if config.egress_ca is None else str(config.egress_ca),
        )
        self.proof = Authenticator(loop, self.transport, tools.clock, tools.ids, tools.vault)
        self.sandbox = _sandbox(loop, config)
        self.dispatcher = Dispatcher(
            self.configuration,
            self.router,
            Sender(loop, self.transport, tools.formats, config.origin, self.proof.around),
            tools.clock,
            tools.entropy,
            configs.dispatching(config),
            self.sandbox,
            None if sharing is None else sharing.shards,
        )
        self.verifier = _verifier(config, self.configuration, self.router, self.dispatcher, tools)
        self.expander = Expander(store, self.dispatcher.owed, tools.ids)
        fanned_out = self._woken_by(Topic.FAN_OUTS, self.expander.job)
        self._tellers = tellers(config, store, self.dispatcher, fanned_out, tools.clock, tools.ids)
        self.ingest = Ingest(
            store,
            self.router,
            self.dispatcher,
            tools.clock,
            tools.ids,
            configs.intake(config),
            fanned_out,
        )
        self.arrivals = Arrivals(self.ingest, sharing)
        self.pruner = _pruner(config, store, tools, sharing)
        sends = self.dispatcher
        self.replayer = Replayer(
            store, sends.owed, tools.ids, self.router, sends.background, sends.lull
        )
        self.replays_wanted = self._woken_by(Topic.REPLAYS, self.replayer.job)
        if sharing is None:
            self.reconciler = Reconciler(store, self.dispatcher)
        else:
            self.reconciler = sharing.reconciler(self.dispatcher)
            self._share(sharing, config, tools)
        self._jobs = self._jobs_of(config.role)

    def _jobs_of(self, role: Role) -> list[Job]:
        jobs = [self.expander.job, self.pruner.job, self.reconciler.job, self.replayer.job]
        # Where nothing is taken in, nothing is routed.
        routing = [] if role == "deliver" else [self.router.job]
        return [*jobs, *self._tellers, *routing]

    def _woken_by(self, topic: Topic, job: Job) -> Callable[[], None]:
        """Return what has a job look for work, in every process."""
        return job.wake if self.sharing is None else self.sharing.listen(topic, job)

    def _share(self, sharing: Sharing, config: Config, tools: Tools) -> None:
        """Send for a share of the shards only, and leave the rest to other processes."""
        ownership = sharing.serve(
            self.router,
            self.dispatcher,
            tools.ids,
            OwnershipConfig(
                lease_s=config.lease,
                role=config.role,
                name=_process_name(),
                listen=str(config.listen),
                version=__version__,
            ),
        )
        if isinstance(tools.clock, AlignedClock):
            ownership.aligned = tools.clock.align
        sharing.one_does(self.expander.job, self.verifier.job, *self._tellers)
        self.replayer.mine = sharing.shards.owns
        self.replayer.job.only(lambda: sharing.shards.count() > 0, every_s=sharing.look_s)
        self.ingest.share(sharing.follower.catch_up)

    async def begin(self) -> None:
        """Note how far the log of changes is, before anything is loaded that it tells of."""
        if self.sharing is not None:
            await self.sharing.follower.begin()

    def subscription_changed(
        self, subscription: Subscription, keys: tuple[SigningKey, ...] | None = None
    ) -> None:
        """Take a subscription's new settings; see `Dispatcher.subscription_changed`."""
        self.dispatcher.subscription_changed(subscription, keys)
        self.verifier.look(subscription)

    async def load(self) -> None:
        """Bring the routing in memory to what the database holds."""

        def read(connection: Connection) -> tuple[dict[Id, int], list[Subscription]]:
            return projects.routing_versions(connection), subscriptions.load_all(connection)

        self.router.load(*await self._store.read(read))

    async def start(self, keys: SigningKeysOfAll) -> None:
        """Send what is owed; `keys` are those of all subscriptions."""
        await self.pruner.prepare()
        if self.sharing is None:
            await self.dispatcher.start(keys, await look(self._store, self.router))
        else:
            await self.dispatcher.start(keys, ())
            await self.sharing.start()
        for job in (*self._jobs, self.verifier.job):
            job.start()
        self._started = True

    def sends(self) -> Sends:
        """Return what is known here of what is sent, for explanations."""
        roster = self.dispatcher.roster
        return Sends(
            _process_name(),
            self.dispatcher.sending,
            lambda subscription_id: self._started and roster.owns(subscription_id),
            roster.standing,
        )

    async def stop(self) -> None:
        """Take no more events, settle what is in flight, and send nothing more."""
        self.ingest.close(full=False)
        for job in self._jobs:
            await job.stop()
        await self.verifier.stop()
        if self.sharing is not None:
            self.sharing.retire()
        await self.dispatcher.drain(self._drain_s)
        await self.sandbox.close()
        if self.sharing is not None:
            await self.sharing.stop()
        await self.transport.close()


class Surface:
    """The HTTP API: what people and programs ask for."""

    def __init__(self, config: Config, store: Store, engine: Engine, tools: Tools) -> None:
        """Make the operations and their routes."""
        self._config, self._tools = config, tools
        self.base_url = f"http://{config.listen}"
        self.environments = tools.environments
        self.errors = ErrorCounts()
        self.surfaces = Surfaces(tools.entropy)
        self.access = Access(tools.clock, configs.access(config))
        self.aside = Aside()
        self.catalogue = Catalogue()
        ids, clock = tools.ids, tools.clock
        dispatcher, router = engine.dispatcher, engine.router
        self._limits = limits = EventLimits(config.max_event_bytes, config.max_batch_bytes)
        allowed = frozenset(tools.formats) - NOTICES
        rules = SubscriptionRules(config.egress_allow, allowed, config.origin)
        vault, changes = tools.vault, engine.configuration
        self.event_types = EventTypes(changes, self.catalogue)
        self.signing_keys = _signing_keys(engine, vault, tools)
        self._roster = dispatcher.roster
        alerts = Alerts(router, self.signing_keys, dispatcher.roster.deleted, ids)
        self.projects = Projects(
            changes, self.access, alerts, rules, self._project_changed, clock, ids
        )
        self.events = Events(store, engine.ingest, router, self.catalogue, limits)
        self.sources = Sources(changes, vault, self.events, self.access, clock, tools.entropy, ids)
        self.probe: Probe = engine.proof.probe
        if engine.sharing is not None:
            self._follow(engine.sharing, engine)
        self.deliveries = Deliveries(store, dispatcher.sending, tools.formats)
        self.replays = Replays(store, dispatcher.owed, engine.replays_wanted, ids, router)
        self.transactions = self._transactions(store, engine, tools)
        self.transforms = Transforms(store, engine.sandbox, ids)
        self.subscriptions = self._subscriptions(engine, alerts, self.transforms, rules)
        self.filters = Filters(store)
        self.diverted = Diverted(store, dispatcher, ids)
        self.records = Records(changes, vault, ids)
        self.notices = Notices(alerts, self.signing_keys, dispatcher.roster.announcer, ids)
        self.repeats = Repeats(store, vault, clock)
        self.clock = clock
        self.keys = Keys(changes, self.access, clock, tools.entropy, ids)
        self.table = self._native(store, engine)
        self.fast = FastRoutes()
        documents = self._register()
        self.others = [*dialect_routes(self, config.socotra_interval), *documents]

    def _native(self, store: Store, engine: Engine) -> list[Operation]:
        """Return the native API's table."""
        ids, dispatcher, clock = self._tools.ids, engine.dispatcher, self._tools.clock
        examples = Examples(store, engine.ingest, self.catalogue)
        keys = self.signing_keys
        return [
            *EventRoutes(self.events).operations(),
            *DeliveryRoutes(self.deliveries).operations(),
            *SubscriptionRoutes(self.subscriptions, keys, self.deliveries).operations(),
            *TransformRoutes(self.transforms, self._limits).operations(),
            *ReplayRoutes(self.replays, examples).operations(),
            *ProbeRoutes(Probes(store, examples, engine.router.defaults)).operations(),
            *DivertedRoutes(self.diverted, self.replays).operations(),
            *BlockedKeyRoutes(BlockedKeys(store, dispatcher.owed, ids)).operations(),
            *FilterRoutes(self.filters).operations(),
            *ExplainingRoutes(Explaining(store, engine.sends(), clock)).operations(),
            *EventTypeRoutes(self.event_types).operations(),
            *JwksRoutes(keys).operations(),
            *ProjectRoutes(self.projects).operations(),
            *RetentionRoutes(Retention(store, engine.pruner, clock, ids)).operations(),
            *KeyRoutes(self.keys, self.base_url).operations(),
            *TransactionRoutes(self.transactions).operations(),
            *SourceRoutes(self.sources, self._limits, self.base_url).operations(),
        ]

    def _transactions(self, store: Store, engine: Engine, tools: Tools) -> Transactions:
        return Transactions(
            store,
            engine.arrivals,
            Audience(tools.clock),
            tools.clock,
            tools.ids,
            configs.micros(self._config.retention),
        )

    def _register(self) -> list[Route]:
        """Enter the fast routes, native and of dialects; return those of their documents."""
        Intake(self.access, self.events, self.surfaces, self.aside).register(self.fast)
        Emit(self.access, self.events, self.surfaces, self.aside).register(self.fast)
        buildable = BuildableRoutes(self.access, self.projects, self.transactions).dialect()
        buildable.register(self.fast, self.access, self.surfaces)
        return [openapi.route("buildable", partial(buildable_document, buildable.operations))]

    def _subscriptions(
        self, engine: Engine, alerts: Alerts, transforms: Transforms, rules: SubscriptionRules
    ) -> Subscriptions:
        return Subscriptions(
            engine.configuration,
            engine.router,
            self.signing_keys,
            alerts,
            self.catalogue,
            transforms,
            rules,
            engine.dispatcher.roster.deleted,
            self._tools.ids,
            engine.dispatcher.roster.announcer,
        )

    def _project_changed(self, project: Project) -> None:
        """Take what is kept in memory of a project."""
        self.environments.add(project)
        self.catalogue.set_strict(project.id, project.strict_types)
        self._roster.defaults_changed(project)

    def _follow(self, sharing: Sharing, engine: Engine) -> None:
        """Keep what is in memory as other processes change it, or let nobody in by it."""
        follow = sharing.follower.follow
        follow(Kind.PROJECT, ProjectMemory(self.access, self._project_changed))
        follow(Kind.API_KEY, KeyMemory(self.access))
        follow(Kind.EVENT_TYPES, CatalogueMemory(self.catalogue))
        follow(Kind.SOURCE, self.sources.known)
        follow(
            Kind.SUBSCRIPTION,
            SubscriptionMemory(engine.router, self.signing_keys, engine.dispatcher.roster.deleted),
        )

        def admit(until: float) -> None:
            self.access.confirmed_until = until

        sharing.confirm(engine.dispatcher, admit)

    async def load(self) -> SigningKeysOfAll:
        """Bring what is in memory to what the database holds; return all signing keys."""
        await self.projects.load()
        await self.event_types.load()
        await self.sources.load()
        return await self.signing_keys.load()

    def fast_for(self, role: Role) -> FastRoutes:
        """Return the fast routes that a process of this role serves."""
        return FastRoutes() if role == "deliver" else self.fast

    def application(self, health: Health, role: Role = "all") -> ASGIApp:
        """Return the application, for every listener of a process of this role."""
        pages = {
            "/healthz": health.healthz,
            "/readyz": health.readyz,
            "/metrics": health.metrics,
        }
        serves = role != "deliver"
        return api.build(
            self.table if serves else [],
            self.fast_for(role),
            pages,
            self.access,
            self.surfaces,
            self.errors,
            self.others if serves else [],
        )

    def front(self, fast: FastRoutes) -> HttpFront:
        """Return what the connections of one listener share."""
        config = self._config
        return HttpFront(
            fast,
            HttpLimits(
                idle_s=config.http_idle_timeout,
                head_s=config.http_head_timeout,
                body_s=config.http_body_timeout,
                body_bytes=max(self._limits.max_body_bytes, self._limits.max_batch_bytes),
                intake_bytes=config.intake_memory,
                connections=config.http_connections,
                connections_per_peer=config.http_connections_per_peer,
                exempt_peers=config.http_exempt_peers,
            ),
            refuse=self.surfaces.refuse,
            clock=self._tools.clock,
            errors=self.errors,
        )


def _verifier(
    config: Config, changes: Configuration, router: Router, dispatcher: Dispatcher, tools: Tools
) -> Verifier:
    return Verifier(
        changes,
        router,
        dispatcher.roster.address,
        dispatcher.subscription_changed,
        tools.clock,
        tools.entropy,
        config.origin,
    )


def _signing_keys(engine: Engine, vault: Vault, tools: Tools) -> SigningKeys:
    return SigningKeys(
        engine.configuration,
        vault,
        engine.subscription_changed,
        tools.clock,
        tools.entropy,
        tools.ids,
        engine.dispatcher.roster.announcer,
    )


def _process_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


def _sandbox(loop: asyncio.AbstractEventLoop, config: Config) -> Pool:
    return Pool(loop, configs.transforming(config))


def _pruner(config: Config, store: Store, tools: Tools, sharing: Sharing | None) -> Pruner:
    """Make what forgets: of the processes that share a database, the leading one does it."""
    leads = None if sharing is None else sharing.shards.leads
    return Pruner(store, tools.clock, configs.pruning(config), leads)
