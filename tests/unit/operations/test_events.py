"""Events are checked against their project, handed to ingest, and read back."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from tests.support import database
from tests.support.database import Records
from waypost.engine.ingest import Done
from waypost.engine.router import Router
from waypost.model import ids
from waypost.model.delivery import EventStatus
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.event import Attributes
from waypost.model.page import PageRequest
from waypost.model.project import Principal
from waypost.model.subscription import Subscription
from waypost.operations.event_types import Catalogue
from waypost.operations.events import Accepted, Events, Places, Sought, Summary
from waypost.policy.events import Draft, EventLimits
from waypost.policy.origin import Origin
from waypost.policy.stream import Position
from waypost.storage.store import Store

BATCH = Places("events[{}].", "event_type")


class FakeIngest:
    """Takes everything in."""

    def __init__(self) -> None:
        self.taken: list[tuple[Principal, Sequence[Draft]]] = []
        self.origins: list[Origin | None] = []

    def now_us(self) -> int:
        return 1_800_000_000_000_000

    def accept(
        self,
        principal: Principal,
        drafts: Sequence[Draft],
        done: Done,
        origin: Origin | None = None,
    ) -> None:
        self.taken.append((principal, drafts))
        self.origins.append(origin)
        done([Accepted(b"i" * 16, draft.type, draft.payload, False) for draft in drafts])


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


@pytest.fixture
async def store(records: Records, tmp_path: Path) -> AsyncIterator[Store]:
    async with database.opened(tmp_path / "w.db") as opened:
        yield opened


class Made:
    """Events over a fake ingest."""

    def __init__(self, store: Store) -> None:
        self.ingest, self.router, self.catalogue = FakeIngest(), Router(), Catalogue()
        self.events = Events(
            store,
            self.ingest,  # type: ignore[arg-type] # a stand-in
            self.router,
            self.catalogue,
            EventLimits(),
        )
        self.answers: list[object] = []

    def accept(self, principal: Principal, *drafts: Draft) -> None:
        self.events.accept(principal, drafts, BATCH, self.answers.append)


@pytest.fixture
def made(store: Store) -> Made:
    return Made(store)


def test_the_request_is_handed_along(made: Made, records: Records) -> None:
    origin = Origin([(b"x-a", b"b")], "/v1/events")
    draft = Draft("a.b", b"1")
    made.events.accept(records.principal(), [draft], BATCH, made.answers.append, origin)
    assert made.ingest.origins == [origin]


def test_what_is_good_is_handed_to_ingest(made: Made, records: Records) -> None:
    principal, draft = records.principal(), Draft("a.b", b"1")
    made.accept(principal, draft)
    assert made.ingest.taken == [(principal, (draft,))]
    assert made.answers == [[Accepted(b"i" * 16, "a.b", b"1", False)]]


def test_a_type_outside_the_catalogue_of_a_strict_project_is_refused(
    made: Made, records: Records
) -> None:
    made.catalogue.put(records.project, ["a.b"])
    made.catalogue.set_strict(records.project, True)
    made.accept(records.principal(), Draft("a.b", b"1"))
    with pytest.raises(InvalidInput) as refused:
        made.accept(records.principal(), Draft("a.b", b"1"), Draft("x", b"1"))
    assert [path for path, _ in refused.value.details] == ["events[1].event_type"]
    assert len(made.ingest.taken) == 1
    made.accept(records.principal(project_id=records.other), Draft("x", b"1"))


def test_targets_must_be_subscriptions_of_the_project(made: Made, records: Records) -> None:
    mine = Subscription(records.project, records.ids.next(), database.URL)
    other = Subscription(records.other, records.ids.next(), database.URL)
    for subscription in (mine, other):
        made.router.apply(1, subscription)
    made.accept(records.principal(), Draft("a", b"1", Attributes(targets=(mine.id,))))
    with pytest.raises(InvalidInput) as refused:
        made.accept(records.principal(), Draft("a", b"1", Attributes(targets=(mine.id, other.id))))
    assert [path for path, _ in refused.value.details] == ["events[0].targets[1]"]
    assert len(made.ingest.taken) == 1


async def test_an_event_is_read_in_its_own_project_alone(records: Records, tmp_path: Path) -> None:
    event_id = records.event("a.b")
    async with database.opened(tmp_path / "w.db") as store:
        events = Made(store).events
        event, receipts = await events.get(records.principal(), event_id)
        assert (event.type, receipts) == ("a.b", [])
        page = await events.list_page(records.principal(), PageRequest(), types=("a.b",))
        assert page.items == [event]
        stranger = records.principal(project_id=records.other)
        with pytest.raises(NotFound, match="event"):
            await events.get(stranger, event_id)
        assert (await events.list_page(stranger, PageRequest())).items == []


async def test_how_events_stand_is_told_in_their_own_project_alone(
    records: Records, tmp_path: Path
) -> None:
    event_id, other = records.event("a.b"), records.event("c")
    records.pending(event_id, records.subscription())
    async with database.opened(tmp_path / "w.db") as store:
        events = Made(store).events
        caller, stranger = records.principal(), records.principal(project_id=records.other)
        event, status = await events.status(caller, event_id)
        assert (event.id, status) == (event_id, EventStatus.PENDING)
        found = await events.seek(caller, PageRequest(), Sought())
        assert found.items == [
            Summary(other, "c", EventStatus.DELIVERED),
            Summary(event_id, "a.b", EventStatus.PENDING),
        ]
        with pytest.raises(NotFound):
            await events.status(stranger, event_id)
        assert (await events.seek(stranger, PageRequest(), Sought())).items == []


async def test_the_stream_and_a_request_are_of_the_callers_project(
    made: Made, records: Records
) -> None:
    named = Attributes(request_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")
    event_id = records.event("a", named)
    request_id = ids.find_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert request_id is not None
    start = Position(ids.FIRST)
    for project_id, expected in ((records.project, [event_id]), (records.other, [])):
        caller = records.principal(project_id=project_id)
        found, position = await made.events.read_on(caller, start, 10, event_type="a")
        assert [one.id for one in found] == expected
        assert (await made.events.read_on(caller, position, 10))[0] == []
        of_request = await made.events.list_of_request(caller, request_id)
        assert [one.id for one in of_request] == expected
