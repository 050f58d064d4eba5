"""The announcer: events in the transaction that it is given, and none of hidden projects."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import func, select

from tests.support import database
from tests.support.database import Records
from waypost.engine.announcer import Announcer
from waypost.model import ids
from waypost.model.subscription import DisabledBy, Notices, Subscription
from waypost.policy.system_events import SubscriptionRecovered, about
from waypost.storage import fan_outs, schema, told
from waypost.storage import mails as letters
from waypost.storage.fan_outs import FanOut
from waypost.storage.told import What


@pytest.fixture
def records(tmp_path: Path) -> Records:
    return database.make(tmp_path / "w.db")


def types(records: Records) -> list[str]:
    return list(records.connection.execute(select(schema.events.c.type)).scalars())


def mails(records: Records) -> int:
    count = select(func.count()).select_from(schema.mails)
    return int(records.connection.execute(count).scalar_one())


def disabled(one: Subscription) -> Subscription:
    return replace(one, disabled_by=DisabledBy.GONE)


@pytest.mark.parametrize("mailed", [False, True])
def test_a_change_is_told_and_mailed_where_that_is_wanted(records: Records, mailed: bool) -> None:
    announcer = Announcer(records.ids, mails=mailed)
    one = records.subscription()
    announcer.announce_change(records.connection, one, disabled(one), announcer.new_id(), 5)
    announcer.announce_change(
        records.connection, disabled(one), disabled(one), announcer.new_id(), 5
    )
    assert types(records) == ["waypost.subscription.disabled"]
    assert mails(records) == mailed


def test_who_recovers_by_a_person_is_not_told_to_have_recovered_again(records: Records) -> None:
    announcer = Announcer(records.ids, mails=True)
    one = records.subscription()
    told.mark(records.connection, one.project_id, one.id, What.FAILING, 5)
    announcer.announce_change(records.connection, disabled(one), one, announcer.new_id(), 5)
    assert types(records) == ["waypost.subscription.recovered"]
    assert told.find_recovered(records.connection, 10) == []
    assert mails(records) == 0, "nothing is to be done about it"


def test_what_happens_in_hidden_projects_is_told_to_nobody(records: Records) -> None:
    announcer = Announcer(records.ids, mails=True)
    hidden = ids.alerts_of(records.project)
    one = records.subscription(project_id=hidden)
    news = SubscriptionRecovered(**about(one, 5), recovered_by="delivery")
    announcer.announce(records.connection, hidden, announcer.new_id(), news)
    assert types(records) == []


def test_nobody_need_follow(records: Records) -> None:
    Announcer(records.ids).follow()


def test_who_watches_a_subscription_is_told_of_what_it_did_not_do_itself(records: Records) -> None:
    announcer = Announcer(records.ids, mails=True)
    watched = Notices(about="The shop", watchers=(b"w" * 16,), email="a@b.example")
    one = records.subscription(notices=watched)

    def change(before: Subscription, after: Subscription) -> list[FanOut | None]:
        announcer.announce_change(records.connection, before, after, announcer.new_id(), 5)
        return [fan_outs.find_next(records.connection)]

    by_hand = replace(one, disabled_by=DisabledBy.PERSON)
    assert change(one, by_hand) == [None]
    assert change(by_hand, one) == [None]
    (told,) = change(one, disabled(one))
    assert told is not None
    assert (told.project_id, told.subscriptions) == (ids.alerts_of(records.project), (b"w" * 16,))
    (due,) = letters.find_due(records.connection, 0, 10, "a@b.example")
    fields = msgspec.json.decode(due.payload)
    assert (fields["about"], fields["disabled_by"]) == ("The shop", "gone")
    assert letters.recipients(records.connection, 0, 10) == [None, "a@b.example"]
    fan_outs.advance(records.connection, told)
    assert change(disabled(one), one)[0] is not None
    quiet = Announcer(records.ids)
    alone = replace(one, notices=Notices(email="c@d.example"))
    quiet.announce_change(records.connection, alone, disabled(alone), quiet.new_id(), 5)
    assert letters.find_due(records.connection, 0, 10, "c@d.example") == []
