"""A subscription is judged as the router would match it, and told why not."""

import msgspec
import pytest

from waypost.model import ids
from waypost.model.event import Attributes, Event
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy.judging import Condition, Taken, judge
from waypost.policy.routing import Routes

ME, OTHER = ids.make(1, 1), ids.make(2, 2)


def event(**attributes: object) -> Event:
    return Event(
        ids.FIRST,
        ids.make(9, 9),
        "card.created",
        b'{"n":5}',
        Attributes(**attributes),  # type: ignore[arg-type] # of the case
    )


SYSTEM = msgspec.structs.replace(event(), type="waypost.breaker.opened")
CASES = [
    (Taken(), event(), None, ""),
    (Taken(("card.*",), "o", '{"body":{"n":5}}'), event(owner="o"), None, ""),
    (Taken(("book.*",)), event(), Condition.EVENT_TYPES, "none of"),
    (Taken(), SYSTEM, Condition.EVENT_TYPES, "* takes no system events"),
    (Taken(owner="o"), event(), Condition.OWNER, 'owner is absent, and must be "o"'),
    (Taken(owner="o"), event(owner="p"), Condition.OWNER, 'owner is "p", and must be "o"'),
    (Taken(filter='{"body":{"n":{"$gt":5}}}'), event(), Condition.FILTER, "body.n is 5"),
    (Taken(filter="nonsense"), event(), Condition.FILTER, "of no use any more"),
    (Taken(("book",)), event(targets=(ME,)), None, ""),
    (Taken(), event(targets=(OTHER,)), Condition.TARGETS, "aimed at other"),
    (Taken(disabled_by=DisabledBy.PERSON), event(targets=(ME,)), Condition.DISABLED, "a person"),
    # What comes meanwhile is owed, and diverted.
    (Taken(disabled_by=DisabledBy.GONE), event(), None, ""),
]


@pytest.mark.parametrize("taken, of, condition, reason", CASES)
def test_the_first_condition_that_fails_is_told(
    taken: Taken, of: Event, condition: Condition | None, reason: str
) -> None:
    failed = judge(ME, taken, of)
    assert (None if failed is None else failed.condition) is condition
    assert failed is None or reason in failed.reason
    assert failed is None or (failed.mismatch is not None) is (condition is Condition.FILTER)


@pytest.mark.parametrize("taken, of, condition, reason", CASES)
def test_it_agrees_with_the_router(
    taken: Taken, of: Event, condition: Condition | None, reason: str
) -> None:
    assert reason or condition is None
    routes = Routes(1)
    routes.put(
        Subscription(
            *(ids.FIRST, ME, "https://a.example"),
            event_types=taken.event_types,
            owner=taken.owner,
            filter=taken.filter,
            disabled_by=taken.disabled_by,
        )
    )
    attributes = of.attributes
    if attributes.targets:
        matched = routes.aimed(attributes.targets)
    else:
        matched = routes.match(of.type, attributes.owner, of.payload, attributes)
    assert bool(matched) is (condition is None)
