"""Names and values, read and spelled as the library of Python does."""

from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.policy.urlencoded import read, spell

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.dictionaries(texts, texts, max_size=5))
def test_what_is_spelled_is_read_again(fields: dict[str, str]) -> None:
    text = spell(fields)
    assert read(text, 5) == list(fields.items())
    assert parse_qsl(text.decode(), keep_blank_values=True) == list(fields.items())
    assert read(urlencode(fields).encode(), 5) == list(fields.items())


@pytest.mark.parametrize(
    "text, wanted",
    [
        (b"", []),
        (b"&&", []),
        (b"a", [("a", "")]),
        (b"=b", [("", "b")]),
        (b"a=b=c&a=%2B+%zz%4", [("a", "b=c"), ("a", "+ %zz%4")]),
        ("é=%C3%A9".encode(), [("é", "é")]),
    ],
)
def test_odd_ones(text: bytes, wanted: list[tuple[str, str]]) -> None:
    assert read(text, 5) == wanted


def test_bounds() -> None:
    assert read(b"a=%ff", 1, "replace") == [("a", "\ufffd")]
    for text, most in ((b"a=%ff", 1), (b"\xff=a", 1), (b"a&b", 1)):
        with pytest.raises(ValueError, match=r"too many|utf-8"):
            read(text, most)
