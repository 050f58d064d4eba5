"""The operations on sources over a real store, with what comes in noted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support import database
from tests.support.database import Records
from tests.support.manual import SeededEntropy
from waypost.engine.configuration import Configuration
from waypost.engine.ingest import Ingest, IngestConfig
from waypost.engine.router import Router
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.operations.access import Access, AccessConfig
from waypost.operations.event_types import Catalogue
from waypost.operations.events import Events
from waypost.operations.sources import Sources
from waypost.policy.events import EventLimits
from waypost.policy.rate import Allowance
from waypost.storage.store import Store
from waypost.storage.vault import Vault

VAULT = Vault(bytes(range(32)), SeededEntropy())
LIMITS = EventLimits()


class Gate:
    """Everything that is asked of sources.

    Attributes:
        burst: how many requests one may have at once.
    """

    burst = 20

    def __init__(self, store: Store, records: Records) -> None:
        """Wire the operations as the server does."""
        self.store = store
        self.records = records
        self.router = Router()
        self.router.load({records.project: 1, records.other: 1}, ())
        self.catalogue = Catalogue()
        self.access = Access(
            records.clock, AccessConfig(writes=Allowance(per_s=1, burst=self.burst))
        )
        for project_id in (records.project, records.other):
            self.access.add_project(project_id)
        ingest = Ingest(
            store, self.router, self, records.clock, records.ids, IngestConfig(), lambda: None
        )
        self.events = Events(store, ingest, self.router, self.catalogue, LIMITS)
        self.sources = Sources(
            Configuration(store),
            VAULT,
            self.events,
            self.access,
            records.clock,
            SeededEntropy(),
            records.ids,
        )

    def committed(self, subscription_id: Id, delivery_id: Id, due_us: int, event: Event) -> None:
        """Nothing is owed here."""
        raise AssertionError


@asynccontextmanager
async def gate(folder: Path) -> AsyncIterator[Gate]:
    """Open a gate on a new database."""
    records = database.make(folder / "w.db")
    async with database.opened(folder / "w.db") as store:
        yield Gate(store, records)
