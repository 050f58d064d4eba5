"""System events: what each tells, its schema, and when there is something to tell."""

import re
from typing import Any

import msgspec
import pytest

from tests.conventions import tree
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.failure import Suspension
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy import system_events
from waypost.policy.events import is_type
from waypost.policy.system_events import (
    LEVELS_US,
    NAMES,
    BacklogHigh,
    News,
    SubscriptionDisabled,
    SubscriptionRecovered,
    SubscriptionSuspended,
    about,
    change_of,
    event_of,
    is_mailed,
    is_system,
    level_of,
    name_of,
    require_some,
    system_types,
)

ONE = Subscription(b"p" * 16, ids.make(1, 1), "https://a.example/", description="Cards")
OFF = msgspec.structs.replace(ONE, disabled_by=DisabledBy.GONE)
WHY = Suspension(5, ids.make(2, 2), "5xx", "status 503")
HELD = msgspec.structs.replace(ONE, suspension=WHY)
BOTH = msgspec.structs.replace(HELD, disabled_by=DisabledBy.PERSON)
HOUR_US = 3_600_000_000


def test_every_type_is_an_event_type_behind_the_prefix() -> None:
    assert len(set(NAMES)) == len(NAMES) == 12
    assert all(is_type(name) and is_system(name) for name in NAMES)
    assert not is_system("waypost")
    assert not is_system("waypostal.sent")


@pytest.mark.parametrize("name", NAMES)
def test_each_example_fits_its_schema_and_holds_every_field(name: str) -> None:
    found = next(one for one in system_types() if one.name == name)
    example: dict[str, Any] = msgspec.json.decode(found.example)
    schema: dict[str, Any] = msgspec.json.decode(found.schema)
    assert schema["properties"]["type"] == {"enum": [name]}
    assert schema["properties"].keys() == example.keys()
    assert set(schema["required"]) <= example.keys()
    assert found.description == schema["description"]
    for field, value in example.items():
        told = schema["properties"][field]
        if "pattern" in told:
            assert re.fullmatch(told["pattern"], value)
    assert "$ref" not in str(schema) or schema["$defs"]


def test_the_reference_page_has_every_type_with_every_field() -> None:
    page = (tree.ROOT / "docs" / "reference" / "system-events.md").read_text("utf-8")
    for one in system_types():
        [row] = [line for line in page.splitlines() if line.startswith(f"| `{one.name}` |")]
        fields = set(msgspec.json.decode(one.example)) - {
            *("type", "timestamp", "subscription", "description")
        }
        assert fields <= set(re.findall(r"`(\w+)`", row)), one.name


@pytest.mark.parametrize(
    "before, after, expected",
    [
        (ONE, ONE, None),
        (ONE, OFF, SubscriptionDisabled),
        (HELD, BOTH, SubscriptionDisabled),
        (OFF, OFF, None),
        (OFF, BOTH, None),
        (ONE, HELD, SubscriptionSuspended),
        (HELD, HELD, None),
        (OFF, ONE, SubscriptionRecovered),
        (HELD, ONE, SubscriptionRecovered),
        (BOTH, HELD, None),
        (BOTH, ONE, SubscriptionRecovered),
    ],
)
def test_a_change_of_state_is_news_once(
    before: Subscription, after: Subscription, expected: type | None
) -> None:
    found = change_of(before, after, 9)
    assert found is None if expected is None else type(found) is expected


def test_a_suspension_tells_of_the_failure_as_alerts_do() -> None:
    found = change_of(ONE, HELD, 7)
    assert msgspec.to_builtins(found) == {
        "type": "waypost.subscription.suspended",
        "timestamp": "1970-01-01T00:00:00.000007Z",
        "subscription": ids.spell(ids.SUBSCRIPTION, ONE.id),
        "description": "Cards",
        "event": ids.spell(ids.EVENT, WHY.event_id),
        "failure_trigger": "5xx",
        "failure_message": "status 503",
        "failure_timestamp": "1970-01-01T00:00:00.000005Z",
    }


def test_an_event_names_what_it_is_about() -> None:
    for one in system_types():
        kinds = {name_of(kind): kind for kind in _kinds()}
        news = msgspec.json.decode(one.example, type=kinds[one.name])
        event = event_of(ONE.project_id, ids.make(3, 3), news, owner="acme", version=4)
        assert (event.type, event.payload) == (one.name, one.example)
        assert (event.attributes.owner, event.routing_version) == ("acme", 4)
        resource = event.attributes.resource
        assert resource is not None
        kind = "replay" if one.name == "waypost.replay.finished" else "event_subscription"
        prefix = "rpl_" if kind == "replay" else "ep_"
        assert resource.type == kind
        assert resource.id.startswith(prefix)


def _kinds() -> list[Any]:
    found = [one for one in vars(system_events).values() if isinstance(one, type)]
    return [one for one in found if issubclass(one, News) and name_of(one) in NAMES]


@pytest.mark.parametrize(
    "failing_us, told_us, level_us",
    [
        (HOUR_US, None, None),
        (2 * HOUR_US, None, LEVELS_US[0]),
        (23 * HOUR_US, None, LEVELS_US[0]),
        (24 * HOUR_US, None, LEVELS_US[1]),
        (24 * HOUR_US, 2 * HOUR_US, LEVELS_US[1]),
        (24 * HOUR_US, 24 * HOUR_US, None),
        (90 * HOUR_US, 24 * HOUR_US, None),
        (5 * HOUR_US, 2 * HOUR_US, None),
        # An earlier series was told, up to before this one began.
        (2 * HOUR_US, 0, LEVELS_US[0]),
    ],
)
def test_failing_is_told_at_two_levels_once_each(
    failing_us: int, told_us: int | None, level_us: int | None
) -> None:
    since_us = 10**15
    told_us = None if told_us is None else since_us + told_us
    assert level_of(since_us, told_us, since_us + failing_us) == level_us


@pytest.mark.parametrize("pattern", ["waypost.*", "waypost.breaker.*", *NAMES])
def test_what_takes_some_system_event_may_be_asked_for(pattern: str) -> None:
    require_some(pattern, "x")


@pytest.mark.parametrize("pattern", ["waypost.breakers.*", "waypost.subscription", "waypost.x"])
def test_what_takes_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput, match=r"x: waypost\.\S+ is not among waypost\.subscription"):
        require_some(pattern, "x")


def test_operators_read_of_what_somebody_may_have_to_see_to() -> None:
    known = about(ONE, 1)
    assert is_mailed(BacklogHigh(**known, oldest_due="", deliveries=1))
    assert is_mailed(SubscriptionDisabled(**known, disabled_by=DisabledBy.FAILING))
    assert not is_mailed(SubscriptionDisabled(**known, disabled_by=DisabledBy.PERSON))
    assert not is_mailed(SubscriptionRecovered(**known, recovered_by="person"))
