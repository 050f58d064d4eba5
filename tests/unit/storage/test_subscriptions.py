"""Subscriptions come back as they were kept, to their own project alone."""

from typing import Any

import msgspec
import pytest

from tests.support.database import Records
from waypost.model.api import Api
from waypost.model.errors import NotFound
from waypost.model.failure import (
    AlertEndpoint,
    FailureHandling,
    Incoming,
    OnGivingUp,
    Otherwise,
    Pending,
    Retry,
    Strategy,
    Suspension,
    WhileSuspended,
)
from waypost.model.flow import Breaker, Priority, RateLimit, SendingHours
from waypost.model.page import PageRequest
from waypost.model.subscription import DisabledBy, Signing, Subscription
from waypost.model.transform import Language, Transform
from waypost.storage import subscriptions
from waypost.storage.subscriptions import SubscriptionFilter

HANDLING = FailureHandling(
    triggers=("5xx", "timeout"),
    otherwise=Otherwise.IGNORE,
    retry=Retry(Strategy.LINEAR, interval_s=1.5, retries=3, max_interval_s=4.0, jitter=0.0),
    retry_window_s=60.5,
    disable_after_s=90.5,
    on_giving_up=(OnGivingUp.SUSPEND, OnGivingUp.ALERT),
    suspended=WhileSuspended(Pending.DIVERT, Incoming.CANCEL),
    alert_endpoints=(
        AlertEndpoint(
            b"\xff" * 16,
            "https://a.example/",
            {"x-a": "b"},
            "thin",
            insecure_tls=True,
            particulars={"tag": "t"},
        ),
    ),
    never_disable=True,
)
WHY = Suspension(1_700_000_000_000_001, b"\x00\xff" * 8, "5xx", "status 500: \u2603")


def test_it_is_suspended_once(records: Records) -> None:
    made = records.subscription()
    place = (made.project_id, made.id)
    later = msgspec.structs.replace(WHY, since_us=WHY.since_us + 5)
    for why in (WHY, later):
        found = subscriptions.set_suspended(records.connection, *place, why)
        assert found is not None
        assert found.suspension == WHY
    assert subscriptions.get(records.connection, *place).suspension == WHY
    assert subscriptions.set_suspended(records.connection, records.other, made.id, WHY) is None


def full(records: Records) -> Subscription:
    return records.subscription(
        description="for\tpeople",
        api=Api.STEDI,
        name="Über",
        changed_us=1_700_000_000_000_002,
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
        rate_limit=RateLimit(5, 2, 3),
        breaker=Breaker(enabled=False, disable_after=3),
        sending_hours=SendingHours(("* 8 * * *", "30 9 * * *"), "Europe/Berlin"),
        priority=Priority.LOW,
        deliver_before_s=60,
        failure_handling=HANDLING,
        suspension=WHY,
        insecure_tls=True,
        particulars={"tag": "t", "headers": {"x": ["1", "2"]}},
    )


def test_every_field_comes_back(records: Records) -> None:
    bare, other = records.subscription(), full(records)
    for made in (bare, other):
        assert subscriptions.get(records.connection, records.project, made.id) == made
    assert subscriptions.load_all(records.connection) == [bare, other]


def test_every_changed_field_comes_back(records: Records) -> None:
    bare = records.subscription(api=Api.STEDI)
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


def test_those_made_by_one_api_are_told_apart(records: Records) -> None:
    native, made = records.subscription(), records.subscription(api=Api.STEDI)
    gone = records.subscription(api=Api.STEDI)
    records.subscription(api=Api.STEDI, project_id=records.other)
    subscriptions.delete(records.connection, records.project, gone.id, 5)
    place = (records.connection, records.project)

    def listed(api: Api | None) -> list[bytes]:
        page = subscriptions.list_page(*place, PageRequest(), api)
        return [one.id for one in page.items]

    assert (listed(None), listed(Api.STEDI)) == ([made.id, native.id], [made.id])
    assert subscriptions.count(*place, Api.STEDI) == 1
    assert subscriptions.get(*place, made.id, Api.STEDI) == made
    for other in (native, gone):
        with pytest.raises(NotFound):
            subscriptions.get(*place, other.id, Api.STEDI)
    found = [subscriptions.was_deleted(*place, one.id, Api.STEDI) for one in (native, made, gone)]
    assert found == [False, False, True]


def test_a_slice_is_of_those_that_are_asked_for(records: Records) -> None:
    one = records.subscription(api=Api.SOCOTRA, description="a", event_types=("a.b", "c"))
    two = records.subscription(api=Api.SOCOTRA, description="b", disabled_by=DisabledBy.PERSON)
    three = records.subscription(api=Api.SOCOTRA, event_types=("a_b",), suspension=WHY)
    native = records.subscription()
    records.subscription(project_id=records.other, api=Api.SOCOTRA)

    def found(skip: int = 0, size: int = 10, **which: Any) -> tuple[list[Subscription], bool]:
        wanted = SubscriptionFilter(**which)
        place = (records.connection, records.project)
        return subscriptions.list_slice(*place, wanted, skip, size)

    assert found() == ([one, two, three, native], False)
    assert found(api=Api.SOCOTRA) == ([one, two, three], False)
    assert found(1, 1, api=Api.SOCOTRA) == ([two], True)
    assert found(3, api=Api.SOCOTRA) == ([], False)
    assert found(description="a") == ([one], False)
    assert found(is_enabled=False) == ([two], False)
    assert found(is_suspended=True) == ([three], False)
    assert found(is_active=True) == ([one, native], False)
    assert found(is_active=False) == ([two, three], False)
    assert found(event_types=("c", "x")) == ([one], False)
    assert found(event_types=("a_b",)) == ([three], False)
    assert found(event_types=("b",)) == ([], False)
