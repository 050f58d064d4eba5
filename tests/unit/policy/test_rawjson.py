import json
import re

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from waypost.model.errors import InvalidInput
from waypost.policy import rawjson

ANY = msgspec.json.Decoder(msgspec.Raw)
MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(text: bytes) -> bytes:
    return rawjson.original(rawjson.decode(ANY, text))


VALID = [
    b"null",
    b"-0",
    b"1.10",
    b"1e999",
    b"-1E-400",
    b"9" * 5000,
    b'""',
    b'"\\u0000"',
    b'"\x7f"',
    b'"\\ud83d\\ude00"',
    b'"\\ud800"',
    b'"\\uDFFF"',
    b'"\\udc00\\ud800"',
    b'"\\ud800\\ud800\\udc00"',
    b'"\\ud800\\u0041"',
    b'"\\ud800\\n\\\\ud800\\\\\\udbff"',
    b'"\\\\\\\\\\ud800"',
    b'{"\\ud800":{"\\udc00":[]}}',
    b'{"a":1,"a":2}',
    b"[ 1 ,\t2\r\n, {} ]",
    '"é\\ud800😀"'.encode(),
    '"\ufffe\ufeff\u2028"'.encode(),
]
INVALID = [
    b"",
    b" ",
    b"nul",
    b"True",
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"01",
    b"1.",
    b".5",
    b"+1",
    b"0x1",
    b"1_0",
    b"1 2",
    b"[1,]",
    b'{"a":1,}',
    b"{1:2}",
    b"{'a':1}",
    b"[1}",
    b"// a\n1",
    b'"',
    b'"\\"',
    b'"\\x"',
    b'"\\u12"',
    b'"\\u12g4"',
    b'"\\ud8zz"',
    b'"\\ud800',
    b"\\ud800",
    b'["\\ud800",]',
    b'"\x01"',
    b'"\n"',
    b"1\x00",
    b"\x0b1",
    b"\xc2\xa01",
    b"\xef\xbb\xbf1",
    b'"\xff"',
    b'"\xffud800"',
    b'"\xc0\x80"',
    b'"\xed\xa0\x80"',
    b'"\xf4\x90\x80\x80"',
    "1".encode("utf-16"),
    "1".encode("utf-16-le"),
]


@pytest.mark.parametrize("text", VALID)
def test_valid_json_passes_with_its_bytes_unchanged(text: bytes) -> None:
    assert read(text) == text
    assert read(b" \t\r\n" + text + b"\n") == text
    members = rawjson.decode(MEMBERS, b'{"a":' + text + b',"b":' + text + b"}")
    assert {name: rawjson.original(raw) for name, raw in members.items()} == {"a": text, "b": text}


@pytest.mark.parametrize("text", INVALID)
def test_what_rfc_8259_does_not_know_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        read(text)
    with pytest.raises(InvalidInput):
        rawjson.decode(MEMBERS, b'{"a":' + text + b"}")


@given(st.binary() | st.text().map(str.encode) | st.text('"\\ud8DcC0n[]{}:, e1').map(str.encode))
@example(b'"\\ud800\\\\"')
def test_agrees_with_the_standard_library_on_any_bytes(text: bytes) -> None:
    try:
        json.loads(text.decode(), parse_constant=int)
    except ValueError:
        with pytest.raises(InvalidInput):
            read(text)
    else:
        assert read(text) == text.strip(b" \t\r\n")


characters = st.characters(exclude_categories=()) | st.sampled_from("\ud800\udc00\\\"'n\x00")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(characters), inner),
) | st.text(characters)


@given(values, st.sampled_from([None, 1, "\t"]))
def test_whatever_is_dumped_is_kept(value: object, indent: int | str | None) -> None:
    text = json.dumps(value, indent=indent).encode()
    assert read(text) == text


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    names: dict[str, int] = {}
    count: int = 0


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: list[Inner]


OUTER = msgspec.json.Decoder(Outer)


@pytest.mark.parametrize(
    "text, path, reason",
    [
        (b"[]", "", "Expected `object`, got `array`"),
        (b"{}", "inner", "is required"),
        (b'{"a`b\\n":1}', "a`b\n", "is not known"),
        (b'{"inner":[{},{"count":"1"}]}', "inner[1].count", "Expected `int`, got `str`"),
        (b'{"inner":[{"other":1}]}', "inner[0].other", "is not known"),
        (b'{"inner":[{"%b":1}]}' % (b"x" * 999), "inner[0]." + "x" * 64, "is not known"),
        (b'{"inner":[{"names":{"a":"b"}}]}', "inner[0].names[...]", "Expected `int`, got `str`"),
        (b"{", "", "Input data was truncated"),
        (b'{"\\ud800":1}', "", "must be UTF-8, lone surrogates only in the payload"),
    ],
)
def test_a_refusal_says_where_and_why(text: bytes, path: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        rawjson.decode(OUTER, text)
    assert refusal.value.details == ((path, reason),)
    with pytest.raises(InvalidInput) as refusal:
        rawjson.decode(OUTER, text, "events[7]")
    assert refusal.value.details == ((f"events[7].{path}".rstrip("."), reason),)


@pytest.mark.parametrize(
    "text, depth",
    [
        (b"1", 0),
        (b'"[[{{"', 0),
        (b"[]", 1),
        (b"[[],[[]],{}]", 3),
        (b'{"[":"]","\\"{":[{}]}', 3),
        (b'["\\\\",["\\\\\\"[["]]', 2),
        (b"[" * 64 + b"]" * 64, 64),
        (b'{"a":' * 65 + b"1" + b"}" * 65, 65),
    ],
)
def test_depth_counts_brackets_outside_strings(text: bytes, depth: int) -> None:
    assert rawjson.scan_depth(text) == depth
    assert rawjson.brackets(text) >= depth


@given(values)
def test_depth_is_that_of_the_value(value: object) -> None:
    def depth(part: object) -> int:
        if isinstance(part, dict | list):
            inner = part.values() if isinstance(part, dict) else part
            return 1 + max(map(depth, inner), default=0)
        return 0

    assert rawjson.scan_depth(json.dumps(value).encode()) == depth(value)


def test_only_what_is_too_deep_is_refused() -> None:
    wide = b"[" + b",".join([b'{"a":[[]]}'] * 1000) + b"]"
    for text in (wide, b"[" * 64 + b"]" * 64, b'"' + b"[" * 999 + b'"'):
        rawjson.require_shallow(text, "payload")
    with pytest.raises(InvalidInput) as refusal:
        rawjson.require_shallow(b"[" * 65 + b"]" * 65, "payload")
    assert refusal.value.details == (("payload", "must not be nested deeper than 64"),)


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 100_000])
def test_no_depth_exhausts_the_stack(text: bytes) -> None:
    with pytest.raises(InvalidInput, match=re.escape("nested deeper")):
        read(text)


@pytest.mark.parametrize("unit", [b"\\", b"\\\\", b"\\ud800", b"\\n", b"\\u", b"[", b"[["])
def test_long_runs_of_the_same_are_judged_without_backtracking(unit: bytes) -> None:
    text = b'["' + unit * 20_000 + b'","\\ud800"]'
    try:
        assert read(text) == text
    except InvalidInput:
        assert unit in {b"\\", b"\\u"}
