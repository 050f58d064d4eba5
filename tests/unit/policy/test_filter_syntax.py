"""What cannot be obeyed is refused when it is set, with the place and the reason."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.errors import InvalidSetting
from waypost.policy.filter_syntax import (
    ANY_MAX,
    CONDITIONS_MAX,
    DEPTH_MAX,
    FILTER_BYTES_MAX,
    NOTHING,
    SECRET_HEADERS,
    Key,
    Reads,
    may_read_request,
    parse,
)


def refusal(text: Any) -> tuple[str, str]:
    with pytest.raises(InvalidSetting) as error:
        parse(text if isinstance(text, str) else json.dumps(text))
    [(path, reason)] = error.value.details
    return path, reason


STEPS = "must be names parted by full stops, none of them empty"
BAD: list[tuple[Any, str, str]] = [
    # no filter at all
    ("", "filter", "must be JSON"),
    ("{", "filter", "must be JSON"),
    ("NaN", "filter", "must be JSON"),
    ('{"body":{"a":Infinity}}', "filter", "must be JSON"),
    ('{"body":{"a":"\\ud800"}}', "filter", "must be JSON"),
    ('{"body":{"a":"\ud800"}}', "filter", "must be JSON"),
    ('{"body":{"a":1,"a":2}}', "filter", "must hold 'a' once in one object"),
    ("5", "filter", "must be an object"),
    ("[]", "filter", "must be an object"),
    ("[" * 100_00, "filter", "must not be nested deeper than 16"),
    ('{"body":' * 20 + "1" + "}" * 20, "filter", "must not be nested deeper than 16"),
    ("[" * 20_000, "filter", "must be at most 16384 bytes"),
    # scopes
    ({"a": 1}, "filter.a", "must be one of body, event_type, headers, metadata, path, query"),
    ({"$eq": 1}, "filter.$eq", "must be one of body"),
    ({"header": {}}, "filter.header", "must be one of body"),
    ({"$or": [{"b": 1}]}, "filter.$or[0].b", "must be one of body"),
    ({"$or": [{}]}, "filter.$or[0]", "must hold a condition"),
    ({"$and": [5]}, "filter.$and[0]", "must be an object"),
    ({"headers": 5}, "filter.headers", "must be an object"),
    ({"query": []}, "filter.query", "must be an object"),
    ({"metadata": None}, "filter.metadata", "must be an object"),
    # operators
    ({"body": {"$foo": 1}}, "filter.body.$foo", "is no operator; those are $and, $or, $eq"),
    ({"body": {"a": {"$like": 1}}}, "filter.body.a.$like", "is no operator"),
    ({"body": {"a": {}}}, "filter.body.a", "must hold a condition; an empty object is compared"),
    ({"body": {"$or": []}}, "filter.body.$or", "must be an array of conditions, one at least"),
    ({"body": {"$and": {"a": 1}}}, "filter.body.$and", "must be an array of conditions"),
    ({"body": {"$or": [{"a": 1}, {}]}}, "filter.body.$or[1]", "must hold a condition"),
    ({"body": {"$or": [{"a": {"$gt": None}}]}}, "filter.body.$or[0].a.$gt", "must be a number"),
    ({"body": {"a": {"$gt": True}}}, "filter.body.a.$gt", "must be a number or a string"),
    ({"body": {"a": {"$lte": [1]}}}, "filter.body.a.$lte", "must be a number or a string"),
    ({"body": {"a": {"$in": 1}}}, "filter.body.a.$in", "must be an array of values"),
    ({"body": {"a": {"$nin": []}}}, "filter.body.a.$nin", "must be an array of values, one"),
    ({"body": {"a": {"$exist": 1}}}, "filter.body.a.$exist", "must be true or false"),
    ({"body": {"a": {"$regex": 1}}}, "filter.body.a.$regex", "must be a string"),
    ({"body": {"a": {"$regex": "("}}}, "filter.body.a.$regex", "is not a regular expression"),
    ({"body": {"a": {"$regex": "(?=a)"}}}, "filter.body.a.$regex", "is not a regular expression"),
    ({"body": {"a": {"$regex": "a" * 501}}}, "filter.body.a.$regex", "must be at most 500"),
    # paths
    ({"body": {"": 1}}, "filter.body.", STEPS),
    ({"body": {"a.": 1}}, "filter.body.a.", STEPS),
    ({"body": {".a": 1}}, "filter.body..a", STEPS),
    ({"body": {"a..b": 1}}, "filter.body.a..b", STEPS),
    ({"body": {"$.": 1}}, "filter.body.$.", STEPS),
    ({"body": {"a\\": 1}}, "filter.body.a\\", STEPS),
    ({"body": {"a\\b": 1}}, "filter.body.a\\b", STEPS),
    ({"body": {"a.$b": 1}}, "filter.body.a.$b", r"must have \$b for a name that begins with $"),
    (
        {"body": {".".join("$" * (ANY_MAX + 1)): 1}},
        "filter.body.$.$.$.$.$.$.$.$.$",
        "must not have more than 8 any-indexes",
    ),
    ({"body": {"$.$.$.$.$": {"$.$.$.$": 1}}}, "filter.body.$.$.$.$.$.$.$.$.$", "any-indexes"),
    # what is text
    ({"headers": {"a": 5}}, "filter.headers.a", "must be a string: that is all there is in"),
    ({"headers": {"a": None}}, "filter.headers.a", "must be a string"),
    ({"query": {"a": {"$in": ["1", 2]}}}, "filter.query.a.$in[1]", "must be a string"),
    ({"metadata": {"a": {"$gt": 5}}}, "filter.metadata.a.$gt", "must be a string"),
    ({"metadata": {"a": {"$neq": True}}}, "filter.metadata.a.$neq", "must be a string"),
    ({"metadata": {"a": {"b": "c"}}}, "filter.metadata.a.b", "is no operator"),
    ({"headers": {"$exist": True}}, "filter.headers.$exist", "must be a name"),
    ({"headers": {"Cookie": "a"}}, "filter.headers.Cookie", "holds a secret"),
    ({"headers": {"$or": [{"authorization": "a"}]}}, "filter.headers.$or[0].authorization",
     "holds a secret"),
    ({"path": 5}, "filter.path", "must be a string"),
    ({"path": ["/a"]}, "filter.path", "must be a string"),
    ({"path": {"path": "/a"}}, "filter.path.path", "is no operator"),
]  # fmt: skip


@pytest.mark.parametrize("text, path, reason", BAD, ids=lambda one: str(one)[:50])
def test_what_cannot_be_obeyed_is_refused(text: Any, path: str, reason: str) -> None:
    found = refusal(text)
    assert found[0] == path
    assert found[1].startswith(reason) or reason in found[1]


def test_a_filter_has_so_many_conditions_and_no_more() -> None:
    def many(count: int) -> dict[str, Any]:
        return {"body": {"$and": [{"a": {"$gt": n, "$lt": n}} for n in range(count // 2)]}}

    parse(json.dumps(many(CONDITIONS_MAX)))
    assert refusal(many(CONDITIONS_MAX + 2)) == (
        "filter.body.$and[50].a.$gt",
        "is one condition more than the 100 of a filter",
    )


def test_a_filter_may_be_so_large_and_so_deep() -> None:
    around = len('{"body":{"a":""}}')
    parse('{"body":{"a":"' + "x" * (FILTER_BYTES_MAX - around) + '"}}')
    assert refusal('{"body":{"a":"' + "x" * (FILTER_BYTES_MAX - around + 1) + '"}}')[0] == "filter"
    assert refusal('{"body":{"a":"' + "é" * ((FILTER_BYTES_MAX - around) // 2 + 1) + '"}}')
    parse('{"body":' + '{"a":' * (DEPTH_MAX - 1) + "1" + "}" * DEPTH_MAX)
    assert refusal('{"body":' + '{"a":' * DEPTH_MAX + "1" + "}" * (DEPTH_MAX + 1))


def test_what_is_read_of_the_request_is_noted() -> None:
    assert parse('{"body":{"a":1},"metadata":{"b":"c"}}').reads == Reads()
    text = (
        '{"headers":{"X-A":"1","$or":[{"x-b":"2"}]},"query":{"Q":"1"},'
        '"$or":[{"path":"/"},{"headers":{"X-C":{"$exist":false}}}]}'
    )
    assert parse(text).reads == Reads(frozenset({"x-a", "x-b", "x-c"}), frozenset({"Q"}), path=True)
    assert Reads(frozenset("a")) | Reads(query=frozenset("b")) == Reads(
        frozenset("a"), frozenset("b")
    )


@pytest.mark.parametrize(
    "text, may",
    [
        ('{"body":{"a":1},"metadata":{"b":"c"}}', False),
        ('{"headers":{"x-a":"1"}}', True),
        ('{"query":{"q":"1"}}', True),
        ('{"$or":[{"path":"/"},{"body":{"a":1}}]}', True),
        (r'{"\u0070ath":"/"}', True),
    ],
)
def test_whether_it_may_read_of_the_request_is_seen_without_parsing(text: str, may: bool) -> None:
    assert may_read_request(text) is may
    assert (parse(text).reads != NOTHING) is may


@pytest.mark.parametrize("name", sorted(SECRET_HEADERS))
def test_secrets_are_not_read(name: str) -> None:
    assert refusal({"headers": {name.title(): "x"}})[1].startswith("holds a secret")


@pytest.mark.parametrize(
    "made, keys",
    [
        ({"body": {"a": 1, "b.c": {"$eq": "x"}}}, [("body", ("a",), 1), ("body", ("b", "c"), "x")]),
        ({"body": {"a": {"b": None}}}, [("body", ("a", "b"), None)]),
        ({"body": {"$and": [{"a": 1}], "$or": [{"b": 2}]}},
         [("body", ("a",), 1), ("body", ("b",), 2)]),
        ({"body": {"$or": [{"a": 1}, {"b": 2}]}}, []),
        ({"$or": [{"body": {"a": 1}}, {"path": "/"}]}, []),
        ({"$and": [{"body": {"a": 1}}, {"path": "/"}]}, [("body", ("a",), 1), ("path", (), "/")]),
        ({"body": {"a.$.b": 1, "c.$": {"d": 2}}}, []),
        ({"body": {"a": [1], "b": {"$eq": {"c": 1}}, "c": {"$in": [1]}, "d": {"$gt": 1}}}, []),
        ({"body": 5}, [("body", (), 5)]),
        ({"headers": {"X-A": "1"}, "query": {"b": {"$eq": "2"}}, "metadata": {"c.d": "3"}},
         [("headers", ("x-a",), "1"), ("query", ("b",), "2"), ("metadata", ("c.d",), "3")]),
    ],
)  # fmt: skip
def test_what_must_be_there_is_noted_for_the_index(
    made: dict[str, Any], keys: list[tuple[str, tuple[str, ...], Any]]
) -> None:
    assert list(parse(json.dumps(made)).keys) == [Key(*key) for key in keys]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5)
            | st.sampled_from(
                [
                    "body",
                    "path",
                    "query",
                    "headers",
                    "$or",
                    "$and",
                    "$eq",
                    "$in",
                    "$regex",
                    "$",
                    "$.a",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JSON.map(json.dumps) | st.text(max_size=60))
def test_anything_is_parsed_or_refused(text: str) -> None:
    details: Sequence[tuple[str, str]] = [("filter", "was taken")]
    try:
        parse(text)
    except InvalidSetting as error:
        details = error.details
    assert all(path.startswith("filter") and reason for path, reason in details)
