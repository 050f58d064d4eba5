"""The order that is kept: a subscription's own, or its project's; and what a change there frees."""

from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.database import Records
from tests.support.plans import plans_of, walks
from waypost.model.delivery import BlockedKey
from waypost.model.event import Attributes
from waypost.model.subscription import Inheritable, OnOrderFailure, Ordering, Subscription
from waypost.policy.terms import Terms
from waypost.storage import blocked_keys, chains, key_news, ordering, projects, subscriptions

NONE, KEY, STRICT = Ordering
CONTINUE, BLOCK = OnOrderFailure


def change(records: Records, **settings: Any) -> bool:
    """Change the project's defaults; tell whether its events are to be numbered otherwise."""
    project = projects.get(records.connection, records.project)
    changed = replace(project, defaults=Inheritable(**settings))
    before, after = project.defaults, changed.defaults
    reordered = ordering.follow(records.connection, project.id, before, after)
    projects.update(records.connection, changed)
    return reordered


def held(records: Records, one: Subscription) -> Terms | None:
    return ordering.held(records.connection, one.project_id, one.id)


def block(records: Records, one: Subscription) -> bool:
    """Have a delivery that blocks its key, and is parked as if others of it were before."""
    event_id = records.event(attributes=Attributes(ordering_key="a"), sequence=1)
    delivery_id = records.pending(event_id, one)
    chains.park(records.connection, one.project_id, one.id, [delivery_id], 5)
    key = BlockedKey(one.project_id, one.id, "a", 1, delivery_id, event_id, 5)
    return blocked_keys.block(records.connection, key, attempts=0)


def blocked(records: Records, *some: Subscription) -> list[int]:
    return [blocked_keys.count(records.connection, one.project_id, one.id) for one in some]


def unparking(records: Records, *some: Subscription) -> list[bool]:
    place = records.connection, records.project
    return [subscriptions.get(*place, one.id).unparking for one in some]


def test_own_settings_go_before_the_projects(records: Records) -> None:
    own = records.subscription(ordering=KEY, on_order_failure=CONTINUE)
    left, other = records.subscription(), records.subscription(project_id=records.other)
    change(records, ordering=STRICT, on_order_failure=BLOCK)
    kept = [held(records, one) for one in (own, left, other)]
    assert [one and (one.ordering, one.on_order_failure) for one in kept] == [
        (KEY, CONTINUE),
        (STRICT, BLOCK),
        (NONE, CONTINUE),
    ]
    subscriptions.delete(records.connection, records.project, own.id, 5)
    assert held(records, own) is None


@pytest.mark.parametrize("before", list(Ordering))
@pytest.mark.parametrize("after", list(Ordering))
def test_another_order_by_default_frees_what_goes_by_it(
    records: Records, before: Ordering, after: Ordering
) -> None:
    own = records.subscription(ordering=KEY, on_order_failure=BLOCK)
    left = records.subscription(on_order_failure=BLOCK)
    idle, ended = records.subscription(), records.subscription()
    change(records, ordering=before)
    assert block(records, own)
    assert block(records, left) is (before is not NONE), "there is nothing to block"
    assert change(records, ordering=after) is (before is not after)
    changes = before is not after
    assert blocked(records, own, left) == [1, int(before is not NONE and not changes)]
    parked = changes and before is not NONE and after is not STRICT
    assert unparking(records, own, left, idle, ended) == [False, parked, False, False]
    named = [(one.project_id, one.id) for one in (ended, left, own)]
    found = subscriptions.list_unparking(records.connection, [(records.other, left.id), *named])
    assert found == ([(left.project_id, left.id)] if parked else [])


def test_what_is_marked_is_found_by_the_keys_of_subscriptions(records: Records) -> None:
    one, other = records.subscription(), records.subscription()
    change(records, ordering=KEY)
    assert [block(records, each) for each in (one, other)] == [False] * 2
    steps = plans_of(records.connection, lambda: change(records, ordering=NONE))
    assert [step for step in walks(steps) if "queue" in step] == []
    both = [(each.project_id, each.id) for each in (one, other)]
    look = partial(subscriptions.list_unparking, records.connection, both[::-1])
    assert look() == both
    assert walks(plans_of(records.connection, look)) == []


def test_to_go_on_by_default_frees_what_goes_by_that(records: Records) -> None:
    own = records.subscription(ordering=KEY, on_order_failure=BLOCK)
    ordered, left = records.subscription(ordering=KEY), records.subscription()
    change(records, ordering=STRICT, on_order_failure=BLOCK)
    assert [block(records, one) for one in (own, ordered, left)] == [True] * 3
    assert not change(records, ordering=STRICT, on_order_failure=CONTINUE, timeout_s=3.0)
    assert blocked(records, own, ordered, left) == [1, 0, 0]
    assert unparking(records, own, ordered, left) == [False] * 3
    assert [block(records, one) for one in (own, ordered, left)] == [True, False, False]


def test_what_is_freed_is_to_be_told(records: Records) -> None:
    left = records.subscription(ordering=KEY)
    change(records, on_order_failure=BLOCK)
    block(records, left)
    change(records)
    found = key_news.find(records.connection, key_news.START, 10)
    assert [(one.what.value, one.count, one.by) for one in found] == [
        ("blocked", 1, None),
        ("released", 1, key_news.By.PERSON),
    ]
