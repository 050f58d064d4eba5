"""Routing: a compiled look-up must say what the plain rule says, for any subscriptions."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy import routing
from waypost.policy.routing import Routes, wants

PROJECT = b"p" * 16


def subscription(number: int, *types: str, **settings: object) -> Subscription:
    made = Subscription(
        PROJECT, number.to_bytes(16), "https://x.example/", event_types=types or None
    )
    return msgspec.structs.replace(made, **settings)


def routes(*subscriptions: Subscription) -> Routes:
    found = Routes(1)
    for one in subscriptions:
        found.put(one)
    return found


@pytest.mark.parametrize(
    "pattern, event_type, taken",
    [
        ("card.created", "card.created", True),
        ("card.created", "card.created.late", False),
        ("card.created", "card", False),
        ("card.*", "card.created", True),
        ("card.*", "card.created.late", True),
        ("card.*", "card", False),
        ("card.*", "cards.created", False),
        ("card.created.*", "card.created", False),
        ("*", "card", True),
        ("Card.created", "card.created", False),
    ],
)
def test_a_pattern_takes_a_type(pattern: str, event_type: str, taken: bool) -> None:
    one = subscription(1, pattern)
    assert wants(one, event_type, None) is taken
    assert bool(routes(one).match(event_type, None)) is taken


def test_without_types_all_are_wanted() -> None:
    one = subscription(1)
    assert routes(one).match("anything.at.all", None) == (one,)


def test_one_that_is_matched_by_several_patterns_is_matched_once() -> None:
    one = subscription(1, "card.created", "card.*", "*")
    assert routes(one).match("card.created", None) == (one,)


@pytest.mark.parametrize(
    "mine, owner, taken",
    [
        (None, None, True),
        (None, "o", True),
        ("o", "o", True),
        ("o", "p", False),
        ("o", None, False),
    ],
)
def test_an_owner_sees_only_its_own_events(
    mine: str | None, owner: str | None, taken: bool
) -> None:
    one = subscription(1, owner=mine)
    assert wants(one, "a", owner) is taken
    assert bool(routes(one).match("a", owner)) is taken


@pytest.mark.parametrize(
    "by, owed",
    [(None, True), (DisabledBy.PERSON, False), (DisabledBy.GONE, True), (DisabledBy.FAILING, True)],
)
def test_only_a_person_ends_what_is_owed(by: DisabledBy | None, owed: bool) -> None:
    one = subscription(1, disabled_by=by)
    found = routes(one)
    assert bool(found.match("a", None)) is owed
    assert bool(found.aimed((one.id,))) is owed
    assert found.find(one.id) is one


def test_what_is_paused_is_owed() -> None:
    assert routes(subscription(1, paused=True)).match("a", None)


def test_a_change_holds_at_once() -> None:
    found = routes(subscription(1, "a"), subscription(2, "b"))
    assert found.match("b", None) == (subscription(2, "b"),)
    found.put(subscription(1, "b"))
    assert {one.id for one in found.match("b", None)} == {bytes(15) + b"\1", bytes(15) + b"\2"}
    assert found.match("a", None) == ()
    found.drop(bytes(15) + b"\2")
    assert found.match("b", None) == (subscription(1, "b"),)
    found.drop(bytes(15) + b"\2")


def test_targets_are_found_once_each_in_their_order() -> None:
    one, two = subscription(1, "a"), subscription(2, "b")
    found = routes(one, two)
    assert found.aimed((two.id, one.id, two.id, b"x" * 16)) == (two, one)


def test_what_is_remembered_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "_CACHE_MAX", 10)
    found = routes(subscription(1))
    for n in range(100):
        assert found.match(f"t{n}", None)
        assert len(found._cache) <= 10


WORDS = st.sampled_from(["a", "b", "c"])
TYPES = st.lists(WORDS, min_size=1, max_size=3).map(".".join)
PATTERNS = TYPES | TYPES.map(lambda name: f"{name}.*") | st.just("*")
OWNERS = st.sampled_from([None, "o", "p"])
SUBSCRIPTIONS = st.builds(
    Subscription,
    project_id=st.just(PROJECT),
    id=st.integers(0, 5).map(lambda n: n.to_bytes(16)),
    url=st.just(""),
    event_types=st.none() | st.lists(PATTERNS, min_size=1, max_size=3).map(tuple),
    disabled_by=st.sampled_from([None, None, *DisabledBy]),
    owner=OWNERS,
)
CHANGES = st.lists(SUBSCRIPTIONS | st.integers(0, 5).map(lambda n: n.to_bytes(16)), max_size=20)


@given(changes=CHANGES, looks=st.lists(st.tuples(TYPES, OWNERS), min_size=1, max_size=5))
def test_a_look_up_says_what_the_plain_rule_says(
    changes: list[Subscription | bytes], looks: list[tuple[str, str | None]]
) -> None:
    found, plain = Routes(1), dict[bytes, Subscription]()
    for change in changes:
        if isinstance(change, bytes):
            found.drop(change)
            plain.pop(change, None)
        else:
            found.put(change)
            plain[change.id] = change
        for event_type, owner in looks:
            expected = {
                one.id
                for one in plain.values()
                if one.disabled_by is not DisabledBy.PERSON and wants(one, event_type, owner)
            }
            matched = found.match(event_type, owner)
            assert len(matched) == len({one.id for one in matched})
            assert {one.id for one in matched} == expected
