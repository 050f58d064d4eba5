"""Mails are due until they are done, put off, and read with their events."""

import msgspec

from tests.support.database import Records
from waypost.policy.system_events import BacklogHigh, event_of, system_types
from waypost.storage import mails, system_events
from waypost.storage.mails import Mail


def keep(records: Records) -> Mail:
    example = next(one for one in system_types() if one.name == "waypost.backlog.high")
    news = msgspec.json.decode(example.example, type=BacklogHigh)
    event = event_of(records.project, records.ids.next(), news)
    system_events.keep(records.connection, event, mailed=True)
    return Mail(records.project, event.id, event.type, event.payload, 0)


def test_mails_are_due_until_they_are_done(records: Records) -> None:
    first, second = keep(records), keep(records)
    assert mails.find_due(records.connection, 0, 10) == [first, second]
    assert mails.find_due(records.connection, 0, 1) == [first]
    mails.done(records.connection, first.project_id, first.event_id)
    assert mails.find_due(records.connection, 0, 10) == [second]


def test_a_mail_that_is_put_off_counts_its_tries(records: Records) -> None:
    first, second = keep(records), keep(records)
    mails.put_off(records.connection, first.project_id, first.event_id, 7)
    assert mails.find_due(records.connection, 6, 10) == [second]
    again = msgspec.structs.replace(first, attempts=1)
    assert mails.find_due(records.connection, 7, 10) == [second, again]


def test_each_recipient_has_mails_of_its_own(records: Records) -> None:
    first, second = keep(records), keep(records)
    place = (second.project_id, second.event_id)
    mails.done(records.connection, *place)
    mails.owe(records.connection, *place, "a@b.example")
    assert mails.find_due(records.connection, 0, 10) == [first]
    assert mails.find_due(records.connection, 0, 10, "a@b.example") == [second]
    assert set(mails.recipients(records.connection, 0, 10)) == {None, "a@b.example"}
    mails.put_off(records.connection, first.project_id, first.event_id, 7)
    assert mails.recipients(records.connection, 6, 10) == ["a@b.example"]
    assert mails.recipients(records.connection, 7, 1) == ["a@b.example"]
