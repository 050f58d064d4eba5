"""Frames: what one side packs, the other unpacks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waypost.sandbox import frames
from waypost.sandbox.frames import Answer, Request


@given(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 7))
def test_a_request_arrives(source: bytes, payload: bytes, event: bytes, flags: int) -> None:
    request = Request(frames.JAVASCRIPT, flags, source, payload, event)
    packed = frames.pack_request(request)
    assert frames.LENGTH.unpack_from(packed) == (len(packed) - frames.LENGTH.size,)
    assert frames.unpack_request(packed[frames.LENGTH.size :]) == request


@given(st.binary(max_size=9), st.binary(max_size=9), st.integers(0, 2**32 - 1))
def test_an_answer_arrives(payload: bytes, beside: bytes, took_us: int) -> None:
    answer = Answer(frames.PAYLOAD, payload, beside, took_us)
    packed = frames.pack_answer(answer)
    assert frames.unpack_answer(packed[frames.LENGTH.size :]) == answer


@pytest.mark.parametrize("size", range(9))
def test_what_is_too_short_is_no_answer(size: int) -> None:
    assert frames.unpack_answer(bytes(size)) is None
