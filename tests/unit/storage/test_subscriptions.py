"""Subscriptions come back as they were kept, to their own project alone."""

import pytest

from tests.support.database import Records
from waypost.model.errors import NotFound
from waypost.model.page import PageRequest
from waypost.model.subscription import DisabledBy, Signing, Subscription
from waypost.model.transform import Language, Transform
from waypost.storage import subscriptions


def full(records: Records) -> Subscription:
    return records.subscription(
        description="for\tpeople",
        event_types=("card.*", "a.b"),
        disabled_by=DisabledBy.GONE,
        paused=True,
        headers={"x-a": "b"},
        timeout_s=1.25,
        concurrency=7,
        format="thin",
        signing=Signing.ED25519,
        owner="o",
        retry_schedule_s=(1.5, 2.0),
        transform=Transform(Language.TEMPLATE, '{"a":  "é"}'),
        failing_since_us=17,
        filter='{"body":{"n":1.10}}',
    )


def test_every_field_comes_back(records: Records) -> None:
    bare, other = records.subscription(), full(records)
    for made in (bare, other):
        assert subscriptions.get(records.connection, records.project, made.id) == made
    assert subscriptions.load_all(records.connection) == [bare, other]


def test_every_changed_field_comes_back(records: Records) -> None:
    bare = records.subscription()
    changed = Subscription(
        bare.project_id,
        bare.id,
        "https://other.example/",
        **{name: getattr(full(records), name) for name in Subscription.__struct_fields__[3:]},
    )
    subscriptions.update(records.connection, changed)
    assert subscriptions.get(records.connection, records.project, bare.id) == changed


def test_another_project_has_none(records: Records) -> None:
    made = records.subscription()
    with pytest.raises(NotFound):
        subscriptions.get(records.connection, records.other, made.id)
    with pytest.raises(NotFound):
        subscriptions.delete(records.connection, records.other, made.id, 1)
    page = subscriptions.list_page(records.connection, records.other, PageRequest())
    assert page.items == []
    assert subscriptions.get(records.connection, records.project, made.id) == made


def test_a_list_runs_from_the_newest(records: Records) -> None:
    made = [records.subscription() for _ in range(5)]
    page = subscriptions.list_page(records.connection, records.project, PageRequest(2))
    assert (page.items, page.has_more) == ([made[4], made[3]], True)
    request = PageRequest(3, older_than=made[3].id)
    page = subscriptions.list_page(records.connection, records.project, request)
    assert (page.items, page.has_more) == ([made[2], made[1], made[0]], False)


def test_a_deleted_one_is_gone_for_everybody(records: Records) -> None:
    made = records.subscription()
    subscriptions.delete(records.connection, records.project, made.id, 5)
    assert subscriptions.find(records.connection, records.project, made.id) is None
    assert subscriptions.load_all(records.connection) == []
    with pytest.raises(NotFound):
        subscriptions.delete(records.connection, records.project, made.id, 6)


def test_what_disabled_it_first_stays(records: Records) -> None:
    made = records.subscription()
    place = (records.project, made.id)
    first = subscriptions.set_disabled(records.connection, *place, DisabledBy.PERSON)
    second = subscriptions.set_disabled(records.connection, *place, DisabledBy.GONE)
    assert first is not None
    assert first == second
    assert first.disabled_by is DisabledBy.PERSON
    subscriptions.delete(records.connection, *place, 5)
    assert subscriptions.set_disabled(records.connection, *place, DisabledBy.GONE) is None


def test_the_start_of_failing_is_kept_and_cleared(records: Records) -> None:
    made = records.subscription()
    place = (records.project, made.id)
    for since_us in (9, None):
        subscriptions.set_failing_since(records.connection, *place, since_us)
        assert subscriptions.get(records.connection, *place).failing_since_us == since_us


def test_those_that_fail_are_found_together(records: Records) -> None:
    failing, gone, _ = (records.subscription() for _ in range(3))
    for one in (failing, gone):
        subscriptions.set_failing_since(records.connection, records.project, one.id, 9)
    subscriptions.delete(records.connection, records.project, gone.id, 5)
    assert subscriptions.failing_since(records.connection) == {failing.id: 9}
