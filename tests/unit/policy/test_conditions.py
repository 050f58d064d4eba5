"""Each operator on what is absent, unlike, nested and in arrays; and why it does not hold."""

import json
from typing import Any

import pytest

from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.policy.conditions import Mismatch, index_of, same
from waypost.policy.content import EFFORT, Content, read
from waypost.policy.filters import compiled

ABSENT = "(absent)"

# condition on the field `f`; what it holds of, and what it does not
TABLE: list[tuple[Any, list[Any], list[Any]]] = [
    (5, [5, 5.0, [1, 5], [[5], 5]], [6, "5", True, None, {}, [], ["5"], [[5]], ABSENT]),
    (True, [True, [0, True]], [1, False, "true", [1], None, ABSENT]),
    (None, [None, [None]], [False, 0, "", [], {}, ABSENT]),
    ("a", ["a", ["b", "a"]], ["A", "", ["b"], {"a": 1}, None, ABSENT]),
    ([1, 2], [[1, 2], [[1, 2], 3]], [[2, 1], [1], 1, [1, 2, 3], ABSENT]),
    ({"$eq": 5}, [5, 5.0], [[5], "5", True, None, ABSENT]),
    ({"$eq": {"a": [1, True]}}, [{"a": [1, True]}], [{"a": [1, 1]}, {"a": [1, True], "b": 1}, {}]),
    ({"$eq": []}, [[]], [[[]], {}, None, "", ABSENT]),
    ({"$neq": 5}, [6, "5", True, None, [5], {}, ABSENT], [5, 5.0]),
    ({"$neq": {"a": 1}}, [{"a": 2}, {}, ABSENT], [{"a": 1.0}]),
    ({"$gt": 5}, [5.1, 6, 10**30], [5, 4, "6", True, None, [6], {}, ABSENT]),
    ({"$gte": 5}, [5, 5.0, 6], [4.9, "5", None, ABSENT]),
    ({"$lt": 5}, [4.9, -1], [5, 6, "4", False, None, [4], {}, ABSENT]),
    ({"$lte": 5}, [5, 4], [5.1, "5", False, None, ABSENT]),
    ({"$gt": "b"}, ["c", "ba"], ["b", "a", "B", 5, None, ["c"], ABSENT]),
    ({"$lte": "2026-01-31"}, ["2026-01-30T00:00:00Z", ""], ["2026-02-01", 0, ABSENT]),
    ({"$gt": 0, "$lt": 10}, [5], [0, 10, "5", ABSENT]),
    ({"$in": [1, "a", None]}, [1, 1.0, "a", None], [True, "1", 2, [1], {}, ABSENT]),
    ({"$in": [True]}, [True], [1, "true", [True], ABSENT]),
    ({"$in": [[1], {"a": 1}]}, [[1], {"a": 1}], [1, [True], [[1]], {"a": True}, ABSENT]),
    ({"$nin": [1, "a", None]}, [True, "1", 2, [1], {}, ABSENT], [1, 1.0, "a", None]),
    ({"$nin": [[1]]}, [1, [True], ABSENT], [[1]]),
    ({"$exist": True}, [None, False, 0, "", [], {}], [ABSENT]),
    ({"$exist": False}, [ABSENT], [None, False, 0, "", [], {}]),
    ({"$regex": "^a.c"}, ["abc", "a/cd"], ["xabc", "", 5, None, True, ["abc"], {}, ABSENT]),
    ({"g": 5}, [{"g": 5}, {"g": [5]}], [{}, {"g": 6}, 5, [5], [{"g": 5}], None, ABSENT]),
    ({"g": {"$neq": 5}}, [{"g": 6}, {}, 5, [{"g": 5}], None, ABSENT], [{"g": 5}]),
    ({"g": {"$exist": False}}, [{}, 5, None, ABSENT], [{"g": None}]),
    ({"g.h": {"$gt": 1}}, [{"g": {"h": 2}}], [{"g": {"h": 1}}, {"g": 2}, {"g.h": 2}, ABSENT]),
    ({r"g\.h": 2}, [{"g.h": 2}], [{"g": {"h": 2}}, ABSENT]),
    ({r"\$eq": 2}, [{"$eq": 2}], [2, ABSENT]),
    ({r"a\\b": 2}, [{"a\\b": 2}], [ABSENT]),
    ({"1": "b"}, [["a", "b"], {"1": "b"}], [["b"], ["b", "a"], "ab", ABSENT]),
    ({"01": "b"}, [{"01": "b"}], [["a", "b"], ABSENT]),
    ({"-1": "b"}, [{"-1": "b"}], [["a", "b"], ABSENT]),
    ({"$": {"$gt": 5}}, [[1, 6], [6]], [[1], [], ["6"], 6, {"0": 6}, ABSENT]),
    ({"$.g": 5}, [[{}, {"g": 5}]], [[{"g": 6}], [5], {"g": 5}, [], ABSENT]),
    ({"$.g": {"$neq": 5}}, [[{"g": 5}, {}], [{"g": 6}], [], 5, ABSENT], [[{"g": 5}, {"g": 5}]]),
    ({"$": {"g": 5, "h": 6}}, [[{"g": 5, "h": 6}]], [[{"g": 5}, {"h": 6}]]),
    ({"$.g": 5, "$.h": 6}, [[{"g": 5}, {"h": 6}]], [[{"g": 5}]]),
    ({"$.$": 5}, [[[], [1, 5]]], [[5], [[1]], 5, ABSENT]),
    ({"$.g.$.h": 5}, [[{"g": [{"h": 1}, {"h": 5}]}]], [[{"g": {"h": 5}}], ABSENT]),
    ({"$or": [{"$gt": 5}, {"$lt": 1}, "x"]}, [6, 0, "x", ["x"]], [3, "y", None, ABSENT]),
    ({"$or": [{"g": 1}, {"h": 1}]}, [{"g": 1}, {"h": 1}], [{"g": 2}, {}, ABSENT]),
    ({"$and": [{"$gt": 1}, {"$or": [{"$lt": 5}, {"$eq": 9}]}]}, [2, 9], [1, 6, ABSENT]),
    ({"$or": [{"$exist": False}, {"$eq": 5}]}, [ABSENT, 5], [6, None]),
    ({"$exist": True, "g": 5}, [{"g": 5}], [{}, ABSENT]),
]
CASES = [
    (condition, value, holds)
    for condition, yes, no in TABLE
    for values, holds in ((yes, True), (no, False))
    for value in values
]


@pytest.mark.parametrize("condition, value, holds", CASES, ids=repr)
def test_a_condition_holds_or_does_not(condition: Any, value: Any, holds: bool) -> None:
    body = {} if value is ABSENT else {"f": value}
    found = compiled(json.dumps({"body": {"f": condition}}))
    content = Content(json.dumps(body).encode(), NO_ATTRIBUTES)
    assert found.matches(content) is holds
    assert (found.explain(content) is None) is holds


@pytest.mark.parametrize(
    "wanted, there, equal",
    [
        ("1.10", "1.1", True),
        ("1.0", "1", True),
        ("1e2", "100", True),
        ("9007199254740993", "9007199254740992", False),
        ("9007199254740993", "9007199254740993.0", True),
        ("0.1", "0.1000000000000000000000000000000001", False),
        ("123456789012345678901234567890", "123456789012345678901234567890.0", True),
        ("123456789012345678901234567890", "123456789012345678901234567891", False),
        ("1e400", "1e401", False),
        ("1" * 5000, "1" * 5000, True),
        ("1" * 5000, "1" * 4999 + "2", False),
        ("-0", "0.0", True),
    ],
    ids=lambda one: str(one)[:40],
)
def test_numbers_are_compared_exactly(wanted: str, there: str, equal: bool) -> None:
    content = Content(f'{{"f":{there}}}'.encode(), NO_ATTRIBUTES)
    for condition in (wanted, f'{{"$eq":{wanted}}}', f'{{"$in":[{wanted}]}}'):
        assert compiled(f'{{"body":{{"f":{condition}}}}}').matches(content) is equal
    for condition in (f'{{"$neq":{wanted}}}', f'{{"$nin":[{wanted}]}}'):
        assert compiled(f'{{"body":{{"f":{condition}}}}}').matches(content) is not equal


def test_order_is_exact_too() -> None:
    content = Content(b'{"f":9007199254740993}', NO_ATTRIBUTES)
    assert compiled('{"body":{"f":{"$gt":9007199254740992.5}}}').matches(content)
    assert not compiled('{"body":{"f":{"$lt":9007199254740993.0}}}').matches(content)


@pytest.mark.parametrize(
    "payload, condition, holds",
    [
        (b"5", 5, True),
        (b"[1,5]", 5, True),
        (b"[1,5]", {"$": 5}, True),
        (b"[1,5]", {"1": 5}, True),
        (b'[{"a":5}]', {"$.a": 5}, True),
        (b"null", None, True),
        (b"null", {"$exist": True}, True),
        (b'"a"', {"$regex": "a"}, True),
        (b'{"":5}', {"$eq": {"": 5}}, True),
    ],
)
def test_the_body_may_be_anything(payload: bytes, condition: Any, holds: bool) -> None:
    made = compiled(json.dumps({"body": condition}))
    assert made.matches(Content(payload, NO_ATTRIBUTES)) is holds


@pytest.mark.parametrize(
    "condition", [5, {"a": {"$neq": 1}}, {"a": {"$exist": False}}, {"$exist": False}]
)
def test_a_body_that_is_no_json_matches_no_condition(condition: Any) -> None:
    text = json.dumps({"body": condition})
    for content in (
        Content(b'{"a":', NO_ATTRIBUTES),
        Content(b"5", Attributes(content_type="text/plain")),
    ):
        found = compiled(text)
        assert not found.matches(content)
        mismatch = found.explain(content)
        assert mismatch is not None
        assert mismatch.reason == "body is no JSON"


BESIDE = Attributes(
    headers={"x-tenant": "a.b", "via": "x, y"},
    query={"one": "1", "many": ["1", "20"], "": "e"},
    metadata={"com.example.tier": "gold", "$odd": "1", "n": "5"},
    path="/in/github",
)


@pytest.mark.parametrize(
    "text, holds",
    [
        ('{"headers":{"X-Tenant":"a.b"}}', True),
        ('{"headers":{"x-tenant":{"$regex":"^a"}}}', True),
        ('{"headers":{"x-tenant":{"$in":["b","c"]}}}', False),
        ('{"headers":{"x-other":{"$exist":false}}}', True),
        ('{"headers":{"x-other":{"$neq":"a"}}}', True),
        ('{"headers":{"x-other":"a"}}', False),
        ('{"query":{"one":"1"}}', True),
        ('{"query":{"many":"20"}}', True),
        ('{"query":{"many":{"$regex":"^2"}}}', True),
        ('{"query":{"many":{"$eq":"20"}}}', True),
        ('{"query":{"many":{"$nin":["1","20"]}}}', False),
        ('{"query":{"many":{"$regex":"^3"}}}', False),
        ('{"query":{"":"e"}}', True),
        ('{"metadata":{"com.example.tier":"gold"}}', True),
        ('{"metadata":{"\\\\$odd":"1"}}', True),
        ('{"metadata":{"n":{"$gt":"4"}}}', True),
        ('{"metadata":{"com":{"$exist":true}}}', False),
        ('{"path":"/in/github"}', True),
        ('{"path":{"$regex":"^/in/"}}', True),
        ('{"path":{"$or":["/a",{"$regex":"hub$"}]}}', True),
        ('{"path":{"$neq":"/in/github"}}', False),
        ('{"headers":{"$or":[{"x-tenant":"b"},{"via":{"$exist":true}}]}}', True),
        ('{"$or":[{"path":"/x"},{"metadata":{"n":"5"}}]}', True),
        ('{"$and":[{"path":"/x"},{"metadata":{"n":"5"}}]}', False),
        ('{"path":"/in/github","metadata":{"n":"6"}}', False),
        ("{}", True),
        ('{"body":{},"headers":{},"path":{}}', True),
    ],
)
def test_what_stands_beside_the_payload_is_text(text: str, holds: bool) -> None:
    assert compiled(text).matches(Content(b"", BESIDE)) is holds


@pytest.mark.parametrize(
    "text, holds",
    [
        ('{"path":"/in/github"}', False),
        ('{"path":{"$exist":false}}', True),
        ('{"path":{"$nin":["/a"]}}', True),
        ('{"query":{"a":{"$exist":false}},"headers":{"b":{"$neq":"c"}}}', True),
    ],
)
def test_what_did_not_come_over_http_has_none_of_it(text: str, holds: bool) -> None:
    assert compiled(text).matches(Content(b"", NO_ATTRIBUTES)) is holds


def why(condition: Any, body: Any) -> Mismatch:
    found = compiled(json.dumps({"body": condition}))
    mismatch = found.explain(Content(json.dumps(body).encode(), NO_ATTRIBUTES))
    assert mismatch is not None
    return mismatch


@pytest.mark.parametrize(
    "condition, body, reason",
    [
        ({"a": 5}, {}, "body.a is absent"),
        ({"a": 5}, {"a": "5"}, 'body.a is "5", not 5'),
        ({"a": 5}, {"a": [1, 2]}, "body.a is [1, 2] without 5"),
        ({"a": {"$eq": 5}}, {"a": None}, "body.a is null, not 5"),
        ({"a": {"$neq": 5}}, {"a": 5}, "body.a is 5"),
        ({"a": {"$gt": 5}}, {"a": 5}, "body.a is 5, not greater than 5"),
        ({"a": {"$gte": 5}}, {"a": 1.5}, "body.a is 1.5, not at least 5"),
        ({"a": {"$lt": "b"}}, {"a": "b"}, 'body.a is "b", not less than "b"'),
        ({"a": {"$lte": 5}}, {"a": "5"}, "body.a is a string, which has no order with a number"),
        ({"a": {"$gt": "b"}}, {"a": True}, "body.a is true or false, which has no order with"),
        ({"a": {"$in": [1, "b"]}}, {"a": "c"}, 'body.a is "c", none of [1, "b"]'),
        ({"a": {"$nin": [1, 2]}}, {"a": 2}, "body.a is 2, one of [1, 2]"),
        ({"a": {"$exist": True}}, {"b": 2}, "body.a is absent"),
        ({"a": {"$exist": False}}, {"a": None}, "body.a is there: null"),
        ({"a": {"$regex": "^b"}}, {"a": "cb"}, 'body.a is "cb", in which "^b" is not found'),
        ({"a": {"$regex": "^b"}}, {"a": {}}, "body.a is an object, not a string"),
        ({"a.b": {"c": 5}}, {"a": {"b": 1}}, "body.a.b.c is absent"),
        ({"a.$.b": 5}, {"a": [{"b": 1}, {}]}, "body.a.$.b is 1, not 5 (the first of 2, and no"),
        ({"a.$": 5}, {"a": []}, "body.a.$ is absent"),
        ({"a": {"$or": [1, {"$gt": 5}]}}, {"a": 3}, "none of 2 alternatives holds: body.a is 3"),
        ({"$and": [{"a": 1}, {"b": 2}]}, {"a": 1}, "body.b is absent"),
    ],
)  # fmt: skip
def test_the_reason_is_told(condition: Any, body: Any, reason: str) -> None:
    assert why(condition, body).reason.startswith(reason)


def test_a_mismatch_tells_its_parts() -> None:
    either = why({"a": {"$or": [1, {"$gt": 5}]}}, {"a": 3})
    assert either.reason == (
        "none of 2 alternatives holds: body.a is 3, not 1; body.a is 3, not greater than 5"
    )
    assert why({"a.b": {"$gt": 5}}, {"a": {"b": 1}}) == Mismatch(
        "body.a.b", "$gt", "5", "1", "body.a.b is 1, not greater than 5"
    )
    absent = why({"a": "x"}, {})
    assert (absent.path, absent.operator, absent.wanted, absent.found) == (
        "body.a",
        "$eq",
        '"x"',
        None,
    )
    either = why({"$or": [{"a": 1}, {"b": 2}]}, {})
    assert (either.path, either.operator) == ("body", "$or")
    assert [one.path for one in either.alternatives] == ["body.a", "body.b"]


def test_reasons_of_what_stands_beside_the_payload_name_it() -> None:
    for text, reason in (
        ('{"headers":{"X-Other":"a"}}', "headers.x-other is absent"),
        ('{"query":{"one":"2"}}', 'query.one is "1", not "2"'),
        ('{"query":{"many":"3"}}', 'query.many is "1", not "3" (the first of 2, and no other'),
        ('{"path":{"$in":["/a","/b"]}}', 'path is "/in/github", none of ["/a", "/b"]'),
        ('{"$or":[{"path":"/x"},{"query":{"one":"2"}}]}', "none of 2 alternatives holds"),
    ):
        mismatch = compiled(text).explain(Content(b"", BESIDE))
        assert mismatch is not None
        assert mismatch.reason.startswith(reason)


def test_an_array_beyond_all_measure_is_not_looked_through() -> None:
    many = json.dumps({"a": [0] * EFFORT + [1], "b": [1]}).encode()
    content = Content(many, NO_ATTRIBUTES)
    for condition in ({"a": 1}, {"a.$": 1}, {"a.$": {"$neq": 1}}):
        found = compiled(json.dumps({"body": condition}))
        assert not found.matches(content)
        assert found.explain(content) is not None
    assert compiled('{"body":{"b.$":1}}').matches(content), "each filter has its own effort"
    enough = Content(json.dumps({"a": [0] * (EFFORT - 1) + [1]}).encode(), NO_ATTRIBUTES)
    assert compiled('{"body":{"a.$":1}}').matches(enough)
    assert not compiled('{"body":{"a.$":{"$gt":0,"$lt":2}}}').matches(enough), "twice as much"


def test_a_text_beyond_all_measure_is_not_searched() -> None:
    long = Content(json.dumps({"a": "a" * 200_000 + "b"}).encode(), NO_ATTRIBUTES)
    assert compiled('{"body":{"a":{"$regex":"b$"}}}').matches(long)
    found = compiled('{"body":{"a":{"$regex":"(a|b){90}c|b$"}}}')
    assert not found.matches(long)
    assert found.explain(long) is not None


@pytest.mark.parametrize(
    "name, index",
    [("0", 0), ("12", 12), ("01", -1), ("-1", -1), ("", -1), ("1 ", -1), ("٣", -1), ("9" * 10, -1)],
)
def test_a_step_may_be_an_index(name: str, index: int) -> None:
    assert index_of(name) == index


def test_same_is_an_equivalence_of_values() -> None:
    texts = [b"1", b"1.0", b"true", b"[1]", b"[true]", b'{"a":[1.0]}', b'{"a":[1]}', b"null", b'""']
    values = [read(text) for text in texts]
    pairs = {
        (one, other)
        for one, a in zip(texts, values, strict=True)
        for other, b in zip(texts, values, strict=True)
        if same(a, b)
    }
    alike = {(b"1", b"1.0"), (b'{"a":[1.0]}', b'{"a":[1]}')}
    assert pairs == {(one, one) for one in texts} | alike | {(b, a) for a, b in alike}
