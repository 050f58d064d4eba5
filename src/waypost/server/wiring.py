"""The wiring: every part is made here, and told of the others."""

import asyncio
from typing import Final

from starlette.types import ASGIApp

from waypost.api import app as api
from waypost.api.aside import Aside
from waypost.api.deliveries import DeliveryRoutes
from waypost.api.diverted import DivertedRoutes
from waypost.api.event_types import EventTypeRoutes
from waypost.api.events import EventRoutes
from waypost.api.health import Health
from waypost.api.intake import Intake
from waypost.api.jwks import JwksRoutes
from waypost.api.keys import KeyRoutes
from waypost.api.operation import Operation
from waypost.api.projects import ProjectRoutes
from waypost.api.replays import ReplayRoutes
from waypost.api.subscriptions import SubscriptionRoutes
from waypost.api.transforms import TransformRoutes
from waypost.clock import IdSource, SystemClock, SystemEntropy
from waypost.config import Config
from waypost.egress.transport import Transport
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.expander import Expander
from waypost.engine.ingest import Ingest, IngestConfig
from waypost.engine.pruner import Pruner
from waypost.engine.reconciler import Reconciler
from waypost.engine.replayer import Replayer
from waypost.engine.router import Router
from waypost.engine.sender import Sender
from waypost.engine.slots import DispatcherConfig
from waypost.model.ids import Id
from waypost.model.subscription import SigningKey
from waypost.operations.access import Access, AccessConfig
from waypost.operations.deliveries import Deliveries
from waypost.operations.diverted import Diverted
from waypost.operations.event_types import Catalogue, EventTypes
from waypost.operations.events import Events
from waypost.operations.keys import Keys
from waypost.operations.projects import Projects
from waypost.operations.replays import Examples, Replays
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transforms import Transforms
from waypost.policy.events import EventLimits
from waypost.policy.format import NATIVE_FORMATS
from waypost.policy.rate import Allowance
from waypost.policy.settings import SubscriptionRules
from waypost.sandbox.pool import Pool, PoolConfig
from waypost.storage import queue, subscriptions
from waypost.storage.store import Store
from waypost.storage.vault import Vault
from waypost.web.errors import ErrorCounts, Surfaces
from waypost.web.fast import FastRoutes
from waypost.web.front import HttpFront
from waypost.web.limits import HttpLimits

_MICROS: Final = 1_000_000
SigningKeysOfAll = dict[Id, tuple[SigningKey, ...]]
"""The signing keys of every subscription, by its id."""


class Tools:
    """What every part may need: time, chance and ids."""

    def __init__(self) -> None:
        """Take them from the system."""
        self.clock = SystemClock()
        self.entropy = SystemEntropy()
        self.ids = IdSource(self.clock, self.entropy)


class Engine:
    """What runs by itself."""

    def __init__(self, config: Config, store: Store, tools: Tools) -> None:
        """Make it; nothing is sent before `start`."""
        loop = asyncio.get_running_loop()
        self._store = store
        self._drain_s = config.drain_timeout
        self.router = Router()
        self.transport = Transport(
            loop,
            rules=config.egress_allow,
            clock=tools.clock,
            ca_file=None if config.egress_ca is None else str(config.egress_ca),
        )
        self.sandbox = Pool(
            loop,
            PoolConfig(
                config.transform_workers,
                config.transform_timeout,
                config.transform_memory,
                config.max_event_bytes,
            ),
        )
        self.dispatcher = Dispatcher(
            loop,
            store,
            self.router,
            Sender(loop, self.transport, NATIVE_FORMATS),
            tools.clock,
            tools.entropy,
            DispatcherConfig(
                max_in_flight=config.max_in_flight,
                max_slow=2 * config.max_in_flight,
                window=config.lane_window,
                payload_bytes=config.payload_memory,
                disable_after_us=int(config.disable_after * _MICROS),
            ),
            self.sandbox,
        )
        self.expander = Expander(store, self.dispatcher.owed, tools.ids)
        self.ingest = Ingest(
            store,
            self.router,
            self.dispatcher,
            tools.clock,
            tools.ids,
            IngestConfig(
                max_waiting=config.intake_pending, idempotency_ttl_s=int(config.idempotency_ttl)
            ),
            self.expander.job.wake,
        )
        self.pruner = Pruner(store, tools.clock)
        self.replayer = Replayer(store, self.dispatcher.owed, tools.ids)
        self.reconciler = Reconciler(store, self.dispatcher)
        self._jobs = (
            self.expander.job,
            self.pruner.job,
            self.reconciler.job,
            self.replayer.job,
        )

    async def load(self) -> None:
        """Bring the routing in memory to what the database holds."""
        self.router.load(
            self._store.committer.versions, await self._store.read(subscriptions.load_all)
        )

    async def start(self, keys: SigningKeysOfAll) -> None:
        """Send what is owed; `keys` are those of all subscriptions."""
        await self.dispatcher.start(keys, await self._store.read(queue.list_lanes))
        for job in self._jobs:
            job.start()

    async def stop(self) -> None:
        """Take no more events, settle what is in flight, and send nothing more."""
        self.ingest.close(full=False)
        for job in self._jobs:
            await job.stop()
        await self.dispatcher.drain(self._drain_s)
        await self.sandbox.close()
        await self.transport.close()


class Surface:
    """The HTTP API: what people and programs ask for."""

    def __init__(
        self, config: Config, store: Store, engine: Engine, tools: Tools, key: bytes
    ) -> None:
        """Make the operations and their routes; `key` is the secret key."""
        self._config = config
        self._tools = tools
        self.errors = ErrorCounts()
        self.surfaces = Surfaces(tools.entropy)
        self.access = Access(tools.clock, _access_config(config))
        self.aside = Aside()
        self.catalogue = Catalogue()
        ids, clock, entropy = tools.ids, tools.clock, tools.entropy
        dispatcher, router = engine.dispatcher, engine.router
        self._limits = limits = EventLimits(config.max_event_bytes, config.max_batch_bytes)
        rules = SubscriptionRules(config.egress_allow, frozenset(NATIVE_FORMATS))
        vault = Vault(key, entropy)
        self.projects = Projects(store, self.access, self.catalogue.set_strict, clock, ids)
        self.event_types = EventTypes(store, self.catalogue)
        self.signing_keys = SigningKeys(
            store, vault, dispatcher.subscription_changed, clock, entropy, ids
        )
        events = Events(store, engine.ingest, router, self.catalogue, limits)
        deliveries = Deliveries(store, dispatcher.sending, NATIVE_FORMATS)
        replays = Replays(store, dispatcher.owed, engine.replayer.job.wake, ids)
        examples = Examples(store, engine.ingest, self.catalogue)
        transforms = Transforms(store, engine.sandbox, ids)
        self.table: list[Operation] = [
            *EventRoutes(events).operations(),
            *DeliveryRoutes(deliveries).operations(),
            *SubscriptionRoutes(
                Subscriptions(
                    store,
                    router,
                    self.signing_keys,
                    self.catalogue,
                    transforms,
                    rules,
                    dispatcher.subscription_deleted,
                    ids,
                ),
                self.signing_keys,
                deliveries,
            ).operations(),
            *TransformRoutes(transforms, limits).operations(),
            *ReplayRoutes(replays, examples).operations(),
            *DivertedRoutes(Diverted(store, dispatcher, ids)).operations(),
            *EventTypeRoutes(self.event_types).operations(),
            *JwksRoutes(self.signing_keys).operations(),
            *ProjectRoutes(self.projects).operations(),
            *KeyRoutes(Keys(store, self.access, clock, entropy, ids)).operations(),
        ]
        self.fast = FastRoutes()
        Intake(self.access, events, self.surfaces, self.aside).register(self.fast)

    async def load(self) -> SigningKeysOfAll:
        """Bring what is in memory to what the database holds; return all signing keys."""
        await self.projects.load()
        await self.event_types.load()
        return await self.signing_keys.load()

    def application(self, health: Health) -> ASGIApp:
        """Return the application, for every listener."""
        pages = {
            "/healthz": health.healthz,
            "/readyz": health.readyz,
            "/metrics": health.metrics,
        }
        return api.build(self.table, self.fast, pages, self.access, self.surfaces, self.errors)

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


def _access_config(config: Config) -> AccessConfig:
    return AccessConfig(
        reads=Allowance(per_s=config.read_rate, burst=2 * config.read_rate),
        writes=Allowance(per_s=config.write_rate, burst=2 * config.write_rate),
    )
