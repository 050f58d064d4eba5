"""Events: taken in, and read back."""

from collections.abc import Sequence

import msgspec

from waypost.engine.ingest import Accepted, Done, Ingest
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.delivery import EventStatus
from waypost.model.errors import InvalidInput
from waypost.model.event import NO_ATTRIBUTES, Event, Receipt
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.operations.event_types import Catalogue
from waypost.policy import timing
from waypost.policy.events import Draft, EventLimits
from waypost.policy.origin import Origin
from waypost.storage import events, outcomes, receipts
from waypost.storage.outcomes import Found, Sought, Summary
from waypost.storage.store import Store

__all__ = ["Accepted", "Events", "Found", "Places", "Sought", "Summary"]


class Places(msgspec.Struct, frozen=True):
    """Where the parts of an event stood in the request, for complaints about them.

    Attributes:
        at: what paths start with; `{}` stands for the event's index.
        type_name: what its type is called there.
    """

    at: str
    type_name: str


class Events:
    """What producers and readers ask of events."""

    def __init__(
        self,
        store: Store,
        ingest: Ingest,
        router: Router,
        catalogue: Catalogue,
        limits: EventLimits,
    ) -> None:
        """Take what events are kept in, and what takes them in."""
        self._store = store
        self._ingest = ingest
        self._router = router
        self._catalogue = catalogue
        self.limits = limits

    def accept(
        self,
        principal: Principal,
        drafts: Sequence[Draft],
        places: Places,
        done: Done,
        origin: Origin | None = None,
    ) -> None:
        """Take in the events of one request: all, or none.

        Args:
            principal: who sends them; they belong to its project.
            drafts: the events.
            places: where they stood in the request.
            done: called once, later or at once, as `Ingest.accept` says.
            origin: the request, where filters may read of it.

        Raises:
            InvalidInput: a type is not in the catalogue of a strict project, a target is not a
                subscription of the project, or it can't be delivered when it should be; `done` is
                not called.
        """
        project_id = principal.project_id
        for index, draft in enumerate(drafts):
            if not self._catalogue.known(project_id, draft.type):
                path = places.at.format(index) + places.type_name
                self._catalogue.require(project_id, draft.type, path)
            if draft.attributes is NO_ATTRIBUTES:
                continue
            if timing.is_timed(draft.attributes):
                timing.check(draft.attributes, self._ingest.now_us(), places.at.format(index))
            if draft.attributes.targets:
                self._require_targets(project_id, draft, places.at.format(index))
        self._ingest.accept(principal, drafts, done, origin)

    async def get(self, principal: Principal, event_id: ids.Id) -> tuple[Event, list[Receipt]]:
        """Return an event, and the latest repetitions of its idempotency key.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        project_id = principal.project_id
        return await self._store.read(
            lambda c: (
                events.get(c, project_id, event_id),
                receipts.list_latest(c, project_id, event_id),
            )
        )

    async def list_page(
        self,
        principal: Principal,
        request: PageRequest,
        *,
        types: tuple[str, ...] = (),
        with_payload: bool = True,
    ) -> Page[Event]:
        """Return one page of the project's events; no types: of all types."""
        return await self._store.read(
            lambda c: events.list_page(
                c, principal.project_id, request, types=types, with_payload=with_payload
            )
        )

    async def status(self, principal: Principal, event_id: ids.Id) -> tuple[Event, EventStatus]:
        """Return an event, and how it stands over all that it is or was owed to.

        Raises:
            NotFound: the project has none with this id (any more).
        """
        project_id = principal.project_id
        return await self._store.read(
            lambda c: (
                events.get(c, project_id, event_id),
                outcomes.status_of(c, project_id, event_id),
            )
        )

    async def find(self, principal: Principal, request: PageRequest, sought: Sought) -> Found:
        """Return one page of the project's events and how they stand.

        A page may be short of items, or empty, before the end: so many events are looked at.
        """
        return await self._store.read(
            lambda c: outcomes.list_page(c, principal.project_id, request, sought)
        )

    def _require_targets(self, project_id: ids.Id, draft: Draft, at: str) -> None:
        for index, target in enumerate(draft.attributes.targets):
            if self._router.find(project_id, target) is None:
                path = f"{at}targets[{index}]"
                raise InvalidInput(details=[(path, "is not an event subscription of the project")])
