"""Values are shown short, whatever they are."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.policy.shown import SHOWN_MAX, kind_of, shown


@pytest.mark.parametrize(
    "value, text, kind",
    [
        (None, "null", "null"),
        (True, "true", "true or false"),
        (5, "5", "a number"),
        (Decimal("1.10"), "1.10", "a number"),
        ("é\n", '"é\\n"', "a string"),
        ("\ud800", '"?"', "a string"),
        ("x" * 101, f'"{"x" * 100}…"', "a string"),
        ([1, "a", None], '[1, "a", null]', "an array"),
        (("a", "b"), '["a", "b"]', "an object"),
        ([[1]], "an array of 1", "an array"),
        ([0] * 6, "an array of 6", "an array"),
        ({"a": 1}, "an object of 1", "an object"),
        (Decimal("1" * 5000), "1" * 100 + "…", "a number"),
    ],
    ids=str,
)
def test_a_value_is_shown(value: Any, text: str, kind: str) -> None:
    assert shown(value) == text
    if not isinstance(value, tuple):
        assert kind_of(value) == kind


def test_a_number_that_python_does_not_spell_is_shown() -> None:
    assert shown(10**5000) == "a number of very many digits"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_any_value_is_shown_short_and_can_be_written(value: Any) -> None:
    text = shown(value)
    assert len(text) <= 6 * 6 * SHOWN_MAX  # five listed, each perhaps all escapes
    msgspec.json.encode(text)
