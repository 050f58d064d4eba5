"""The operations on subscriptions over a real store, with what they tell the lanes noted."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import database
from tests.support.database import Records
from tests.support.sandbox import Runs, untouched
from waypost.clock import SystemEntropy
from waypost.engine.announcer import Announcer
from waypost.engine.configuration import Configuration
from waypost.engine.ingest import Ingest, IngestConfig
from waypost.engine.router import Router
from waypost.model.delivery import Owed
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.subscription import SigningKey, Subscription
from waypost.operations.alerts import Alerts
from waypost.operations.event_types import Catalogue, EventTypes
from waypost.operations.replays import Examples, Replays
from waypost.operations.signing_keys import SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.operations.transforms import Transforms
from waypost.policy.egress import EgressRules
from waypost.policy.format import NATIVE_FORMATS
from waypost.policy.settings import SubscriptionRules
from waypost.storage.store import Store
from waypost.storage.vault import Vault

RULES = SubscriptionRules(EgressRules(), frozenset(NATIVE_FORMATS))
SECRET_KEY = bytes(range(32))


class Office:
    """Everything that is asked of subscriptions.

    Attributes:
        changes: what the dispatcher was told of changed subscriptions, with their keys.
        deletions: what it was told of deleted ones: project and id.
        owed: the deliveries that it was told of.
        woken: how often the replayer was.
    """

    def __init__(self, store: Store, records: Records) -> None:
        """Wire the operations as the server does."""
        self.store = store
        self.records = records
        self.changes: list[tuple[Subscription, tuple[SigningKey, ...]]] = []
        self.deletions: list[tuple[Id, Id]] = []
        self.owed: list[Owed] = []
        self.committed_events: list[tuple[Id, Event]] = []
        self.woken = 0
        self.router = Router()
        self.router.load({records.project: 1, records.other: 1}, ())
        self.catalogue = Catalogue()
        ids, clock = records.ids, records.clock
        announcer = Announcer(ids)
        vault = Vault(SECRET_KEY, SystemEntropy())
        changes = Configuration(store)
        self.keys = SigningKeys(
            changes, vault, self.changed, clock, SystemEntropy(), ids, announcer
        )
        self.alerts = Alerts(self.router, self.keys, self.deleted, ids)
        self.runs = Runs(untouched)
        self.programs = Transforms(store, self.runs, ids)
        self.subscriptions = Subscriptions(
            changes,
            self.router,
            self.keys,
            self.alerts,
            self.catalogue,
            self.programs,
            RULES,
            self.deleted,
            ids,
            announcer,
        )
        self.event_types = EventTypes(changes, self.catalogue)
        self.replays = Replays(store, self.take, self.wake, ids, self.router)
        self.ingest = Ingest(store, self.router, self, clock, ids, IngestConfig(), self.wake)
        self.examples = Examples(store, self.ingest, self.catalogue)

    def changed(self, subscription: Subscription, keys: tuple[SigningKey, ...]) -> None:
        """Note what the dispatcher is told of a changed subscription."""
        self.changes.append((subscription, keys))

    def deleted(self, project_id: Id, subscription_id: Id) -> None:
        """Note what the dispatcher is told of a deleted one."""
        self.deletions.append((project_id, subscription_id))

    def take(self, owed: Sequence[Owed]) -> None:
        """Note deliveries that the dispatcher is told of."""
        self.owed += owed

    def committed(self, subscription_id: Id, delivery_id: Id, due_us: int, event: Event) -> None:
        """Note a delivery that ingest hands to the dispatcher."""
        assert delivery_id > event.id
        assert due_us <= self.records.clock.now_us() + 1000
        self.committed_events.append((subscription_id, event))

    def wake(self) -> None:
        """Note that the replayer is woken."""
        self.woken += 1

    @property
    def last_keys(self) -> tuple[SigningKey, ...]:
        """The signing keys that the dispatcher was told of last."""
        return self.changes[-1][1]


@asynccontextmanager
async def office(folder: Path) -> AsyncIterator[Office]:
    """Open an office on a new database."""
    records = database.make(folder / "w.db")
    async with database.opened(folder / "w.db") as store:
        yield Office(store, records)
