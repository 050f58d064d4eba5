"""Patterns find what RE2 finds, in linear time; what it does not take is refused, with reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.policy.patterns import PATTERN_MAX, Pattern


@pytest.mark.parametrize(
    "pattern, text, found",
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("^a.c$", "abc", True),
        ("", "", True),
        ("", "abc", True),
        ("(?i)STRASSE", "Strasse 5", True),
        ("^.$", "ü", True),
        ("^.$", "😀", True),
        (r"\d", "٣", False),  # digits are ASCII
        (r"^\p{Greek}+$", "αβγ", True),
        ("b$", "b\n", False),  # the end of the text, not of a line
        ("a.b", "a\nb", False),
        ("(?s)a.b", "a\nb", True),
        ("^b", "a\nb", False),
        ("(?m)^b", "a\nb", True),
        ("a", "\ud800a", True),
        ("^.$", "\ud800", True),
        ("\x00", "a\x00", True),
        (r"^(?P<scheme>\w+)://", "https://a.example", True),
    ],
)
def test_a_pattern_finds(pattern: str, text: str, found: bool) -> None:
    assert Pattern(pattern).finds(text) is found


@pytest.mark.parametrize(
    "pattern, reason",
    [
        ("(", "missing )"),
        ("a**", "bad repetition operator"),
        ("[z-a]", "invalid character class range"),
        (r"(a)\1", "invalid escape sequence"),
        ("(?=a)", "invalid perl operator"),
        ("(?<!a)b", "invalid"),
        ("a{1001}", "invalid repetition size"),
        ("((a{100}){100}){100}", "invalid repetition size"),
        (r"[\p{L}\p{N}]{900}", "pattern too large"),
        ("\ud800", "lone surrogates"),
        ("a" * (PATTERN_MAX + 1), "at most 500 characters"),
    ],
)
def test_what_re2_does_not_take_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("(", r"\(").replace(")", r"\)")):
        Pattern(pattern)


@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|a)*$", "^(a*)*b", "(x+x+)+y", "^(([a-z])+.)+[A-Z]([a-z])+$"]
)
def test_what_ruins_others_takes_linear_time(pattern: str) -> None:
    # A backtracking engine takes time like 2 to the power of the length: it would not end.
    text = ("x" if "x" in pattern else "a") * 100_000 + "!"
    assert not Pattern(pattern).finds(text)


def test_the_size_is_what_a_byte_costs_at_worst() -> None:
    assert 0 < Pattern("a").size < Pattern("a{50}").size < Pattern(r"\p{L}{3}").size


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_pattern_is_refused_or_works(pattern: str, text: str) -> None:
    try:
        compiled = Pattern(pattern)
    except ValueError:
        return
    assert compiled.finds(text) in {True, False}
