"""Several processes on one database, played in one: each has an engine, a store and memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from tests.support import database
from tests.support.database import Records
from tests.support.engine import BACKLOG_US, Receivers
from tests.support.manual import SeededEntropy
from tests.support.sandbox import Runs, untouched
from tests.support.waiting import PATIENCE_S
from waypost.clock import IdSource, SystemClock, SystemEntropy
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.expander import Expander
from waypost.engine.ingest import Accepted, Ingest, IngestConfig
from waypost.engine.job import Job
from waypost.engine.ownership import OwnershipConfig
from waypost.engine.replayer import Replayer
from waypost.engine.router import Router
from waypost.engine.sender import Sender
from waypost.engine.sharing import LOOK_S, Sharing
from waypost.engine.slots import DispatcherConfig
from waypost.engine.teller import Teller
from waypost.engine.waker import Topic
from waypost.model.errors import WaypostError
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.model.project import Principal, Project
from waypost.model.subscription import Subscription
from waypost.operations.access import Access, AccessConfig
from waypost.operations.alerts import Alerts
from waypost.operations.event_types import Catalogue, EventTypes
from waypost.operations.following import (
    CatalogueMemory,
    KeyMemory,
    ProjectMemory,
    SubscriptionMemory,
)
from waypost.operations.keys import Keys
from waypost.operations.projects import Projects
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transforms import Transforms
from waypost.policy.egress import EgressRules
from waypost.policy.events import Draft
from waypost.policy.format import NATIVE_FORMATS
from waypost.policy.origin import Origin
from waypost.policy.settings import Settings, SubscriptionRules
from waypost.storage import projects, subscriptions
from waypost.storage.configuration import Kind
from waypost.storage.postgres.connection import PostgresOptions
from waypost.storage.postgres.links import Links
from waypost.storage.postgres.store import PostgresStore
from waypost.storage.vault import Vault

SECRET_KEY = bytes(range(32))
RULES = SubscriptionRules(EgressRules(), frozenset(NATIVE_FORMATS))


class Node:
    """One process: what the server wires, but for HTTP."""

    def __init__(
        self,
        records: Records,
        url: str,
        store: PostgresStore,
        *,
        role: str = "all",
        lease_s: float = 5.0,
        notify: bool = True,
        **config: Any,
    ) -> None:
        """Wire the parts as the server does."""
        loop = asyncio.get_running_loop()
        self.records = records
        self.store = store
        self.clock = clock = SystemClock()
        self.ids = IdSource(clock, SystemEntropy())
        links = Links(url, PostgresOptions())
        self.sharing = sharing = Sharing(store, links, self.clock, notify=notify)
        self.router = Router()
        self.receivers = Receivers()
        self.runs = Runs(untouched)
        self.dispatcher = Dispatcher(
            sharing.configuration,
            self.router,
            Sender(loop, self.receivers, NATIVE_FORMATS),
            self.clock,
            SeededEntropy(),
            DispatcherConfig(**config),
            self.runs,
            sharing.shards,
        )
        self.announcer = self.dispatcher.roster.announcer
        self.expander = Expander(store, self.dispatcher.owed, self.ids)
        self.ingest = Ingest(
            store,
            self.router,
            self.dispatcher,
            self.clock,
            self.ids,
            IngestConfig(),
            sharing.listen(Topic.FAN_OUTS, self.expander.job),
        )
        self.announcer.follow = sharing.listen(Topic.FAN_OUTS, self.expander.job)
        self.ingest.share(sharing.follower.catch_up)
        self.replayer = Replayer(store, self.dispatcher.owed, self.ids, self.router)
        self.replayer.mine = sharing.shards.owns
        self.replayer.job.only(lambda: sharing.shards.count() > 0, every_s=LOOK_S)
        self.wake_replayer = sharing.listen(Topic.REPLAYS, self.replayer.job)
        owed = self.dispatcher.owed
        self.teller = Teller(store, self.announcer, owed, clock, self.ids, BACKLOG_US)
        sharing.one_does(self.expander.job, self.teller.job)
        self.reconciler = sharing.reconciler(self.dispatcher)
        self.ownership = sharing.serve(
            self.router,
            self.dispatcher,
            self.ids,
            OwnershipConfig(lease_s=lease_s, role=role, name="test"),
        )
        self.principal = records.principal()
        self._remember()

    @property
    def jobs(self) -> list[Job]:
        """What it does by itself."""
        return [self.expander.job, self.reconciler.job, self.replayer.job, self.teller.job]

    def _remember(self) -> None:
        changes, follow = self.sharing.configuration, self.sharing.follower.follow
        entropy = SystemEntropy()
        self.access = Access(self.clock, AccessConfig())
        self.catalogue = Catalogue()
        self.signing_keys = SigningKeys(
            changes,
            Vault(SECRET_KEY, entropy),
            self.dispatcher.subscription_changed,
            self.clock,
            entropy,
            self.ids,
            self.announcer,
        )
        deleted = self.dispatcher.roster.deleted
        alerts = Alerts(self.router, self.signing_keys, deleted, self.ids)
        self.subscriptions = Subscriptions(
            changes,
            self.router,
            self.signing_keys,
            alerts,
            self.catalogue,
            Transforms(self.store, self.runs, self.ids),
            RULES,
            deleted,
            self.ids,
            self.announcer,
        )
        self.projects = Projects(
            changes, self.access, alerts, RULES, self._project_changed, self.clock, self.ids
        )
        self.keys = Keys(changes, self.access, self.clock, entropy, self.ids)
        self.event_types = EventTypes(changes, self.catalogue)
        follow(Kind.PROJECT, ProjectMemory(self.access, self._project_changed))
        follow(Kind.API_KEY, KeyMemory(self.access))
        follow(Kind.EVENT_TYPES, CatalogueMemory(self.catalogue))
        follow(
            Kind.SUBSCRIPTION,
            SubscriptionMemory(self.router, self.signing_keys, self.dispatcher.roster.deleted),
        )
        self.sharing.confirm(
            self.dispatcher, lambda until: setattr(self.access, "confirmed_until", until)
        )

    def _project_changed(self, project: Project) -> None:
        self.catalogue.set_strict(project.id, project.strict_types)
        self.dispatcher.roster.defaults_changed(project)

    async def start(self) -> None:
        """Load, and join the others."""
        await self.sharing.follower.begin()
        await self.projects.load()
        await self.event_types.load()
        keys = await self.signing_keys.load()
        self.router.load(
            *await self.store.read(
                lambda c: (projects.routing_versions(c), subscriptions.load_all(c))
            )
        )
        await self.dispatcher.start(keys, ())
        await self.sharing.start()
        for job in self.jobs:
            job.start()

    async def stop(self, *, drain_s: float = PATIENCE_S) -> None:
        """Go down in order."""
        self.ingest.close(full=False)
        for job in self.jobs:
            await job.stop()
        self.sharing.retire()
        await self.dispatcher.drain(drain_s)
        await self.sharing.stop()

    async def die(self) -> None:
        """End as by SIGKILL: nothing is said to anybody, and nothing more is sent."""
        self.dispatcher.stopping = True
        for job in self.jobs:
            await job.stop()
        self.ownership._former.clear()
        self.ownership.me = None
        await self.sharing.stop()
        await self.dispatcher.drain(0.0)

    # What producers and people do.

    async def accept(
        self,
        *,
        kind: str = "card.created",
        attributes: Attributes = NO_ATTRIBUTES,
        principal: Principal | None = None,
        payload: bytes = b"{}",
        origin: Origin | None = None,
    ) -> Accepted:
        """Accept one event."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        draft = Draft(kind, payload, attributes)
        self.ingest.accept(principal or self.principal, [draft], answer.set_result, origin)
        accepted = await answer
        if isinstance(accepted, WaypostError):
            raise accepted
        return accepted[0]  # type: ignore[no-any-return] # one of what was accepted

    async def subscribe(self, host: str = "r", **settings: Any) -> Subscription:
        """Make a subscription."""
        wanted = Settings(url=f"https://{host}.example/", **settings)
        return await self.subscriptions.create(self.principal, wanted)

    @property
    def owned(self) -> int:
        """How many shards it owns."""
        return self.sharing.shards.count()


@asynccontextmanager
async def nodes(
    records: Records, url: str, count: int = 2, **settings: Any
) -> AsyncIterator[list[Node]]:
    """Have processes that run; those that are left go down in order at the end."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(node(records, url, **settings)) for _ in range(count)
        ]


@asynccontextmanager
async def node(records: Records, url: str, **settings: Any) -> AsyncIterator[Node]:
    """Have a process that runs; it goes down in order at the end, unless it is dead."""
    async with database.opened(url) as store:
        made = Node(records, url, store, **settings)
        await made.start()
        try:
            yield made
        finally:
            if not made.dispatcher.stopping:
                for post in made.receivers.open:
                    post.answer()
                await made.stop()
