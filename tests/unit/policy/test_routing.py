"""Routing: a compiled look-up must say what the plain rule says, for any subscriptions."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.event import NO_ATTRIBUTES
from waypost.model.subscription import DisabledBy, Subscription
from waypost.policy import filters, routing
from waypost.policy.content import Content
from waypost.policy.filter_syntax import NOTHING, Reads
from waypost.policy.filters import Filter, compiled
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


def content(**members: Any) -> bytes:
    return json.dumps(members).encode()


def test_a_filter_sifts_what_the_types_take() -> None:
    one = subscription(1, "card.*", "*", filter='{"body":{"n":1}}')
    two = subscription(2, "card.created", filter='{"body":{"n":{"$gt":1}}}')
    three = subscription(3, "book.*", filter='{"body":{"n":1}}')
    plain = subscription(4)
    empty = subscription(5, filter='{"body":{}}')
    found = routes(one, two, three, plain, empty)
    assert set_of(found.match("card.created", None, content(n=1))) == {1, 4, 5}
    assert set_of(found.match("card.created", None, content(n=2))) == {2, 4, 5}
    assert set_of(found.match("book.created", None, content(n=1))) == {1, 3, 4, 5}
    assert set_of(found.match("book.created", None)) == {4, 5}
    assert len(found.match("card.created", None, content(n=1))) == 3, "each but once"


def set_of(matched: tuple[Subscription, ...]) -> set[int]:
    return {int.from_bytes(one.id) for one in matched}


def test_owner_and_filter_both_decide() -> None:
    found = routes(subscription(1, owner="o", filter='{"body":{"n":1}}'))
    assert found.match("a", "o", content(n=1))
    assert not found.match("a", "p", content(n=1))
    assert not found.match("a", "o", content(n=2))


def test_a_disabled_one_is_not_owed_whatever_its_filter() -> None:
    one = subscription(1, filter='{"body":{"n":1}}', disabled_by=DisabledBy.PERSON)
    found = routes(one)
    assert not found.match("a", None, content(n=1))
    found.put(msgspec.structs.replace(one, disabled_by=None))
    assert found.match("a", None, content(n=1))


def test_a_changed_filter_holds_at_once() -> None:
    one = subscription(1, filter='{"body":{"n":1}}')
    found = routes(one)
    assert found.match("a", None, content(n=1))
    found.put(msgspec.structs.replace(one, filter='{"body":{"n":2}}'))
    assert not found.match("a", None, content(n=1))
    assert found.match("a", None, content(n=2))
    found.put(msgspec.structs.replace(one, filter=None))
    assert found.match("a", None, content(n=3))
    found.drop(one.id)
    assert (found._buckets, found._filters, found._reading, found._pending) == ({}, {}, {}, set())


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of filters that were compiled."""
    found: list[str] = []

    def note(text: str) -> Filter:
        found.append(text)
        return compiled(text)

    monkeypatch.setattr(filters, "restored", note)
    return found


def test_a_filter_is_compiled_once(texts: list[str]) -> None:
    one = subscription(1, "a", "b", filter='{"body":{"n":1}}')
    found = routes(one)
    for n in range(5):
        found.match("a", None, content(n=n))
        found.put(msgspec.structs.replace(one, paused=bool(n % 2)))
    assert texts == ['{"body":{"n":1}}']


def test_a_filter_is_compiled_when_it_is_asked_first(texts: list[str]) -> None:
    made = {kind: f'{{"body":{{"{kind}":1}}}}' for kind in "abc"}
    found = routes(*(subscription(ord(kind), kind, filter=made[kind]) for kind in made))
    assert found.reads is NOTHING
    assert texts == []
    found.match("b", None)
    assert texts == [made["b"]]
    found.match("d", None)
    found.match("b", None)
    assert texts == [made["b"]]


def test_filters_are_compiled_ahead_a_few_at_a_time(texts: list[str]) -> None:
    found = routes(
        *(subscription(n, f"t.{n % 3}", filter=f'{{"body":{{"n":{n}}}}}') for n in range(10)),
        subscription(10, filter='{"headers":{"x-a":"b"}}', disabled_by=DisabledBy.PERSON),
        subscription(11),
    )
    counts = []
    while done := found.compile_some(4):
        counts.append(done)
        assert len(texts) == sum(counts)
    assert counts == [4, 4, 2]
    assert set_of(found.match("t.1", None, content(n=7))) == {7, 11}
    assert len(texts) == 10
    found.put(subscription(12, "t.1", filter='{"body":{"n":7}}'))
    found.drop(subscription(12).id)
    found.put(subscription(12, "u", filter='{"body":{"n":7}}'))
    found.drop(subscription(12).id)
    assert found.compile_some(4) == 0


def test_a_filter_that_is_of_no_use_any_more_takes_nothing_and_breaks_nothing() -> None:
    found = routes(subscription(1, filter="{"), subscription(2))
    assert set_of(found.match("a", None)) == {2}


def test_targets_are_owed_whatever_the_filter_says() -> None:
    one = subscription(1, filter='{"body":{"n":1}}')
    assert routes(one).aimed((one.id,)) == (one,)


def test_what_filters_read_is_known_as_long_as_there_is_one() -> None:
    one = subscription(1, filter='{"headers":{"X-A":"b"}}')
    two = subscription(
        2, filter='{"headers":{"x-b":"b"},"path":"/"}', disabled_by=DisabledBy.PERSON
    )
    found = routes(one, two, subscription(3, filter='{"body":{"a":1}}'), subscription(4))
    assert found.reads == Reads(frozenset({"x-a", "x-b"}), path=True)
    found.put(msgspec.structs.replace(one, paused=True))
    assert found._reads is not None, "what did not change is not summed up again"
    assert found.reads == Reads(frozenset({"x-a", "x-b"}), path=True)
    found.drop(two.id)
    assert found.reads == Reads(frozenset({"x-a"}))
    found.put(msgspec.structs.replace(one, filter=None))
    assert found.reads is NOTHING


def test_a_body_is_not_read_where_only_plain_ones_take_the_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("waypost.policy.content.read", None)
    found = routes(subscription(1), subscription(2, "b", filter='{"body":{"n":1}}'))
    assert set_of(found.match("a", None, content(n=1))) == {1}


@pytest.mark.parametrize(
    "patterns, taken", [(("a.b",), True), (("a.*",), True), (("*",), True), (("b", "a"), False)]
)
def test_patterns_take_a_type(patterns: tuple[str, ...], taken: bool) -> None:
    assert routing.takes_type(patterns, "a.b") is taken


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
    paused=st.booleans(),
    owner=OWNERS,
    filter=st.sampled_from(
        [
            None,
            "{}",
            '{"body":{"n":1}}',
            '{"body":{"n":2}}',
            '{"body":{"n":{"$gt":1}}}',
            '{"body":{"$or":[{"n":1},{"m":1}]}}',
            '{"body":{"n":1,"m":1}}',
        ]
    ),
)
BODIES = st.sampled_from([b"null", b'{"n":1}', b'{"n":2,"m":1}', b'{"n":[1,2],"m":1}', b"{"])
CHANGES = st.lists(
    SUBSCRIPTIONS | st.integers(0, 5).map(lambda n: n.to_bytes(16)) | st.integers(1, 3), max_size=20
)
"""A subscription that is put, the id of one that goes, or how many filters to compile ahead."""


@given(changes=CHANGES, looks=st.lists(st.tuples(TYPES, OWNERS, BODIES), min_size=1, max_size=5))
def test_a_look_up_says_what_the_plain_rule_says(
    changes: list[Subscription | bytes | int], looks: list[tuple[str, str | None, bytes]]
) -> None:
    found, plain = Routes(1), dict[bytes, Subscription]()
    for change in changes:
        if isinstance(change, int):
            found.compile_some(change)
            continue
        if isinstance(change, bytes):
            found.drop(change)
            plain.pop(change, None)
        else:
            found.put(change)
            plain[change.id] = change
            if change.paused:
                continue  # what is pending meets the next change
        for event_type, owner, body in looks:
            held = Content(body, NO_ATTRIBUTES)
            expected = {
                one.id
                for one in plain.values()
                if one.disabled_by is not DisabledBy.PERSON
                and wants(one, event_type, owner)
                and (one.filter is None or compiled(one.filter).matches(held))
            }
            matched = found.match(event_type, owner, body)
            assert len(matched) == len({one.id for one in matched})
            assert {one.id for one in matched} == expected


@pytest.mark.parametrize(
    "types, taken",
    [
        (None, False),
        (("*",), False),
        (("*", "card.*"), False),
        (("waypost.*",), True),
        (("waypost.breaker.*",), True),
        (("waypost.breaker.opened",), True),
        (("waypost.delivery.*", "*"), False),
    ],
)
def test_system_events_go_to_those_who_name_them(
    types: tuple[str, ...] | None, taken: bool
) -> None:
    name = "waypost.breaker.opened"
    one = Subscription(b"p" * 16, b"s" * 16, "https://a.example/", event_types=types)
    routes = Routes(1)
    routes.put(one)
    assert bool(routes.match(name, None)) is taken
    assert routing.takes_type(types or ("*",), name) is taken
    assert routing.names_system(types) is any("waypost" in one for one in types or ())
