"""Notices are events and deliveries of a hidden project, which nobody meets."""

from sqlalchemy import select

from tests.support.database import Records
from waypost.model import ids
from waypost.model.delivery import DeliveryClass, Owed
from waypost.model.page import PageRequest
from waypost.storage import alerts, deliveries, events, projects, queue, retention
from waypost.storage.deliveries import DeliveryFilter
from waypost.storage.retention import Cuts
from waypost.storage.schema import projects as table


def insert(records: Records) -> Owed:
    hidden_id = ids.alerts_of(records.project)
    alerts.make_project(records.connection, hidden_id)
    to = records.subscription(project_id=hidden_id)
    event_id = records.ids.next()
    delivery_id, now_us = records.ids.next_at()
    owed = Owed(hidden_id, delivery_id, event_id, to.id, DeliveryClass.FRESH, now_us)
    alerts.insert_notice(records.connection, hidden_id, event_id, "a.b", b"{}", [owed])
    return owed


def test_a_notice_is_owed(records: Records) -> None:
    owed = insert(records)
    kept = queue.find_event(records.connection, owed.project_id, owed.event_id)
    assert kept is not None
    assert (kept.type, kept.payload) == ("a.b", b"{}")
    assert queue.list_lanes(records.connection) == [(owed.project_id, owed.subscription_id)]


def test_a_hidden_project_is_made_once_and_is_no_project_of_anybody(records: Records) -> None:
    before = projects.list_all(records.connection)
    for _ in range(2):
        alerts.make_project(records.connection, ids.alerts_of(records.project))
    assert projects.list_all(records.connection) == before
    assert projects.find(records.connection, ids.alerts_of(records.project)) is None
    assert projects.routing_version(records.connection, ids.alerts_of(records.project)) == 1
    everything = records.connection.execute(select(table.c.id)).scalars().all()
    assert len(everything) == len(before) + 1


def test_no_list_of_the_project_leads_to_it(records: Records) -> None:
    insert(records)
    connection, page = records.connection, PageRequest()
    assert events.list_page(connection, records.project, page).items == []
    assert deliveries.list_page(connection, records.project, page, DeliveryFilter()).items == []


def test_it_has_its_time_as_every_event(records: Records) -> None:
    owed = insert(records)
    records.clock.forward(60)
    now_us = records.clock.now_us()
    cuts = Cuts(now_us, now_us, now_us)
    found = retention.next_project_owed(records.connection, ids.FIRST, cuts)
    assert found == owed.project_id
