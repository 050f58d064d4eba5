"""The index finds all filters that an event may match, and few others."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.policy.content import Content
from waypost.policy.filter_index import FilterIndex
from waypost.policy.filters import Filter, compiled


def index(*texts: Any) -> FilterIndex[int]:
    made: FilterIndex[int] = FilterIndex()
    for number, text in enumerate(texts):
        made.put(bytes([number]), number, compiled(json.dumps(text)))
    return made


def found(made: FilterIndex[int], body: Any, **attributes: Any) -> list[int]:
    content = Content(json.dumps(body).encode(), Attributes(**attributes))
    return sorted(set(made.candidates(content)))


def test_those_with_another_value_are_not_found() -> None:
    made = index(
        *({"body": {"customer": f"c{n}"}} for n in range(100)), {"body": {"n": {"$gt": 1}}}
    )
    assert found(made, {"customer": "c7", "n": 0}) == [7, 100]
    assert found(made, {"customer": "x"}) == [100]
    assert found(made, {}) == [100]
    assert found(made, ["c7"]) == [100]


def test_the_value_that_tells_most_is_gone_by() -> None:
    made = index(*({"body": {"kind": "order", "customer": n}} for n in range(100)))
    assert len(found(made, {"kind": "order", "customer": 50})) <= 2


def test_an_array_holds_what_is_demanded() -> None:
    made = index({"body": {"tags": "a"}}, {"body": {"tags": "b"}}, {"body": {"tags": "c"}})
    assert found(made, {"tags": ["a", "c", "a", {}, ["b"]]}) == [0, 1, 2]
    assert found(made, {"tags": ["a", "c"]}) == [0, 2]
    assert found(made, {"tags": "b"}) == [1]


def test_values_of_unlike_kinds_are_told_apart() -> None:
    made = index(*({"body": {"a": value}} for value in (1, True, "1", None, 0, False, 1.5)))
    assert found(made, {"a": 1}) == [0]
    assert found(made, {"a": 1.0}) == [0]
    assert found(made, {"a": True}) == [1]
    assert found(made, {"a": "1"}) == [2]
    assert found(made, {"a": None}) == [3]
    assert found(made, {"a": 0}) == [4]
    assert found(made, {"a": False}) == [5]
    assert found(made, {"a": 1.50}) == [6]


def test_what_stands_beside_the_payload_is_gone_by_too() -> None:
    made = index(
        {"path": "/a"}, {"headers": {"x": "1"}}, {"query": {"q": "1"}}, {"metadata": {"m.n": "1"}}
    )
    assert found(made, {}) == []
    assert found(made, {}, path="/a") == [0]
    assert found(made, {}, headers={"x": "1"}, query={"q": ["0", "1"]}) == [1, 2]
    assert found(made, {}, metadata={"m.n": "1"}) == [3]


def test_a_body_that_is_no_json_is_passed_over() -> None:
    made = index({"body": {"a": 1}}, {"body": 5})
    assert list(made.candidates(Content(b"{", NO_ATTRIBUTES))) == []


def test_what_is_dropped_leaves_nothing_behind() -> None:
    made = index({"body": {"a": 1}}, {"body": {"a": 1}}, {"body": {"a": {"$gt": 1}}})
    assert made
    for number in (0, 2, 1, 1, 7):
        made.drop(bytes([number]))
    assert not made
    assert (made._places, made._rest, made._where) == ({}, {}, {})


VALUES = st.sampled_from([0, 1, True, False, None, "a", "b"])
FIELDS = st.sampled_from(["a", "b", "a.b", "a.0"])
PARTS = st.dictionaries(
    FIELDS, VALUES | st.builds(lambda v: {"$eq": v}, VALUES), min_size=1, max_size=2
)
TEXTS = st.one_of(
    st.builds(lambda parts: {"body": parts}, PARTS),
    st.builds(lambda one, other: {"body": {"$or": [one, other]}}, PARTS, PARTS),
    st.builds(lambda value: {"body": value}, VALUES),
)
BODIES = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=8,
)


@given(st.lists(TEXTS, max_size=8), st.sets(st.integers(0, 7)), BODIES)
def test_whatever_matches_is_found(texts: list[Any], dropped: set[int], body: Any) -> None:
    made: FilterIndex[Filter] = FilterIndex()
    there = {}
    for number, text in enumerate(texts):
        there[number] = compiled(json.dumps(text))
        made.put(bytes([number]), there[number], there[number])
    for number in dropped:
        made.drop(bytes([number]))
        there.pop(number, None)
    content = Content(json.dumps(body).encode(), NO_ATTRIBUTES)
    candidates = set(made.candidates(content))
    assert {one for one in there.values() if one.matches(content)} <= candidates
    assert candidates <= set(there.values())
    assert bool(made) is bool(there)
