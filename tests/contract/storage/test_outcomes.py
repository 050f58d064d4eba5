"""How events stand: over all that they are or were owed to."""

import pytest
from sqlalchemy import insert, update

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model import ids
from waypost.model.delivery import DeliveryState, EventStatus, Reason
from waypost.model.errors import NotFound
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.storage import outcomes, schema
from waypost.storage.outcomes import Sought

PENDING, DELIVERED, FAILED = EventStatus.PENDING, EventStatus.DELIVERED, EventStatus.FAILED
DONE, LOST, CANCELLED = DeliveryState.DELIVERED, DeliveryState.FAILED, DeliveryState.CANCELLED


def having(records: Records, *states: DeliveryState | None, again: bool = False) -> Id:
    """Keep an event with a delivery in each of these states; None: it is owed.

    Each is to another subscription, or with `again` all to one.
    """
    event_id, same = records.event(), records.subscription()
    for state in states:
        to = same if again else records.subscription()
        if state is None:
            records.pending(event_id, to)
        else:
            records.ended(event_id, to, state)
    return event_id


def status(records: Records, event_id: Id) -> EventStatus:
    return outcomes.status_of(records.connection, records.project, event_id)


@pytest.mark.parametrize(
    "states, again, expected",
    [
        ((), False, DELIVERED),
        ((DONE, DONE), False, DELIVERED),
        ((DONE, None), False, PENDING),
        ((LOST, None), False, PENDING),
        ((DONE, LOST), False, FAILED),
        ((DONE, CANCELLED), False, FAILED),
        ((LOST, DONE), True, DELIVERED),
        ((DONE, LOST), True, DELIVERED),
        ((LOST, LOST), True, FAILED),
        ((LOST, None), True, PENDING),
    ],
)
def test_an_event_stands_as_its_deliveries_do(
    records: Records, states: tuple[DeliveryState | None, ...], again: bool, expected: EventStatus
) -> None:
    assert status(records, having(records, *states, again=again)) is expected


def test_what_a_program_skipped_was_not_wanted(records: Records) -> None:
    event_id = having(records, DONE, CANCELLED)
    skipped = update(schema.deliveries).where(schema.deliveries.c.state == int(CANCELLED))
    records.connection.execute(skipped.values(reason=Reason.SKIPPED.value))
    assert status(records, event_id) is DELIVERED


def test_a_great_fan_out_is_pending(records: Records) -> None:
    event_id = records.event()
    row = {"event_id": event_id, "subscriptions": bytes(16), "position": 0}
    records.connection.execute(insert(schema.fan_outs).values(project_id=records.project, **row))
    assert status(records, event_id) is PENDING


def test_another_projects_event_is_not_there(records: Records) -> None:
    for event_id in (records.event(project_id=records.other), ids.make(1, 1)):
        with pytest.raises(NotFound):
            status(records, event_id)


def test_events_are_listed_by_how_they_stand(records: Records) -> None:
    lost, owed, done = having(records, LOST), having(records, None), having(records, DONE)
    other = records.event("card.updated")
    records.event(project_id=records.other)

    def listed(**sought: object) -> list[Id]:
        found = outcomes.list_page(
            records.connection,
            records.project,
            PageRequest(size=10),
            Sought(**sought),  # type: ignore[arg-type] # the cases' own
        )
        assert found.older_than is None
        return [one.id for one in found.items]

    assert listed() == [other, done, owed, lost]
    assert listed(statuses=frozenset({FAILED})) == [lost]
    assert listed(statuses=frozenset({FAILED, PENDING})) == [owed, lost]
    assert listed(type="card.updated") == [other]
    assert listed(type="card.updated", statuses=frozenset({FAILED})) == []
    assert listed(event_id=owed) == [owed]
    assert listed(event_id=ids.make(1, 1)) == []


def test_pages_go_on_where_the_last_one_ended(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "LOOKED_AT", 3)
    lost = [having(records, LOST if n % 4 == 0 else DONE) for n in range(10)][::4]
    sought = Sought(statuses=frozenset({FAILED}))
    seen: list[Id] = []
    pages, position = 0, None
    while pages == 0 or position is not None:
        request = PageRequest(size=2, older_than=position)
        found = outcomes.list_page(records.connection, records.project, request, sought)
        seen += [one.id for one in found.items]
        position, pages = found.older_than, pages + 1
    assert seen == lost[::-1]
    assert pages == 4, "three events are looked at for each"


def test_a_range_and_a_full_page_are_kept_to(records: Records) -> None:
    made = [records.event() for _ in range(4)]
    begin_us = ids.moment(made[1])
    page = PageRequest(size=2, begin_us=begin_us)
    first = outcomes.list_page(records.connection, records.project, page, Sought())
    assert ([one.id for one in first.items], first.older_than) == (made[:1:-1], made[2])
    page = PageRequest(size=2, begin_us=begin_us, older_than=first.older_than)
    last = outcomes.list_page(records.connection, records.project, page, Sought())
    assert ([one.id for one in last.items], last.older_than) == ([made[1]], None)


def test_nothing_is_walked_through(records: Records) -> None:
    having(records, DONE, LOST, None)
    place = (records.connection, records.project)
    sought = Sought(statuses=frozenset({FAILED}), type="a")
    acts = (
        lambda: outcomes.list_page(*place, PageRequest(), sought),
        lambda: outcomes.status_of(*place, records.event()),
    )
    for act in acts:
        assert walks(plans_of(records.connection, act)) == []
