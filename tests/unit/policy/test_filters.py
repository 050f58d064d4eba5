"""A compiled filter says what a plain reading of it says, and never raises."""

import gc
import json
import re
import weakref
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conventions import tree
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.policy import filter_syntax
from waypost.policy.content import Content
from waypost.policy.filters import compiled, restored

# --- a plain reading --------------------------------------------------------------------------

MISSING = object()
ORDERS = {
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
}


def canonical(value: Any) -> Any:
    """Return a value with its kind, so that only what is alike is equal."""
    if isinstance(value, bool) or value is None or value is MISSING:
        return ("unique", value)
    if isinstance(value, int | Fraction):
        return ("number", Fraction(value))
    if isinstance(value, str):
        return ("string", value)
    if isinstance(value, list):
        return ("array", [canonical(one) for one in value])
    return ("object", {name: canonical(one) for name, one in value.items()})


def ends(value: Any, steps: list[str]) -> Iterator[Any]:
    """Yield what lies at the ends of a path."""
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if step == "$" and isinstance(value, list) and value:
        for one in value:
            yield from ends(one, rest)
    elif isinstance(value, dict) and step != "$":
        yield from ends(value.get(step, MISSING), rest)
    elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
        yield from ends(value[int(step)], rest)
    else:
        yield from ends(MISSING, rest)


def plain(condition: Any, value: Any) -> bool:
    """Tell whether a condition holds, by its words."""
    if not isinstance(condition, dict):
        held = [value, *value] if isinstance(value, list) else [value]
        return any(canonical(one) == canonical(condition) for one in held)
    return all(plain_member(name, wanted, value) for name, wanted in condition.items())


def plain_member(name: str, wanted: Any, value: Any) -> bool:
    if name == "$and":
        return all(plain(one, value) for one in wanted)
    if name == "$or":
        return any(plain(one, value) for one in wanted)
    if name in {"$eq", "$neq"}:
        return (canonical(value) == canonical(wanted)) is (name == "$eq")
    if name in {"$in", "$nin"}:
        return (canonical(value) in [canonical(one) for one in wanted]) is (name == "$in")
    if name == "$exist":
        return (value is not MISSING) is wanted
    if name == "$regex":
        return isinstance(value, str) and re.search(wanted, value) is not None
    if name in ORDERS:
        (kind, one), (other_kind, other) = canonical(value), canonical(wanted)
        return kind == other_kind and bool(ORDERS[name](one, other))
    return any(plain(wanted, end) for end in ends(value, name.split(".")))


# --- against what is compiled -----------------------------------------------------------------

NUMBERS = st.integers(-2, 2) | st.sampled_from([0.5, 1.0, 2.5, 2**53 + 1, 1e300])
SCALARS = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "b", "1"])
STEP = st.sampled_from(["a", "b", "0", "1"])
BODIES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STEP, inner, max_size=3),
    max_leaves=12,
)
PATHS = st.lists(STEP | st.just("$"), min_size=1, max_size=3).map(".".join)
ORDERED = NUMBERS | st.sampled_from(["", "a", "b"])
OPERATORS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$neq"]), BODIES),
    st.tuples(st.sampled_from(sorted(ORDERS)), ORDERED),
    st.tuples(st.sampled_from(["$in", "$nin"]), st.lists(BODIES, min_size=1, max_size=3)),
    st.tuples(st.just("$exist"), st.booleans()),
    st.tuples(st.just("$regex"), st.sampled_from(["a", "^a$", "b$", "^$", "[ab]{2}", "1|b"])),
)


def deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    nested = st.tuples(st.sampled_from(["$and", "$or"]), st.lists(inner, min_size=1, max_size=3))
    members = st.lists(
        OPERATORS | nested | st.tuples(PATHS, inner),
        min_size=1,
        max_size=3,
        unique_by=lambda member: member[0],
    )
    return members.map(dict)


CONDITIONS = st.recursive(SCALARS | st.lists(SCALARS, max_size=2), deeper, max_leaves=8)


def exactly(value: Any) -> Any:
    return json.loads(json.dumps(value), parse_float=Fraction)


@given(CONDITIONS, BODIES)
def test_it_matches_where_a_plain_reading_does(condition: Any, body: Any) -> None:
    made = compiled(json.dumps({"body": condition}))
    content = Content(json.dumps(body).encode(), NO_ATTRIBUTES)
    expected = plain(exactly(condition), exactly(body))
    assert made.matches(content) is expected
    mismatch = made.explain(content)
    assert (mismatch is None) is expected
    for key in made.keys if expected else ():
        held = list(ends(exactly(body), list(key.names)))
        assert plain(exactly_key(key.value), held[0])


def exactly_key(value: Any) -> Any:
    return Fraction(value) if isinstance(value, Decimal) else value


TEXTS = st.text(max_size=5)
ANYTHING = st.recursive(
    SCALARS | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=15,
)


@given(
    CONDITIONS,
    ANYTHING.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20),
    st.builds(
        Attributes,
        content_type=st.sampled_from([None, "text/plain"]),
        headers=st.dictionaries(STEP, TEXTS),
        query=st.dictionaries(STEP, TEXTS | st.lists(TEXTS)),
        path=st.none() | TEXTS,
        metadata=st.dictionaries(STEP, TEXTS),
    ),
)
def test_matching_and_explaining_never_raise(
    condition: Any, payload: bytes, attributes: Attributes
) -> None:
    texts = {name: {"a": {"$regex": "a"}, "b": "b"} for name in ("headers", "query", "metadata")}
    made = compiled(json.dumps({"$or": [{"body": condition}, {"path": {"$lt": "a"}}, {**texts}]}))
    content = Content(payload, attributes)
    assert (made.explain(content) is None) is made.matches(content)


# --- what it is made of -----------------------------------------------------------------------


def test_it_keeps_its_text_and_what_it_reads() -> None:
    text = ' {"headers": {"X-A": "b"}, "body": {"n": 1.10}}'
    made = compiled(text)
    assert made.text == text
    assert made.reads.headers == {"x-a"}
    assert [key.scope for key in made.keys] == ["headers", "body"]
    assert not made.empty
    assert compiled("{}").empty
    assert compiled('{"body":{}}').empty


def test_a_payload_is_read_once_for_many_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[bytes] = []

    def note(text: bytes) -> Any:
        texts.append(text)
        return {"a": 1}

    monkeypatch.setattr("waypost.policy.content.read", note)
    content = Content(b"{}", NO_ATTRIBUTES)
    made = [compiled(f'{{"body":{{"a":{n}}}}}') for n in range(5)]
    assert [one.matches(content) for one in made] == [False, True, False, False, False]
    assert texts == [b"{}"]
    beside = compiled('{"path":"/a"}')
    assert not beside.matches(Content(b"{}", NO_ATTRIBUTES))
    assert texts == [b"{}"], "nobody asked for the body"


def test_a_filter_that_is_of_no_use_any_more_matches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = '{"body":{"a":1,"b":2}}'
    content = Content(b'{"a":1,"b":2}', NO_ATTRIBUTES)
    assert restored(text).matches(content)
    monkeypatch.setattr(filter_syntax, "CONDITIONS_MAX", 1)
    made = restored(text)
    assert made.text == text
    assert not made.empty
    assert not made.matches(content)
    mismatch = made.explain(content)
    assert mismatch is not None
    assert mismatch.reason.startswith("the filter is of no use any more: filter.body.b: ")


def test_equal_texts_share_one_filter_for_as_long_as_it_is_in_use() -> None:
    text = '{"body":{"of this test":1}}'
    one = restored(text)
    assert restored(text) is one
    assert restored(text + " ") is not one
    seen = weakref.ref(one)
    del one
    gc.collect()
    assert seen() is None
    assert restored(text).text == text


# --- the documentation ------------------------------------------------------------------------

PAGE = (tree.ROOT / "docs" / "reference" / "filters.md").read_text("utf-8")
EVENT = re.search(r"```json event\n(.*?)```", PAGE, re.DOTALL)
ROWS = re.findall(r"^\| `(\{.*\})` \| (yes|no) \|", PAGE, re.MULTILINE)


json_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@pytest.mark.parametrize("text, says", ROWS)
def test_the_examples_of_the_documentation_are_right(text: str, says: str) -> None:
    assert EVENT is not None
    payload = bytes(json_of(EVENT[1])["payload"])
    event = json.loads(EVENT[1])
    del event["event_type"], event["payload"]
    event["headers"] = {name.lower(): value for name, value in event["headers"].items()}
    made = compiled(text.replace(r"\|", "|"))
    assert made.matches(Content(payload, Attributes(**event))) is (says == "yes")


def test_the_documentation_has_examples_of_every_operator() -> None:
    told = " ".join(text for text, _ in ROWS)
    assert all(f'"{name}"' in told for name in filter_syntax._OPERATORS)
