"""What a worker answers is believed only as far as it makes sense."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.model.transform import Fault, FaultKind, Made, Result, Skipped
from waypost.sandbox import answers, frames
from waypost.sandbox.frames import Answer, Limits

LIMITS = Limits(0.1, 32 * 1024 * 1024, 1024)


def read(kind: bytes, payload: bytes = b"", **beside: Any) -> Result | None:
    return answers.read(Answer(kind, payload, json.dumps(beside).encode()), LIMITS)


@pytest.mark.parametrize(
    "kind, payload, beside, result",
    [
        (frames.UNTOUCHED, b"", {}, Made()),
        (frames.GOOD, b"", {}, Made()),
        (frames.UNTOUCHED, b"", {"headers": {"a": "b"}}, Made(headers={"a": "b"})),
        (frames.PAYLOAD, b"[]", {"log": ["x"]}, Made(b"[]", log=("x",))),
        (frames.AS_TEXT, b"<a/>", {}, Made(b"<a/>", is_text=True)),
        (frames.SKIP, b"", {"log": ["x"]}, Skipped(("x",))),
    ],
)
def test_what_came_of_a_call(
    kind: bytes, payload: bytes, beside: dict[str, Any], result: Result
) -> None:
    assert read(kind, payload, **beside) == result


@pytest.mark.parametrize(
    "kind, told, message",
    [
        ("exception", "TypeError: x", "TypeError: x"),
        ("result", "y" * 2000, "y" * 1000),
        ("timeout", "interrupted", "it took more than 100 ms of the processor's time"),
        ("memory", "out of memory", "it took more than 32 MiB of memory"),
    ],
)
def test_a_fault_is_told_in_words(kind: str, told: str, message: str) -> None:
    error = {"kind": kind, "message": told, "line": 2, "column": 3}
    found = read(frames.ERROR, error=error, log=["x"])
    assert found == Fault(FaultKind(kind), message, 2, 3, log=("x",))


@pytest.mark.parametrize(
    "kind, beside",
    [
        (b"?", b"{}"),
        (frames.ERROR, b"{}"),
        (frames.ERROR, b'{"error": {"kind": "other", "message": ""}}'),
        (frames.UNTOUCHED, b""),
        (frames.UNTOUCHED, b"[]"),
        (frames.UNTOUCHED, b"\xff"),
        (frames.UNTOUCHED, b'{"headers": {"a": 1}}'),
        (frames.UNTOUCHED, b'{"log": "x"}'),
        (frames.UNTOUCHED, b'{"log": ["\\ud800"]}'),
    ],
)
def test_nonsense_is_none(kind: bytes, beside: bytes) -> None:
    assert answers.read(Answer(kind, b"", beside), LIMITS) is None


@given(st.binary(max_size=1), st.binary(), st.binary())
def test_nothing_that_is_answered_breaks_the_server(
    kind: bytes, payload: bytes, beside: bytes
) -> None:
    answers.read(Answer(kind, payload, beside), LIMITS)
